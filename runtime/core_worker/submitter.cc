#include "runtime/core_worker/submitter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::core_worker {
namespace {

// How many leases are looked at for one that is near a task's data.
constexpr int kLocalityProbes = 8;

uint64_t BytesAt(const SubmittedTask* task, NodeId node) {
  uint64_t bytes = 0;
  for (const ArgRef& arg : task->spec.refs) {
    const auto& locations = arg.value.locations;
    if (std::find(locations.begin(), locations.end(), node) != locations.end()) bytes += arg.value.size;
  }
  return bytes;
}

}  // namespace

Submitter::~Submitter() {
  for (auto& [id, lease] : leases_) pool_.Delete(lease);
}

ShapeId Submitter::RegisterShape(const Shape& shape) {
  const ShapeId id = shape.id();
  ShapeQueue*& queue = shape_of_[id];
  if (queue != nullptr) return id;
  shapes_.push_back(std::make_unique<ShapeQueue>());
  queue = shapes_.back().get();
  queue->shape = shape;
  queue->id = id;
  return id;
}

ShapeQueue* Submitter::FindShape(ShapeId id) {
  if (last_shape_ != nullptr && last_shape_->id == id) return last_shape_;
  auto it = shape_of_.find(id);
  return it == shape_of_.end() ? nullptr : last_shape_ = it->second;
}

void Submitter::MarkDirty(ShapeQueue* shape) {
  if (std::exchange(shape->dirty, true)) return;
  dirty_.push_back(shape);
}

void Submitter::Enqueue(SubmittedTask* task) {
  task->state = TaskState::kQueued;
  if (task->order == 0) {
    task->order = next_order_++;
    task->MoveToBackOf(&task->shape->queue);
  } else {
    task->MoveToPlaceIn(&task->shape->queue);
  }
  MarkDirty(task->shape);
}

void Submitter::Requeue(SubmittedTask* task) {
  task->lease = nullptr;
  Enqueue(task);
}

void Submitter::FlushDirty(const Turn& t) {
  for (size_t i = 0; i < dirty_.size(); ++i) {
    ShapeQueue* shape = dirty_[i];
    shape->dirty = false;
    Pump(t, shape);
    StateDemand(t, shape);
  }
  dirty_.clear();
}

// ---- pushing

void Submitter::MoveLease(Lease* lease, List<Lease>* to) {
  if (lease->list == to) return;
  if (lease->list != nullptr) lease->list->Remove(lease);
  lease->list = to;
  if (to != nullptr) to->PushBack(lease);
}

void Submitter::Settle(Lease* lease) {
  ShapeQueue* shape = lease->shape;
  const bool takes = !lease->closing && !lease->stalled && lease->in_flight.size() < shape->depth;
  MoveLease(lease, takes ? &shape->open : &shape->full);
}

Lease* Submitter::PickLease(ShapeQueue* shape, const SubmittedTask* task) const {
  Lease* best = shape->open.front();
  if (task->spec.refs.empty() || shape->open.size() == 1) return best;
  uint64_t best_bytes = 0;
  Lease* lease = best;
  for (int i = 0; i < kLocalityProbes && lease != nullptr; ++i, lease = lease->next) {
    const uint64_t bytes = BytesAt(task, lease->worker.node);
    if (bytes > best_bytes) {
      best = lease;
      best_bytes = bytes;
    }
  }
  return best;
}

void Submitter::Pump(const Turn& t, ShapeQueue* shape) {
  while (!shape->queue.empty() && !shape->open.empty()) {
    SubmittedTask* task = shape->queue.front();
    const TaskTable::Readiness readiness = tasks_.Prepare(t, task);
    if (readiness == TaskTable::Readiness::kFailed) continue;
    if (readiness == TaskTable::Readiness::kWaiting) {
      task->Leave();
      continue;
    }
    Lease* lease = PickLease(shape, task);
    if (lease->expires <= t.now) {  // the next tick drops it
      MoveLease(lease, &shape->full);
      WakeAt(t.now);
      continue;
    }
    Push(t, task, lease);
  }
}

void Submitter::Push(const Turn& t, SubmittedTask* task, Lease* lease) {
  ShapeQueue* shape = lease->shape;
  task->MoveToBackOf(&lease->in_flight);
  task->state = TaskState::kPushed;
  task->lease = lease;
  task->pushed_at = t.now;
  PushTask& push = outbox_.Post<PushTask>(t, lease->worker);
  push.spec = task->spec;
  push.lease = lease->id;
  if (task->spec.function != lease->sent_function) {
    push.code = tasks_.CodeFor(lease->worker, task->spec.function);
    lease->sent_function = task->spec.function;
  }
  const size_t count = lease->in_flight.size();
  if (count == 1) lease->progress = t.now;
  if (count == 2) {
    ++shape->stacked;
    WakeAt(t.now + 2 * options_.target_queue);
  }
  const bool full = count >= shape->depth || SHOAL_BUGGIFY("core.small_inflight");
  // Otherwise to the end, so that tasks spread over the leases.
  MoveLease(lease, full ? &shape->full : nullptr);
  if (!full) MoveLease(lease, &shape->open);
}

void Submitter::TakeFromLease(const Turn& t, SubmittedTask* task) {
  Lease* lease = task->lease;
  if (lease->in_flight.size() == 2) --lease->shape->stacked;
  task->Leave();
  task->lease = nullptr;
  lease->progress = t.now;
}

void Submitter::Observe(ShapeQueue* shape, Duration run_time) {
  run_time = std::max<Duration>(run_time, Duration(1));
  Duration& average = shape->run_time;
  if (average == Duration::zero()) {
    average = run_time;
  } else if (run_time > average) {  // quick to see that work is longer than thought, slow to forget it
    average += (run_time - average) / 2;
  } else {
    average -= (average - run_time) / 8;
  }
  const auto fitting = static_cast<uint64_t>(options_.target_queue / average);
  shape->depth = static_cast<uint32_t>(std::min<uint64_t>(1 + fitting, options_.max_in_flight_per_worker));
}

// ---- replies

bool Submitter::OnReply(const Turn& t, const Address& from, SubmittedTask* task, TaskReply* reply) {
  Lease* lease = task->lease;
  if (lease == nullptr || (from != lease->worker && !SHOAL_DELIBERATE_BUG("core.accept_stale_attempt"))) return false;
  if (reply->outcome == TaskOutcome::kFinished) {
    Observe(lease->shape, t.now - std::max(task->pushed_at, lease->progress));
  }
  TakeFromLease(t, task);
  lease->stalled = false;
  if (reply->outcome == TaskOutcome::kRefused || reply->worker_exiting) lease->closing = true;
  Finish(t, task, reply);
  AfterTasksLeft(t, lease);
  return true;
}

void Submitter::Finish(const Turn& t, SubmittedTask* task, TaskReply* reply) {
  if (reply->outcome == TaskOutcome::kRefused && !task->cancelled) return Requeue(task);
  if (reply->outcome != TaskOutcome::kFinished) {
    return tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled,
                                          absl::StrCat("task ", task->spec.name, " was cancelled")));
  }
  if (TaskTable::WantsRetry(task, *reply) && tasks_.TakeRetry(task)) {
    tasks_.Decline(t, *reply);
    return Requeue(task);
  }
  tasks_.Complete(t, task, std::move(reply->results));
}

// What follows when a lease has fewer tasks in flight than before.
void Submitter::AfterTasksLeft(const Turn& t, Lease* lease) {
  ShapeQueue* shape = lease->shape;
  if (!lease->in_flight.empty()) {
    if (lease->in_flight.front()->force) Kill(t, lease);
  } else if (lease->closing) {
    return Return(t, lease);
  } else {
    lease->stalled = false;
    WakeAt(t.now + options_.idle_lease_return);
    if (shape->queue.empty() && shape->stacked > 0) ReclaimFor(t, lease);
  }
  Settle(lease);
  // Whoever has just worked is awake: calls one after the other stay there, and a second lease that they do not need goes back.
  if (lease->in_flight.empty() && lease->list == &shape->open) {
    shape->open.Remove(lease);
    shape->open.Insert(shape->open.front(), lease);
  }
  if (!shape->queue.empty()) MarkDirty(shape);
}

void Submitter::OnTasksReturned(const Turn& t, const TasksReturned& message) {
  Lease* lease = FindLease(message.lease);
  if (lease == nullptr) return;
  const bool asked = std::exchange(lease->reclaiming, false);
  if (message.tasks.empty()) lease->progress = t.now;  // or else it would be asked again at once
  // From the last, so that each finds its place at the front of the queue.
  for (auto id = message.tasks.rbegin(); id != message.tasks.rend(); ++id) {
    SubmittedTask* task = tasks_.FindByResult(id->Return(0));
    if (task == nullptr || task->lease != lease) {  // its first result may be forgotten
      task = lease->in_flight.front();
      while (task != nullptr && task->spec.id != *id) task = task->next;
      if (task == nullptr) continue;
    }
    TakeFromLease(t, task);
    if (task->cancelled) {
      tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled,
                                     absl::StrCat("task ", task->spec.name, " was cancelled")));
      continue;
    }
    if (!asked) {
      for (ArgRef& arg : task->spec.refs) {
        if (arg.value.kind == ValueKind::kStored) objects_.Doubt(t, arg.ref);
      }
    }
    Requeue(task);
  }
  lease->stalled = !asked && !lease->in_flight.empty();
  AfterTasksLeft(t, lease);
}

// ---- cancellation

void Submitter::Cancel(const Turn& t, SubmittedTask* task, bool force, bool recursive) {
  if (task->state != TaskState::kPushed) {
    return tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled, absl::StrCat("task ", task->spec.name,
                                                                                " was cancelled before it started")));
  }
  Lease* lease = task->lease;
  task->cancelled = true;
  task->force = task->force || force;
  class CancelTask& cancel = outbox_.Post<class CancelTask>(t, lease->worker);
  cancel.task = task->spec.id;
  cancel.force = force;
  cancel.recursive = recursive;
  if (force && lease->in_flight.front() == task) Kill(t, lease);
}

void Submitter::Kill(const Turn& t, Lease* lease) {
  if (std::exchange(lease->killed, true)) return;
  lease->closing = true;
  Settle(lease);
  ReturnLease& message = outbox_.Post<ReturnLease>(t, Address::Raylet(lease->worker.node));
  message.lease = lease->id;
  message.kill_worker = true;
}

}  // namespace shoal::core_worker
