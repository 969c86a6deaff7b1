// What every part of the head uses.
#pragma once

#include "base/rng.h"
#include "scheduler/cluster_state.h"
#include "scheduler/turn.h"

namespace shoal::scheduler {

struct Shared {
  Shared(const HeadOptions& o, Rng r) : options(o), rng(r), cluster(&log) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  const HeadOptions options;
  Rng rng;
  uint64_t cluster_id = 0;
  uint64_t epoch = 0;
  // Until then nodes that the head before this one knew may come back, so nothing is concluded from their absence.
  TimePoint trust_absence_from{};
  EventLog log;
  ClusterState cluster;
};

}  // namespace shoal::scheduler
