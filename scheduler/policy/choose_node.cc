#include "scheduler/policy/choose_node.h"

namespace shoal::scheduler {
namespace {

NodeRecord* FittingNode(ClusterState& cluster, NeedId need, NodeId node) {
  NodeRecord* record = cluster.Find(node);
  const bool fits = record != nullptr && record->alive() && cluster.index().Fits(need, record->slot);
  return fits ? record : nullptr;
}

NodeRecord* BestHint(ClusterState& cluster, NeedId need, const std::vector<LocalityHint>& hints) {
  NodeRecord* best = nullptr;
  uint64_t most = 0;
  for (const LocalityHint& hint : hints) {
    if (hint.bytes <= most) continue;
    NodeRecord* node = FittingNode(cluster, need, hint.node);
    if (node == nullptr) continue;
    best = node;
    most = hint.bytes;
  }
  return best;
}

}  // namespace

NodeRecord* ChooseNode(ClusterState& cluster, Rng& rng, NeedId need, const Strategy& strategy,
                       const std::vector<LocalityHint>& hints, uint32_t* cursor) {
  if (strategy.kind == StrategyKind::kNodeAffinity) {
    NodeRecord* node = FittingNode(cluster, need, strategy.node);
    if (node != nullptr || !strategy.soft) return node;
  }
  if (!cluster.index().AnyFits(need)) return nullptr;
  if (strategy.kind == StrategyKind::kSpread) {
    const uint32_t slot = cluster.index().NextFrom(need, *cursor);
    *cursor = slot + 1;
    return &cluster.AtSlot(slot);
  }
  if (!hints.empty()) {
    if (NodeRecord* node = BestHint(cluster, need, hints)) return node;
  }
  return &cluster.AtSlot(cluster.index().BetterOfTwo(need, rng));
}

std::string NeverFits(const ClusterState& cluster, NeedId need, const Strategy& strategy) {
  if (strategy.kind != StrategyKind::kNodeAffinity || strategy.soft) return "";
  const NodeRecord* node = cluster.Find(strategy.node);
  if (node == nullptr || node->state == NodeState::kDead) {
    return absl::StrCat("it must run on node ", strategy.node.Hex(), ", which is ",
                        node == nullptr ? "not part of the cluster" : "dead", "; use soft affinity or another node");
  }
  if (!node->alive()) return "";
  bool never = false;
  const std::string reason = cluster.index().WhyNot(need, node->slot, &never);
  if (!never) return "";
  return absl::StrCat("it must run on node ", strategy.node.Hex(), ", where it never fits: ", reason);
}

}  // namespace shoal::scheduler
