#include "runtime/raylet/demands.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"
#include "base/json.h"
#include "schema/labels.h"

namespace shoal::raylet {
namespace {

constexpr size_t kMaxDemands = 100'000;
// An owner without any lease here that waits longer has one of a richer owner revoked.
constexpr Duration kStarvedAfter = 100ms;
constexpr Duration kLookEvery = 50ms;
// The head repeats itself every 500 ms.
constexpr Duration kKeepForHead = 1s;

}  // namespace

Demands::Demands(const RayletOptions* options, Leases* leases, NodeResources* resources, WorkerPool* pool)
    : options_(*options), leases_(*leases), resources_(*resources), pool_(*pool) {}

uint32_t Demands::Need(const Key& key, const Demand& demand) const {
  const uint32_t waiting = leases_.WaitingFor(OwnerOf(key), key.second);
  return demand.wanted > waiting ? demand.wanted - waiting : 0;
}

Demands::Place Demands::PlaceOf(const Shape& shape) const {
  const Strategy& strategy = shape.strategy;
  if (strategy.kind == StrategyKind::kPlacementGroup) {
    // Which node has a bundle is known to the head; only what names one that is here cannot go elsewhere. What is too large for it
    // is the head's to refuse.
    if (strategy.bundle >= 0) {
      return resources_.BundleCouldTake(strategy.group, strategy.bundle, shape.resources) ? Place::kHereOnly : Place::kElsewhere;
    }
    return Place::kHereOrElsewhere;
  }
  if (strategy.kind == StrategyKind::kSpread) return Place::kElsewhere;
  if (!LabelsMatch(shape.labels, options_.info.labels)) return Place::kElsewhere;
  if (strategy.kind == StrategyKind::kNodeAffinity) {
    if (strategy.node != options_.info.id) return Place::kElsewhere;
    if (!strategy.soft && options_.info.total.Contains(shape.resources)) return Place::kHereOnly;
  }
  return Place::kHereOrElsewhere;
}

// ---- what is wanted

void Demands::OnDemand(const Turn& t, const Address& owner, LeaseDemand&& message) {
  const Key key{owner.worker, message.shape.id()};
  auto it = demands_.find(key);
  if (it == demands_.end()) {
    if (message.wanted == 0) return;
    if (demands_.size() >= kMaxDemands) {
      LeaseFailed& failed = Post<LeaseFailed>(t, owner);
      failed.shape = key.second;
      failed.error = MakeError(ErrorKind::kSystem, "too many different shapes of tasks wait on this node; use fewer");
      return;
    }
    it = demands_.emplace(key, Demand{}).first;
    it->second.shape = std::move(message.shape);
    it->second.kind = MakeKind(it->second.shape.worker);
    it->second.waiting_since = t.now;
  } else if (message.version < it->second.version) {
    return;
  }
  Demand& demand = it->second;
  if (demand.wanted == 0) demand.waiting_since = t.now;
  demand.tell_again = message.wanted > 0;
  demand.wanted = message.wanted;
  demand.heard = t.now;
  if (!next_silence_) next_silence_ = t.now + options_.demand_ttl;
  demand.version = message.version;
  demand.locality = std::move(message.locality);
  while (leases_.WaitingFor(owner, key.second) > demand.wanted) leases_.WithdrawOne(owner, key.second);
  untold_.insert(key);
  changed_ = true;
  if (demand.wanted > 0) waiting_.insert(key);
  EraseIfDone(key);
}

void Demands::Granted(const Turn& t, const Address& owner, ShapeId shape) {
  if (owner.node != options_.info.id) return;
  const Key key{owner.worker, shape};
  auto it = demands_.find(key);
  if (it == demands_.end()) return;
  if (it->second.wanted > 0) --it->second.wanted;
  it->second.waiting_since = t.now;
  untold_.insert(key);
  EraseIfDone(key);
}

void Demands::Failed(const Turn& t, const Address& owner, ShapeId shape, const ErrorInfo& error) {
  LeaseFailed& failed = Post<LeaseFailed>(t, owner);
  failed.shape = shape;
  failed.error = error;
  auto it = demands_.find({owner.worker, shape});
  if (owner.node != options_.info.id || it == demands_.end()) return;
  it->second.wanted = 0;  // until the owner says otherwise
  untold_.insert(it->first);
  EraseIfDone(Key(it->first));
}

void Demands::OwnerGone(const Turn&, WorkerId owner) {
  for (auto it = demands_.lower_bound({owner, {}}); it != demands_.end() && it->first.first == owner;) {
    const Key key = it->first;
    End(key, it->second);
    it = demands_.upper_bound(key);
  }
}

// Nothing more is wanted, and the head is to hear that.
void Demands::End(const Key& key, Demand& demand) {
  demand.wanted = 0;
  untold_.insert(key);
  EraseIfDone(key);
}

void Demands::EraseIfDone(const Key& key) {
  auto it = demands_.find(key);
  if (it == demands_.end() || it->second.wanted > 0) return;
  if (kept_for_ == key) {
    kept_for_.reset();
    changed_ = true;
  }
  waiting_.erase(key);
  if (it->second.told > 0 || leases_.WaitingFor(OwnerOf(key), key.second) > 0) return;
  untold_.erase(key);
  demands_.erase(it);
}

void Demands::OnGrantLeases(const Turn& t, const GrantLeases& message, const std::string& refusal) {
  GrantLeasesReply reply;
  reply.request = message.request;
  if (const GrantLeasesReply* before = answered_.Find(message.request)) {
    Post<GrantLeasesReply>(t, Address::Head()) = *before;
    return;
  }
  const ShapeId id = message.shape.id();
  uint32_t count = message.count;
  std::string why = refusal;
  if (why.empty() && message.owner.node == options_.info.id) {
    auto it = demands_.find({message.owner.worker, id});
    count = it == demands_.end() ? 0 : std::min(count, Need(it->first, it->second));
    if (count == 0) why = "its owner no longer wants them";
    if (it != demands_.end()) untold_.insert(it->first);
  }
  if (why.empty() && SHOAL_BUGGIFY("raylet.refuse_grant")) why = "refused to see what happens then";
  if (why.empty()) {
    const KindPtr kind = MakeKind(message.shape.worker);
    while (reply.granted < count && leases_.Grant(t, message.owner, message.shape, id, kind)) ++reply.granted;
    for (uint32_t i = 0; i < reply.granted; ++i) RoomTaken(message.shape, message.shape.resources);
    if (reply.granted < count) why = "no room is left on this node";
  }
  if (reply.granted < message.count) reply.refused = MakeError(ErrorKind::kUnschedulable, why);
  answered_.Put(message.request, reply);
  Post<GrantLeasesReply>(t, Address::Head()) = reply;
}

void Demands::OnMakeRoom(const Turn& t, const MakeRoom& message) {
  if (!RevokeFor(t, Address::Head(), message.resources)) return;
  kept_for_head_ = message.resources;
  kept_for_head_until_ = t.now + kKeepForHead;
}

void Demands::RoomTaken(const Shape& shape, const ResourceSet& resources) {
  if (shape.strategy.kind != StrategyKind::kPlacementGroup) RoomTaken(resources);
}

void Demands::RoomTaken(const ResourceSet& resources) {
  if (kept_for_head_.empty()) return;
  for (const auto& [name, steps] : resources.amounts()) {
    kept_for_head_.Set(name, std::max<int64_t>(kept_for_head_.Get(name) - steps, 0));
  }
  changed_ = true;
}

// ---- the turn's end

void Demands::Settle(const Turn& t, bool may_grant) {
  if (!kept_for_head_.empty() && kept_for_head_until_ <= t.now) {
    kept_for_head_ = {};
    changed_ = true;
  }
  if (next_silence_ && *next_silence_ <= t.now) ForgetSilent(t);
  if (may_grant) HelpStarving(t);
  const bool due = changed_ || seen_released_ != resources_.released() || may_grant != may_grant_;
  may_grant_ = may_grant;
  if (may_grant && due) Schedule(t);
  changed_ = false;
  seen_released_ = resources_.released();
}

void Demands::ForgetSilent(const Turn& t) {
  next_silence_.reset();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    const Key key = *it;
    Demand& demand = demands_.find(key)->second;
    if (demand.heard + options_.demand_ttl > t.now) {
      Earliest(&next_silence_, demand.heard + options_.demand_ttl);
    } else {  // stopped, or hung: what it would be granted would lie idle
      while (leases_.WaitingFor(OwnerOf(key), key.second) > 0) leases_.WithdrawOne(OwnerOf(key), key.second);
      changed_ = true;
      End(key, demand);
    }
    it = waiting_.upper_bound(key);
  }
}

void Demands::TellHead(const Turn& t, bool head_listens) {
  head_listens_ = head_listens;
  if (head_listens) Tell(t);
}

void Demands::Schedule(const Turn& t) {
  using Turnstile = std::tuple<uint32_t, uint32_t, uint64_t, Key>;  // leases of the job, of the owner, last served
  absl::btree_set<Turnstile> order;
  auto rank = [&](const Key& key, const Demand& demand) {
    return Turnstile{leases_.CountOf(demand.shape.job), leases_.CountOf(OwnerOf(key)), demand.served, key};
  };
  for (const Key& key : waiting_) {
    const Demand& demand = demands_.find(key)->second;
    if (ForHead(key, demand) != demand.told) untold_.insert(key);
    if (Need(key, demand) > 0 && PlaceOf(demand.shape) != Place::kElsewhere) order.insert(rank(key, demand));
  }
  absl::btree_set<ResourceSet> no_room;  // what did not fit will not fit later in this round
  while (!order.empty()) {
    const Turnstile first = *order.begin();
    order.erase(order.begin());
    const Key& key = std::get<3>(first);
    Demand& demand = demands_.find(key)->second;
    const Turnstile now = rank(key, demand);
    if (now > first) {  // its job was served meanwhile
      order.insert(now);
      continue;
    }
    const bool from_node = demand.shape.strategy.kind != StrategyKind::kPlacementGroup;
    if (from_node && !HasRoomFor(key, demand)) continue;
    if (from_node && no_room.contains(demand.shape.resources)) continue;
    if (!leases_.Grant(t, OwnerOf(key), demand.shape, key.second, demand.kind)) {
      if (from_node) no_room.insert(demand.shape.resources);
      continue;
    }
    if (kept_for_ == key) kept_for_.reset();
    demand.served = ++grants_;
    untold_.insert(key);
    if (Need(key, demand) > 0) order.insert(rank(key, demand));
  }
}

void Demands::HelpStarving(const Turn& t) {
  if (next_look_ && t.now < *next_look_) return;
  next_look_.reset();
  std::optional<Key> keep;
  for (const Key& key : waiting_) {
    const Demand& demand = demands_.find(key)->second;
    if (leases_.CountOf(OwnerOf(key)) > 0 || Need(key, demand) == 0) continue;
    if (demand.shape.strategy.kind == StrategyKind::kPlacementGroup || PlaceOf(demand.shape) == Place::kElsewhere) continue;
    const TimePoint starved = demand.waiting_since + kStarvedAfter;
    if (starved <= t.now && RevokeFor(t, OwnerOf(key), demand.shape.resources) && (!keep || kept_for_ == key)) keep = key;
    Earliest(&next_look_, std::max(starved, t.now + kLookEvery));
  }
  changed_ = changed_ || kept_for_ != keep;
  kept_for_ = keep;
}

bool Demands::HasRoomFor(const Key& key, const Demand& demand) const {
  if (kept_for_ == key || (!kept_for_ && kept_for_head_.empty())) return true;
  const ResourceSet& free = resources_.node().free();
  for (const auto& [name, steps] : demand.shape.resources.amounts()) {
    int64_t kept = kept_for_head_.Get(name);
    if (kept_for_) kept += demands_.find(*kept_for_)->second.shape.resources.Get(name);
    if (free.Get(name) < steps + kept) return false;
  }
  return true;
}

bool Demands::RevokeFor(const Turn& t, const Address& owner, const ResourceSet& resources) {
  ResourceSet coming = resources_.node().free();
  absl::btree_map<Address, std::vector<const Lease*>> rich;
  ResourceSet possible = coming;
  for (const auto& [id, lease] : leases_.all()) {
    const Worker* worker = pool_.Find(lease.worker);
    if (worker == nullptr || worker->blocked || worker->held.group) continue;
    possible += lease.resources;
    if (lease.state == LeaseState::kRevoked || worker->state == WorkerState::kKilled) {
      coming += lease.resources;
    } else if (lease.state == LeaseState::kGranted && lease.owner != owner) {
      rich[lease.owner].push_back(&lease);
    }
  }
  if (!possible.Contains(resources)) return false;
  while (!coming.Contains(resources)) {
    auto richest = std::max_element(rich.begin(), rich.end(), [](const auto& a, const auto& b) {
      return a.second.size() < b.second.size();
    });
    if (richest == rich.end() || richest->second.empty()) return false;
    const Lease* lease = richest->second.back();
    richest->second.pop_back();
    coming += lease->resources;
    leases_.Revoke(t, lease->id, owner.is_head() ? "the head needs the room" : "others wait for their first one");
  }
  return true;
}

uint32_t Demands::ForHead(const Key& key, const Demand& demand) const {
  return PlaceOf(demand.shape) == Place::kHereOnly ? 0 : Need(key, demand);
}

// At once where something begins or ends, else not too often.
void Demands::Tell(const Turn& t) {
  const bool all = next_tell_ <= t.now;
  bool told_any = false;
  for (auto it = untold_.begin(); it != untold_.end();) {
    const Key key = *it;
    Demand& demand = demands_.find(key)->second;
    const uint32_t count = ForHead(key, demand);
    const bool differs = count != demand.told || (demand.tell_again && count > 0);
    const bool turning = (count == 0) != (demand.told == 0);
    if (differs && !turning && !all) {
      ++it;
      continue;
    }
    if (differs) {
      SpillDemand& spill = Post<SpillDemand>(t, Address::Head());
      spill.owner = OwnerOf(key);
      spill.demand.shape = demand.shape;
      spill.demand.wanted = count;
      spill.demand.version = ++spill_version_;
      spill.demand.locality = demand.locality;
      demand.told = count;
      told_any = true;
    }
    demand.tell_again = false;
    it = untold_.erase(it);
    EraseIfDone(key);
    it = untold_.upper_bound(key);
  }
  if (told_any && all) next_tell_ = t.now + options_.report_delay;
}

void Demands::Restate() {
  for (auto& [key, demand] : demands_) {
    demand.told = 0;
    untold_.insert(key);
  }
  for (auto it = demands_.begin(); it != demands_.end();) {
    const Key key = it->first;
    EraseIfDone(key);
    it = demands_.upper_bound(key);
  }
}

std::optional<TimePoint> Demands::NextDeadline() const {
  std::optional<TimePoint> next;
  if (head_listens_ && !untold_.empty()) next = next_tell_;
  if (may_grant_) Earliest(&next, next_look_);
  Earliest(&next, next_silence_);
  if (!kept_for_head_.empty()) Earliest(&next, kept_for_head_until_);
  return next;
}

// ---- for people

std::string Demands::Explain(TimePoint now, uint32_t limit) const {
  std::string rows = "[";
  uint32_t count = 0;
  for (const Key& key : waiting_) {
    const Demand& demand = demands_.find(key)->second;
    if (Need(key, demand) == 0 || count++ >= limit) continue;
    std::string reason;
    if (!may_grant_) {
      reason = "the head does not answer, so nothing is granted";
    } else if (PlaceOf(demand.shape) == Place::kElsewhere) {
      reason = "its strategy or labels leave the choice of a node to the head";
    } else if (!resources_.CouldEverTake(demand.shape.resources)) {
      reason = absl::StrCat("this node has ", options_.info.total.ToString(), " in all");
    } else {
      reason = absl::StrCat("this node has ", resources_.node().free().ToString(), " free");
    }
    const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - demand.waiting_since).count();
    absl::StrAppend(&rows, count > 1 ? "," : "", "{\"owner\":\"", key.first.Hex(), "\",\"job\":\"",
                    demand.shape.job.Hex(), "\",\"shape\":\"", key.second.Hex(), "\",\"needs\":",
                    JsonQuote(demand.shape.resources.ToString()), ",\"missing\":", Need(key, demand),
                    ",\"waiting_ms\":", ms, ",\"reason\":", JsonQuote(reason), "}");
  }
  return rows + "]";
}

void Demands::CheckInvariants() const {
  for (const auto& [key, demand] : demands_) {
    SHOAL_CHECK((demand.wanted > 0) == waiting_.contains(key)) << "a demand of " << key.first.Hex() << " is forgotten";
    SHOAL_CHECK(demand.wanted > 0 || demand.told > 0 || leases_.WaitingFor(OwnerOf(key), key.second) > 0 ||
                untold_.contains(key))
        << "an empty demand of " << key.first.Hex() << " stays";
  }
  for (const Key& key : waiting_) SHOAL_CHECK(demands_.contains(key));
  for (const Key& key : untold_) SHOAL_CHECK(demands_.contains(key));
}

}  // namespace shoal::raylet
