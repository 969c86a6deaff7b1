// The leases that this raylet granted: who may push to which worker, until when. A lease takes its resources first and waits for a worker
// then; once granted, the worker holds the resources and keeps them until it is given back or has exited.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "base/rng.h"
#include "runtime/raylet/parts.h"
#include "runtime/raylet/resources.h"
#include "runtime/raylet/states.h"
#include "runtime/raylet/worker_pool.h"

namespace shoal::raylet {

struct Lease {
  LeaseId id;
  ShapeId shape;
  Address owner;
  JobId job;
  ResourceSet resources;
  LeaseState state = LeaseState::kWaiting;
  Holding held;        // kWaiting; later the worker's
  Claim claim;         // kWaiting
  WorkerId worker;     // later
  TimePoint expires{};
  bool unsized = false;  // takes no resources, so that only their number bounds them
};

class Leases {
 public:
  Leases(const RayletOptions* options, Rng rng, WorkerPool* pool, NodeResources* resources);

  // Takes the resources and claims a worker. False if there is no room.
  bool Grant(const Turn& t, const Address& owner, const Shape& shape, ShapeId id, const KindPtr& kind);
  // A claim of a lease was answered; the lease tells its owner. Null if it is gone.
  const Lease* WorkerReady(const Turn& t, const Claim& claim, Worker* worker);
  // Ends a lease for which there is no worker; the owner hears of it from the caller.
  std::optional<Lease> ClaimFailed(const Claim& claim);
  // Ends the newest lease of those that wait for a worker for this owner and shape.
  void WithdrawOne(const Address& owner, ShapeId shape);

  // ---- messages
  void OnReturn(const Turn& t, const Address& from, const ReturnLease& message);
  void OnRenew(const Turn& t, const Address& from, const RenewLeases& message);
  void OnBlocked(const Turn& t, Worker* worker, const WorkerBlocked& message);

  // ---- what happened elsewhere
  // Workers that may still run its tasks are killed.
  void OwnerGone(const Turn& t, const Address& owner, const std::string& why);
  void NodeGone(const Turn& t, NodeId node, const std::string& why);
  void WorkerGone(const Worker& worker);
  void BundleGone(const Turn& t, const BundleKey& key);
  void Revoke(const Turn& t, LeaseId id, const std::string& why);
  void Tick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  // ---- counts
  uint32_t WaitingFor(const Address& owner, ShapeId shape) const;
  uint32_t CountOf(const Address& owner) const;
  uint32_t CountOf(JobId job) const;
  const Lease* Find(LeaseId id) const {
    auto it = leases_.find(id);
    return it == leases_.end() ? nullptr : &it->second;
  }
  const absl::btree_map<LeaseId, Lease>& all() const { return leases_; }
  void set_epoch(uint64_t epoch) { epoch_ = epoch; }
  void CheckInvariants() const;

 private:
  struct OwnerRecord {
    absl::btree_set<LeaseId> leases;
    absl::btree_map<ShapeId, std::vector<LeaseId>> waiting;
  };
  // Ends it by `event`; a worker that may run its tasks is killed (for `kind`, `why`) or given back.
  void End(const Turn& t, LeaseId id, LeaseEvent event, bool kill, ErrorKind kind, const std::string& why);
  void Forget(LeaseId id);
  void RemoveWaiting(const Lease& lease);
  std::vector<LeaseId> LeasesOf(const Address& owner) const;
  uint32_t MaxUnsized() const;

  const RayletOptions& options_;
  Rng rng_;
  WorkerPool& pool_;
  NodeResources& resources_;
  const bool has_gpus_;
  uint64_t epoch_ = 0;
  absl::btree_map<LeaseId, Lease> leases_;
  absl::btree_map<Address, OwnerRecord> owners_;
  absl::btree_map<JobId, uint32_t> jobs_;
  int64_t unsized_running_ = 0;
};

}  // namespace shoal::raylet
