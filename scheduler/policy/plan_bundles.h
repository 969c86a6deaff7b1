// Where the bundles of a placement group go: all of them or none. Greedy in the order of size; STRICT_SPREAD is a bipartite matching
// (Kuhn's augmenting paths), so that it is found whenever it exists. Leaves the index as it was.
#pragma once

#include <optional>
#include <vector>

#include "scheduler/policy/fit_index.h"
#include "schema/actor_messages.h"

namespace shoal::scheduler {

struct BundlePlan {
  PackStrategy strategy = PackStrategy::kPack;
  std::vector<NeedId> needs;         // of the bundles to place
  NeedId all_in_one = 0;             // their sum, with the labels of all
  std::vector<uint32_t> held;        // slots of bundles of this group that stay where they are
};

// A slot per need, or nullopt if it cannot be now.
std::optional<std::vector<uint32_t>> PlanBundles(FitIndex& index, const BundlePlan& plan, Rng& rng);

}  // namespace shoal::scheduler
