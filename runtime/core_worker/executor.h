// Runs what others push here: checks the right to do so, fetches arguments, starts tasks in order, and answers.
//
// Normal tasks run one at a time in the order of arrival, and the next one starts when the reply of the one before has left:
// callers rely on that when this process dies (submitter.h). Calls of an actor start in each caller's order, as many at once as
// their concurrency group allows. A reply leaves when the owners of all references that go with it, or stay here because of it, have
// confirmed their new borrowers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/local_objects.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/references.h"

namespace shoal::core_worker {

struct CallerQueue;
struct Group;

// parked -> queued -> running -> replying -> gone.
enum class HereState : uint8_t { kParked, kQueued, kRunning, kReplying };

// A task that somebody pushed to this process.
struct TaskHere {
  TaskSpec spec;
  HereState state = HereState::kParked;
  Address caller;
  LeaseId lease;
  uint64_t actor_incarnation = 0;
  uint64_t sequence = 0;
  TimePoint arrived;
  CallerQueue* caller_queue = nullptr;  // actor calls
  Group* group = nullptr;               // actor calls, from when they are queued
  std::shared_ptr<const ActorSpec> actor;  // creation
  bool holds_args = false;     // arguments that are not inline count as uses of their entries
  bool caller_died = false;    // nobody wants the reply
  uint32_t waiting_args = 0;   // values or bytes that are not here yet
  // While the reply waits: confirmations that are due (registration 0: of this process), stored results that are being sealed,
  // and uses of what the results contain.
  TaskReply reply;
  std::vector<std::pair<ObjectRefInfo, uint64_t>> unconfirmed;
  uint32_t sealing = 0;
  std::vector<ObjectId> contained;

  List<TaskHere>* list = nullptr;
  TaskHere* prev = nullptr;
  TaskHere* next = nullptr;
};

// Calls that may run at the same time.
struct Group {
  std::string name;
  int32_t limit = 1;
  int32_t running = 0;
  List<TaskHere> queue;
};

// The calls of one caller arrive numbered; those that come too early wait here.
// A caller that lost sight of this actor starts its numbers anew.
struct CallerQueue {
  uint64_t expected = 0;
  std::pair<TaskId, uint32_t> first;  // the call that had number 0, and its attempt
  absl::btree_map<uint64_t, TaskHere*> early;
  uint64_t held_back_in = 0;  // the scan in which an earlier call of this caller could not start
};

class Executor {
 public:
  Executor(CoreWorkerOptions* options, Outbox* outbox, References* references, LocalObjects* objects)
      : options_(*options), outbox_(*outbox), references_(*references), objects_(*objects) {
    groups_.push_back(std::make_unique<Group>());
  }
  ~Executor();

  // See CoreWorker.
  void TaskFinished(const Turn& t, const TaskId& task, uint32_t attempt, std::vector<ObjectValue> results,
                    absl::Span<const uint64_t> offsets, bool worker_exiting, bool final);
  void SetBlocked(const Turn& t, bool blocked);
  void SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups);

  void OnPushTask(const Turn& t, const Address& from, PushTask&& push);
  void OnReclaimTasks(const Turn& t, const Address& from, const ReclaimTasks& message);
  // True if the task runs here now, so that what it submitted may be cancelled too.
  bool OnCancelTask(const Turn& t, const CancelTask& message);
  void OnAssignLease(const Turn& t, const AssignLease& message);
  void OnBecomeActor(const Turn& t, BecomeActor&& message);
  void OnExitWorker(const Turn& t, const ExitWorker& message);
  void OnProcessDied(const Turn& t, const Address& process, bool sure);
  void OnNodeDied(const Turn& t, NodeId node);

  // Events: the value or bytes of an object changed, or are unknown again.
  void ArgChanged(const Turn& t, ObjectEntry* entry);
  void ArgGone(const Turn& t, ObjectEntry* entry);
  void BorrowConfirmed(const Turn& t, const ObjectId& id, uint64_t registration);
  // True if it was about a result that was sealed here.
  bool OnObjectLocal(const Turn& t, const ObjectLocal& message);

  void Flush(const Turn& t) {
    if (dirty_) Start(t);
  }
  bool dirty() const { return dirty_; }
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  size_t queued() const;
  size_t running() const { return running_.size(); }
  size_t unsent_replies() const { return replying_.size(); }
  // In order of their names.
  std::vector<const TaskHere*> Sorted() const;
  void CheckInvariants() const;

 private:
  // Arrival (executor.cc).
  bool RightfulLease(const PushTask& push, const Address& from) const {
    return lease_.lease && push.lease == lease_.lease && from == lease_.owner;
  }
  bool AlreadyHere(const Turn& t, const Address& from, const PushTask& push);
  TaskHere* Accept(const Turn& t, const Address& from, PushTask&& push);
  CallerQueue* QueueOf(const Address& caller, const TaskSpec& spec, uint64_t sequence);
  void ArriveCall(const Turn& t, TaskHere* task);
  void StartAnew(CallerQueue* caller);
  void SkipCall(const Turn& t, const Address& from, const PushTask& push);
  void AdmitEarly(const Turn& t, CallerQueue* caller);
  void Enqueue(const Turn& t, TaskHere* task);
  void RefusePush(const Turn& t, const Address& to, const TaskId& task, uint32_t attempt);
  void Refuse(const Turn& t, TaskHere* task);
  void Answer(const Turn& t, TaskHere* task, TaskOutcome outcome);
  void MoveTo(TaskHere* task, List<TaskHere>* list);
  void Forget(TaskHere* task);
  Group* GroupOf(const std::string& name) const;
  TaskHere* Find(const TaskId& id) const {
    auto it = tasks_.find(id);
    return it == tasks_.end() ? nullptr : it->second;
  }
  // Arguments and starting (executor_start.cc).
  void FetchArgs(const Turn& t, TaskHere* task);
  void LookAtArgs(const Turn& t, TaskHere* task);
  bool ArgsHere(const Turn& t, TaskHere* task);
  static bool Inline(const ArgRef& arg) { return arg.value.kind == ValueKind::kInline; }
  void DropArgs(TaskHere* task);
  bool FailOnArgs(const Turn& t, TaskHere* task);
  void Start(const Turn& t);
  void StartGroup(const Turn& t, Group* group);
  void Run(const Turn& t, TaskHere* task);
  void ReturnTasks(const Turn& t, uint32_t count, bool even_if_none);
  void ReportBlocked(const Turn& t);
  bool GivesBack() const { return reported_blocked_; }
  // Endings (executor_reply.cc).
  void SealResults(const Turn& t, TaskHere* task, absl::Span<const uint64_t> offsets);
  void AbortResults(const Turn& t, const std::vector<ObjectValue>& results, absl::Span<const uint64_t> offsets);
  void RegisterCaller(const Turn& t, TaskHere* task);
  void AwaitOwnBorrows(TaskHere* task);
  static bool Confirmed(const TaskHere* task) { return task->unconfirmed.empty() && task->sealing == 0; }
  void SendReply(const Turn& t, TaskHere* task);
  void DropCaller(const Turn& t, TaskHere* task);
  template <class Matches>
  void ConfirmAll(const Turn& t, Matches&& matches);
  template <class IsDead>
  void CallersDied(const Turn& t, IsDead&& is_dead);
  void Finish(const Turn& t, TaskHere* task);
  void FinishWithError(const Turn& t, TaskHere* task, const ErrorInfo& error);
  void Leave(const Turn& t, bool finish_queue);
  void LeaveIfDone(const Turn& t);

  CoreWorkerOptions& options_;
  Outbox& outbox_;
  References& references_;
  LocalObjects& objects_;

  Pool<TaskHere> pool_;
  absl::flat_hash_map<TaskId, TaskHere*> tasks_;
  List<TaskHere> parked_;    // for leases that this worker has not heard of, oldest first
  List<TaskHere> queue_;     // normal tasks and the creation
  List<TaskHere> running_;
  List<TaskHere> replying_;
  absl::flat_hash_map<ObjectId, TaskHere*> sealing_;  // stored results that the raylet has not confirmed
  size_t early_ = 0;         // actor calls that came before their turn
  bool dirty_ = false;
  uint64_t scan_ = 0;

  AssignLease lease_;
  std::vector<LeaseId> ended_leases_;  // the last few
  absl::flat_hash_map<FunctionId, Payload> code_;  // that the language has not seen

  std::shared_ptr<const ActorSpec> actor_;  // what this process is, if it is one
  uint64_t incarnation_ = 0;
  bool constructed_ = false;
  std::vector<std::unique_ptr<Group>> groups_;  // the first is the default one
  absl::flat_hash_map<Address, std::unique_ptr<CallerQueue>> callers_;

  int32_t blocked_ = 0;            // running tasks that wait in get
  bool reported_blocked_ = false;  // the raylet knows, and tasks go back
  LeaseId blocked_lease_;          // of the task that waited first
  bool leaving_ = false;           // takes nothing more
  bool left_ = false;              // actions.exit was set
  std::string leave_reason_;
};

}  // namespace shoal::core_worker
