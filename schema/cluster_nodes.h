// The list of all nodes and its news: a raylet is told the whole list when it registers or its link begins anew, and from then on what
// changed. A digest of the whole comes with all news, so that whoever missed some registers again.
#pragma once

#include <cstdint>

#include "schema/node_messages.h"

namespace shoal {

// Of one node; that of a list is the sum.
uint64_t DigestOf(const NodeInfo& node);

// Applies a list or news to `level`, which is in order of ids. False, and nothing is changed, if news do not lead to what the head has.
bool TakeOver(ClusterNodes&& message, ClusterNodes* level);

}  // namespace shoal
