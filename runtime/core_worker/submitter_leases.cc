// The half of the submitter that deals with raylets: leases come, end and are lost; demand is stated.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "runtime/core_worker/submitter.h"

namespace shoal::core_worker {
namespace {

// A demand that changed little is told with this delay, so that a loop of submissions is a few messages.
constexpr Duration kDemandDelay = 5ms;
// Tasks whose bytes are looked at for locality hints.
constexpr int kHintedTasks = 16;

}  // namespace

// ---- leases come

void Submitter::OnLeaseGranted(const Turn& t, const LeaseGranted& message) {
  ShapeQueue* shape = FindShape(message.shape);
  if (Lease* known = FindLease(message.lease); known != nullptr) return;  // said twice
  const Address granter = Address::Raylet(message.worker.node);
  if (shape != nullptr && granter == outbox_.raylet() && shape->stated > 0) --shape->stated;
  const bool wanted = shape != nullptr && (!shape->queue.empty() || shape->stacked > 0);
  if (!wanted || SHOAL_BUGGIFY("core.return_grant")) {
    outbox_.Post<ReturnLease>(t, granter).lease = message.lease;
    if (shape != nullptr) MarkDirty(shape);
    return;
  }
  Lease* lease = pool_.New();
  lease->id = message.lease;
  lease->worker = message.worker;
  lease->shape = shape;
  lease->ttl = message.ttl;
  lease->expires = t.now + message.ttl;
  lease->renew_at = t.now + message.ttl / 3;
  lease->progress = t.now;
  leases_.emplace(lease->id, lease);
  WakeAt(lease->renew_at);
  WakeAt(t.now + options_.idle_lease_return);
  Settle(lease);
  MarkDirty(shape);
  if (shape->queue.empty()) ReclaimFor(t, lease);
}

void Submitter::OnLeaseFailed(const Turn& t, const LeaseFailed& message) {
  ShapeQueue* shape = FindShape(message.shape);
  if (shape == nullptr) return;
  while (SubmittedTask* task = shape->queue.front()) tasks_.Fail(t, task, message.error);
  MarkDirty(shape);
}

// ---- and go

void Submitter::Drop(Lease* lease) {
  MoveLease(lease, nullptr);
  leases_.erase(lease->id);
  pool_.Delete(lease);
}

void Submitter::Return(const Turn& t, Lease* lease) {
  outbox_.Post<ReturnLease>(t, Address::Raylet(lease->worker.node)).lease = lease->id;
  MarkDirty(lease->shape);
  Drop(lease);
}

void Submitter::Close(const Turn& t, Lease* lease) {
  lease->closing = true;
  if (lease->in_flight.empty()) return Return(t, lease);
  Settle(lease);
  if (lease->in_flight.size() > 1) Reclaim(t, lease, static_cast<uint32_t>(lease->in_flight.size()));
}

void Submitter::OnRevokeLease(const Turn& t, const RevokeLease& message) {
  Lease* lease = FindLease(message.lease);
  if (lease == nullptr) return;
  const bool known = std::exchange(lease->revoked, true);
  Close(t, lease);
  if (known || FindLease(message.lease) == nullptr) return;
  // Its task goes on; the raylet is to see that somebody is there who waits for it.
  lease->expires = t.now + lease->ttl;
  outbox_.Post<RenewLeases>(t, Address::Raylet(lease->worker.node)).leases = {message.lease};
}

// The worker can no longer be relied on. If it is dead for sure, only its first task can have run.
void Submitter::Lose(const Turn& t, Lease* lease, const ErrorInfo& error, bool all_may_have_run) {
  ShapeQueue* shape = lease->shape;
  if (lease->in_flight.size() >= 2) --shape->stacked;
  bool may_have_run = true;
  while (SubmittedTask* task = lease->in_flight.front()) {
    task->Leave();
    task->lease = nullptr;
    const bool charged = std::exchange(may_have_run, all_may_have_run);
    if (task->cancelled) {
      tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled, absl::StrCat("task ", task->spec.name,
                                                                           " was cancelled")));
    } else if (!charged) {
      ++task->spec.attempt;
      Requeue(task);
    } else if (tasks_.TakeRetry(task)) {
      Requeue(task);
    } else if (SHOAL_DELIBERATE_BUG("core.retry_without_limit")) {
      ++task->spec.attempt;
      Requeue(task);
    } else {
      tasks_.Fail(t, task, error);
    }
  }
  MarkDirty(shape);
  Drop(lease);
}

void Submitter::OnProcessDied(const Turn& t, const Address& process, bool sure, const ErrorInfo& error) {
  for (auto it = leases_.begin(); it != leases_.end();) {
    Lease* lease = it->second;
    const LeaseId id = lease->id;
    if (lease->worker == process) Lose(t, lease, error, /*all_may_have_run=*/!sure);
    it = leases_.upper_bound(id);
  }
}

void Submitter::OnNodeDied(const Turn& t, NodeId node, const ErrorInfo& error) {
  for (auto it = leases_.begin(); it != leases_.end();) {
    Lease* lease = it->second;
    const LeaseId id = lease->id;
    // It may only be cut off, and its workers go on with all that they have.
    if (lease->worker.node == node) Lose(t, lease, error, /*all_may_have_run=*/true);
    it = leases_.upper_bound(id);
  }
}

void Submitter::OnRayletLost() {
  while (!leases_.empty()) {
    SHOAL_CHECK(leases_.begin()->second->in_flight.empty()) << "all tasks have failed before";
    Drop(leases_.begin()->second);
  }
  for (const auto& shape : shapes_) {
    shape->stacked = 0;
    shape->stated = 0;
  }
  wake_at_.reset();
}

// ---- taking tasks back

void Submitter::Reclaim(const Turn& t, Lease* lease, uint32_t count) {
  if (std::exchange(lease->reclaiming, true)) return;
  ReclaimTasks& message = outbox_.Post<ReclaimTasks>(t, lease->worker);
  message.lease = lease->id;
  message.count = count;
}

// `lease` has nothing to do: half of what waits at the one that has most, if that is worth a message.
void Submitter::ReclaimFor(const Turn& t, Lease* lease) {
  ShapeQueue* shape = lease->shape;
  Lease* most = nullptr;
  for (const List<Lease>* list : {&shape->full, &shape->open}) {
    for (Lease* other = list->front(); other != nullptr; other = other->next) {
      if (other->reclaiming || other->in_flight.size() < 2) continue;
      if (most == nullptr || other->in_flight.size() > most->in_flight.size()) most = other;
    }
  }
  if (most == nullptr) return;
  const auto waiting = static_cast<uint32_t>(most->in_flight.size() - 1);
  if (waiting * shape->run_time < options_.target_queue / 10) return;
  Reclaim(t, most, (waiting + 1) / 2);
}

// ---- demand

// So many workers more would be of use: each should find about target_queue of work, or one task.
uint32_t Submitter::Wanted(const ShapeQueue* shape) const {
  const uint64_t queued = shape->queue.size();
  if (queued == 0) return 0;
  uint64_t wanted = queued;
  if (shape->run_time != Duration::zero() && shape->run_time < options_.target_queue) {
    wanted = 1 + queued * static_cast<uint64_t>(shape->run_time.count()) /
                     static_cast<uint64_t>(options_.target_queue.count());
  }
  return static_cast<uint32_t>(std::min<uint64_t>({wanted, queued, options_.max_demand}));
}

void Submitter::StateDemand(const Turn& t, ShapeQueue* shape) {
  const uint32_t wanted = Wanted(shape);
  if (wanted == shape->stated) return;
  const bool much = wanted == 0 || shape->stated == 0 || wanted > 2 * shape->stated || 2 * wanted < shape->stated;
  if (much || t.now >= shape->stated_at + kDemandDelay) {
    State(t, shape, wanted);
  } else {
    WakeAt(shape->stated_at + kDemandDelay);
  }
}

void Submitter::State(const Turn& t, ShapeQueue* shape, uint32_t wanted) {
  LeaseDemand& demand = outbox_.Post<LeaseDemand>(t, outbox_.raylet());
  demand.shape = shape->shape;
  demand.wanted = shape->stated = wanted;
  demand.version = ++shape->version;
  absl::btree_map<NodeId, uint64_t> bytes;
  int looked_at = 0;
  for (const SubmittedTask* task = shape->queue.front(); task != nullptr && looked_at < kHintedTasks;
       task = task->next, ++looked_at) {
    for (const ArgRef& arg : task->spec.refs) {
      for (NodeId node : arg.value.locations) bytes[node] += arg.value.size;
    }
  }
  for (const auto& [node, size] : bytes) demand.locality.push_back({node, size});
  shape->stated_at = t.now;
  if (wanted > 0) WakeAt(t.now + options_.demand_refresh);
}

// ---- time

void Submitter::OnTick(const Turn& t) {
  if (!wake_at_ || *wake_at_ > t.now) return;
  wake_at_.reset();
  TickLeases(t);
  for (const auto& shape : shapes_) TickDemand(t, shape.get());
}

void Submitter::TickDemand(const Turn& t, ShapeQueue* shape) {
  if (shape->dirty) return;  // Flush comes to it
  const uint32_t wanted = Wanted(shape);
  if (wanted == 0 && shape->stated == 0) return;
  const TimePoint due = shape->stated_at + (wanted == shape->stated ? options_.demand_refresh : kDemandDelay);
  if (due <= t.now) {
    State(t, shape, wanted);
  } else {
    WakeAt(due);
  }
}

void Submitter::TickLeases(const Turn& t) {
  absl::btree_map<NodeId, std::vector<LeaseId>> renewals;
  for (auto it = leases_.begin(); it != leases_.end();) {
    Lease* lease = it->second;
    const LeaseId id = lease->id;
    if (TickLease(t, lease)) {
      if (lease->renew_at <= t.now) {
        renewals[lease->worker.node].push_back(id);
        lease->expires = t.now + lease->ttl;
        lease->renew_at = t.now + lease->ttl / 3;
      }
      WakeAt(lease->renew_at);
    }
    it = leases_.upper_bound(id);
  }
  for (auto& [node, ids] : renewals) {
    outbox_.Post<RenewLeases>(t, Address::Raylet(node)).leases = std::move(ids);
  }
}

// False if the lease is gone.
bool Submitter::TickLease(const Turn& t, Lease* lease) {
  if (lease->expires <= t.now) {
    Lose(t, lease, MakeError(ErrorKind::kWorkerCrashed,
                             absl::StrCat("the lease on worker ", lease->worker.ToString(),
                                          " ran out because this process was not running for a while; the task may "
                                          "have run; allow retries")),
         /*all_may_have_run=*/true);
    return false;
  }
  if (lease->in_flight.empty()) {
    const TimePoint due = lease->progress + options_.idle_lease_return;
    if (due <= t.now && lease->shape->queue.empty()) {
      Return(t, lease);
      return false;
    }
    WakeAt(std::max(due, t.now + options_.idle_lease_return / 10));
  } else if (lease->in_flight.size() >= 2) {
    // What runs there takes longer than thought: those behind it are better off elsewhere.
    const TimePoint due = lease->progress + 2 * options_.target_queue;
    if (due > t.now) {
      WakeAt(due);
    } else if (!lease->reclaiming && !lease->killed) {
      Observe(lease->shape, t.now - lease->progress);
      Settle(lease);
      Reclaim(t, lease, static_cast<uint32_t>(lease->in_flight.size() - 1));
    }
  }
  return true;
}

void Submitter::CheckInvariants() const {
  size_t in_lists = 0;
  for (const auto& shape : shapes_) {
    SHOAL_CHECK(!shape->dirty) << "a turn ended without Flush";
    SHOAL_CHECK(shape->queue.empty() || shape->open.empty()) << "tasks wait although a lease has room";
    uint64_t order = 0;
    for (const SubmittedTask* task = shape->queue.front(); task != nullptr; task = task->next) {
      SHOAL_CHECK(task->state == TaskState::kQueued && task->shape == shape.get()) << task->spec.id.Hex();
      SHOAL_CHECK(task->order > order) << "the queue of a shape is out of order at " << task->spec.id.Hex();
      order = task->order;
    }
    size_t stacked = 0;
    for (const List<Lease>* list : {&shape->open, &shape->full}) {
      in_lists += list->size();
      for (const Lease* lease = list->front(); lease != nullptr; lease = lease->next) {
        SHOAL_CHECK(lease->list == list && lease->shape == shape.get()) << lease->id.Hex();
        SHOAL_CHECK(!lease->closing || !lease->in_flight.empty()) << "a closed lease was kept: " << lease->id.Hex();
        if (lease->in_flight.size() >= 2) ++stacked;
        for (const SubmittedTask* task = lease->in_flight.front(); task != nullptr; task = task->next) {
          SHOAL_CHECK(task->state == TaskState::kPushed && task->lease == lease) << task->spec.id.Hex();
        }
      }
    }
    SHOAL_CHECK(stacked == shape->stacked);
  }
  SHOAL_CHECK(in_lists == leases_.size());
}

}  // namespace shoal::core_worker
