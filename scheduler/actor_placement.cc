// How an actor that waits finds a node: the half of ActorTable that places.
#include <algorithm>

#include "base/buggify.h"
#include "scheduler/actor_table.h"
#include "scheduler/policy/choose_node.h"

namespace shoal::scheduler {
namespace {

bool IsBound(const Strategy& strategy) {
  return strategy.kind == StrategyKind::kPlacementGroup || strategy.kind == StrategyKind::kNodeAffinity;
}

}  // namespace

void ActorTable::Wait(const Turn&, ActorRecord& actor) {
  const ActorSpec& spec = actor.spec;
  new_waiting_ = true;
  if (!actor.has_need) {
    Need need;
    if (spec.shape.strategy.kind == StrategyKind::kPlacementGroup) {
      // The bundle's own resources are the raylet's business; only refusals count here.
      need.salt = StableHash(spec.shape.strategy);
    } else {
      need.resources = spec.ToFind();
      need.labels = spec.shape.labels;
    }
    actor.need = shared_.cluster.index().Intern(need);
    actor.has_need = true;
  }
  if (IsBound(spec.shape.strategy)) {
    waiting_bound_.insert(spec.id);
  } else {
    waiting_[actor.need].insert(spec.id);
  }
}

// Also forgets its need; called when it has found its place, or has ended.
void ActorTable::StopWaiting(ActorRecord& actor) {
  if (!actor.has_need) return;
  waiting_bound_.erase(actor.spec.id);
  if (auto it = waiting_.find(actor.need); it != waiting_.end()) {
    it->second.erase(actor.spec.id);
    if (it->second.empty()) waiting_.erase(it);
  }
  shared_.cluster.index().Release(actor.need);
  actor.has_need = false;
}

void ActorTable::PlaceWaiting(const Turn& t) {
  const std::vector<ActorId> bound(waiting_bound_.begin(), waiting_bound_.end());
  for (ActorId id : bound) TryPlace(t, actors_.at(id));
  std::vector<NeedId> needs;
  for (const auto& [need, actors] : waiting_) needs.push_back(need);
  for (NeedId need : needs) {
    while (shared_.cluster.index().AnyFits(need)) {
      auto it = waiting_.find(need);
      if (it == waiting_.end() || !TryPlace(t, actors_.at(*it->second.begin()))) break;
    }
  }
}

void ActorTable::AskForRoom(RoomView* view) const {
  const auto ask = [&](const ActorRecord& actor) {
    view->Ask(shared_.cluster.index().need(actor.need), actor.spec.shape.strategy, actor.spec.id.value);
  };
  for (ActorId id : waiting_bound_) {
    const ActorRecord& actor = actors_.at(id);
    if (actor.spec.shape.strategy.kind == StrategyKind::kNodeAffinity) ask(actor);
  }
  for (const auto& [need, actors] : waiting_) ask(actors_.at(*actors.begin()));  // the others are next
}

void ActorTable::CollectNotices(TimePoint now, std::vector<Notice>* notices) {
  const auto look = [&](ActorId id) {
    ActorRecord& actor = actors_.at(id);
    if (actor.notice.told()) return;
    const std::string why = Infeasible(shared_.cluster, actor.need);
    if (why.empty() || !actor.notice.Due(now)) return;
    const std::string wants = shared_.cluster.index().need(actor.need).resources.ToString();
    notices->push_back({actor.spec.job, absl::StrCat("actors made by ", actor.spec.creation.name, " that want ", wants, " wait: ", why)});
  };
  for (const auto& [need, ids] : waiting_) std::for_each(ids.begin(), ids.end(), look);
  for (ActorId id : waiting_bound_) {
    if (actors_.at(id).spec.shape.strategy.kind == StrategyKind::kNodeAffinity) look(id);
  }
}

NodeRecord* ActorTable::ChooseBundleNode(const Turn& t, const ActorRecord& actor, ErrorInfo* never) {
  const Strategy& strategy = actor.spec.shape.strategy;
  const ResourceSet& resources = actor.spec.shape.resources;
  const GroupRecord& group = groups_.Seek(t, strategy.group);
  if (group.state == PlacementGroupStateKind::kRemoved) {
    *never = MakeError(ErrorKind::kPlacementGroupRemoved,
                       absl::StrCat("its placement group ", strategy.group.Hex(), " was removed"));
    return nullptr;
  }
  if (!group.announced) return nullptr;
  bool could = false;
  for (size_t i = 0; i < group.spec.bundles.size(); ++i) {
    const bool eligible = strategy.bundle < 0 || static_cast<size_t>(strategy.bundle) == i;
    could = could || (eligible && group.spec.bundles[i].Contains(resources));
  }
  if (!could) {
    *never = MakeError(ErrorKind::kUnschedulable,
                       absl::StrCat(resources.ToString(), " fits into no such bundle of placement group ", strategy.group.Hex()));
    return nullptr;
  }
  for (NodeId id : groups_.NodesOf(group, strategy.bundle)) {
    NodeRecord* node = shared_.cluster.Find(id);
    const bool open = node != nullptr && node->alive() && shared_.cluster.index().Fits(actor.need, node->slot);
    if (open && groups_.Capacity(group, strategy.bundle, id, resources, 1) > 0) return node;
  }
  return nullptr;
}

bool ActorTable::TryPlace(const Turn& t, ActorRecord& actor) {
  const Strategy& strategy = actor.spec.shape.strategy;
  NodeRecord* node = nullptr;
  ErrorInfo never;
  if (strategy.kind == StrategyKind::kPlacementGroup) {
    node = ChooseBundleNode(t, actor, &never);
  } else {
    node = ChooseNode(shared_.cluster, shared_.rng, actor.need, strategy, {}, &spread_cursor_);
    if (node == nullptr && t.now >= shared_.trust_absence_from) {
      const std::string reason = NeverFits(shared_.cluster, actor.need, strategy);
      if (!reason.empty()) never = MakeError(ErrorKind::kUnschedulable, reason);
    }
  }
  if (never) {
    End(t, actor, never);
    return false;
  }
  if (node == nullptr) return false;
  StartOn(t, actor, *node);
  return true;
}

void ActorTable::StartOn(const Turn& t, ActorRecord& actor, NodeRecord& node) {
  const ActorId id = actor.spec.id;
  waiting_bound_.erase(id);
  if (auto it = waiting_.find(actor.need); it != waiting_.end()) {
    it->second.erase(id);
    if (it->second.empty()) waiting_.erase(it);
  }
  ++actor.incarnation;
  actor.node = node.info.id;
  actor.node_incarnation = node.info.incarnation;
  actor.start_link = node.link;
  actor.seen = false;
  actor.reason.clear();
  actor.reservation = shared_.cluster.Reserve(node, actor.need, 1);
  hosted_[node.info.id].insert(id);
  Become(t, actor, ActorEvent::kPlaced, absl::StrCat("on node ", node.info.id.Hex()));
  Save(t, actor);
  // Once per incarnation: it is never repeated, see ReconcileMissing.
  Say(t, Address::Raylet(node.info.id), StartActor{shared_.epoch, actor.incarnation, actor.spec});
}

std::string ActorTable::WhyWaiting(const ActorRecord& actor) const {
  if (!actor.announced) return "nobody has created it yet";
  return actor.reason;
}

}  // namespace shoal::scheduler
