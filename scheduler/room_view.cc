#include "scheduler/room_view.h"

#include <optional>

namespace shoal::scheduler {

void RoomView::Build() {
  built_ = true;
  for (const auto& [id, node] : cluster_.nodes()) {
    if (node->state != NodeState::kReady) continue;
    const uint32_t slot = index_.AddNode(node->info.total, node->info.labels);
    ResourceSet room = node->report.available;
    for (const LeaseReport& lease : node->report.leases) room += lease.resources;
    index_.SetAvailable(slot, room);
    if (slot >= nodes_.size()) nodes_.resize(slot + 1);
    nodes_[slot] = node.get();
    slots_[id] = slot;
  }
}

void RoomView::Take(const std::vector<uint32_t>& slots, const std::vector<NeedId>& needs) {
  absl::btree_map<uint32_t, ResourceSet> sums;
  for (size_t i = 0; i < slots.size(); ++i) {
    index_.Take(slots[i], needs[i], 1);
    sums[slots[i]] += index_.need(needs[i]).resources;
  }
  bool lacking = false;
  for (const auto& [slot, sum] : sums) lacking = lacking || !nodes_[slot]->report.available.Contains(sum);
  if (!lacking) return;
  for (const auto& [slot, sum] : sums) asked_[nodes_[slot]->info.id] += sum;
}

void RoomView::Ask(const Need& need, const Strategy& strategy, uint64_t salt) {
  if (!built_) Build();
  const NeedId id = index_.Intern(need);
  auto at = slots_.find(strategy.node);
  if (strategy.kind == StrategyKind::kNodeAffinity && at != slots_.end() && index_.Fits(id, at->second)) {
    Take({at->second}, {id});
  } else if ((strategy.kind != StrategyKind::kNodeAffinity || strategy.soft) && index_.AnyFits(id)) {
    Take({index_.NextFrom(id, static_cast<uint32_t>(salt % nodes_.size()))}, {id});
  }
  index_.Release(id);
}

void RoomView::AskBundles(PackStrategy strategy, const std::vector<Need>& needs, const Need& all, const std::vector<NodeId>& held,
                          uint64_t salt) {
  if (!built_) Build();
  BundlePlan plan;
  plan.strategy = strategy;
  plan.all_in_one = index_.Intern(all);
  for (const Need& need : needs) plan.needs.push_back(index_.Intern(need));
  for (NodeId node : held) {
    if (auto at = slots_.find(node); at != slots_.end()) plan.held.push_back(at->second);
  }
  Rng rng(salt);
  if (const std::optional<std::vector<uint32_t>> slots = PlanBundles(index_, plan, rng)) {
    Take(*slots, plan.needs);
  }
  for (NeedId need : plan.needs) index_.Release(need);
  index_.Release(plan.all_in_one);
}

}  // namespace shoal::scheduler
