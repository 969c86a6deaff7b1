#include "schema/cluster_nodes.h"

#include <utility>

#include "absl/container/btree_map.h"

namespace shoal {

uint64_t DigestOf(const NodeInfo& node) { return StableHash(std::make_pair(node.id.value, node.incarnation)); }

bool TakeOver(ClusterNodes&& message, ClusterNodes* level) {
  if (message.whole) {
    *level = std::move(message);
    return true;
  }
  absl::btree_map<NodeId, const NodeInfo*> nodes;
  for (const NodeInfo& node : level->nodes) nodes[node.id] = &node;
  for (NodeId gone : message.gone) nodes.erase(gone);
  for (const NodeInfo& node : message.nodes) nodes[node.id] = &node;
  ClusterNodes result;
  result.epoch = message.epoch;
  uint64_t digest = 0;
  for (const auto& [id, node] : nodes) {
    digest += DigestOf(*node);
    result.nodes.push_back(*node);
  }
  if (digest != message.digest) return false;
  *level = std::move(result);
  return true;
}

}  // namespace shoal
