// The simulated language runtime of one driver or worker: what Python or C++ would be around a core worker machine. It runs scripted
// functions (program.h) for a seeded time, holds references as variables do, and tells the observer what a user would see.
//
//   language.Submit({.program = {.op = Op::kEcho, .tag = 7}, .shape = shape, .max_retries = -1});
//   language.Get(ref, [](const Got& got) { ... });        // calls back once; never if the process dies
//
// Everything runs on the simulator's thread; callbacks may call back in.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/rng.h"
#include "runtime/core_worker/core_worker.h"
#include "schema/messages.h"
#include "tests/sim/program.h"

namespace shoal::sim {

class Cluster;
class Observer;

// What a get gives.
struct Got {
  ErrorInfo error;
  uint64_t number = 0;
  std::vector<ObjectRefInfo> contained;  // already adopted: drop each once
  bool ok() const { return !error; }
};

struct TaskRequest {
  Program program;
  std::vector<ObjectRefInfo> refs;    // top-level arguments
  std::vector<ObjectRefInfo> nested;  // references inside another argument
  ShapeId shape;                      // 0: one CPU of this job
  int32_t max_retries = -1;
  bool retry_exceptions = false;
  uint32_t num_returns = 1;
};

struct ActorRequest {
  std::string name;
  bool detached = false;
  bool get_if_exists = false;
  int32_t max_restarts = 0;
  int32_t max_task_retries = 0;
  double cpus = 0;
  Strategy strategy;
};

class Language {
 public:
  Language(Cluster* cluster, uint32_t process, core_worker::CoreWorker* core, Rng rng);
  ~Language();
  Language(const Language&) = delete;
  Language& operator=(const Language&) = delete;

  core_worker::CoreWorker& core() { return *core_; }
  JobId job() const { return core_->options().job; }
  ShapeId CpuShape(double cpus = 1);
  ShapeId RegisterShape(const Shape& shape) { return core_->RegisterShape(shape); }

  // ---- what a program may do; each reference handed out is held once until Drop
  ObjectRefInfo Put(uint64_t number, std::vector<ObjectRefInfo> contained = {});
  // Through the store; nullopt if it is full.
  void PutLarge(uint64_t number, uint64_t size, std::function<void(std::optional<ObjectRefInfo>)> done);
  void Hold(const ObjectRefInfo& ref);
  void Adopt(const ObjectRefInfo& ref, std::optional<ObjectId> outer);
  void Drop(const ObjectId& id);
  // The value, its bytes included. The caller holds a reference until `done` is called.
  void Get(const ObjectRefInfo& ref, std::function<void(const Got&)> done);
  // Results are held once each, from Return(0) on.
  TaskId Submit(const TaskRequest& request);
  void Cancel(const ObjectId& result, bool force);
  ActorId CreateActor(const ActorRequest& request);
  TaskId Call(ActorId actor, const TaskRequest& request);
  void GetActor(const std::string& name, std::function<void(const FindActorReply&)> done);
  // Makes calls possible through what GetActor found.
  void UseActor(const FindActorReply& reply);
  // Drops the handle.
  void ForgetActor(ActorId actor);
  void KillActor(ActorId actor, bool no_restart = true);
  void CreateGroup(PlacementGroupSpec spec, std::function<void(const PlacementGroupUpdate&)> on_update);
  void RemoveGroup(PlacementGroupId group);
  ObjectRefInfo RefOf(const ObjectId& id) const { return core_->RefOf(id); }
  // Calls `then` after a while, unless this process has died.
  void After(int64_t delay_ns, std::function<void()> then);

  // ---- the cluster's side
  // Carries out what concerns the language; sends are the cluster's business.
  void CarryOut(core_worker::CoreWorkerActions* actions);
  // What this process holds, for the observer when it dies.
  const absl::btree_map<ObjectId, uint32_t>& holds() const { return holds_; }
  // The actor that this process is, once its constructor has begun.
  ActorId actor() const { return actor_; }
  uint64_t actor_incarnation() const { return actor_incarnation_; }
  size_t running() const { return running_.size(); }
  size_t waiting_gets() const { return waiting_.size(); }

 private:
  struct Running {
    core_worker::ExecuteTask task;
    Program program;
    std::vector<ObjectId> borrowed;  // adopted from the arguments
    bool cancelled = false;
    bool ended = false;
    bool blocked = false;
  };
  using RunningPtr = std::shared_ptr<Running>;

  void Execute(core_worker::ExecuteTask task);
  void RunBody(const RunningPtr& task);
  void RunNested(const RunningPtr& task);
  void GetAll(const RunningPtr& task, const std::vector<ObjectRefInfo>& refs, bool drop,
              std::function<void(std::optional<ErrorInfo>, uint64_t)> done);
  void SetBlocked(const RunningPtr& task, bool blocked);
  void FinishNumber(const RunningPtr& task, uint64_t number, std::vector<ObjectRefInfo> contained = {});
  void FinishStored(const RunningPtr& task, uint64_t number, uint64_t size);
  void FinishError(const RunningPtr& task, ErrorInfo error, bool final);
  void Finish(const RunningPtr& task, std::vector<ObjectValue> results, std::vector<uint64_t> offsets,
              bool leaving, bool final);
  std::optional<uint64_t> ReadArgument(const RunningPtr& task, size_t i);
  void CreateBlock(uint64_t size, std::function<void(const ObjectCreated&)> done);
  void SendUntil(std::function<bool()> done, Message message);
  void Deliver(const ObjectId& id);
  void CountHold(const ObjectId& id);
  void CountDrop(const ObjectId& id);
  TaskSpec MakeSpec(const TaskRequest& request) const;
  Payload CodeOf(Op op) const;
  TimePoint Now() const;
  core_worker::CoreWorkerActions* Actions();
  void Flush();

  Cluster* const cluster_;
  const uint32_t process_;
  core_worker::CoreWorker* const core_;
  Rng rng_;
  ShapeId cpu_shape_;
  absl::btree_map<ObjectId, uint32_t> holds_;
  struct Waiting {
    ObjectRefInfo ref;
    std::function<void(const Got&)> done;
  };
  absl::btree_map<ObjectId, std::vector<Waiting>> waiting_;
  absl::btree_map<RequestId, std::function<void(const ObjectCreated&)>> creating_;
  absl::btree_map<RequestId, std::function<void(const FindActorReply&)>> looking_up_;
  struct Group {
    PlacementGroupStateKind state = PlacementGroupStateKind::kPending;
    bool removing = false;
    std::function<void(const PlacementGroupUpdate&)> on_update;
  };
  absl::btree_map<PlacementGroupId, Group> groups_;
  absl::btree_map<TaskId, RunningPtr> running_;
  absl::btree_map<ActorId, ObjectId> handles_;  // each held once
  absl::flat_hash_set<FunctionId> known_functions_;
  // Actor state.
  ActorId actor_;
  uint64_t actor_incarnation_ = 0;
  std::vector<ObjectRefInfo> held_;
};

}  // namespace shoal::sim
