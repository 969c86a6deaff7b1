#include "scheduler/placement_group_table.h"

#include <algorithm>
#include <utility>

#include "base/buggify.h"
#include "scheduler/policy/plan_bundles.h"

namespace shoal::scheduler {
namespace {

std::string Subject(PlacementGroupId id) { return absl::StrCat("group ", id.Hex()); }

bool Valid(const PlacementGroupSpec& spec) {
  const bool labels_fit = spec.bundle_labels.empty() || spec.bundle_labels.size() == spec.bundles.size();
  return !spec.bundles.empty() && spec.bundles.size() <= PlacementGroupTable::kMostBundles && labels_fit;
}

// How often `need` is in `have`.
uint32_t Times(const ResourceSet& have, const ResourceSet& need, uint32_t limit) {
  int64_t times = limit;
  for (const auto& [name, steps] : need.amounts()) {
    if (steps > 0) times = std::min(times, have.Get(name) / steps);
  }
  return static_cast<uint32_t>(std::max<int64_t>(times, 0));
}

}  // namespace

void PlacementGroupTable::Restore(const StoreRow& row) {
  GroupRow stored = RowValue<GroupRow>(row);
  GroupRecord& group = groups_[stored.spec.id];
  group.spec = std::move(stored.spec);
  group.announced = true;
  Own(group);
  group.places.resize(group.spec.bundles.size());
  bool whole = true;
  for (size_t i = 0; i < group.places.size(); ++i) {
    const NodeId node = i < stored.nodes.size() ? stored.nodes[i] : NodeId{};
    whole = whole && node;
    if (!node) continue;
    group.places[i] = {BundleState::kHeld, node, 0};
    on_node_[node].insert(group.spec.id);
  }
  group.state = whole            ? PlacementGroupStateKind::kCreated
                : stored.created ? PlacementGroupStateKind::kRescheduling
                                 : PlacementGroupStateKind::kPending;
  if (!whole) Wait(group);
}

std::vector<NodeId> PlacementGroupTable::NodesInUse() const {
  std::vector<NodeId> nodes;
  for (const auto& [node, groups] : on_node_) nodes.push_back(node);
  return nodes;
}

const GroupRecord* PlacementGroupTable::Find(PlacementGroupId id) const {
  auto it = groups_.find(id);
  return it == groups_.end() ? nullptr : &it->second;
}

// ---- requests

void PlacementGroupTable::OnCreate(const Turn& t, const Address& from, PlacementGroupSpec&& spec) {
  const PlacementGroupId id = spec.id;
  if (!id) return;
  GroupRecord& group = groups_[id];
  if (group.announced || group.state == PlacementGroupStateKind::kRemoved) {
    return Say(t, from, UpdateOf(group));
  }
  unknown_.erase(id);
  group.announced = true;
  group.spec = std::move(spec);
  group.spec.owner = from;
  if (!Valid(group.spec)) {
    group.spec.bundles.clear();
    group.places.clear();
    Remove(t, id, MakeError(ErrorKind::kInvalidArgument,
                            absl::StrCat("a placement group has 1 to ", kMostBundles, " bundles, and no labels or one set for each")));
    return;
  }
  Own(group);
  group.places.resize(group.spec.bundles.size());
  shared_.log.Add(t, Subject(id), "", NameOf(group.state), absl::StrCat("created by ", from.ToString()));
  Wait(group);
  Save(t, group);
  Tell(t, group);
}

const GroupRecord& PlacementGroupTable::Seek(const Turn& t, PlacementGroupId id) {
  auto [it, added] = groups_.try_emplace(id);
  if (added) {
    it->second.spec.id = id;
    it->second.unknown_until = t.now + shared_.options.dead_after;
    it->second.reason = "nobody has created it yet";
    unknown_.insert(id);
  }
  return it->second;
}

void PlacementGroupTable::OnWatch(const Turn& t, const Address& from, PlacementGroupId id) {
  if (!id) return;
  const GroupRecord& group = Seek(t, id);
  watches_.Add(t, id, from);
  Say(t, from, UpdateOf(group));
}

void PlacementGroupTable::Answer(const Turn& t, const Address& to, PlacementGroupId id) {
  if (const GroupRecord* group = Find(id)) Say(t, to, UpdateOf(*group));
}

bool PlacementGroupTable::Remove(const Turn& t, PlacementGroupId id, const ErrorInfo& why) {
  if (!id) return false;
  Seek(t, id);
  GroupRecord& group = groups_[id];
  if (group.state == PlacementGroupStateKind::kRemoved) return false;
  if (group.attempt) FailAttempt(t, group, {}, "removed");
  absl::btree_map<NodeId, std::vector<int32_t>> held;
  for (size_t i = 0; i < group.places.size(); ++i) {
    if (group.held(i)) held[group.places[i].node].push_back(static_cast<int32_t>(i));
    group.places[i] = {};
  }
  for (auto& [node, indices] : held) {
    on_node_[node].erase(id);
    if (on_node_[node].empty()) on_node_.erase(node);
    Return(t, node, id, std::move(indices));
  }
  group.error = why;
  group.reason.clear();
  StopWaiting(group);
  unknown_.erase(id);
  Disown(group);
  Become(t, group, GroupEvent::kRemoved, why.message);
  DeleteRow(t, RowKey("group", id));
  Tell(t, group);
  removed_.push_back(id);
  ForgetOldRemoved(t);
  return true;
}

void PlacementGroupTable::ForgetOldRemoved(const Turn& t) {
  while (removed_.size() > kRemovedKept) {
    watches_.ForgetId(t, removed_.front());
    groups_.erase(removed_.front());
    removed_.pop_front();
  }
}

// ---- state and who hears of it

void PlacementGroupTable::Become(const Turn& t, GroupRecord& group, GroupEvent event, const std::string& reason) {
  const PlacementGroupStateKind before = group.state;
  group.state = GroupTransitions().Next(before, event);
  if (group.state != before) shared_.log.Add(t, Subject(group.spec.id), NameOf(before), NameOf(group.state), reason);
}

PlacementGroupUpdate PlacementGroupTable::UpdateOf(const GroupRecord& group) {
  PlacementGroupUpdate update;
  update.group = group.spec.id;
  update.state = group.state;
  for (const BundlePlace& place : group.places) {
    update.bundle_nodes.push_back(place.state == BundleState::kHeld ? place.node : NodeId{});
  }
  update.error = group.error;
  update.reason = group.reason;
  return update;
}

void PlacementGroupTable::Tell(const Turn& t, const GroupRecord& group) {
  const PlacementGroupUpdate update = UpdateOf(group);
  auto tell = [&](const Address& to) {
    if (shared_.cluster.Alive(to.node)) Say(t, to, update);
  };
  if (group.announced) tell(group.spec.owner);
  for (const Address& watcher : watches_.Watchers(group.spec.id)) {
    if (watcher != group.spec.owner) tell(watcher);
  }
}

void PlacementGroupTable::StateAnew(const Turn& t, NodeId node) {
  for (const auto& [watcher, id] : watches_.WatchedFrom(node)) Answer(t, watcher, id);
  for (const auto& [id, group] : groups_) {
    if (group.announced && group.spec.owner.node == node) Say(t, group.spec.owner, UpdateOf(group));
  }
}

void PlacementGroupTable::Save(const Turn& t, const GroupRecord& group) {
  GroupRow row;
  row.spec = group.spec;
  row.created = group.state == PlacementGroupStateKind::kCreated || group.state == PlacementGroupStateKind::kRescheduling;
  for (const BundlePlace& place : group.places) {
    row.nodes.push_back(place.state == BundleState::kHeld ? place.node : NodeId{});
  }
  PutRow(t, RowKey("group", group.spec.id), row);
}

// ---- placing

Need PlacementGroupTable::BundleNeed(const GroupRecord& group, size_t i) const {
  Need need;
  need.resources = group.spec.bundles[i];
  need.starts = false;
  if (!group.spec.bundle_labels.empty()) need.labels = group.spec.bundle_labels[i];
  return need;
}

void PlacementGroupTable::Wait(GroupRecord& group) {
  StopWaiting(group);
  FitIndex& index = shared_.cluster.index();
  Need sum{.starts = false};
  for (size_t i = 0; i < group.places.size(); ++i) {
    const Need need = BundleNeed(group, i);
    group.needs.push_back(index.Intern(need));
    if (group.held(i)) continue;
    sum.resources += need.resources;
    sum.labels.insert(sum.labels.end(), need.labels.begin(), need.labels.end());
  }
  std::sort(sum.labels.begin(), sum.labels.end());
  sum.labels.erase(std::unique(sum.labels.begin(), sum.labels.end()), sum.labels.end());
  group.sum_need = index.Intern(sum);
  waiting_.insert(group.spec.id);
  new_waiting_ = true;
}

void PlacementGroupTable::StopWaiting(GroupRecord& group) {
  if (waiting_.erase(group.spec.id) == 0) return;
  for (NeedId need : group.needs) shared_.cluster.index().Release(need);
  shared_.cluster.index().Release(group.sum_need);
  group.needs.clear();
  group.lacks.reset();
}

void PlacementGroupTable::PlaceWaiting(const Turn& t) {
  const std::vector<PlacementGroupId> waiting(waiting_.begin(), waiting_.end());
  for (PlacementGroupId id : waiting) {
    GroupRecord& group = groups_[id];
    if (group.lacks && !shared_.cluster.index().AnyFits(*group.lacks)) continue;
    group.lacks.reset();
    TryPlace(t, group);
  }
}

void PlacementGroupTable::AskForRoom(RoomView* view) const {
  for (PlacementGroupId id : waiting_) {
    const GroupRecord& group = groups_.at(id);
    std::vector<Need> needs;
    std::vector<NodeId> held;
    for (size_t i = 0; i < group.places.size(); ++i) {
      if (group.held(i)) {
        held.push_back(group.places[i].node);
      } else {
        needs.push_back(BundleNeed(group, i));
      }
    }
    view->AskBundles(group.spec.strategy, needs, shared_.cluster.index().need(group.sum_need), held, id.value);
  }
}

std::string PlacementGroupTable::WhyNever(const GroupRecord& group) const {
  if (!waiting_.contains(group.spec.id)) return "";
  if (group.spec.strategy == PackStrategy::kStrictPack) return Infeasible(shared_.cluster, group.sum_need);
  for (size_t i = 0; i < group.needs.size(); ++i) {
    const std::string why = group.held(i) ? "" : Infeasible(shared_.cluster, group.needs[i]);
    if (!why.empty()) return absl::StrCat("bundle ", i, " ", group.spec.bundles[i].ToString(), ": ", why);
  }
  const auto alive = std::count_if(shared_.cluster.nodes().begin(), shared_.cluster.nodes().end(),
                                   [](const auto& node) { return node.second->alive(); });
  if (group.spec.strategy != PackStrategy::kStrictSpread || group.places.size() <= static_cast<size_t>(alive)) return "";
  return absl::StrCat("STRICT_SPREAD wants a node for each of its ", group.places.size(), " bundles, and there are ", alive);
}

void PlacementGroupTable::CollectNotices(TimePoint now, std::vector<Notice>* notices) {
  for (PlacementGroupId id : waiting_) {
    GroupRecord& group = groups_.at(id);
    if (group.notice.told()) continue;
    const std::string why = WhyNever(group);
    if (why.empty() || !group.notice.Due(now)) continue;
    notices->push_back({group.spec.job, absl::StrCat("a placement group waits: ", why)});
  }
}

void PlacementGroupTable::TryPlace(const Turn& t, GroupRecord& group) {
  FitIndex& index = shared_.cluster.index();
  std::vector<size_t> missing;
  BundlePlan plan;
  plan.strategy = group.spec.strategy;
  plan.all_in_one = group.sum_need;
  for (size_t i = 0; i < group.places.size(); ++i) {
    if (!group.held(i)) {
      missing.push_back(i);
      plan.needs.push_back(group.needs[i]);
      continue;
    }
    const NodeRecord* node = shared_.cluster.Find(group.places[i].node);
    if (node != nullptr && node->alive()) {
      plan.held.push_back(node->slot);
    } else if (group.spec.strategy == PackStrategy::kStrictPack) {
      return;  // the others have to go where that one is, which has not come back yet
    }
  }
  if (const std::optional<std::vector<uint32_t>> slots = PlanBundles(index, plan, shared_.rng)) {
    return Ask(t, group, missing, *slots);
  }
  group.reason = "there is no room for all of its bundles at once";
  for (size_t i : missing) {
    if (index.AnyFits(group.needs[i])) continue;
    group.lacks = group.needs[i];
    group.reason = absl::StrCat("no node has room for bundle ", i, " ", group.spec.bundles[i].ToString());
    break;
  }
}

void PlacementGroupTable::Ask(const Turn& t, GroupRecord& group, const std::vector<size_t>& missing,
                              const std::vector<uint32_t>& slots) {
  const PlacementGroupId id = group.spec.id;
  group.attempt = shared_.rng.NewId<RequestId>();
  group.attempt_until = t.now + shared_.options.rpc_timeout;
  group.reason.clear();
  attempts_.insert(id);
  absl::btree_map<NodeId, PrepareBundles> asks;
  for (size_t k = 0; k < missing.size(); ++k) {
    const size_t i = missing[k];
    NodeRecord& node = shared_.cluster.AtSlot(slots[k]);
    group.places[i] = {BundleState::kAsked, node.info.id, shared_.cluster.Reserve(node, group.needs[i], 1)};
    on_node_[node.info.id].insert(id);
    asks[node.info.id].bundles.push_back({id, static_cast<int32_t>(i), group.spec.bundles[i]});
  }
  StopWaiting(group);
  for (auto& [node, ask] : asks) {
    ask.epoch = shared_.epoch;
    ask.request = group.attempt;
    Say(t, Address::Raylet(node), std::move(ask));
  }
  Become(t, group, GroupEvent::kPlanned, absl::StrCat("bundles are being prepared on ", asks.size(), " nodes"));
}

void PlacementGroupTable::OnPrepared(const Turn& t, NodeId from, const BundlesPrepared& message) {
  auto it = groups_.find(message.group);
  // An answer to an attempt that is over: its bundles were returned right after.
  if (it == groups_.end() || !message.request || it->second.attempt != message.request) return;
  GroupRecord& group = it->second;
  const bool refused = !message.ok || SHOAL_BUGGIFY("head.prepare_fails");
  if (refused) return FailAttempt(t, group, from, absl::StrCat("node ", from.Hex(), " had no room after all"));
  bool all = true;
  for (BundlePlace& place : group.places) {
    if (place.state == BundleState::kAsked && place.node == from) {
      place.state = BundleState::kPrepared;
      shared_.cluster.Settle(from, place.reservation);
    }
    all = all && place.state != BundleState::kAsked;
  }
  if (all) FinishAttempt(t, group);
}

void PlacementGroupTable::FinishAttempt(const Turn& t, GroupRecord& group) {
  absl::btree_map<NodeId, std::vector<int32_t>> commits;
  bool whole = true;
  for (size_t i = 0; i < group.places.size(); ++i) {
    whole = whole && group.places[i].state != BundleState::kNone;  // others may have been lost meanwhile
    if (group.places[i].state != BundleState::kPrepared) continue;
    group.places[i].state = BundleState::kHeld;
    commits[group.places[i].node].push_back(static_cast<int32_t>(i));
  }
  group.attempt = {};
  attempts_.erase(group.spec.id);
  if (whole) {
    Become(t, group, GroupEvent::kPrepared, "all bundles are reserved");
  } else {
    Wait(group);
  }
  created_.push_back(group.spec.id);
  Save(t, group);
  for (auto& [node, indices] : commits) {
    Say(t, Address::Raylet(node), CommitBundles{shared_.epoch, group.spec.id, std::move(indices)});
  }
  Tell(t, group);
}

void PlacementGroupTable::FailAttempt(const Turn& t, GroupRecord& group, NodeId refused_by, const std::string& reason) {
  const PlacementGroupId id = group.spec.id;
  absl::btree_map<NodeId, std::vector<int32_t>> back;
  std::vector<size_t> refused;
  for (size_t i = 0; i < group.places.size(); ++i) {
    BundlePlace& place = group.places[i];
    if (place.state != BundleState::kAsked && place.state != BundleState::kPrepared) continue;
    if (place.state == BundleState::kAsked) shared_.cluster.GiveBack(place.node, place.reservation, 1);
    if (place.node == refused_by) refused.push_back(i);
    back[place.node].push_back(static_cast<int32_t>(i));
    place = {};
  }
  for (auto& [node, indices] : back) {
    // What the node holds of the group from before stays in the index.
    const bool holds = std::any_of(group.places.begin(), group.places.end(),
                                   [n = node](const BundlePlace& place) { return place.node == n; });
    if (!holds) {
      on_node_[node].erase(id);
      if (on_node_[node].empty()) on_node_.erase(node);
    }
    Return(t, node, id, std::move(indices));
  }
  group.attempt = {};
  group.reason = reason;
  attempts_.erase(id);
  Wait(group);
  for (size_t i : refused) shared_.cluster.Exclude(refused_by, group.needs[i]);
  if (refused_by) shared_.cluster.Exclude(refused_by, group.sum_need);
  Become(t, group, GroupEvent::kFailed, reason);
}

void PlacementGroupTable::Return(const Turn& t, NodeId node, PlacementGroupId group, std::vector<int32_t> indices) {
  if (!shared_.cluster.Alive(node) || SHOAL_DELIBERATE_BUG("head.leak_group")) return;
  Say(t, Address::Raylet(node), ReturnBundles{shared_.epoch, group, std::move(indices)});
}

// ---- raylets

void PlacementGroupTable::OnReport(const Turn& t, NodeRecord& node) {
  const NodeId at = node.info.id;
  absl::btree_map<PlacementGroupId, std::vector<int32_t>> strange, uncommitted;
  absl::btree_set<std::pair<PlacementGroupId, int32_t>> listed;
  for (const BundleReport& bundle : node.report.bundles) {
    listed.emplace(bundle.group, bundle.bundle);
    auto it = groups_.find(bundle.group);
    const bool known = it != groups_.end() && bundle.bundle >= 0 &&
                       static_cast<size_t>(bundle.bundle) < it->second.places.size() &&
                       it->second.places[static_cast<size_t>(bundle.bundle)].node == at;
    if (!known) {
      strange[bundle.group].push_back(bundle.bundle);
    } else if (!bundle.committed && it->second.held(static_cast<size_t>(bundle.bundle))) {
      uncommitted[bundle.group].push_back(bundle.bundle);
    }
  }
  for (auto& [group, indices] : strange) Return(t, at, group, std::move(indices));
  for (auto& [group, indices] : uncommitted) {
    Say(t, Address::Raylet(at), CommitBundles{shared_.epoch, group, std::move(indices)});
  }
  auto it = on_node_.find(at);
  if (it == on_node_.end()) return;
  const absl::btree_set<PlacementGroupId> here = it->second;
  for (PlacementGroupId id : here) {
    GroupRecord& group = groups_[id];
    std::vector<size_t> lost;
    for (size_t i = 0; i < group.places.size(); ++i) {
      const bool missing = group.places[i].node == at && !listed.contains({id, static_cast<int32_t>(i)});
      if (missing && group.held(i)) lost.push_back(i);
    }
    if (!lost.empty()) LoseBundles(t, group, at, lost, "the node no longer has it");
  }
}

void PlacementGroupTable::OnLinkBroke(const Turn& t, NodeId node) {
  auto it = on_node_.find(node);
  if (it == on_node_.end()) return;
  const absl::btree_set<PlacementGroupId> here = it->second;
  for (PlacementGroupId id : here) {
    GroupRecord& group = groups_[id];
    const bool asked = std::any_of(group.places.begin(), group.places.end(), [&](const BundlePlace& place) {
      return place.node == node && (place.state == BundleState::kAsked || place.state == BundleState::kPrepared);
    });
    if (asked) FailAttempt(t, group, {}, "the link to a node broke");
  }
}

void PlacementGroupTable::OnNodeLost(const Turn& t, NodeId node) {
  OnLinkBroke(t, node);  // attempts that involve it
  auto it = on_node_.find(node);
  if (it == on_node_.end()) return;
  const absl::btree_set<PlacementGroupId> here = it->second;
  for (PlacementGroupId id : here) {
    GroupRecord& group = groups_[id];
    std::vector<size_t> lost;
    for (size_t i = 0; i < group.places.size(); ++i) {
      if (group.places[i].node == node) lost.push_back(i);
    }
    LoseBundles(t, group, node, lost, "its node died");
  }
}

void PlacementGroupTable::LoseBundles(const Turn& t, GroupRecord& group, NodeId node, const std::vector<size_t>& lost,
                                      const std::string& reason) {
  const PlacementGroupId id = group.spec.id;
  for (size_t i : lost) group.places[i] = {};
  const bool more = std::any_of(group.places.begin(), group.places.end(),
                                [&](const BundlePlace& place) { return place.node == node; });
  if (!more) {
    on_node_[node].erase(id);
    if (on_node_[node].empty()) on_node_.erase(node);
  }
  // An attempt that is under way goes on for what it was made for; the rest follows.
  if (!group.attempt) Wait(group);
  Become(t, group, GroupEvent::kBundleLost, absl::StrCat("bundle ", lost[0], ": ", reason));
  Save(t, group);
  Tell(t, group);
}

// ---- lives, time

void PlacementGroupTable::Own(const GroupRecord& group) {
  if (!group.spec.detached) owned_[group.spec.owner].insert(group.spec.id);
}

void PlacementGroupTable::Disown(const GroupRecord& group) {
  auto it = owned_.find(group.spec.owner);
  if (it == owned_.end()) return;
  it->second.erase(group.spec.id);
  if (it->second.empty()) owned_.erase(it);
}

void PlacementGroupTable::CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const {
  for (auto it = owned_.lower_bound({node, {}}); it != owned_.end() && it->first.node == node; ++it) processes->insert(it->first);
  for (const Address& watcher : watches_.WatchersOn(node)) processes->insert(watcher);
}

std::vector<PlacementGroupId> PlacementGroupTable::OfOwner(const Address& owner) const {
  auto it = owned_.find(owner);
  if (it == owned_.end()) return {};
  return {it->second.begin(), it->second.end()};
}

std::vector<PlacementGroupId> PlacementGroupTable::OfNode(NodeId node) const {
  std::vector<PlacementGroupId> found;
  for (auto it = owned_.lower_bound({node, {}}); it != owned_.end() && it->first.node == node; ++it) {
    found.insert(found.end(), it->second.begin(), it->second.end());
  }
  return found;
}

std::vector<PlacementGroupId> PlacementGroupTable::OfJob(JobId job) const {
  std::vector<PlacementGroupId> found;
  for (const auto& [id, group] : groups_) {
    if (group.announced && !group.spec.detached && group.spec.job == job) found.push_back(id);
  }
  return found;
}

std::vector<PlacementGroupId> PlacementGroupTable::OnTick(const Turn& t) {
  const std::vector<PlacementGroupId> attempts(attempts_.begin(), attempts_.end());
  for (PlacementGroupId id : attempts) {
    GroupRecord& group = groups_[id];
    if (group.attempt_until > t.now) continue;
    auto silent = std::find_if(group.places.begin(), group.places.end(),
                               [](const BundlePlace& place) { return place.state == BundleState::kAsked; });
    const NodeId node = silent == group.places.end() ? NodeId{} : silent->node;
    FailAttempt(t, group, node, absl::StrCat("node ", node.Hex(), " did not answer in time"));
  }
  std::vector<PlacementGroupId> removed;
  const std::vector<PlacementGroupId> unknown(unknown_.begin(), unknown_.end());
  for (PlacementGroupId id : unknown) {
    if (groups_[id].unknown_until > t.now) continue;
    Remove(t, id, MakeError(ErrorKind::kPlacementGroupRemoved, absl::StrCat("placement group ", id.Hex(), " does not exist")));
    removed.push_back(id);
  }
  return removed;
}

std::optional<TimePoint> PlacementGroupTable::NextDeadline() const {
  std::optional<TimePoint> next;
  auto at = [&](TimePoint time) { next = next ? std::min(*next, time) : time; };
  for (PlacementGroupId id : attempts_) at(groups_.at(id).attempt_until);
  for (PlacementGroupId id : unknown_) at(groups_.at(id).unknown_until);
  return next;
}

std::vector<NodeId> PlacementGroupTable::NodesOf(const GroupRecord& group, int32_t bundle) const {
  std::vector<NodeId> nodes;
  for (size_t i = 0; i < group.places.size(); ++i) {
    if (bundle >= 0 && static_cast<size_t>(bundle) != i) continue;
    const NodeId node = group.places[i].node;
    if (group.held(i) && std::find(nodes.begin(), nodes.end(), node) == nodes.end()) nodes.push_back(node);
  }
  return nodes;
}

uint32_t PlacementGroupTable::Capacity(const GroupRecord& group, int32_t bundle, NodeId node, const ResourceSet& resources,
                                       uint32_t limit) const {
  uint32_t times = 0;
  for (size_t i = 0; i < group.places.size(); ++i) {
    if (bundle >= 0 && static_cast<size_t>(bundle) != i) continue;
    if (group.held(i) && group.places[i].node == node) times += Times(group.spec.bundles[i], resources, limit);
  }
  return std::min(times, limit);
}

void PlacementGroupTable::CheckInvariants() const {
  absl::btree_map<NodeId, absl::btree_set<PlacementGroupId>> on_node;
  absl::btree_map<Address, absl::btree_set<PlacementGroupId>> owned;
  for (const auto& [id, group] : groups_) {
    SHOAL_CHECK(group.spec.id == id);
    const bool ends_with_owner = group.announced && !group.spec.detached && group.state != PlacementGroupStateKind::kRemoved;
    if (ends_with_owner) owned[group.spec.owner].insert(id);
    SHOAL_CHECK(static_cast<bool>(group.attempt) == attempts_.contains(id)) << id.Hex();
    SHOAL_CHECK(unknown_.contains(id) == (!group.announced && group.state != PlacementGroupStateKind::kRemoved)) << id.Hex();
    bool whole = true, asked = false;
    for (const BundlePlace& place : group.places) {
      SHOAL_CHECK((place.state == BundleState::kNone) == !place.node);
      if (place.node) on_node[place.node].insert(id);
      whole = whole && place.state == BundleState::kHeld;
      asked = asked || place.state == BundleState::kAsked || place.state == BundleState::kPrepared;
    }
    SHOAL_CHECK(asked == static_cast<bool>(group.attempt)) << id.Hex();
    SHOAL_CHECK((group.state == PlacementGroupStateKind::kCreated) == (whole && !group.places.empty())) << id.Hex();
    const bool waits = group.announced && !whole && !group.attempt && group.state != PlacementGroupStateKind::kRemoved;
    SHOAL_CHECK(group.needs.size() == (waits ? group.places.size() : 0)) << id.Hex();
    SHOAL_CHECK(waits == waiting_.contains(id)) << id.Hex() << " in state " << NameOf(group.state);
  }
  SHOAL_CHECK(on_node == on_node_);
  SHOAL_CHECK(owned == owned_);
  watches_.CheckInvariants();
}

}  // namespace shoal::scheduler
