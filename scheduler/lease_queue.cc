#include "scheduler/lease_queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/buggify.h"
#include "scheduler/policy/choose_node.h"

namespace shoal::scheduler {
namespace {

bool InGroup(const Shape& shape) { return shape.strategy.kind == StrategyKind::kPlacementGroup; }

}  // namespace

// How many more could be asked for.
uint32_t LeaseQueue::Open(const Demand& demand, TimePoint now) {
  const uint32_t granted = now < demand.granted_until ? demand.granted : 0;
  const uint32_t taken = demand.on_its_way + std::max(granted, demand.coming);
  return demand.wanted > taken ? demand.wanted - taken : 0;
}

ShapeRecord& LeaseQueue::Intern(const Shape& shape, ShapeId id) {
  auto [it, added] = shapes_.try_emplace(id);
  if (added) {
    it->second.shape = shape;
    Need need;
    if (InGroup(shape)) {
      need.salt = StableHash(shape.strategy);  // the bundle's own resources are the raylet's business
    } else {
      need.resources = shape.resources;
      need.labels = shape.labels;
    }
    it->second.need = shared_.cluster.index().Intern(need);
  }
  return it->second;
}

void LeaseQueue::OnDemand(const Turn& t, const Address& owner, LeaseDemand&& message) {
  const ShapeId id = message.shape.id();
  auto known = shapes_.find(id);
  if (message.wanted == 0) {
    if (known == shapes_.end()) return;
    auto it = known->second.demands.find(owner);
    if (it != known->second.demands.end() && message.version >= it->second.version) Drop(id, owner);
    return;
  }
  if (known == shapes_.end() && shapes_.size() >= kMostShapes) {
    return Say(t, owner, LeaseFailed{id, MakeError(ErrorKind::kSystem, "too many different resource shapes are waiting")});
  }
  ShapeRecord& record = Intern(message.shape, id);
  auto [it, added] = record.demands.try_emplace(owner);
  Demand& demand = it->second;
  if (added) {
    demand.since = t.now;
    by_owner_[owner].insert(id);
    if (auto coming = all_coming_.find({id, owner}); coming != all_coming_.end()) demand.coming = coming->second;
  } else if (message.version < demand.version) {
    return;
  }
  if (message.version != demand.version) demand.granted = 0;
  demand.version = message.version;
  demand.wanted = std::min(message.wanted, kMostWanted);
  demand.locality = std::move(message.locality);
  record.open.insert(owner);
  dirty_.insert(id);
}

void LeaseQueue::Reopen(ShapeId id, const Address& owner) {
  shapes_.at(id).open.insert(owner);
  dirty_.insert(id);
}

void LeaseQueue::Drop(ShapeId id, const Address& owner) {
  auto it = shapes_.find(id);
  if (it == shapes_.end() || SHOAL_DELIBERATE_BUG("head.ignore_withdrawn_demand")) return;
  if (it->second.demands.erase(owner) == 0) return;
  it->second.open.erase(owner);
  auto owned = by_owner_.find(owner);
  owned->second.erase(id);
  if (owned->second.empty()) by_owner_.erase(owned);
  if (!it->second.demands.empty()) return;
  shared_.cluster.index().Release(it->second.need);
  shapes_.erase(it);
  dirty_.erase(id);
}

void LeaseQueue::Fail(const Turn& t, ShapeId id, const ErrorInfo& why) {
  std::vector<Address> owners;
  for (const auto& [owner, demand] : shapes_.at(id).demands) owners.push_back(owner);
  for (const Address& owner : owners) {
    Say(t, owner, LeaseFailed{id, why});
    shared_.log.Add(t, absl::StrCat("lease of shape ", id.Hex()), "WAITING", "FAILED", why.message);
    Drop(id, owner);
  }
}

// ---- leases on their way to their owners

void LeaseQueue::SetComing(NodeId node, const Key& key, uint32_t count) {
  absl::btree_map<Key, uint32_t>& coming = coming_[node];
  uint32_t& now = coming[key];
  const uint32_t before = std::exchange(now, count);
  if (count == 0) coming.erase(key);
  if (coming.empty()) coming_.erase(node);
  uint32_t& all = all_coming_[key];
  all = all - before + count;
  if (all == 0) all_coming_.erase(key);
  auto shape = shapes_.find(key.first);
  if (shape == shapes_.end()) return;
  auto demand = shape->second.demands.find(key.second);
  if (demand == shape->second.demands.end()) return;
  demand->second.coming = demand->second.coming - before + count;
  if (count < before) Reopen(key.first, key.second);
}

void LeaseQueue::OnReport(const NodeRecord& node) {
  const NodeId id = node.info.id;
  absl::btree_map<Key, uint32_t> reported;
  for (const LeaseReport& lease : node.report.leases) {
    // An owner's own raylet has taken those off the demand.
    if (!lease.worker && lease.owner.node != id) ++reported[{lease.shape, lease.owner}];
  }
  absl::btree_map<Key, uint32_t> before;
  if (auto it = coming_.find(id); it != coming_.end()) before = it->second;
  for (const auto& [key, count] : before) {
    if (!reported.contains(key)) SetComing(id, key, 0);
  }
  for (const auto& [key, count] : reported) SetComing(id, key, count);
}

void LeaseQueue::OnOwnerLost(const Address& owner) {
  auto it = by_owner_.find(owner);
  if (it == by_owner_.end()) return;
  const absl::btree_set<ShapeId> ids = it->second;
  for (ShapeId id : ids) Drop(id, owner);
}

void LeaseQueue::CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const {
  for (auto it = by_owner_.lower_bound(Address{node, {}}); it != by_owner_.end() && it->first.node == node; ++it) {
    processes->insert(it->first);
  }
}

void LeaseQueue::OnNodeLost(NodeId node) {
  std::vector<Address> owners;
  for (auto it = by_owner_.lower_bound(Address{node, {}}); it != by_owner_.end() && it->first.node == node; ++it) {
    owners.push_back(it->first);
  }
  for (const Address& owner : owners) OnOwnerLost(owner);
  OnLinkBroke(node);
  if (auto it = coming_.find(node); it != coming_.end()) {
    const absl::btree_map<Key, uint32_t> coming = it->second;
    for (const auto& [key, count] : coming) SetComing(node, key, 0);
  }
}

void LeaseQueue::OnLinkBroke(NodeId node) {
  std::vector<RequestId> lost;
  for (const auto& [id, request] : requests_) {
    if (request.node == node) lost.push_back(id);
  }
  for (RequestId id : lost) Close({}, id, 0, false);
}

void LeaseQueue::OnJobOver(JobId job) {
  std::vector<std::pair<ShapeId, Address>> over;
  for (const auto& [id, record] : shapes_) {
    if (record.shape.job != job) continue;
    for (const auto& [owner, demand] : record.demands) over.emplace_back(id, owner);
  }
  for (const auto& [id, owner] : over) Drop(id, owner);
}

void LeaseQueue::OnGroupRemoved(const Turn& t, PlacementGroupId group) {
  std::vector<ShapeId> failed;
  for (const auto& [id, record] : shapes_) {
    if (InGroup(record.shape) && record.shape.strategy.group == group) failed.push_back(id);
  }
  for (ShapeId id : failed) {
    Fail(t, id, MakeError(ErrorKind::kPlacementGroupRemoved, absl::StrCat("placement group ", group.Hex(), " was removed")));
  }
}

// ---- answers

void LeaseQueue::Close(TimePoint now, RequestId id, uint32_t granted, bool known_answer) {
  auto it = requests_.find(id);
  const Request request = it->second;
  requests_.erase(it);
  while (!timeouts_.empty() && !requests_.contains(timeouts_.front().second)) timeouts_.pop_front();
  shared_.cluster.GiveBack(request.node, request.reservation, request.count - granted);
  if (granted > 0) {
    shared_.cluster.Settle(request.node, request.reservation);
    if (request.owner.node != request.node) {
      const Key key{request.shape, request.owner};
      SetComing(request.node, key, coming_[request.node][key] + granted);  // the next report says how it is
    }
  }
  auto shape = shapes_.find(request.shape);
  if (shape == shapes_.end()) return;
  ShapeRecord& record = shape->second;
  if (auto way = record.on_its_way.find(request.node); way != record.on_its_way.end()) {
    way->second -= std::min(way->second, request.count);
    if (way->second == 0) record.on_its_way.erase(way);
  }
  if (known_answer && granted < request.count) shared_.cluster.Exclude(request.node, record.need);
  auto demand = record.demands.find(request.owner);
  if (demand == record.demands.end()) return;
  demand->second.on_its_way -= std::min(demand->second.on_its_way, request.count);
  if (granted > 0) {
    demand->second.granted += granted;
    demand->second.granted_until = now + shared_.options.refresh;
  }
  record.open.insert(request.owner);
  if (granted < request.count) dirty_.insert(request.shape);
}

void LeaseQueue::OnReply(const Turn& t, NodeId from, const GrantLeasesReply& reply) {
  auto it = requests_.find(reply.request);
  if (it == requests_.end() || it->second.node != from) return;  // it came too late: that node may have granted all the same
  Close(t.now, reply.request, std::min(reply.granted, it->second.count), true);
}

void LeaseQueue::OnTick(const Turn& t) {
  // Silence is treated as a refusal: whoever is that slow is not asked again before it has reported.
  while (!timeouts_.empty() && timeouts_.front().first <= t.now) Close(t.now, timeouts_.front().second, 0, true);
}

std::optional<TimePoint> LeaseQueue::NextDeadline() const {
  if (timeouts_.empty()) return std::nullopt;
  return timeouts_.front().first;
}

// ---- granting

void LeaseQueue::MarkAllDirty() {
  for (auto& [id, record] : shapes_) {
    dirty_.insert(id);
    for (const auto& [owner, demand] : record.demands) record.open.insert(owner);
  }
}

void LeaseQueue::OnGroupCreated(PlacementGroupId group) {
  for (const auto& [id, record] : shapes_) {
    if (InGroup(record.shape) && record.shape.strategy.group == group) dirty_.insert(id);
  }
}

void LeaseQueue::Serve(const Turn& t, bool room_grew) {
  std::vector<std::tuple<bool, int32_t, TimePoint, ShapeId>> order;
  auto consider = [&](ShapeId id, ShapeRecord& record) {
    const std::optional<TimePoint> oldest = Oldest(record, t.now);
    if (oldest) order.emplace_back(!starving_.contains(id), -record.shape.priority, *oldest, id);
  };
  if (room_grew) {
    for (auto& [id, record] : shapes_) {
      if (dirty_.contains(id) || shared_.cluster.index().AnyFits(record.need)) consider(id, record);
    }
  } else {
    for (ShapeId id : dirty_) consider(id, shapes_.at(id));
  }
  dirty_.clear();
  std::sort(order.begin(), order.end());
  for (const auto& [fed, priority, since, id] : order) ServeShape(t, id);
}

std::optional<TimePoint> LeaseQueue::Oldest(ShapeRecord& record, TimePoint now) {
  std::optional<TimePoint> oldest;
  for (auto it = record.open.begin(); it != record.open.end();) {
    const Demand& demand = record.demands.at(*it);
    if (Open(demand, now) == 0) {
      it = record.open.erase(it);
      continue;
    }
    if (!oldest || demand.since < *oldest) oldest = demand.since;
    ++it;
  }
  return oldest;
}

absl::flat_hash_set<Address> LeaseQueue::Holders() const {
  absl::flat_hash_set<Address> holders;
  for (const auto& [id, node] : shared_.cluster.nodes()) {
    for (const LeaseReport& lease : node->report.leases) holders.insert(lease.owner);
  }
  return holders;
}

void LeaseQueue::AskForRoom(TimePoint now, Duration patience, RoomView* view) {
  starving_.clear();
  std::optional<absl::flat_hash_set<Address>> holders;  // made if somebody has waited that long
  for (const auto& [id, record] : shapes_) {
    if (InGroup(record.shape)) continue;
    for (const auto& [owner, demand] : record.demands) {
      if (now - demand.since < patience || Open(demand, now) == 0) continue;
      if (!holders) holders = Holders();
      if (holders->contains(owner)) continue;
      starving_.insert(id);
      view->Ask(shared_.cluster.index().need(record.need), record.shape.strategy, id.value);
      break;  // one at a time
    }
  }
}

void LeaseQueue::CollectNotices(TimePoint now, std::vector<Notice>* notices) {
  for (auto& [id, record] : shapes_) {
    const auto untold = [now](const auto& entry) { return !entry.second.notice.told() && Open(entry.second, now) > 0; };
    if (InGroup(record.shape) || std::none_of(record.demands.begin(), record.demands.end(), untold)) continue;
    const std::string why = Infeasible(shared_.cluster, record.need);
    if (why.empty()) continue;
    for (auto& [owner, demand] : record.demands) {
      if (demand.notice.told() || Open(demand, now) == 0 || !demand.notice.Due(now)) continue;
      notices->push_back({record.shape.job, absl::StrCat("tasks that want ", record.shape.resources.ToString(), " wait: ", why)});
    }
  }
}

bool LeaseQueue::FailIfNever(const Turn& t, ShapeId id, const ShapeRecord& record) {
  const Strategy& strategy = record.shape.strategy;
  if (!InGroup(record.shape)) {
    if (t.now < shared_.trust_absence_from) return false;
    const std::string reason = NeverFits(shared_.cluster, record.need, strategy);
    if (reason.empty()) return false;
    Fail(t, id, MakeError(ErrorKind::kUnschedulable, reason));
    return true;
  }
  const GroupRecord& group = groups_.Seek(t, strategy.group);
  if (group.state == PlacementGroupStateKind::kRemoved) {
    Fail(t, id, MakeError(ErrorKind::kPlacementGroupRemoved,
                          absl::StrCat("placement group ", strategy.group.Hex(), " was removed")));
    return true;
  }
  if (!group.announced) return false;
  for (size_t i = 0; i < group.spec.bundles.size(); ++i) {
    const bool eligible = strategy.bundle < 0 || static_cast<size_t>(strategy.bundle) == i;
    if (eligible && group.spec.bundles[i].Contains(record.shape.resources)) return false;
  }
  Fail(t, id, MakeError(ErrorKind::kUnschedulable,
                        absl::StrCat(record.shape.resources.ToString(), " fits into no such bundle of placement group ",
                                     strategy.group.Hex())));
  return true;
}

NodeRecord* LeaseQueue::ChooseBundleNode(ShapeRecord& record) {
  const Strategy& strategy = record.shape.strategy;
  const GroupRecord* group = groups_.Find(strategy.group);
  if (group == nullptr) return nullptr;
  const std::vector<NodeId> nodes = groups_.NodesOf(*group, strategy.bundle);
  for (size_t k = 0; k < nodes.size(); ++k) {
    const NodeId id = nodes[(record.spread_cursor + k) % nodes.size()];
    NodeRecord* node = shared_.cluster.Find(id);
    if (node == nullptr || !node->alive() || !shared_.cluster.index().Fits(record.need, node->slot)) continue;
    auto way = record.on_its_way.find(id);
    const uint32_t taken = way == record.on_its_way.end() ? 0 : way->second;
    if (groups_.Capacity(*group, strategy.bundle, id, record.shape.resources, taken + 1) <= taken) continue;
    record.spread_cursor = static_cast<uint32_t>((record.spread_cursor + k + 1) % nodes.size());
    return node;
  }
  return nullptr;
}

NodeRecord* LeaseQueue::Choose(const Turn&, ShapeRecord& record, const Demand& demand) {
  if (InGroup(record.shape)) return ChooseBundleNode(record);
  return ChooseNode(shared_.cluster, shared_.rng, record.need, record.shape.strategy, demand.locality, &record.spread_cursor);
}

void LeaseQueue::ServeShape(const Turn& t, ShapeId id) {
  ShapeRecord& record = shapes_.at(id);
  if (FailIfNever(t, id, record)) return;
  Tallies tallies;
  auto it = record.open.upper_bound(record.last_served);
  while (!record.open.empty()) {
    if (it == record.open.end()) it = record.open.begin();
    const Address owner = *it;
    Demand& demand = record.demands.at(owner);
    if (Open(demand, t.now) == 0) {
      it = record.open.erase(it);
      continue;
    }
    NodeRecord* node = Choose(t, record, demand);
    if (node == nullptr) break;  // nor is there any for the others: where there is room does not depend on who wants it
    ++demand.on_its_way;
    record.last_served = owner;
    Tally& tally = tallies[{node->info.id, owner}];
    if (tally.count++ == 0) {
      tally.reservation = shared_.cluster.Reserve(*node, record.need, 1);
    } else {
      shared_.cluster.Grow(*node, tally.reservation, 1);
    }
    if (InGroup(record.shape)) ++record.on_its_way[node->info.id];
    ++it;
    if (SHOAL_BUGGIFY("head.small_grants")) break;  // the rest at the next occasion
  }
  Ask(t, id, record, tallies);
}

void LeaseQueue::Ask(const Turn& t, ShapeId id, ShapeRecord& record, const Tallies& tallies) {
  for (const auto& [key, tally] : tallies) {
    const auto& [node, owner] = key;
    const RequestId request = shared_.rng.NewId<RequestId>();
    requests_[request] = {node, id, owner, tally.count, tally.reservation};
    timeouts_.emplace_back(t.now + shared_.options.rpc_timeout, request);
    Say(t, Address::Raylet(node), GrantLeases{request, shared_.epoch, owner, record.shape, tally.count});
  }
}

void LeaseQueue::CheckInvariants() const {
  absl::btree_map<std::pair<ShapeId, Address>, uint32_t> on_its_way;
  for (const auto& [id, request] : requests_) {
    SHOAL_CHECK(shared_.cluster.Alive(request.node)) << "a request to a dead node";
    on_its_way[{request.shape, request.owner}] += request.count;
  }
  size_t owned = 0;
  for (const auto& [id, record] : shapes_) {
    SHOAL_CHECK(record.shape.id() == id && !record.demands.empty());
    for (const Address& owner : record.open) SHOAL_CHECK(record.demands.contains(owner));
    for (const auto& [owner, demand] : record.demands) {
      SHOAL_CHECK(demand.wanted > 0);
      SHOAL_CHECK(by_owner_.at(owner).contains(id));
      uint32_t coming = 0;
      for (const auto& [node, of_node] : coming_) {
        if (auto it = of_node.find({id, owner}); it != of_node.end()) coming += it->second;
      }
      SHOAL_CHECK(demand.coming == coming) << id.Hex();
      // Requests for an earlier demand of the same owner may still be open.
      const uint32_t in_requests = on_its_way[{id, owner}];
      SHOAL_CHECK(demand.on_its_way <= in_requests) << id.Hex();
      ++owned;
    }
  }
  for (const auto& [owner, ids] : by_owner_) owned -= ids.size();
  SHOAL_CHECK(owned == 0);
  SHOAL_CHECK(timeouts_.empty() || requests_.contains(timeouts_.front().second));
}

}  // namespace shoal::scheduler
