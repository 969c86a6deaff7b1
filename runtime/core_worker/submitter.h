// Finds workers for normal tasks: one queue per shape, leases that serve it, and the demand for more of them.
//
//   submitter.Enqueue(task);        // from Events::TaskReady
//   submitter.Flush(t);             // at the end of each turn: pushes what leases can take, states what is lacking
//
// Of the tasks in flight at one lease only the first can have started, because a worker starts the next one when it has
// sent the reply of the one before. So the death of a worker costs the first one a retry, and the others nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/local_objects.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/task_table.h"

namespace shoal::core_worker {

// The right to push tasks of one shape to one worker.
struct Lease {
  LeaseId id;
  Address worker;                  // its raylet granted the lease
  ShapeQueue* shape = nullptr;
  Duration ttl{};
  TimePoint expires, renew_at;
  List<SubmittedTask> in_flight;   // oldest first
  TimePoint progress;              // when something last came from there, or an empty lease got work, or lost the last of it
  FunctionId sent_function;        // its code is known there
  bool closing = false;            // no more tasks; returned when empty
  bool revoked = false;            // its raylet wants it back, and knows by a renewal that its task goes on
  bool stalled = false;            // the worker is blocked and gives everything back; until its next reply
  bool reclaiming = false;         // ReclaimTasks was sent
  bool killed = false;             // the raylet was told to kill the worker
  List<Lease>* list = nullptr;     // shape->open or shape->full
  Lease* prev = nullptr;
  Lease* next = nullptr;
};

struct ShapeQueue {
  Shape shape;
  ShapeId id;
  List<SubmittedTask> queue;
  List<Lease> open;                // may get another task
  List<Lease> full;                // may not: enough in flight, closing, or stalled
  size_t stacked = 0;              // leases with two or more tasks in flight
  Duration run_time{};             // of tasks lately; 0: unknown
  uint32_t depth = 1;              // tasks in flight per lease
  uint32_t stated = 0;             // the demand that the raylet knows of
  uint64_t version = 0;
  TimePoint stated_at;
  bool dirty = false;
};

class Submitter {
 public:
  Submitter(const CoreWorkerOptions* options, Outbox* outbox, TaskTable* tasks, LocalObjects* objects)
      : options_(*options), outbox_(*outbox), tasks_(*tasks), objects_(*objects) {}
  ~Submitter();

  ShapeId RegisterShape(const Shape& shape);
  ShapeQueue* FindShape(ShapeId id);
  // All its arguments exist; it gets its old place if it was queued before.
  void Enqueue(SubmittedTask* task);
  // A task that waits, is queued or is pushed.
  void Cancel(const Turn& t, SubmittedTask* task, bool force, bool recursive);
  void Flush(const Turn& t) {
    if (!dirty_.empty()) FlushDirty(t);
  }
  bool dirty() const { return !dirty_.empty(); }

  // The reply of the current attempt of a pushed task. False if it came from another worker than it was pushed to.
  bool OnReply(const Turn& t, const Address& from, SubmittedTask* task, TaskReply* reply);
  void OnTasksReturned(const Turn& t, const TasksReturned& message);
  void OnLeaseGranted(const Turn& t, const LeaseGranted& message);
  void OnLeaseFailed(const Turn& t, const LeaseFailed& message);
  void OnRevokeLease(const Turn& t, const RevokeLease& message);
  // `sure`: it really is dead, so that only the first task of each of its leases can have run.
  void OnProcessDied(const Turn& t, const Address& process, bool sure, const ErrorInfo& error);
  void OnNodeDied(const Turn& t, NodeId node, const ErrorInfo& error);
  // After TaskTable::FailAll: nothing is asked for any more.
  void OnRayletLost();
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const { return wake_at_; }

  size_t leases() const { return leases_.size(); }
  void CheckInvariants() const;

 private:
  void FlushDirty(const Turn& t);
  void MarkDirty(ShapeQueue* shape);
  void WakeAt(TimePoint at) {
    if (!wake_at_ || at < *wake_at_) wake_at_ = at;
  }
  // Pushing (submitter.cc).
  void Pump(const Turn& t, ShapeQueue* shape);
  void Push(const Turn& t, SubmittedTask* task, Lease* lease);
  Lease* PickLease(ShapeQueue* shape, const SubmittedTask* task) const;
  void Settle(Lease* lease);  // puts it into the right list
  void MoveLease(Lease* lease, List<Lease>* to);
  void TakeFromLease(const Turn& t, SubmittedTask* task);
  void Observe(ShapeQueue* shape, Duration run_time);
  void Finish(const Turn& t, SubmittedTask* task, TaskReply* reply);
  void Requeue(SubmittedTask* task);
  // Leases (submitter_leases.cc).
  Lease* FindLease(LeaseId id) const {
    auto it = leases_.find(id);
    return it == leases_.end() ? nullptr : it->second;
  }
  void AfterTasksLeft(const Turn& t, Lease* lease);
  void Close(const Turn& t, Lease* lease);
  void Return(const Turn& t, Lease* lease);
  void Drop(Lease* lease);
  void Lose(const Turn& t, Lease* lease, const ErrorInfo& error, bool all_may_have_run);
  void Kill(const Turn& t, Lease* lease);
  void ReclaimFor(const Turn& t, Lease* lease);
  void Reclaim(const Turn& t, Lease* lease, uint32_t count);
  uint32_t Wanted(const ShapeQueue* shape) const;
  void StateDemand(const Turn& t, ShapeQueue* shape);
  void State(const Turn& t, ShapeQueue* shape, uint32_t wanted);
  void TickLeases(const Turn& t);
  bool TickLease(const Turn& t, Lease* lease);
  void TickDemand(const Turn& t, ShapeQueue* shape);

  const CoreWorkerOptions& options_;
  Outbox& outbox_;
  TaskTable& tasks_;
  LocalObjects& objects_;
  std::vector<std::unique_ptr<ShapeQueue>> shapes_;  // in order of registration
  absl::flat_hash_map<ShapeId, ShapeQueue*> shape_of_;
  ShapeQueue* last_shape_ = nullptr;
  std::vector<ShapeQueue*> dirty_;
  Pool<Lease> pool_;
  absl::btree_map<LeaseId, Lease*> leases_;
  uint64_t next_order_ = 1;
  std::optional<TimePoint> wake_at_;  // never later than something is due
};

}  // namespace shoal::core_worker
