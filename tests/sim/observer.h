// The global observer: sees every execution, reference, value and death in the cluster at once, which no machine can, and holds
// them against the rules that users rely on. Machines check themselves (CheckInvariants); this checks what only shows from above.
//
// Rules (the names that violations carry):
//   attempt_runs_once          an attempt of a task runs on one worker, once
//   at_most_once               a call without retries runs once at most
//   retries_are_bounded        a task runs max_retries + 1 times at most
//   one_live_incarnation       a constructor or call runs only while no other live process is that actor
//   restarts_are_bounded       max_restarts + 1 incarnations of an actor serve calls, at most; one that nobody heard of does not count
//   actor_calls_in_order       calls of one caller start in the order of submission, per incarnation; retries go back and begin again
//   sync_actor_runs_one_call   no two calls overlap in an actor of max_concurrency 1
//   leases_within_capacity     what runs on a node, leases that were lent out by a blocking get apart, fits into it
//   referenced_object_is_kept  an owner frees nothing that a live program holds
//   no_false_death             nobody is taken for dead who lives, unless a fault makes it look so
//   values_agree               everybody who gets an object gets the same value
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "runtime/core_worker/types.h"
#include "tests/sim/program.h"

namespace shoal::sim {

class Cluster;
struct Got;

struct Violation {
  std::string rule;
  std::string detail;
  int64_t time_ns = 0;
};

class Observer {
 public:
  explicit Observer(const Cluster* cluster) : cluster_(*cluster) {}

  // Records a violation unless `holds`. Only the first few are kept.
  void Require(bool holds, const char* rule, const std::string& detail) {
    if (!holds) Violate(rule, detail);
  }
  void Violate(const char* rule, const std::string& detail);
  const std::vector<Violation>& violations() const { return violations_; }

  // ---- references and values
  void OnHold(uint32_t process, const ObjectId& id);
  void OnUnhold(uint32_t process, const ObjectId& id);
  void OnFreed(uint32_t process, const ObjectId& id);
  void OnContent(const ObjectId& id, uint64_t number);
  void OnGet(uint32_t process, const ObjectId& id, const Got& got);

  // ---- tasks and actors
  void OnSubmit(uint32_t process, const TaskId& task, const Program& program, int32_t max_retries);
  void OnCreateActor(uint32_t process, ActorId actor, int32_t max_restarts);
  void OnExecute(uint32_t process, const core_worker::ExecuteTask& task, const Program& program);
  void OnBlocked(uint32_t process, const TaskId& task, bool blocked);
  // A worker serves another lease, or none.
  void OnLeaseChanged(uint32_t process) { lent_.erase(process); }
  void OnFinished(uint32_t process, const core_worker::ExecuteTask& task);
  // How often the task began to run, over all attempts.
  uint32_t Executions(const TaskId& task) const;

  // ---- faults, which excuse some things
  void OnProcessDied(uint32_t process);
  void OnDeclaredDead(NodeId node);
  bool WasDeclaredDead(uint64_t node) const { return declared_dead_.contains(node); }
  bool AnyDeclaredDead() const { return !declared_dead_.empty(); }
  // Nothing in this run makes a live machine look dead.
  void DeathsAreTrue() { deaths_are_true_ = true; }

  uint64_t executions() const { return executions_; }

 private:
  struct TaskRecord {
    uint32_t executions = 0;
    int32_t max_retries = -1;
    bool submitted = false;
  };
  struct ActorHost {
    uint32_t process;
    uint64_t incarnation;
  };
  struct RunningTask {
    uint32_t node;
    int64_t cpu_steps;  // 0 once it has blocked
    bool actor_call;
  };
  void CheckIncarnation(uint32_t process, const core_worker::ExecuteTask& task);
  void CheckActorCall(uint32_t process, const core_worker::ExecuteTask& task, const Program& program);
  void Occupy(uint32_t node, int64_t cpu_steps);

  const Cluster& cluster_;
  std::vector<Violation> violations_;
  absl::flat_hash_map<ObjectId, absl::InlinedVector<uint32_t, 2>> holders_;
  absl::flat_hash_map<ObjectId, uint64_t> content_;
  absl::flat_hash_map<TaskId, TaskRecord> tasks_;
  absl::flat_hash_set<std::pair<TaskId, uint32_t>> attempts_;
  absl::flat_hash_map<ActorId, std::vector<ActorHost>> hosts_;
  struct Lives {
    absl::btree_set<uint64_t> incarnations;  // that served a call
    int32_t max_restarts = -1;
  };
  absl::flat_hash_map<ActorId, Lives> lives_;
  struct LastCall {
    uint64_t tag;
    uint32_t attempt;
  };
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, LastCall> last_call_;  // (process, caller)
  absl::flat_hash_map<uint32_t, absl::btree_map<TaskId, RunningTask>> running_;
  // Workers that blocked in get under their lease: their CPUs were lent to others, and may be used twice until that lease ends.
  absl::flat_hash_set<uint32_t> lent_;
  absl::flat_hash_map<uint32_t, int64_t> actor_cpu_;                       // by process
  absl::flat_hash_map<uint32_t, int64_t> used_cpu_;                        // by node
  absl::flat_hash_set<uint64_t> declared_dead_;
  bool deaths_are_true_ = false;
  uint64_t executions_ = 0;
};

}  // namespace shoal::sim
