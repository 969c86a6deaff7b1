#include "runtime/raylet/leases.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"
#include "runtime/raylet/policy.h"

namespace shoal::raylet {

Leases::Leases(const RayletOptions* options, Rng rng, WorkerPool* pool, NodeResources* resources)
    : options_(*options),
      rng_(rng),
      pool_(*pool),
      resources_(*resources),
      has_gpus_(options->info.total.Get(kGpu) > 0) {}

// Tasks without resources would be granted a process each; four per CPU are enough to overlap their waiting.
uint32_t Leases::MaxUnsized() const {
  const int64_t cpus = options_.info.total.Get(kCpu) / ResourceSet::kStepsPerUnit;
  return static_cast<uint32_t>(std::max<int64_t>(16, 4 * cpus));
}

bool Leases::Grant(const Turn& t, const Address& owner, const Shape& shape, ShapeId id, const KindPtr& kind) {
  const bool unsized = shape.resources.empty();
  if (unsized && unsized_running_ >= MaxUnsized()) return false;
  std::optional<Holding> held = resources_.Take(shape.strategy, shape.resources);
  if (!held && SHOAL_DELIBERATE_BUG("raylet.double_grant")) held = Holding{};
  if (!held) return false;
  Lease lease;
  lease.id = rng_.NewId<LeaseId>();
  lease.shape = id;
  lease.owner = owner;
  lease.job = shape.job;
  lease.resources = shape.resources;
  lease.held = *std::move(held);
  lease.unsized = unsized;
  lease.claim.lease = lease.id;
  lease.claim.job = shape.job;
  lease.claim.kind = kind;
  if (has_gpus_) lease.claim.devices = DevicesOf(lease.held);
  pool_.Put(lease.claim);
  Note(t, absl::StrCat("lease ", lease.id.Hex()), "", Name(lease.state), absl::StrCat("for ", owner.ToString()));
  OwnerRecord& record = owners_[owner];
  record.leases.insert(lease.id);
  record.waiting[id].push_back(lease.id);
  ++jobs_[shape.job];
  unsized_running_ += unsized ? 1 : 0;
  const LeaseId key = lease.id;
  leases_.emplace(key, std::move(lease));
  return true;
}

const Lease* Leases::WorkerReady(const Turn& t, const Claim& claim, Worker* worker) {
  auto it = leases_.find(claim.lease);
  SHOAL_CHECK(it != leases_.end()) << "a claim outlived lease " << claim.lease.Hex();
  Lease& lease = it->second;
  RemoveWaiting(lease);
  SHOAL_CHECK(Advance(&lease.state, LeaseEvent::kWorkerReady));
  lease.worker = worker->id;
  lease.expires = t.now + options_.lease_ttl;
  worker->held = std::exchange(lease.held, Holding{});
  worker->lease = lease.id;
  pool_.Advanced(t, worker, WorkerEvent::kLease);

  AssignLease& assign = Post<AssignLease>(t, pool_.AddressOf(*worker));
  assign.lease = lease.id;
  assign.owner = lease.owner;
  assign.job = lease.job;
  assign.env_vars = EnvironmentFor(worker->held, has_gpus_, worker->kind->kind.env_vars);
  assign.resources = lease.resources;
  LeaseGranted& granted = Post<LeaseGranted>(t, lease.owner);
  granted.shape = lease.shape;
  granted.lease = lease.id;
  granted.epoch = epoch_;
  granted.worker = pool_.AddressOf(*worker);
  granted.ttl = options_.lease_ttl;
  Note(t, absl::StrCat("lease ", lease.id.Hex()), "waiting", Name(lease.state), "");
  return &lease;
}

std::optional<Lease> Leases::ClaimFailed(const Claim& claim) {
  auto it = leases_.find(claim.lease);
  if (it == leases_.end()) return std::nullopt;
  Lease lease = it->second;
  RemoveWaiting(it->second);
  resources_.Release(&it->second.held);
  Forget(claim.lease);
  return lease;
}

void Leases::RemoveWaiting(const Lease& lease) {
  OwnerRecord& owner = owners_[lease.owner];
  auto it = owner.waiting.find(lease.shape);
  SHOAL_CHECK(it != owner.waiting.end());
  std::vector<LeaseId>& ids = it->second;
  ids.erase(std::find(ids.begin(), ids.end(), lease.id));
  if (ids.empty()) owner.waiting.erase(it);
}

void Leases::Forget(LeaseId id) {
  auto it = leases_.find(id);
  const Lease& lease = it->second;
  auto owner = owners_.find(lease.owner);
  owner->second.leases.erase(id);
  if (owner->second.leases.empty()) owners_.erase(owner);
  auto job = jobs_.find(lease.job);
  if (--job->second == 0) jobs_.erase(job);
  unsized_running_ -= lease.unsized ? 1 : 0;
  leases_.erase(it);
}

void Leases::End(const Turn& t, LeaseId id, LeaseEvent event, bool kill, ErrorKind kind, const std::string& why) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return;
  Lease& lease = it->second;
  const LeaseState before = lease.state;
  SHOAL_CHECK(Advance(&lease.state, event)) << "lease " << id.Hex() << " is " << Name(before);
  if (lease.state != LeaseState::kGone) return;
  Note(t, absl::StrCat("lease ", id.Hex()), Name(before), Name(lease.state), why);
  if (before == LeaseState::kWaiting) {
    RemoveWaiting(lease);
    pool_.Withdraw(lease.claim);
    resources_.Release(&lease.held);
    return Forget(id);
  }
  Worker* worker = pool_.Find(lease.worker);
  if (worker->blocked && lease.unsized) ++unsized_running_;
  Forget(id);
  if (worker->state != WorkerState::kLeased) return;  // it is ending already and keeps what it holds till then
  if (kill) {
    pool_.Kill(t, worker, kind, why);
    return;
  }
  resources_.Release(&worker->held);
  pool_.GiveBack(t, worker);
  Post<AssignLease>(t, pool_.AddressOf(*worker));  // lease 0: accept nobody's
}

void Leases::WithdrawOne(const Address& owner, ShapeId shape) {
  auto it = owners_.find(owner);
  if (it == owners_.end()) return;
  auto waiting = it->second.waiting.find(shape);
  if (waiting == it->second.waiting.end()) return;
  const LeaseId id = waiting->second.back();
  Lease& lease = leases_.find(id)->second;
  SHOAL_CHECK(Advance(&lease.state, LeaseEvent::kWithdraw));
  RemoveWaiting(lease);
  pool_.Withdraw(lease.claim);
  resources_.Release(&lease.held);
  Forget(id);
}

// ---- messages

void Leases::OnReturn(const Turn& t, const Address& from, const ReturnLease& message) {
  const Lease* lease = Find(message.lease);
  if (lease == nullptr || lease->owner != from) return;
  const std::string why = message.kill_worker ? "its owner had it killed" : "returned";
  End(t, message.lease, LeaseEvent::kReturn, message.kill_worker, ErrorKind::kWorkerCrashed, why);
}

void Leases::OnRenew(const Turn& t, const Address& from, const RenewLeases& message) {
  for (LeaseId id : message.leases) {
    auto it = leases_.find(id);
    if (it != leases_.end() && it->second.owner == from) {
      it->second.expires = t.now + options_.lease_ttl;
    } else {
      Post<RevokeLease>(t, from).lease = id;  // it holds something that does not exist
    }
  }
}

// A worker that resumes finishes its task whether or not its CPUs are still there. If they are not, the lease ends with the task, so that
// the node is not overcommitted for longer.
void Leases::OnBlocked(const Turn& t, Worker* worker, const WorkerBlocked& message) {
  const bool blocked = message.blocked;
  if (worker->state != WorkerState::kLeased || worker->blocked == blocked) return;
  const Lease* lease = Find(worker->lease);
  if (lease == nullptr) return;
  // The owner may have returned the lease, and another one been granted, before this word of the worker came.
  if (message.lease && message.lease != lease->id) return;
  worker->blocked = blocked;
  if (lease->unsized) unsized_running_ += blocked ? -1 : 1;
  if (blocked) {
    resources_.LendCpus(&worker->held);
    return;
  }
  if (resources_.TakeBackCpus(&worker->held) && resources_.CpusOverdrawn(worker->held)) {
    Post<AssignLease>(t, pool_.AddressOf(*worker));
    Revoke(t, lease->id, "its worker resumed while its CPUs were lent");
  }
}

// ---- what happened elsewhere

std::vector<LeaseId> Leases::LeasesOf(const Address& owner) const {
  auto it = owners_.find(owner);
  if (it == owners_.end()) return {};
  return {it->second.leases.begin(), it->second.leases.end()};
}

void Leases::OwnerGone(const Turn& t, const Address& owner, const std::string& why) {
  for (LeaseId id : LeasesOf(owner)) {
    End(t, id, LeaseEvent::kOwnerDied, /*kill=*/true, ErrorKind::kWorkerCrashed,
        absl::StrCat("the owner of its tasks is gone: ", why));
  }
}

void Leases::NodeGone(const Turn& t, NodeId node, const std::string& why) {
  std::vector<Address> owners;
  for (auto it = owners_.lower_bound({node, {}}); it != owners_.end() && it->first.node == node; ++it) {
    owners.push_back(it->first);
  }
  for (const Address& owner : owners) OwnerGone(t, owner, why);
}

void Leases::WorkerGone(const Worker& worker) {
  if (!worker.lease) return;
  auto it = leases_.find(worker.lease);
  if (it == leases_.end()) return;
  SHOAL_CHECK(Advance(&it->second.state, LeaseEvent::kWorkerDied));
  if (worker.blocked && it->second.unsized) ++unsized_running_;
  Forget(worker.lease);
}

void Leases::BundleGone(const Turn& t, const BundleKey& key) {
  std::vector<LeaseId> inside;
  for (const auto& [id, lease] : leases_) {
    const Worker* worker = pool_.Find(lease.worker);
    const Holding& held = worker != nullptr ? worker->held : lease.held;
    if (BundleKey{held.group, held.bundle} == key) inside.push_back(id);
  }
  for (LeaseId id : inside) {
    const Lease* lease = Find(id);
    if (lease == nullptr) continue;  // ended by the end of another
    const bool waiting = lease->state == LeaseState::kWaiting;
    End(t, id, waiting ? LeaseEvent::kWithdraw : LeaseEvent::kReturn, /*kill=*/true,
        ErrorKind::kPlacementGroupRemoved, "its placement group was removed");
  }
}

void Leases::Revoke(const Turn& t, LeaseId id, const std::string& why) {
  auto it = leases_.find(id);
  if (it == leases_.end() || it->second.state != LeaseState::kGranted) return;
  SHOAL_CHECK(Advance(&it->second.state, LeaseEvent::kRevoke));
  it->second.expires = std::min(it->second.expires, t.now + options_.revoke_patience);
  Post<RevokeLease>(t, it->second.owner).lease = id;
  Note(t, absl::StrCat("lease ", id.Hex()), "granted", "revoked", why);
}

void Leases::Tick(const Turn& t) {
  std::vector<LeaseId> expired;
  for (const auto& [id, lease] : leases_) {
    if (lease.state != LeaseState::kWaiting && lease.expires <= t.now) expired.push_back(id);
  }
  for (LeaseId id : expired) {
    End(t, id, LeaseEvent::kExpire, /*kill=*/true, ErrorKind::kWorkerCrashed, "the owner did not renew its lease");
  }
}

std::optional<TimePoint> Leases::NextDeadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, lease] : leases_) {
    if (lease.state != LeaseState::kWaiting) Earliest(&next, lease.expires);
  }
  return next;
}

// ---- counts

uint32_t Leases::WaitingFor(const Address& owner, ShapeId shape) const {
  auto it = owners_.find(owner);
  if (it == owners_.end()) return 0;
  auto waiting = it->second.waiting.find(shape);
  return waiting == it->second.waiting.end() ? 0 : static_cast<uint32_t>(waiting->second.size());
}

uint32_t Leases::CountOf(const Address& owner) const {
  auto it = owners_.find(owner);
  return it == owners_.end() ? 0 : static_cast<uint32_t>(it->second.leases.size());
}

uint32_t Leases::CountOf(JobId job) const {
  auto it = jobs_.find(job);
  return it == jobs_.end() ? 0 : it->second;
}

void Leases::CheckInvariants() const {
  size_t owned = 0, waiting = 0, waiting_here = 0;
  for (const auto& [owner, record] : owners_) {
    owned += record.leases.size();
    for (const auto& [shape, ids] : record.waiting) waiting += ids.size();
  }
  SHOAL_CHECK(owned == leases_.size()) << owned << " != " << leases_.size();
  int64_t unsized_running = 0;
  for (const auto& [id, lease] : leases_) {
    unsized_running += lease.unsized ? 1 : 0;
    if (lease.state == LeaseState::kWaiting) {
      ++waiting_here;
      continue;
    }
    const Worker* worker = pool_.Find(lease.worker);
    SHOAL_CHECK(worker != nullptr && worker->lease == id && worker->state != WorkerState::kIdle)
        << "lease " << id.Hex() << " has no worker of its own";
    if (lease.unsized && worker->blocked) --unsized_running;
  }
  SHOAL_CHECK(waiting == waiting_here) << waiting << " != " << waiting_here;
  SHOAL_CHECK(unsized_running == unsized_running_) << unsized_running << " != " << unsized_running_;
}

}  // namespace shoal::raylet
