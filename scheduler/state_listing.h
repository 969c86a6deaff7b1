// Rows for people and tools: what ListState asks of the head, as JSON arrays of objects. Kinds: nodes, actors, jobs,
// placement_groups, resources, leases, workers, demands, events, and why (argument: a task, owner, shape, actor or group in hex, or
// nothing for everything that waits). Names of fields follow Ray's state API where it has them.
#pragma once

#include "scheduler/actor_table.h"
#include "scheduler/job_table.h"
#include "scheduler/lease_queue.h"
#include "scheduler/placement_group_table.h"
#include "scheduler/shared.h"

namespace shoal::scheduler {

struct Tables {
  const Shared& shared;
  const PlacementGroupTable& groups;
  const ActorTable& actors;
  const LeaseQueue& leases;
  const JobTable& jobs;
};

ListStateReply ListTable(const Tables& tables, TimePoint now, const ListState& message);

}  // namespace shoal::scheduler
