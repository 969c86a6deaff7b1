#include "runtime/raylet/impl.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"

namespace shoal::raylet {

Raylet::Impl::Impl(RayletOptions options, Rng rng)
    : options_(std::move(options)),
      rng_(rng),
      store_({.node = options_.info.id, .arena_bytes = options_.arena_bytes}),
      resources_(options_.info.total),
      pool_(&options_, rng_.Fork(), this),
      leases_(&options_, rng_.Fork(), &pool_, &resources_),
      demands_(&options_, &leases_, &resources_, &pool_),
      actors_(&options_, &pool_, &resources_),
      head_(&options_),
      peers_(&options_, &pool_),
      jobs_(options_.info.id),
      parts_{&options_, &pool_, &resources_, &leases_, &demands_, &actors_, &store_},
      reports_(parts_),
      tables_(parts_, rng_.Fork()) {}

// ---- turns

void Raylet::Impl::Start(const Turn& t) {
  head_.Start(t);
  End(t);
}

void Raylet::Impl::Begin(const Turn& t) {
  events_before_ = t.actions->events.size();
  changes_before_ = resources_.changes();
  CheckFence(t);
}

// What came too late for the fence must not be done after it, so this is looked at before everything else.
void Raylet::Impl::CheckFence(const Turn& t) {
  if (!head_.FallsNow(t.now)) return;
  const std::string why = "the head was silent for so long that it may start this node's actors elsewhere";
  Note(t, absl::StrCat("node ", options_.info.id.Hex()), "live", "fenced", why);
  actors_.KillAll(t, why);
  head_.OnExpelled(t);
}

void Raylet::Impl::End(const Turn& t) {
  Settle(t);
  const bool changed = t.actions->events.size() != events_before_ || resources_.changes() != changes_before_;
  if (changed) reports_.Changed(t.now);
  if (head_.registered() && reports_.Settle(t)) jobs_.State(t);
}

void Raylet::Impl::Settle(const Turn& t) {
  demands_.Settle(t, head_.live(t.now));
  pool_.Settle(t);
  demands_.TellHead(t, head_.registered());
  CarryOutStore(t);
}

void Raylet::Impl::CarryOutStore(const Turn& t) {
  while (!store_actions_.empty()) {
    objectstore::StoreActions actions;
    std::swap(actions, store_actions_);
    for (objectstore::Transfer& transfer : actions.transfers) {
      t.actions->transfers.push_back({transfer.object, transfer.from, transfer.offset, transfer.size});
    }
    for (Send& send : actions.sends) {
      // Nobody would answer for a node that is gone.
      if (send.to.worker && peers_.IsDead(send.to)) {
        store_.OnOwnerGone(t.now, send.to, &store_actions_);
      } else {
        t.actions->sends.push_back(std::move(send));
      }
    }
    actions.Clear();
    if (store_actions_.empty()) std::swap(actions, store_actions_);  // keep the vectors' memory
  }
}

void Raylet::Impl::OnTick(const Turn& t) {
  Begin(t);
  head_.Tick(t);
  leases_.Tick(t);
  pool_.Tick(t);
  ReturnBundlesOf(t, resources_.Expired(t.now));
  store_.OnTick(t.now, &store_actions_);
  tables_.Tick(t);
  End(t);
}

std::optional<TimePoint> Raylet::Impl::NextDeadline() const {
  std::optional<TimePoint> next = head_.NextDeadline();
  Earliest(&next, leases_.NextDeadline());
  Earliest(&next, demands_.NextDeadline());
  Earliest(&next, pool_.NextDeadline());
  Earliest(&next, resources_.NextExpiry());
  Earliest(&next, store_.NextDeadline());
  Earliest(&next, tables_.NextDeadline());
  if (head_.registered()) Earliest(&next, reports_.NextDeadline());
  return next;
}

// ---- WorkerPool::Events

void Raylet::Impl::WorkerReady(const Turn& t, const Claim& claim, Worker* worker) {
  if (claim.actor) return actors_.WorkerReady(t, claim, worker);
  const Lease* lease = leases_.WorkerReady(t, claim, worker);
  demands_.Granted(t, lease->owner, lease->shape);
}

void Raylet::Impl::ClaimFailed(const Turn& t, const Claim& claim, const ErrorInfo& error) {
  if (claim.actor) return actors_.ClaimFailed(t, claim, error);
  const std::optional<Lease> lease = leases_.ClaimFailed(claim);
  if (lease) demands_.Failed(t, lease->owner, lease->shape, error);
}

void Raylet::Impl::WorkerDying(const Turn& t, const Worker& worker) {
  if (!worker.registered) return;
  demands_.OwnerGone(t, worker.id);
  leases_.OwnerGone(t, pool_.AddressOf(worker), worker.end_reason);
}

// ---- core workers come and go

void Raylet::Impl::OnRegisterWorker(const Turn& t, const Address& from, const RegisterWorker& message) {
  if (!message.worker || (from.worker && from.worker != message.worker) ||
      (from.node && from.node != options_.info.id)) {
    return;
  }
  if (message.protocol_version != kProtocolVersion) {
    return RefuseWorker(t, message.worker, ErrorKind::kInvalidArgument,
                        absl::StrCat("this process speaks protocol version ", message.protocol_version,
                                     ", the node ", kProtocolVersion, "; install the same version of shoal for both"));
  }
  Worker* worker = pool_.Find(message.worker);
  if (worker != nullptr && worker->registered) return WelcomeWorker(t, *worker);
  if (message.role == Role::kWorker) {
    if (worker == nullptr || worker->state != WorkerState::kStarting) {
      return RefuseWorker(t, message.worker, ErrorKind::kNotFound, "this worker was not started by the node's raylet");
    }
    pool_.Registered(t, worker, message.pid);
    return WelcomeWorker(t, *worker);
  }
  if (worker != nullptr || (message.role != Role::kDriver && message.role != Role::kAdmin)) {
    return RefuseWorker(t, message.worker, ErrorKind::kInvalidArgument, "only drivers and workers register with a raylet");
  }
  const bool driver = message.role == Role::kDriver;
  const JobId job = driver && !message.job ? rng_.NewId<JobId>() : message.job;
  if (driver && !jobs_.DriverCame(t, message, job, head_.registered())) {
    return RefuseWorker(t, message.worker, ErrorKind::kNameTaken,
                        absl::StrCat("job ", job.Hex(), " has a driver already; choose another job id"));
  }
  WelcomeWorker(t, *pool_.AddDriver(t, message, job));
  if (driver) pool_.StartSpare(t, job, MakeKind(message.worker_kind));
}

void Raylet::Impl::RefuseWorker(const Turn& t, WorkerId worker, ErrorKind kind, const std::string& why) {
  RegisterWorkerReply& reply = Post<RegisterWorkerReply>(t, {options_.info.id, worker});
  reply.error = MakeError(kind, why);
  reply.node = options_.info.id;
}

void Raylet::Impl::WelcomeWorker(const Turn& t, const Worker& worker) {
  RegisterWorkerReply& reply = Post<RegisterWorkerReply>(t, pool_.AddressOf(worker));
  reply.node = options_.info.id;
  reply.job = worker.job;
  reply.ns = jobs_.NamespaceOf(worker.job);
  reply.cluster_id = options_.cluster_id;
  reply.arena_bytes = options_.arena_bytes;
}

std::string Raylet::Impl::Obituary(const Worker& worker, const std::string& how) const {
  std::string text = absl::StrCat(worker.role == Role::kDriver ? "driver " : "worker ", worker.id.Hex(), " (pid ",
                                  worker.pid, ") on node ", options_.info.id.Hex(), " ended: ");
  absl::StrAppend(&text, worker.end_reason.empty() ? how : worker.end_reason);
  return text;
}

void Raylet::Impl::OnWorkerExited(const Turn& t, WorkerId id, const std::string& how) {
  Worker* found = pool_.Find(id);
  if (found == nullptr) return;
  Begin(t);
  // A lost connection is the end, too, though the process may live on.
  if (found->kind != nullptr && found->state != WorkerState::kKilled) t.actions->kill_workers.push_back({id, how});
  const Address address = pool_.AddressOf(*found);
  const std::string obituary = Obituary(*found, how);
  demands_.OwnerGone(t, id);
  leases_.OwnerGone(t, address, obituary);
  leases_.WorkerGone(*found);
  if (SHOAL_DELIBERATE_BUG("raylet.leaked_slot")) {
    found->held = Holding{};
  } else {
    resources_.Release(&found->held);
  }
  const Worker worker = *found;
  pool_.Remove(t, found);
  store_.OnWorkerGone(t.now, id, &store_actions_);
  store_.OnOwnerGone(t.now, address, &store_actions_);
  if (worker.registered && worker.role != Role::kAdmin) peers_.LocalDied(t, address, worker.end_kind, obituary);
  tables_.WorkerGone(t, id);
  if (worker.actor) actors_.WorkerGone(t, worker, how, head_.live(t.now));
  if (worker.role == Role::kDriver) {
    const std::optional<JobId> job = jobs_.DriverGone(t, id, obituary, head_.registered());
    if (job) EndJob(t, *job, obituary);
  }
  End(t);
}

void Raylet::Impl::OnWorkerStartFailed(const Turn& t, WorkerId id, const ErrorInfo& error) {
  Worker* worker = pool_.Find(id);
  if (worker == nullptr || worker->registered) return;
  Begin(t);
  pool_.StartFailed(t, worker, error);
  End(t);
}

void Raylet::Impl::OnLeaving(Worker* worker) {
  worker->intended = true;
  if (worker->actor) actors_.OnLeaving(worker);
}

// ---- deaths

void Raylet::Impl::EndJob(const Turn& t, JobId job, const std::string& reason) {
  actors_.JobEnded(t, job, reason);
  std::vector<WorkerId> ending;
  for (const auto& [id, worker] : pool_.workers()) {
    if (worker->job != job) continue;
    if (worker->state == WorkerState::kDriver) ending.push_back(id);
    if (worker->state != WorkerState::kLeased) continue;
    // Detached actors outlive the job, and so does what runs for them. Whose owner lives elsewhere ends with that.
    const Lease* lease = leases_.Find(worker->lease);
    if (lease == nullptr || lease->owner.node != options_.info.id) continue;
    const Worker* owner = pool_.Find(lease->owner.worker);
    if (owner == nullptr || !actors_.IsDetached(*owner)) ending.push_back(id);
  }
  for (WorkerId id : ending) {
    if (Worker* worker = pool_.Find(id)) pool_.Kill(t, worker, ErrorKind::kWorkerCrashed, reason);
  }
  pool_.EndJob(t, job, reason);
}

void Raylet::Impl::OnWorkerDied(const Turn& t, const Address& from, const WorkerDied& message) {
  // A raylet speaks for its own node only.
  if (!from.is_head() && (!from.is_raylet() || from.node != message.worker.node)) return;
  if (message.worker.node == options_.info.id) return;
  peers_.RemoteDied(t, message);
  leases_.OwnerGone(t, message.worker, message.message);
  store_.OnOwnerGone(t.now, message.worker, &store_actions_);
}

void Raylet::Impl::NodeGone(const Turn& t, NodeId node, const std::string& why) {
  peers_.NodeGone(t, node, why);
  leases_.NodeGone(t, node, why);
  store_.OnNodeGone(t.now, node, &store_actions_);
}

void Raylet::Impl::OnPeerReset(const Turn& t, NodeId node) {
  Begin(t);
  if (node) {
    peers_.OnLinkReset(node);
    NodeGone(t, node, absl::StrCat("the link to node ", node.Hex(), " broke: its raylet died or gave this node up"));
  } else {
    head_.OnReset(t);
  }
  End(t);
}

void Raylet::Impl::OnUndeliverable(const Turn& t, const Address& from, const Address& to) {
  if (!to.worker) return;  // a raylet: who relies on it hears of its node's death
  Begin(t);
  if (from == Address::Raylet(options_.info.id)) {
    store_.OnOwnerGone(t.now, to, &store_actions_);
    leases_.OwnerGone(t, to, "it cannot be reached");
  } else {
    Post<WorkerDied>(t, from) = peers_.ObituaryOf(to);
  }
  End(t);
}

void Raylet::Impl::OnTransferDone(const Turn& t, const ObjectId& object, bool ok) {
  Begin(t);
  store_.OnTransferDone(t.now, object, ok, &store_actions_);
  End(t);
}

// ---- the head

bool Raylet::Impl::Accept(const Turn& t, uint64_t epoch) {
  const bool accepted = head_.Accept(t, epoch);
  leases_.set_epoch(head_.epoch());
  return accepted;
}

void Raylet::Impl::OnRegisterNodeReply(const Turn& t, const RegisterNodeReply& message) {
  if (!head_.OnReply(t, message)) return;
  leases_.set_epoch(head_.epoch());
  Note(t, absl::StrCat("node ", options_.info.id.Hex()), "", "registered", absl::StrCat("epoch ", message.epoch));
  StateEverything(t);
}

void Raylet::Impl::StateEverything(const Turn& t) {
  reports_.Send(t);
  jobs_.State(t);
  demands_.Restate();
}

void Raylet::Impl::OnClusterNodes(const Turn& t, ClusterNodes&& message) {
  if (!Accept(t, message.epoch)) return;
  if (!peers_.Complete(&message)) return head_.RegisterAnew(t);
  std::vector<NodeId> gone;
  const bool here = peers_.OnClusterNodes(t, std::move(message), &gone);
  for (NodeId node : gone) NodeGone(t, node, absl::StrCat("node ", node.Hex(), " left the cluster or is another process now"));
  if (here || !head_.registered()) return;
  // The others were told that this node is dead, and have ended what they shared with it.
  Note(t, absl::StrCat("node ", options_.info.id.Hex()), "live", "expelled", "the head counts it among the dead");
  for (const auto& [node, incarnation] : peers_.nodes()) {
    NodeGone(t, node, absl::StrCat("node ", node.Hex(), " took this node for dead"));
  }
  head_.OnExpelled(t);
}

void Raylet::Impl::OnGrantLeases(const Turn& t, const GrantLeases& message) {
  if (!Accept(t, message.epoch)) return;
  std::string refusal;
  if (!head_.live(t.now)) refusal = "the node waits for an answer of the head to its heartbeats";
  if (peers_.IsDead(message.owner)) refusal = "their owner is dead";
  demands_.OnGrantLeases(t, message, refusal);
}

void Raylet::Impl::OnPrepareBundles(const Turn& t, const PrepareBundles& message) {
  if (!Accept(t, message.epoch)) return;
  const bool live = head_.live(t.now);
  BundlesPrepared& reply = Post<BundlesPrepared>(t, Address::Head());
  reply.request = message.request;
  if (!message.bundles.empty()) reply.group = message.bundles.front().group;
  reply.ok = live && resources_.Prepare(t.now + options_.bundle_commit_timeout, message.bundles);
  if (!reply.ok) return;
  for (const Bundle& bundle : message.bundles) demands_.RoomTaken(bundle.resources);
}

void Raylet::Impl::OnCommitBundles(const Turn& t, const CommitBundles& message) {
  if (!Accept(t, message.epoch)) return;
  for (int32_t index : message.indices) resources_.Commit({message.group, index});
}

void Raylet::Impl::ReturnBundlesOf(const Turn& t, const std::vector<BundleKey>& keys) {
  for (const BundleKey& key : keys) {
    leases_.BundleGone(t, key);
    actors_.BundleGone(t, key);
    resources_.Return(key);
  }
}

// ---- messages

struct Raylet::Impl::Dispatch {
  Impl& raylet;
  const Turn& t;
  const Address& from;

  // What only the head may say, with its epoch or without.
  template <class M, class Handle>
  void FromHead(M& m, Handle handle) {
    if (from.is_head() && raylet.Accept(t, m.epoch)) handle();
  }
  template <class Handle>
  void FromWorker(Handle handle) {
    if (Worker* worker = raylet.Sender(from)) handle(worker);
  }

  void operator()(RegisterWorker& m) { raylet.OnRegisterWorker(t, from, m); }
  void operator()(LeaseDemand& m) {
    FromWorker([&](Worker* worker) {
      if (worker->state != WorkerState::kKilled) raylet.demands_.OnDemand(t, from, std::move(m));
    });
  }
  void operator()(ReturnLease& m) { raylet.leases_.OnReturn(t, from, m); }
  void operator()(RenewLeases& m) { raylet.leases_.OnRenew(t, from, m); }
  void operator()(WorkerBlocked& m) {
    FromWorker([&](Worker* worker) { raylet.leases_.OnBlocked(t, worker, m); });
  }
  void operator()(ExitWorker&) {
    FromWorker([&](Worker* worker) { raylet.OnLeaving(worker); });
  }
  void operator()(ActorExited&) {
    FromWorker([&](Worker* worker) { raylet.OnLeaving(worker); });
  }
  void operator()(ActorReady& m) {
    FromWorker([&](Worker* worker) { raylet.actors_.OnReady(t, worker, m); });
  }
  void operator()(LogLines& m) {
    const Address driver = raylet.jobs_.DriverOf(m.job);
    if (driver.worker) Post<LogLines>(t, driver) = std::move(m);
  }
  void operator()(WorkerDied& m) { raylet.OnWorkerDied(t, from, m); }
  void operator()(ListState& m) { raylet.tables_.OnListState(t, from, m); }
  void operator()(ListStateReply& m) {
    FromWorker([&](Worker* worker) { raylet.tables_.OnReply(t, *worker, std::move(m)); });
  }

  // ---- the store
  void operator()(CreateObject& m) {
    FromWorker([&](Worker*) { raylet.store_.OnCreateObject(t.now, from, m, &raylet.store_actions_); });
  }
  void operator()(SealObject& m) {
    FromWorker([&](Worker*) { raylet.store_.OnSealObject(t.now, from, m, &raylet.store_actions_); });
  }
  void operator()(AbortObject& m) {
    FromWorker([&](Worker*) { raylet.store_.OnAbortObject(t.now, from, m, &raylet.store_actions_); });
  }
  void operator()(PullObject& m) {
    FromWorker([&](Worker*) { raylet.store_.OnPullObject(t.now, from, m, &raylet.store_actions_); });
  }
  void operator()(ReleaseObject& m) {
    FromWorker([&](Worker*) { raylet.store_.OnReleaseObject(t.now, from, m, &raylet.store_actions_); });
  }
  void operator()(FreeObjects& m) { raylet.store_.OnFreeObjects(t.now, from, m, &raylet.store_actions_); }

  // ---- the head
  void operator()(RegisterNodeReply& m) {
    if (from.is_head()) raylet.OnRegisterNodeReply(t, m);
  }
  void operator()(HeartbeatAck& m) {
    if (from.is_head()) raylet.head_.OnAck(t, m);
  }
  void operator()(ClusterNodes& m) {
    if (from.is_head()) raylet.OnClusterNodes(t, std::move(m));
  }
  void operator()(NodeDied& m) {
    if (!from.is_head() || m.node == raylet.options_.info.id) return;
    raylet.peers_.OnNodeDied(t, m.node);
    raylet.NodeGone(t, m.node, m.message);
  }
  void operator()(GrantLeases& m) {
    if (from.is_head()) raylet.OnGrantLeases(t, m);
  }
  void operator()(MakeRoom& m) {
    FromHead(m, [&] { raylet.demands_.OnMakeRoom(t, m); });
  }
  void operator()(StartActor& m) {
    FromHead(m, [&] {
      raylet.demands_.RoomTaken(m.spec.shape, m.spec.ToFind());
      raylet.actors_.OnStart(t, std::move(m), raylet.head_.live(t.now));
    });
  }
  void operator()(StopActor& m) {
    FromHead(m, [&] { raylet.actors_.OnStop(t, m); });
  }
  void operator()(PrepareBundles& m) {
    if (from.is_head()) raylet.OnPrepareBundles(t, m);
  }
  void operator()(CommitBundles& m) {
    if (from.is_head()) raylet.OnCommitBundles(t, m);
  }
  void operator()(ReturnBundles& m) {
    FromHead(m, [&] { raylet.ReturnBundlesOf(t, raylet.resources_.BundlesOf(m.group, m.indices)); });
  }
  void operator()(StartJob& m) {
    if (from.is_head()) raylet.jobs_.OnStartJob(m);
  }
  void operator()(FinishJob& m) {
    if (!from.is_head()) return;
    raylet.jobs_.OnFinishJob(m.job);
    raylet.EndJob(t, m.job, m.reason);
  }

  template <class Other>
  void operator()(Other&) {}  // for others, or from a newer version
};

void Raylet::Impl::OnMessage(const Turn& t, const Address& from, Message&& message) {
  Begin(t);
  std::visit(Dispatch{*this, t, from}, message);
  End(t);
}

// ---- for people

std::string Raylet::Impl::LogPrefixOf(WorkerId id) const {
  const Worker* worker = pool_.Find(id);
  if (worker == nullptr) return "";
  const ActorRecord* actor = worker->actor ? actors_.Find(worker->actor) : nullptr;
  std::string what;
  if (actor != nullptr) {
    what = actor->spec.creation.name.substr(0, actor->spec.creation.name.find('.'));
    what += " ";
  }
  return absl::StrCat("(", what, "pid=", worker->pid, ", node=", options_.info.id.Hex().substr(0, 4), ")");
}

void Raylet::Impl::CheckInvariants() const {
  pool_.CheckInvariants();
  leases_.CheckInvariants();
  demands_.CheckInvariants();
  actors_.CheckInvariants();
  store_.CheckInvariants();
  std::vector<const Holding*> holdings;
  for (const auto& [id, worker] : pool_.workers()) holdings.push_back(&worker->held);
  for (const auto& [id, lease] : leases_.all()) holdings.push_back(&lease.held);
  for (const auto& [id, actor] : actors_.all()) holdings.push_back(&actor.held);
  resources_.CheckInvariants(holdings);
}

}  // namespace shoal::raylet
