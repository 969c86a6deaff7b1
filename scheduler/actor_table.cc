#include "scheduler/actor_table.h"

#include <algorithm>

#include "base/buggify.h"

namespace shoal::scheduler {
namespace {

std::string Subject(ActorId id) { return absl::StrCat("actor ", id.Hex()); }

// What a dead actor's record needs to keep for people.
void Strip(ActorSpec* spec) {
  spec->code = {};
  spec->handle = {};
  spec->creation.args = {};
  spec->creation.options = {};
  spec->creation.refs.clear();
  spec->creation.nested.clear();
}

bool InGroup(const ActorSpec& spec) { return spec.shape.strategy.kind == StrategyKind::kPlacementGroup; }

// The worker or its surroundings failed, not the constructor.
bool IsCrash(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kWorkerCrashed:
    case ErrorKind::kNodeDied:
    case ErrorKind::kOutOfMemory:
    case ErrorKind::kActorUnavailable:
    case ErrorKind::kSystem:
      return true;
    default:
      return false;
  }
}

}  // namespace

// ---- after a start

void ActorTable::RestoreSpec(const StoreRow& row) {
  ActorSpec spec = RowValue<ActorSpec>(row);
  ActorRecord& actor = actors_[spec.id];
  actor.spec = std::move(spec);
  actor.announced = true;
}

void ActorTable::RestoreState(const StoreRow& row) {
  ActorId id;
  SHOAL_CHECK(absl::SimpleHexAtoi(absl::string_view(row.key).substr(row.key.find('/') + 1), &id.value)) << row.key;
  ActorRecord& actor = actors_[id];
  static_cast<ActorRow&>(actor) = RowValue<ActorRow>(row);
  actor.spec.id = id;
}

void ActorTable::Index(ActorRecord& actor) {
  const ActorSpec& spec = actor.spec;
  if (!spec.name.empty()) names_[{spec.ns, spec.name}] = spec.id;
  if (!spec.detached) owned_[spec.owner].insert(spec.id);
  if (InGroup(spec)) in_group_[spec.shape.strategy.group].insert(spec.id);
  if (actor.node) hosted_[actor.node].insert(spec.id);
}

void ActorTable::Unindex(const ActorRecord& actor) {
  const ActorSpec& spec = actor.spec;
  const auto erase = [&](auto& index, const auto& key) {
    auto it = index.find(key);
    if (it == index.end()) return;
    it->second.erase(spec.id);
    if (it->second.empty()) index.erase(it);
  };
  if (!spec.name.empty() && !SHOAL_DELIBERATE_BUG("head.name_not_released")) names_.erase({spec.ns, spec.name});
  erase(owned_, spec.owner);
  if (InGroup(spec)) erase(in_group_, spec.shape.strategy.group);
}

void ActorTable::FinishRestore(const Turn& t) {
  for (auto& [id, actor] : actors_) {
    if (actor.state == ActorState::kDead) {
      dead_.push_back(id);
      continue;
    }
    Index(actor);
    if (!actor.node) Wait(t, actor);
  }
}

std::vector<std::pair<NodeId, uint64_t>> ActorTable::NodesInUse() const {
  std::vector<std::pair<NodeId, uint64_t>> nodes;
  for (const auto& [node, actors] : hosted_) nodes.emplace_back(node, actors_.at(*actors.begin()).node_incarnation);
  return nodes;
}

// ---- records

ActorRecord* ActorTable::Find(ActorId id) {
  auto it = actors_.find(id);
  return it == actors_.end() ? nullptr : &it->second;
}

ActorRecord& ActorTable::Seek(const Turn& t, ActorId id) {
  auto [it, added] = actors_.try_emplace(id);
  ActorRecord& actor = it->second;
  if (added) {
    actor.spec.id = id;
    actor.unknown_until = t.now + shared_.options.dead_after;
    unknown_.emplace(actor.unknown_until, id);
  }
  return actor;
}

void ActorTable::Become(const Turn& t, ActorRecord& actor, ActorEvent event, const std::string& reason) {
  const ActorState before = actor.state;
  actor.state = ActorTransitions().Next(before, event);
  if (actor.state != before) shared_.log.Add(t, Subject(actor.spec.id), NameOf(before), NameOf(actor.state), reason);
}

void ActorTable::Save(const Turn& t, const ActorRecord& actor) {
  PutRow(t, RowKey("actor", actor.spec.id), static_cast<const ActorRow&>(actor));
}

ActorUpdate ActorTable::UpdateOf(const ActorRecord& actor) const {
  ActorUpdate update;
  update.actor = actor.spec.id;
  update.existing = actor.existing;
  const ActorRecord* shown = &actor;
  if (actor.existing) {
    auto it = actors_.find(actor.existing);
    if (it != actors_.end()) shown = &it->second;
  }
  update.state = shown->state;
  update.address = shown->state == ActorState::kAlive ? Address{shown->node, shown->worker} : Address{};
  update.incarnation = shown->incarnation;
  update.error = shown->error;
  update.max_task_retries = shown->spec.max_task_retries;
  return update;
}

void ActorTable::Tell(const Turn& t, const ActorRecord& actor) {
  const ActorUpdate update = UpdateOf(actor);
  auto tell = [&](const Address& to) {
    // Those on dead nodes are told when their node comes back.
    if (shared_.cluster.Alive(to.node)) Say(t, to, update);
  };
  if (actor.announced) tell(actor.spec.owner);
  for (const Address& watcher : watches_.Watchers(actor.spec.id)) {
    if (watcher != actor.spec.owner) tell(watcher);
  }
}

void ActorTable::StateAnew(const Turn& t, NodeId node) {
  for (const auto& [watcher, id] : watches_.WatchedFrom(node)) {
    if (const ActorRecord* actor = Find(id)) Say(t, watcher, UpdateOf(*actor));
  }
  for (const auto& [id, actor] : actors_) {
    if (actor.announced && actor.spec.owner.node == node) Say(t, actor.spec.owner, UpdateOf(actor));
  }
}

// ---- requests

bool ActorTable::TakeName(const Turn& t, const Address& from, ActorRecord& actor) {
  if (actor.spec.name.empty()) return true;
  const auto [it, taken_now] = names_.try_emplace(Name{actor.spec.ns, actor.spec.name}, actor.spec.id);
  if (taken_now) return true;
  ErrorInfo why;
  if (actor.spec.get_if_exists) {
    actor.existing = it->second;
    watches_.Add(t, it->second, from);
  } else {
    why = MakeError(ErrorKind::kNameTaken, absl::StrCat("an actor named \"", actor.spec.name, "\" exists in namespace \"",
                                                        actor.spec.ns, "\"; choose another name or get_if_exists"));
  }
  // A record of its own, so that a repeated request gets this answer even when the name has become free.
  actor.spec.name.clear();
  End(t, actor, why);
  return false;
}

void ActorTable::OnCreate(const Turn& t, const Address& from, ActorSpec&& spec, bool job_over) {
  if (!spec.id) return;
  const ActorId id = spec.id;
  ActorRecord& actor = Seek(t, id);
  if (actor.announced || actor.state == ActorState::kDead) return Say(t, from, UpdateOf(actor));
  unknown_.erase({actor.unknown_until, id});
  actor.announced = true;
  actor.spec = std::move(spec);
  actor.spec.owner = from;
  if (job_over && !actor.spec.detached) {
    actor.spec.name.clear();
    return End(t, actor, MakeError(ErrorKind::kActorDied, "its job has finished"));
  }
  if (!TakeName(t, from, actor)) return;
  Index(actor);
  shared_.log.Add(t, Subject(id), "", NameOf(actor.state), absl::StrCat("created by ", from.ToString()));
  PutRow(t, RowKey("actor_spec", id), actor.spec);
  Save(t, actor);
  Wait(t, actor);
  Tell(t, actor);
}

void ActorTable::OnWatch(const Turn& t, const Address& from, ActorId id) {
  if (!id) return;
  const ActorRecord& actor = Seek(t, id);
  watches_.Add(t, id, from);
  Say(t, from, UpdateOf(actor));
}

void ActorTable::OnGet(const Turn& t, const Address& from, const FindActor& message) {
  FindActorReply reply;
  reply.request = message.request;
  auto it = names_.find({message.ns, message.name});
  if (it == names_.end()) {
    reply.error = MakeError(ErrorKind::kNotFound, absl::StrCat("there is no actor named \"", message.name, "\" in namespace \"",
                                                               message.ns, "\""));
  } else {
    const ActorRecord& actor = actors_.at(it->second);
    reply.actor = it->second;
    reply.handle = actor.spec.handle;
    reply.max_task_retries = actor.spec.max_task_retries;
  }
  Say(t, from, std::move(reply));
}

void ActorTable::OnKill(const Turn& t, const KillActor& message) {
  const bool final = message.no_restart || message.when_idle;
  if (!message.actor || (!final && Find(message.actor) == nullptr)) return;
  ActorRecord& actor = Seek(t, message.actor);
  if (actor.state == ActorState::kDead) return;
  if (message.when_idle && actor.node) {
    if (std::exchange(actor.retiring, true)) return;
    Save(t, actor);
    return Stop(t, actor.node, actor.spec.id, actor.incarnation, true, "no handle is left");
  }
  if (final) {
    return End(t, actor, MakeError(ErrorKind::kActorDied, message.when_idle ? "no handle is left" : "it was killed"));
  }
  if (!actor.node) return;  // it is about to start anyway
  actor.restart_asked = true;
  Save(t, actor);
  Stop(t, actor.node, actor.spec.id, actor.incarnation, false, "it was killed and may restart");
}

// ---- its life on a node

void ActorTable::Stop(const Turn& t, NodeId node, ActorId actor, uint64_t incarnation, bool when_idle,
                      const std::string& reason) {
  if (!shared_.cluster.Alive(node)) return;
  Say(t, Address::Raylet(node), StopActor{shared_.epoch, actor, incarnation, when_idle, reason});
}

void ActorTable::LeaveNode(ActorRecord& actor) {
  if (!actor.node) return;
  if (actor.reservation != 0) shared_.cluster.GiveBack(actor.node, actor.reservation, 1);
  auto it = hosted_.find(actor.node);
  it->second.erase(actor.spec.id);
  if (it->second.empty()) hosted_.erase(it);
  actor.reservation = 0;
  actor.node = {};
  actor.node_incarnation = 0;
  actor.worker = {};
  actor.seen = false;
}

void ActorTable::Alive(const Turn& t, ActorRecord& actor, WorkerId worker) {
  if (actor.reservation != 0) shared_.cluster.Settle(actor.node, std::exchange(actor.reservation, 0));
  StopWaiting(actor);
  actor.worker = worker;
  actor.error = {};
  Become(t, actor, ActorEvent::kStarted, absl::StrCat("on node ", actor.node.Hex()));
  Save(t, actor);
  Tell(t, actor);
}

void ActorTable::Lost(const Turn& t, ActorRecord& actor, const ErrorInfo& why) {
  LeaveNode(actor);
  actor.restart_asked = false;
  const int32_t most = actor.spec.max_restarts;
  const bool may_restart = most < 0 || actor.restarts < static_cast<uint32_t>(most);
  if (!may_restart || actor.retiring) {
    std::string message = why.message;
    if (most > 0) absl::StrAppend(&message, "; all ", most, " restarts are used up");
    return End(t, actor, MakeError(ErrorKind::kActorDied, std::move(message)));
  }
  if (!SHOAL_DELIBERATE_BUG("head.forget_restart_count")) ++actor.restarts;
  actor.error = MakeError(ErrorKind::kActorUnavailable, why.message);
  Become(t, actor, ActorEvent::kLost, why.message);
  Save(t, actor);
  Wait(t, actor);
  Tell(t, actor);
}

void ActorTable::PlaceAgain(const Turn& t, ActorRecord& actor, const ErrorInfo& why) {
  LeaveNode(actor);
  if (actor.retiring) return End(t, actor, MakeError(ErrorKind::kActorDied, "no handle is left"));
  actor.restart_asked = false;
  actor.reason = why.message;
  Become(t, actor, ActorEvent::kRefused, why.message);
  Save(t, actor);
  Wait(t, actor);
}

void ActorTable::End(const Turn& t, ActorRecord& actor, const ErrorInfo& why) {
  if (actor.state == ActorState::kDead) return;
  const ActorId id = actor.spec.id;
  if (actor.node) Stop(t, actor.node, id, actor.incarnation, false, why.message);
  LeaveNode(actor);
  StopWaiting(actor);
  unknown_.erase({actor.unknown_until, id});
  Unindex(actor);
  actor.error = why;
  Become(t, actor, ActorEvent::kEnded, why.message);
  Strip(&actor.spec);
  PutRow(t, RowKey("actor_spec", id), actor.spec);
  Save(t, actor);
  Tell(t, actor);
  dead_.push_back(id);
  ForgetOldDead(t);
}

void ActorTable::ForgetOldDead(const Turn& t) {
  // The newest stays: its caller still looks at it.
  while (dead_.size() > kDeadKept) {
    const ActorId id = dead_.front();
    dead_.pop_front();
    watches_.ForgetId(t, id);
    actors_.erase(id);
    DeleteRow(t, RowKey("actor", id));
    DeleteRow(t, RowKey("actor_spec", id));
  }
}

// ---- raylets

void ActorTable::OnStarted(const Turn& t, NodeId from, const ActorStarted& message) {
  ActorRecord* actor = Find(message.actor);
  const bool current = actor != nullptr && actor->node == from && actor->incarnation == message.incarnation;
  if (!current) {
    if (!message.error) Stop(t, from, message.actor, message.incarnation, false, "it is not to run here");
    return;
  }
  if (actor->state != ActorState::kStarting) return;
  if (!message.error) return Alive(t, *actor, message.address.worker);
  const bool no_bundle = message.error.kind == ErrorKind::kPlacementGroupRemoved;
  if (message.error.kind == ErrorKind::kUnschedulable || no_bundle) {
    // If the group really is removed, the next try finds that out.
    if (actor->has_need) shared_.cluster.Exclude(from, actor->need);
    return PlaceAgain(t, *actor, message.error);
  }
  if (IsCrash(message.error.kind)) return Lost(t, *actor, message.error);
  LeaveNode(*actor);
  End(t, *actor, message.error);
}

void ActorTable::OnExited(const Turn& t, NodeId from, const ActorExited& message) {
  ActorRecord* actor = Find(message.actor);
  const bool current = actor != nullptr && actor->node == from && actor->incarnation == message.incarnation;
  if (!current) return;
  ErrorInfo why = message.error;
  if (why.message.empty()) why.message = message.intended ? "it left by itself" : "its process ended";
  if (!message.intended || actor->restart_asked) return Lost(t, *actor, why);
  LeaveNode(*actor);
  End(t, *actor, MakeError(ErrorKind::kActorDied, why.message));
}

void ActorTable::ReconcileListed(const Turn& t, NodeRecord& node, const ActorReport& report) {
  const NodeId at = node.info.id;
  ActorRecord* actor = Find(report.actor);
  const bool right = actor != nullptr && actor->node == at && actor->incarnation == report.incarnation;
  if (!right) return Stop(t, at, report.actor, report.incarnation, false, "it is not to run here");
  if (actor->state == ActorState::kStarting) {
    actor->seen = true;
    // This report counts what it holds.
    if (actor->reservation != 0) shared_.cluster.GiveBack(at, std::exchange(actor->reservation, 0), 1);
    if (report.ready) Alive(t, *actor, report.worker);
  }
  if (actor->restart_asked) Stop(t, at, report.actor, report.incarnation, false, "it was killed and may restart");
  if (actor->retiring) Stop(t, at, report.actor, report.incarnation, true, "no handle is left");
}

void ActorTable::ReconcileMissing(const Turn& t, NodeRecord& node, ActorRecord& actor) {
  if (actor.state == ActorState::kAlive || actor.seen) {
    return Lost(t, actor, MakeError(ErrorKind::kWorkerCrashed, "its node no longer has it"));
  }
  if (actor.start_link != node.link) {
    return PlaceAgain(t, actor, MakeError(ErrorKind::kUnschedulable, "the request to start it was lost"));
  }
  // Over the same link nothing is lost: the report is older than the request. Saying it again would be a second StartActor under way
  // when the first one is refused and the actor placed elsewhere.
}

void ActorTable::OnReport(const Turn& t, NodeRecord& node) {
  absl::btree_set<ActorId> listed;
  const std::vector<ActorReport> reports = node.report.actors;
  for (const ActorReport& report : reports) {
    listed.insert(report.actor);
    ReconcileListed(t, node, report);
  }
  auto it = hosted_.find(node.info.id);
  if (it == hosted_.end()) return;
  const absl::btree_set<ActorId> here = it->second;
  for (ActorId id : here) {
    if (!listed.contains(id)) ReconcileMissing(t, node, actors_.at(id));
  }
}

void ActorTable::OnNodeLost(const Turn& t, NodeId node) {
  auto it = hosted_.find(node);
  if (it == hosted_.end()) return;
  const absl::btree_set<ActorId> here = it->second;
  const ErrorInfo why = MakeError(ErrorKind::kNodeDied, absl::StrCat("its node ", node.Hex(), " died"));
  for (ActorId id : here) {
    ActorRecord& actor = actors_.at(id);
    // Where the raylet has not even said that it begins, nothing has happened yet that could be counted.
    const bool began = actor.state == ActorState::kAlive || actor.seen;
    began ? Lost(t, actor, why) : PlaceAgain(t, actor, why);
  }
}

// ---- lives

void ActorTable::OnOwnerLost(const Turn& t, const Address& owner) {
  auto it = owned_.find(owner);
  if (it == owned_.end()) return;
  const absl::btree_set<ActorId> owned = it->second;
  for (ActorId id : owned) {
    End(t, actors_.at(id), MakeError(ErrorKind::kActorDied, absl::StrCat("its owner ", owner.ToString(), " has ended")));
  }
}

void ActorTable::OnOwnerNodeLost(const Turn& t, NodeId node) {
  std::vector<Address> owners;
  for (auto it = owned_.lower_bound(Address{node, {}}); it != owned_.end() && it->first.node == node; ++it) {
    owners.push_back(it->first);
  }
  for (const Address& owner : owners) OnOwnerLost(t, owner);
}

void ActorTable::CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const {
  for (auto it = owned_.lower_bound(Address{node, {}}); it != owned_.end() && it->first.node == node; ++it) {
    processes->insert(it->first);
  }
  for (const Address& watcher : watches_.WatchersOn(node)) processes->insert(watcher);
}

void ActorTable::OnJobOver(const Turn& t, JobId job) {
  std::vector<ActorId> ending;
  for (const auto& [id, actor] : actors_) {
    const bool ends = actor.announced && actor.state != ActorState::kDead && !actor.spec.detached && actor.spec.job == job;
    if (ends) ending.push_back(id);
  }
  for (ActorId id : ending) End(t, actors_.at(id), MakeError(ErrorKind::kActorDied, "its job has finished"));
}

void ActorTable::OnGroupRemoved(const Turn& t, PlacementGroupId group) {
  auto it = in_group_.find(group);
  if (it == in_group_.end()) return;
  const absl::btree_set<ActorId> ending = it->second;
  for (ActorId id : ending) {
    End(t, actors_.at(id),
        MakeError(ErrorKind::kPlacementGroupRemoved, absl::StrCat("its placement group ", group.Hex(), " was removed")));
  }
}

// ---- time

void ActorTable::OnTick(const Turn& t) {
  while (!unknown_.empty() && unknown_.begin()->first <= t.now) {
    ActorRecord& actor = actors_.at(unknown_.begin()->second);
    End(t, actor, MakeError(ErrorKind::kActorDied, absl::StrCat("actor ", actor.spec.id.Hex(), " is unknown")));
  }
}

std::optional<TimePoint> ActorTable::NextDeadline() const {
  if (unknown_.empty()) return std::nullopt;
  return unknown_.begin()->first;
}

void ActorTable::CheckInvariants() const {
  size_t hosted = 0, owned = 0, waiting = waiting_bound_.size(), dead = 0, named = 0;
  for (const auto& [node, actors] : hosted_) hosted += actors.size();
  for (const auto& [owner, actors] : owned_) owned += actors.size();
  absl::btree_map<PlacementGroupId, absl::btree_set<ActorId>> in_group;
  for (const auto& [need, actors] : waiting_) waiting += actors.size();
  for (const auto& [id, actor] : actors_) {
    SHOAL_CHECK(actor.spec.id == id);
    const bool lives = actor.state == ActorState::kStarting || actor.state == ActorState::kAlive;
    SHOAL_CHECK(lives == static_cast<bool>(actor.node)) << id.Hex() << " is " << NameOf(actor.state);
    SHOAL_CHECK((actor.state == ActorState::kAlive) == static_cast<bool>(actor.worker)) << id.Hex();
    SHOAL_CHECK(actor.reservation == 0 || actor.state == ActorState::kStarting);
    const bool seeks = actor.announced && !actor.node && actor.state != ActorState::kDead;
    if (lives) {
      SHOAL_CHECK(hosted_.at(actor.node).contains(id));
      SHOAL_CHECK(shared_.cluster.AliveOrExpected(actor.node)) << id.Hex() << " lives on a dead node";
      --hosted;
    }
    if (seeks) {
      const auto it = waiting_.find(actor.need);
      SHOAL_CHECK(waiting_bound_.contains(id) || (it != waiting_.end() && it->second.contains(id))) << id.Hex();
      --waiting;
    }
    if (actor.state == ActorState::kDead) {
      ++dead;
      SHOAL_CHECK(!actor.has_need);
    } else if (actor.announced) {
      if (!actor.spec.detached) --owned;
      if (InGroup(actor.spec)) in_group[actor.spec.shape.strategy.group].insert(id);
      if (!actor.spec.name.empty()) ++named;
      if (!actor.spec.name.empty()) SHOAL_CHECK(names_.at({actor.spec.ns, actor.spec.name}) == id);
      SHOAL_CHECK(actor.spec.max_restarts < 0 || actor.restarts <= static_cast<uint32_t>(actor.spec.max_restarts));
    }
  }
  SHOAL_CHECK(hosted == 0 && owned == 0 && waiting == 0 && in_group == in_group_);
  SHOAL_CHECK(dead == dead_.size() && named == names_.size());
  watches_.CheckInvariants();
}

}  // namespace shoal::scheduler
