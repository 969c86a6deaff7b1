#include "scheduler/policy/plan_bundles.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace shoal::scheduler {
namespace {

constexpr uint32_t kNone = FitIndex::kNone;

bool Contains(const std::vector<uint32_t>& slots, uint32_t slot) {
  return std::find(slots.begin(), slots.end(), slot) != slots.end();
}

// Largest first: by what is scarce, then by everything.
std::vector<size_t> BySize(const FitIndex& index, const std::vector<NeedId>& needs) {
  auto size = [&](size_t i) {
    const ResourceSet& r = index.need(needs[i]).resources;
    int64_t rest = 0;
    for (const auto& [name, steps] : r.amounts()) rest += steps / ResourceSet::kStepsPerUnit;
    return std::make_tuple(r.Get(kGpu), r.Get(kCpu), rest);
  };
  std::vector<size_t> order(needs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return size(a) > size(b); });
  return order;
}

// Takes and, on the way out, gives everything back: the plan is only thought through.
class Tentative {
 public:
  explicit Tentative(FitIndex& index) : index_(index), grew_(index.grew()) {}
  ~Tentative() {
    for (const auto& [slot, need] : taken_) index_.Give(slot, need, 1);
    index_.RestoreGrew(grew_);
  }
  Tentative(const Tentative&) = delete;
  Tentative& operator=(const Tentative&) = delete;
  void Take(uint32_t slot, NeedId need) {
    index_.Take(slot, need, 1);
    taken_.emplace_back(slot, need);
  }

 private:
  FitIndex& index_;
  const bool grew_;
  std::vector<std::pair<uint32_t, NeedId>> taken_;
};

uint32_t FirstFitting(const FitIndex& index, NeedId need, const std::vector<uint32_t>& slots) {
  for (uint32_t slot : slots) {
    if (index.Fits(need, slot)) return slot;
  }
  return kNone;
}

// The least loaded of a few nodes with room that are not used yet.
uint32_t FreshNode(const FitIndex& index, NeedId need, const std::vector<uint32_t>& used, Rng& rng) {
  constexpr size_t kProbes = 8;
  uint32_t best = kNone;
  uint32_t at = static_cast<uint32_t>(rng.Below(std::max(1u, index.slot_count())));
  // Every used node may be in the way once, and then as many probes.
  for (size_t i = 0; i < used.size() + kProbes; ++i) {
    const uint32_t slot = index.NextFrom(need, at);
    if (slot == kNone) break;
    at = slot + 1;
    if (Contains(used, slot)) continue;
    if (best == kNone || index.Load(slot) < index.Load(best)) best = slot;
  }
  return best;
}

std::optional<std::vector<uint32_t>> Greedy(FitIndex& index, const BundlePlan& plan, Rng& rng) {
  const bool pack = plan.strategy == PackStrategy::kPack;
  std::vector<uint32_t> slots(plan.needs.size(), kNone);
  std::vector<uint32_t> used = plan.held;
  Tentative tentative(index);
  for (size_t i : BySize(index, plan.needs)) {
    const NeedId need = plan.needs[i];
    uint32_t slot = pack ? FirstFitting(index, need, used) : FreshNode(index, need, used, rng);
    if (slot == kNone) slot = pack ? FreshNode(index, need, used, rng) : FirstFitting(index, need, used);
    if (slot == kNone) return std::nullopt;
    slots[i] = slot;
    tentative.Take(slot, need);
    if (!Contains(used, slot)) used.push_back(slot);
  }
  return slots;
}

std::optional<std::vector<uint32_t>> AllInOne(FitIndex& index, const BundlePlan& plan, Rng& rng) {
  uint32_t slot = FirstFitting(index, plan.all_in_one, plan.held);
  if (slot == kNone && plan.strategy == PackStrategy::kStrictPack && !plan.held.empty()) return std::nullopt;
  if (slot == kNone) slot = index.BetterOfTwo(plan.all_in_one, rng);
  if (slot == kNone) return std::nullopt;
  return std::vector<uint32_t>(plan.needs.size(), slot);
}

class Matching {
 public:
  Matching(const FitIndex& index, const BundlePlan& plan, Rng& rng) : candidates_(plan.needs.size()) {
    // A bundle with as many candidates as there are bundles can always be placed, so more need not be looked at.
    for (size_t i = 0; i < plan.needs.size(); ++i) {
      uint32_t at = static_cast<uint32_t>(rng.Below(std::max(1u, index.slot_count())));
      const uint32_t fits = index.CountFits(plan.needs[i]);
      for (uint32_t seen = 0; seen < fits && candidates_[i].size() < plan.needs.size(); ++seen) {
        const uint32_t slot = index.NextFrom(plan.needs[i], at);
        at = slot + 1;
        if (!Contains(plan.held, slot)) candidates_[i].push_back(slot);
      }
    }
  }
  std::optional<std::vector<uint32_t>> Solve() {
    for (size_t i = 0; i < candidates_.size(); ++i) {
      visited_.clear();
      if (!Augment(i)) return std::nullopt;
    }
    std::vector<uint32_t> slots(candidates_.size());
    for (const auto& [slot, bundle] : holder_) slots[bundle] = slot;
    return slots;
  }

 private:
  // Depth is bounded by the number of bundles, which a group's creation bounds.
  bool Augment(size_t bundle) {
    for (uint32_t slot : candidates_[bundle]) {
      if (!visited_.emplace(slot, true).second) continue;
      auto it = holder_.find(slot);
      if (it != holder_.end() && !Augment(it->second)) continue;
      holder_[slot] = bundle;
      return true;
    }
    return false;
  }

  std::vector<std::vector<uint32_t>> candidates_;
  absl::btree_map<uint32_t, size_t> holder_;
  absl::btree_map<uint32_t, bool> visited_;
};

}  // namespace

std::optional<std::vector<uint32_t>> PlanBundles(FitIndex& index, const BundlePlan& plan, Rng& rng) {
  if (plan.needs.empty()) return std::vector<uint32_t>{};
  switch (plan.strategy) {
    case PackStrategy::kStrictPack:
      return AllInOne(index, plan, rng);
    case PackStrategy::kStrictSpread:
      return Matching(index, plan, rng).Solve();
    case PackStrategy::kPack:
      if (auto slots = AllInOne(index, plan, rng)) return slots;
      break;
    case PackStrategy::kSpread:
      break;
  }
  return Greedy(index, plan, rng);
}

}  // namespace shoal::scheduler
