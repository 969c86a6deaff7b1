// Every task and actor call that this process submitted: their names and results, the references they hold, what they
// wait for, how they end, and how a lost result is computed again. Who runs them is not decided here.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/local_objects.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/references.h"

namespace shoal::core_worker {

class TaskTable {
 public:
  TaskTable(const CoreWorkerOptions* options, Events* events, References* references, LocalObjects* objects)
      : options_(*options), events_(*events), references_(*references), objects_(*objects) {}
  ~TaskTable();

  // Names the task, makes its results (one local reference each), holds its references. Follow with Start.
  SubmittedTask* Register(const Turn& t, TaskSubmission submission, TaskKind kind);
  // Events::TaskReady follows: at once, or when the last argument exists.
  void Start(const Turn& t, SubmittedTask* task);
  // Looks at tasks whose last argument has come. Apart from ValueKnown, so that a long chain of tasks that fail one after
  // the other does not become a deep stack.
  void ProcessReady(const Turn& t);
  bool has_ready() const { return !ready_.empty(); }
  // Before each push: puts the present values of its references into the spec. kWaiting: one is gone and is being
  // computed again, so the task waits anew (in the list it is in, if any); kFailed: one is an error, which the task's results
  // now are, and the task is gone.
  enum class Readiness { kReady, kWaiting, kFailed };
  Readiness Prepare(const Turn& t, SubmittedTask* task) {
    return task->spec.refs.empty() ? Readiness::kReady : PrepareRefs(t, task);
  }
  void ValueKnown(ObjectEntry* entry);

  // Ends a task, which leaves its list; the pointer is void afterwards.
  void Complete(const Turn& t, SubmittedTask* task, std::vector<ObjectValue> results);
  void Fail(const Turn& t, SubmittedTask* task, const ErrorInfo& error);
  // Takes one retry and makes the next attempt current; false if none is left.
  bool TakeRetry(SubmittedTask* task);
  // The pending task that the reply belongs to, null if none waits for this attempt from that process.
  SubmittedTask* Awaiting(const TaskReply& reply) const;
  // A reply that nobody waits for: lets go of what came with it.
  void Decline(const Turn& t, const TaskReply& reply);
  // True if the reply says that user code raised and the task may run again for it.
  static bool WantsRetry(const SubmittedTask* task, const TaskReply& reply);

  // The raylet is gone: nothing that is pending can end well.
  void FailAll(const Turn& t, const ErrorInfo& error);

  // All copies of an owned object are gone: computes it again or makes it an error.
  void Recompute(const Turn& t, ObjectEntry* entry, NodeId at);
  void ResultForgotten(ObjectEntry* entry);

  SubmittedTask* FindByResult(const ObjectId& id) const {
    const ObjectEntry* entry = references_.Find(id);
    return entry == nullptr ? nullptr : entry->producer;
  }
  SubmittedTask* Find(const TaskId& id) const {
    SubmittedTask* task = FindByResult(id.Return(0));
    return task != nullptr && task->spec.id == id ? task : nullptr;
  }
  // Pending tasks submitted by `parent`, oldest first.
  std::vector<TaskId> ChildrenOf(const TaskId& parent) const;

  // The code to send along if this process has not sent it to `worker` yet; else empty.
  Payload CodeFor(const Address& worker, FunctionId function);
  void ForgetWorker(const Address& worker) { sent_code_.erase(worker); }
  void ForgetNode(NodeId node);

  uint64_t pending() const { return pending_; }
  uint64_t lineage() const { return lineage_; }
  uint64_t submitted() const { return submitted_; }
  uint64_t finished() const { return finished_; }
  uint64_t retried() const { return retried_; }

 private:
  Readiness PrepareRefs(const Turn& t, SubmittedTask* task);
  void WaitFor(const Turn& t, SubmittedTask* task, ObjectEntry* entry);
  void StopWaiting(SubmittedTask* task);
  void HoldArgs(const Turn& t, SubmittedTask* task);
  void DropArgs(SubmittedTask* task);
  void KeepLineage(SubmittedTask* task);
  void DropLineage(SubmittedTask* task);
  void Resubmit(const Turn& t, SubmittedTask* task);
  void AddReady(SubmittedTask* task);
  void End(SubmittedTask* task, bool stored);

  const CoreWorkerOptions& options_;
  Events& events_;
  References& references_;
  LocalObjects& objects_;
  Pool<SubmittedTask> pool_;
  std::vector<SubmittedTask*> ready_;  // null: ended in the meantime
  absl::flat_hash_map<FunctionId, Payload> functions_;
  FunctionId last_function_;
  absl::flat_hash_map<Address, absl::flat_hash_set<FunctionId>> sent_code_;
  uint64_t pending_ = 0, lineage_ = 0, submitted_ = 0, finished_ = 0, retried_ = 0;
};

}  // namespace shoal::core_worker
