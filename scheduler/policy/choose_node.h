// Where one lease or actor goes, by its strategy. The policies only say where; the caller reserves.
//
//   default     the hinted node with the most bytes if it has room, else the less loaded of two random nodes that have
//   spread      the next node with room, round robin
//   affinity    that node; if soft and it is gone or full, as default
// Shapes in placement groups go where the bundles are, see placement_group_table.h.
#pragma once

#include <vector>

#include "scheduler/cluster_state.h"

namespace shoal::scheduler {

// Null if there is no room now. `cursor` belongs to the shape (spread).
NodeRecord* ChooseNode(ClusterState& cluster, Rng& rng, NeedId need, const Strategy& strategy,
                       const std::vector<LocalityHint>& hints, uint32_t* cursor);

// Why waiting is in vain whatever becomes free: hard affinity to a node that is gone or too small. "" if it is not.
std::string NeverFits(const ClusterState& cluster, NeedId need, const Strategy& strategy);

}  // namespace shoal::scheduler
