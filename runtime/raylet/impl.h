// The raylet put together: which message goes to which part, and what the death of a process, a node or a job means to all of them.
#pragma once

#include <string>

#include "base/rng.h"
#include "objectstore/core/object_store.h"
#include "runtime/raylet/actors.h"
#include "runtime/raylet/demands.h"
#include "runtime/raylet/head_link.h"
#include "runtime/raylet/jobs.h"
#include "runtime/raylet/leases.h"
#include "runtime/raylet/peers.h"
#include "runtime/raylet/raylet.h"
#include "runtime/raylet/reports.h"
#include "runtime/raylet/resources.h"
#include "runtime/raylet/worker_pool.h"

namespace shoal::raylet {

class Raylet::Impl : private WorkerPool::Events {
 public:
  Impl(RayletOptions options, Rng rng);

  void Start(const Turn& t);
  void OnMessage(const Turn& t, const Address& from, Message&& message);
  void OnWorkerExited(const Turn& t, WorkerId id, const std::string& how);
  void OnWorkerStartFailed(const Turn& t, WorkerId id, const ErrorInfo& error);
  void OnPeerReset(const Turn& t, NodeId node);
  void OnTransferDone(const Turn& t, const ObjectId& object, bool ok);
  void OnUndeliverable(const Turn& t, const Address& from, const Address& to);
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;

  objectstore::ObjectStore& store() { return store_; }
  const Jobs& jobs() const { return jobs_; }
  const WorkerPool& pool() const { return pool_; }
  const RayletOptions& options() const { return options_; }
  std::string LogPrefixOf(WorkerId worker) const;
  std::string Remains() const { return DescribeRemains(parts_); }

 private:
  struct Dispatch;

  // Each handler runs between these two.
  void Begin(const Turn& t);
  void End(const Turn& t);
  void Settle(const Turn& t);
  void CarryOutStore(const Turn& t);
  void CheckFence(const Turn& t);

  // WorkerPool::Events
  void WorkerReady(const Turn& t, const Claim& claim, Worker* worker) override;
  void ClaimFailed(const Turn& t, const Claim& claim, const ErrorInfo& error) override;
  void WorkerDying(const Turn& t, const Worker& worker) override;

  // ---- core workers
  Worker* Sender(const Address& from) const { return pool_.FindRegistered(options_.info.id, from); }
  void OnRegisterWorker(const Turn& t, const Address& from, const RegisterWorker& message);
  void RefuseWorker(const Turn& t, WorkerId worker, ErrorKind kind, const std::string& why);
  void WelcomeWorker(const Turn& t, const Worker& worker);
  void OnWorkerDied(const Turn& t, const Address& from, const WorkerDied& message);
  void OnLeaving(Worker* worker);

  // ---- the head; nothing happens if its epoch is an old one
  void OnRegisterNodeReply(const Turn& t, const RegisterNodeReply& message);
  void OnClusterNodes(const Turn& t, ClusterNodes&& message);
  void OnGrantLeases(const Turn& t, const GrantLeases& message);
  void OnPrepareBundles(const Turn& t, const PrepareBundles& message);
  void OnCommitBundles(const Turn& t, const CommitBundles& message);
  void ReturnBundlesOf(const Turn& t, const std::vector<BundleKey>& keys);
  bool Accept(const Turn& t, uint64_t epoch);
  void StateEverything(const Turn& t);

  // ---- deaths
  void NodeGone(const Turn& t, NodeId node, const std::string& why);
  void EndJob(const Turn& t, JobId job, const std::string& reason);
  std::string Obituary(const Worker& worker, const std::string& how) const;

  const RayletOptions options_;
  Rng rng_;
  objectstore::ObjectStore store_;
  objectstore::StoreActions store_actions_;
  NodeResources resources_;
  WorkerPool pool_;
  Leases leases_;
  Demands demands_;
  Actors actors_;
  HeadLink head_;
  Peers peers_;
  Jobs jobs_;
  Parts parts_;
  Reports reports_;
  StateTables tables_;
  size_t events_before_ = 0;      // of this turn
  uint64_t changes_before_ = 0;
};

}  // namespace shoal::raylet
