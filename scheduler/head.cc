#include "scheduler/head.h"

#include <algorithm>
#include <utility>

#include "base/buggify.h"
#include "scheduler/head_impl.h"
#include "scheduler/state_listing.h"
#include "schema/cluster_nodes.h"

namespace shoal::scheduler {
namespace {

// Changes of membership within this are told together.
constexpr Duration kTellNodesDelay = 20ms;
// The digest of all nodes is repeated this many refreshes apart, for whoever missed it in a way that nobody noticed.
constexpr int kRepeatNodesRefreshes = 5;
constexpr Duration kDelayed = 10ms;
// As long as something waits, and at the soonest so long after it began to. A raylet keeps the room for twice as long.
constexpr Duration kMakeRoomEvery = 500ms;

// Of running jobs; what comes on top is in `shoal why` alone.
constexpr size_t kMostTold = 10'000;

// Row "head/state".
constexpr char kHeadRow[] = "head/state";
struct HeadRow {
  uint64_t cluster_id = 0;
  uint64_t epoch = 0;
  template <class V> void Fields(V& v) { v(cluster_id, epoch); }
};

Duration DeadAfter(const HeadOptions& options) {
  return SHOAL_DELIBERATE_BUG("head.double_placement") ? options.fence_after / 4 : options.dead_after;
}

bool FromProcess(const Address& from) { return from.node && from.worker; }

}  // namespace

Head::Impl::Impl(HeadOptions options, std::vector<StoreRow> stored, Rng rng)
    : shared(options, rng),
      detector(DeadAfter(options) / 3, DeadAfter(options)),
      groups(&shared),
      actors(&shared, &groups),
      leases(&shared, &groups),
      jobs(&shared),
      stored_(std::move(stored)) {
  HeadRow head;
  for (const StoreRow& row : stored_) {
    if (row.key == kHeadRow) head = RowValue<HeadRow>(row);
  }
  shared.cluster_id = options.cluster_id != 0 ? options.cluster_id
                      : head.cluster_id != 0  ? head.cluster_id
                                              : shared.rng.Next() | 1;
  shared.epoch = head.epoch;
  for (const StoreRow& row : stored_) {
    if (RowIs(row, "token")) enrolment.RestoreToken(row);
    if (RowIs(row, "node_key")) enrolment.RestoreKey(row);
  }
}

void Head::Impl::Start(const Turn& t) {
  ++shared.epoch;
  PutRow(t, kHeadRow, HeadRow{shared.cluster_id, shared.epoch});
  shared.trust_absence_from = t.now + (stored_.empty() ? Duration{} : shared.options.dead_after);
  refresh_at_ = t.now + shared.options.refresh;
  repeat_nodes_at_ = t.now + kRepeatNodesRefreshes * shared.options.refresh;
  for (const StoreRow& row : stored_) {
    if (RowIs(row, "node")) shared.cluster.Expect(RowValue<NodeInfo>(row));
    if (RowIs(row, "job")) jobs.Restore(row);
    if (RowIs(row, "group")) groups.Restore(row);
    if (RowIs(row, "actor_spec")) actors.RestoreSpec(row);
    if (RowIs(row, "actor")) actors.RestoreState(row);
    if (RowIs(row, actors.watches().kind())) actors.watches().Restore(row);
    if (RowIs(row, groups.watches().kind())) groups.watches().Restore(row);
  }
  stored_ = {};
  actors.FinishRestore(t);
  // Whatever lived on a node gets the time to be reported by it.
  for (const auto& [node, incarnation] : actors.NodesInUse()) shared.cluster.Expect({.id = node, .incarnation = incarnation});
  for (NodeId node : jobs.NodesInUse()) shared.cluster.Expect({.id = node});
  for (NodeId node : groups.NodesInUse()) shared.cluster.Expect({.id = node});
  for (const auto& [id, node] : shared.cluster.nodes()) detector.Heard(t.now, id);
  auto forget_watchers = [&](auto& watches) {
    for (NodeId node : watches.Nodes()) {
      if (shared.cluster.Find(node) != nullptr) continue;
      for (const Address& watcher : watches.WatchersOn(node)) watches.ForgetWatcher(t, watcher);
    }
  };
  forget_watchers(actors.watches());
  forget_watchers(groups.watches());
}

// ---- messages

void Head::Impl::OnMessage(const Turn& t, const Address& from, Message&& message) {
  // Who is not part of the cluster has nothing to say but that it wants to be.
  const bool joins = std::holds_alternative<RegisterNode>(message);
  // {0, worker} is the command line at the head's own socket, which may look.
  const bool looks = !from.node && from.worker && std::holds_alternative<ListState>(message);
  if (!looks && (!from.node || (!joins && !shared.cluster.Alive(from.node)))) return;
  std::visit([&](auto&& m) { On(t, from, std::move(m)); }, std::move(message));
  FinishTurn(t);
}

void Head::Impl::On(const Turn& t, const Address& from, RegisterNode&& message) {
  const NodeId id = from.node;
  if (!from.is_raylet() || message.info.id != id) return;
  NodeRecord* known = shared.cluster.Find(id);
  const bool replaced = known != nullptr && known->info.incarnation != 0 && known->info.incarnation != message.info.incarnation;
  if (replaced) NodeLost(t, *known, NodeEvent::kIsReplaced, "its raylet started anew");
  const RegisterNodeReply reply{{}, shared.epoch, shared.options.fence_after};
  if (known != nullptr && known->state == NodeState::kDead && !replaced && !std::exchange(known->told_of_death, true)) {
    // It was given up but lives: a list without it tells it to end what it shared with the others, and it registers again.
    Say(t, Address::Raylet(id), reply);
    return SayNodes(t, id);
  }
  const bool was_alive = shared.cluster.Alive(id);
  shared.cluster.Register(t, std::move(message.info));
  membership_changed_ = membership_changed_ || !was_alive;
  if (detector.Heard(t.now, id)) shared.cluster.SetSuspect(id, false);
  Say(t, Address::Raylet(id), reply);
  StateAnew(t, id);
  if (replaced) SayNews(t);
}

void Head::Impl::On(const Turn& t, const Address& from, Heartbeat&& message) {
  const NodeRecord& node = *shared.cluster.Find(from.node);
  // Silence makes a raylet of an incarnation that is over register anew.
  if (!from.is_raylet() || message.node != from.node || message.incarnation != node.info.incarnation) return;
  if (detector.Heard(t.now, from.node)) shared.cluster.SetSuspect(from.node, false);
  Say(t, from, HeartbeatAck{message.sent_at_ns, shared.epoch});
}

// A raylet that leaves says so of itself; nobody has to wait for its silence.
void Head::Impl::On(const Turn& t, const Address& from, NodeDied&& message) {
  if (!from.is_raylet() || message.node != from.node) return;
  NodeLost(t, *shared.cluster.Find(from.node), NodeEvent::kFallsSilent, message.message);
}

void Head::Impl::On(const Turn& t, const Address& from, NodeReport&& message) {
  NodeRecord& node = *shared.cluster.Find(from.node);
  const bool current = from.is_raylet() && message.node == from.node && message.incarnation == node.info.incarnation &&
                       message.version >= node.report.version;
  if (!current) return;
  shared.cluster.Report(t, node, std::move(message));
  leases.OnReport(node);
  jobs.OnReport(t, node);
  ForgetAbsentProcesses(t, node);
  groups.OnReport(t, node);
  actors.OnReport(t, node);
}

void Head::Impl::On(const Turn& t, const Address& from, SpillDemand&& message) {
  const Address& owner = message.owner;
  if (!from.is_raylet() || owner.node != from.node || !owner.worker || jobs.Finished(message.demand.shape.job)) return;
  leases.OnDemand(t, owner, std::move(message.demand));
}

void Head::Impl::On(const Turn& t, const Address& from, GrantLeasesReply&& message) {
  if (from.is_raylet()) leases.OnReply(t, from.node, message);
}

void Head::Impl::On(const Turn& t, const Address& from, WorkerDied&& message) {
  if (from.is_raylet() && message.worker.node == from.node && message.worker.worker) ProcessLost(t, message.worker);
}

void Head::Impl::On(const Turn& t, const Address& from, ActorStarted&& message) {
  if (from.is_raylet()) actors.OnStarted(t, from.node, message);
}

void Head::Impl::On(const Turn& t, const Address& from, ActorExited&& message) {
  if (from.is_raylet()) actors.OnExited(t, from.node, message);
}

void Head::Impl::On(const Turn& t, const Address& from, BundlesPrepared&& message) {
  if (from.is_raylet()) groups.OnPrepared(t, from.node, message);
}

void Head::Impl::On(const Turn& t, const Address& from, StartJob&& message) {
  if (from.is_raylet()) jobs.OnStart(t, from.node, message.job);
}

void Head::Impl::On(const Turn& t, const Address& from, FinishJob&& message) {
  if (!from.is_raylet()) return;
  // Repeated until it is heard.
  if (jobs.Finished(message.job)) return Say(t, from, FinishJob{message.job, message.reason});
  JobOver(t, message.job, JobEvent::kFinishes, message.reason);
}

void Head::Impl::On(const Turn& t, const Address& from, CreateActor&& message) {
  const bool job_over = jobs.Finished(message.spec.job);
  if (FromProcess(from)) actors.OnCreate(t, from, std::move(message.spec), job_over);
}

void Head::Impl::On(const Turn& t, const Address& from, WatchActor&& message) {
  if (FromProcess(from)) actors.OnWatch(t, from, message.actor);
}

void Head::Impl::On(const Turn& t, const Address& from, FindActor&& message) { actors.OnGet(t, from, message); }

void Head::Impl::On(const Turn& t, const Address&, KillActor&& message) { actors.OnKill(t, message); }

void Head::Impl::On(const Turn& t, const Address& from, CreatePlacementGroup&& message) {
  if (!FromProcess(from)) return;
  const bool over = jobs.Finished(message.spec.job) && !message.spec.detached;
  const PlacementGroupId id = message.spec.id;
  groups.OnCreate(t, from, std::move(message.spec));
  if (over) RemoveGroup(t, id, MakeError(ErrorKind::kPlacementGroupRemoved, "its job has finished"));
}

void Head::Impl::On(const Turn& t, const Address& from, RemovePlacementGroup&& message) {
  const GroupRecord* group = groups.Find(message.group);
  const bool is_told = group != nullptr && group->announced && group->spec.owner == from &&
                       group->state != PlacementGroupStateKind::kRemoved;
  RemoveGroup(t, message.group, MakeError(ErrorKind::kPlacementGroupRemoved,
                                          absl::StrCat("placement group ", message.group.Hex(), " was removed")));
  if (!is_told) groups.Answer(t, from, message.group);
}

void Head::Impl::On(const Turn& t, const Address& from, WatchPlacementGroup&& message) {
  if (FromProcess(from)) groups.OnWatch(t, from, message.group);
}

void Head::Impl::On(const Turn& t, const Address& from, ListState&& message) {
  Say(t, from, ListTable({shared, groups, actors, leases, jobs}, t.now, message));
}

// ---- what one event means for several parts

void Head::Impl::NodeLost(const Turn& t, NodeRecord& node, NodeEvent event, const std::string& reason) {
  const NodeId id = node.info.id;
  const bool was_dead = node.state == NodeState::kDead;
  shared.cluster.MarkDead(t, node, event, reason);
  detector.Forget(id);
  if (!was_dead) {
    membership_changed_ = true;
    // Of a raylet that was replaced the list of nodes tells, so that nobody drops the link to its successor.
    if (event != NodeEvent::kIsReplaced) shared.cluster.Broadcast(t, NodeDied{id, reason});
    leases.OnNodeLost(id);
    for (JobId job : jobs.RunningOn(id)) JobOver(t, job, JobEvent::kDriverLost, absl::StrCat("the node of its driver died: ", reason));
    for (PlacementGroupId group : groups.OfNode(id)) {
      RemoveGroup(t, group, MakeError(ErrorKind::kPlacementGroupRemoved, "the node of its owner died"));
    }
    groups.OnNodeLost(t, id);
    actors.OnOwnerNodeLost(t, id);
    actors.OnNodeLost(t, id);
    leases.MarkAllDirty();
    actors.MarkWaitingNew();
  }
  // Processes of a node that only fell silent may come back with it, and then want to hear what happened.
  std::vector<NodeId> gone = shared.cluster.TakeForgotten();
  if (event == NodeEvent::kIsReplaced) gone.push_back(id);
  for (NodeId one : gone) {
    for (const Address& watcher : actors.watches().WatchersOn(one)) actors.watches().ForgetWatcher(t, watcher);
    for (const Address& watcher : groups.watches().WatchersOn(one)) groups.watches().ForgetWatcher(t, watcher);
  }
}

void Head::Impl::ProcessLost(const Turn& t, const Address& process) {
  leases.OnOwnerLost(process);
  for (JobId job : jobs.RunningBy(process)) JobOver(t, job, JobEvent::kDriverLost, "its driver has ended");
  for (PlacementGroupId group : groups.OfOwner(process)) {
    RemoveGroup(t, group, MakeError(ErrorKind::kPlacementGroupRemoved, "its owner has ended"));
  }
  actors.OnOwnerLost(t, process);
  actors.watches().ForgetWatcher(t, process);
  groups.watches().ForgetWatcher(t, process);
}

void Head::Impl::JobOver(const Turn& t, JobId job, JobEvent event, const std::string& reason) {
  if (!jobs.Finish(t, job, event, reason)) return;
  leases.OnJobOver(job);
  for (PlacementGroupId group : groups.OfJob(job)) {
    RemoveGroup(t, group, MakeError(ErrorKind::kPlacementGroupRemoved, "its job has finished"));
  }
  actors.OnJobOver(t, job);
  absl::erase_if(told_, [job](const auto& notice) { return notice.first == job; });
}

void Head::Impl::RemoveGroup(const Turn& t, PlacementGroupId group, const ErrorInfo& why) {
  if (!groups.Remove(t, group, why)) return;
  actors.OnGroupRemoved(t, group);
  leases.OnGroupRemoved(t, group);
}

void Head::Impl::ForgetAbsentProcesses(const Turn& t, const NodeRecord& node) {
  const NodeId id = node.info.id;
  absl::btree_set<Address> known;
  leases.CollectProcesses(id, &known);
  actors.CollectProcesses(id, &known);
  groups.CollectProcesses(id, &known);
  for (JobId job : jobs.RunningOn(id)) known.insert(jobs.jobs().at(job).info.driver);
  if (known.empty()) return;
  // A process spoke through its raylet, which therefore knew it before it made this report.
  for (const WorkerReport& worker : node.report.workers) known.erase({id, worker.worker});
  for (const Address& process : known) ProcessLost(t, process);
}

void Head::Impl::SayNodes(const Turn& t, NodeId to) const {
  ClusterNodes message;
  message.epoch = shared.epoch;
  for (const auto& [id, node] : shared.cluster.nodes()) {
    if (ClusterState::Listed(*node)) message.nodes.push_back(node->info);
  }
  Say(t, Address::Raylet(to), std::move(message));
}

void Head::Impl::SayNews(const Turn& t) {
  ClusterNodes news{.epoch = shared.epoch, .whole = false};
  for (NodeId id : shared.cluster.TakeChanged()) {
    const NodeRecord* node = shared.cluster.Find(id);
    if (node != nullptr && ClusterState::Listed(*node)) {
      news.nodes.push_back(node->info);
    } else {
      news.gone.push_back(id);
    }
  }
  for (const auto& [id, node] : shared.cluster.nodes()) {
    if (ClusterState::Listed(*node)) news.digest += DigestOf(node->info);
  }
  shared.cluster.Broadcast(t, news);
}

void Head::Impl::StateAnew(const Turn& t, NodeId node) {
  SayNodes(t, node);
  jobs.StateAnew(t, node);
  groups.StateAnew(t, node);
  actors.StateAnew(t, node);
}

void Head::Impl::OnPeerReset(const Turn& t, NodeId id) {
  NodeRecord* node = shared.cluster.Find(id);
  if (node == nullptr || !node->alive()) return;
  shared.cluster.LinkBroke(*node);
  leases.OnLinkBroke(id);
  groups.OnLinkBroke(t, id);
  StateAnew(t, id);
  FinishTurn(t);
}

// ---- time

void Head::Impl::FinishTurn(const Turn& t) {
  if (std::exchange(membership_changed_, false) && !tell_nodes_at_) tell_nodes_at_ = t.now + kTellNodesDelay;
  for (PlacementGroupId group : groups.TakeCreated()) {
    leases.OnGroupCreated(group);
    actors.MarkWaitingNew();
  }
  const bool waits = groups.waits() || actors.waits() || !leases.shapes().empty();
  if (waits && !make_room_at_) make_room_at_ = t.now + kMakeRoomEvery;
  room_grew_ = shared.cluster.index().TakeGrew() || room_grew_;
  const bool new_actors = actors.TakeNewWaiting(), new_groups = groups.TakeNewWaiting();
  if (!room_grew_ && !new_actors && !new_groups && !leases.dirty()) return;
  if (SHOAL_BUGGIFY("head.delay_grants")) {
    actors.MarkWaitingNew();
    if (!schedule_at_) schedule_at_ = t.now + kDelayed;
    return;
  }
  Schedule(t);
}

void Head::Impl::Schedule(const Turn& t) {
  schedule_at_.reset();
  const bool grew = std::exchange(room_grew_, false);
  groups.PlaceWaiting(t);
  actors.PlaceWaiting(t);
  ServeLeases(t, grew);
  // What was given back or left over in between is looked at in a turn of its own.
  const bool more = shared.cluster.index().TakeGrew();
  room_grew_ = more;
  if (more || leases.dirty()) schedule_at_ = t.now;
}

void Head::Impl::ServeLeases(const Turn& t, bool room_grew) {
  if (kept_until_ <= t.now) kept_.clear();
  if (kept_.empty()) return leases.Serve(t, room_grew);
  FitIndex& index = shared.cluster.index();
  std::vector<std::pair<uint32_t, NeedId>> taken;  // in thought
  for (const auto& [id, resources] : kept_) {
    const NodeRecord* node = shared.cluster.Find(id);
    if (node == nullptr || !node->alive()) continue;
    taken.emplace_back(node->slot, index.Intern({.resources = resources}));
    index.Take(node->slot, taken.back().second, 1);
  }
  leases.Serve(t, room_grew);
  const bool grew = index.grew();
  for (const auto& [slot, need] : taken) {
    index.Give(slot, need, 1);
    index.Release(need);
  }
  index.RestoreGrew(grew);
}

void Head::Impl::MakeRoomForWaiting(const Turn& t) {
  make_room_at_.reset();
  if (t.now < shared.trust_absence_from || SHOAL_DELIBERATE_BUG("head.no_room_for_others")) return;
  RoomView view(&shared.cluster);
  groups.AskForRoom(&view);
  actors.AskForRoom(&view);
  kept_ = view.asked();
  kept_until_ = t.now + 2 * kMakeRoomEvery;
  leases.AskForRoom(t.now, kMakeRoomEvery, &view);
  for (const auto& [node, resources] : view.asked()) Say(t, Address::Raylet(node), MakeRoom{shared.epoch, resources});
}

void Head::Impl::TellOfTheInfeasible(const Turn& t) {
  std::vector<Notice> notices;
  leases.CollectNotices(t.now, &notices);
  actors.CollectNotices(t.now, &notices);
  groups.CollectNotices(t.now, &notices);
  for (const Notice& notice : notices) {
    const auto job = jobs.jobs().find(notice.job);
    if (!jobs.Running(notice.job) || !job->second.info.driver.worker) continue;
    if (told_.size() >= kMostTold || !told_.insert({notice.job, notice.text}).second) continue;
    LogLines lines;
    lines.job = notice.job;
    lines.prefix = "shoal:";
    lines.is_stderr = true;
    lines.lines = {absl::StrCat(notice.text, ". A node may join that can; `shoal why` says more.")};
    Say(t, job->second.info.driver, std::move(lines));
  }
}

void Head::Impl::OnTick(const Turn& t) {
  for (NodeId id : detector.TakeSuspects(t.now)) shared.cluster.SetSuspect(id, true);
  for (NodeId id : detector.TakeSilent(t.now)) {
    NodeRecord* node = shared.cluster.Find(id);
    if (node == nullptr || node->state == NodeState::kDead) continue;
    NodeLost(t, *node, NodeEvent::kFallsSilent, "no heartbeat came in time");
  }
  for (PlacementGroupId group : groups.OnTick(t)) {
    actors.OnGroupRemoved(t, group);
    leases.OnGroupRemoved(t, group);
  }
  actors.OnTick(t);
  leases.OnTick(t);
  if (!absence_trusted_ && t.now >= shared.trust_absence_from) {
    absence_trusted_ = true;
    leases.MarkAllDirty();
    actors.MarkWaitingNew();
  }
  if (t.now >= refresh_at_) {
    refresh_at_ = t.now + shared.options.refresh;
    leases.MarkAllDirty();
  }
  if (t.now >= repeat_nodes_at_) tell_nodes_at_ = t.now;
  if (tell_nodes_at_ && t.now >= *tell_nodes_at_) {
    tell_nodes_at_.reset();
    repeat_nodes_at_ = t.now + kRepeatNodesRefreshes * shared.options.refresh;
    SayNews(t);
  }
  if (make_room_at_ && t.now >= *make_room_at_) {
    MakeRoomForWaiting(t);
    TellOfTheInfeasible(t);
  }
  if (schedule_at_ && t.now >= *schedule_at_) actors.MarkWaitingNew();
  FinishTurn(t);
}

std::optional<TimePoint> Head::Impl::NextDeadline() const {
  TimePoint next = std::min(refresh_at_, repeat_nodes_at_);
  auto consider = [&](std::optional<TimePoint> time) {
    if (time) next = std::min(next, *time);
  };
  consider(detector.NextDeadline());
  consider(groups.NextDeadline());
  consider(actors.NextDeadline());
  consider(leases.NextDeadline());
  consider(tell_nodes_at_);
  consider(schedule_at_);
  consider(make_room_at_);
  if (!absence_trusted_) consider(shared.trust_absence_from);
  return next;
}

// ---- looking at it

void Head::Impl::CheckInvariants() const {
  shared.cluster.CheckInvariants();
  groups.CheckInvariants();
  actors.CheckInvariants();
  leases.CheckInvariants();
  jobs.CheckInvariants();
  for (const auto& [id, node] : shared.cluster.nodes()) {
    SHOAL_CHECK((node->state != NodeState::kDead) == detector.Watches(id)) << id.Hex() << " is " << NameOf(node->state);
  }
}

std::string Head::Impl::Remains() const {
  for (const auto& [id, job] : jobs.jobs()) {
    if (job.state == JobState::kRunning) return absl::StrCat("job ", id.Hex(), " runs");
  }
  for (const auto& [id, actor] : actors.actors()) {
    const bool remains = actor.state != ActorState::kDead && !actor.spec.detached;
    if (remains) return absl::StrCat("actor ", id.Hex(), " \"", actor.spec.name, "\" is ", NameOf(actor.state));
  }
  for (const auto& [id, group] : groups.groups()) {
    const bool remains = group.state != PlacementGroupStateKind::kRemoved && !group.spec.detached;
    if (remains) return absl::StrCat("placement group ", id.Hex(), " is ", NameOf(group.state));
  }
  for (const auto& [id, record] : leases.shapes()) {
    return absl::StrCat(record.demands.begin()->first.ToString(), " wants leases of shape ", id.Hex());
  }
  if (leases.requests() > 0) return absl::StrCat(leases.requests(), " requests for leases are on their way");
  for (const auto& [id, node] : shared.cluster.nodes()) {
    if (!node->report.leases.empty()) return absl::StrCat("node ", id.Hex(), " has lease ", node->report.leases[0].lease.Hex());
  }
  return "";
}

// ---- the public face

Head::Head(HeadOptions options, std::vector<StoreRow> stored, Rng rng)
    : impl_(std::make_unique<Impl>(options, std::move(stored), rng)) {}
Head::~Head() = default;

void Head::Start(TimePoint now, HeadActions* actions) { impl_->Start({now, actions}); }
void Head::OnMessage(TimePoint now, const Address& from, Message&& message, HeadActions* actions) {
  impl_->OnMessage({now, actions}, from, std::move(message));
}
void Head::OnPeerReset(TimePoint now, NodeId node, HeadActions* actions) { impl_->OnPeerReset({now, actions}, node); }
void Head::OnTick(TimePoint now, HeadActions* actions) { impl_->OnTick({now, actions}); }
std::optional<TimePoint> Head::NextDeadline() const { return impl_->NextDeadline(); }
void Head::CheckInvariants() const { impl_->CheckInvariants(); }
void Head::AddToken(TimePoint now, const std::string& token_public_key, int64_t expires_unix_s, HeadActions* actions) {
  impl_->enrolment.AddToken({now, actions}, token_public_key, expires_unix_s);
}
absl::StatusOr<NodeId> Head::Enrol(TimePoint now, int64_t unix_s, const std::string& token_public_key,
                                   const std::string& node_public_key, HeadActions* actions) {
  return impl_->enrolment.Enrol({now, actions}, unix_s, token_public_key, node_public_key);
}
NodeId Head::Admit(TimePoint now, const std::string& node_public_key, HeadActions* actions) {
  return impl_->enrolment.Admit({now, actions}, node_public_key);
}
std::vector<AllowedKey> Head::AllowedKeys(int64_t unix_s) const { return impl_->enrolment.AllowedKeys(unix_s); }
uint64_t Head::cluster_id() const { return impl_->shared.cluster_id; }
uint64_t Head::epoch() const { return impl_->shared.epoch; }
std::string Head::Remains() const { return impl_->Remains(); }

}  // namespace shoal::scheduler
