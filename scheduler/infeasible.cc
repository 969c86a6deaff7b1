#include "scheduler/infeasible.h"

#include "absl/strings/str_cat.h"

namespace shoal::scheduler {

std::string Infeasible(const ClusterState& cluster, NeedId need) {
  const NodeRecord* example = nullptr;
  for (const auto& [id, node] : cluster.nodes()) {
    if (!node->alive()) continue;
    if (cluster.index().CouldFit(need, node->slot)) return "";
    example = node.get();
  }
  if (example == nullptr) return "there is no node";
  bool never = false;
  return absl::StrCat("no node could take that even if it were free (of node ", example->info.name, ": ",
                      cluster.index().WhyNot(need, example->slot, &never), ")");
}

}  // namespace shoal::scheduler
