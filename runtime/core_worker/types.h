// What goes into and comes out of a core worker machine (core_worker.h), apart from messages.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/messages.h"

namespace shoal::core_worker {

struct CoreWorkerOptions {
  Address self;
  JobId job;
  Role role = Role::kWorker;

  // Tasks at one leased worker, the running one included, and the amount of work that is to wait there.
  uint32_t max_in_flight_per_worker = 256;
  Duration target_queue = 2ms;
  // Calls at one actor that have no reply yet; more wait here. Large, because calls may wait for each other.
  uint32_t max_in_flight_per_actor = 16'384;
  // How long a lease without work is kept.
  Duration idle_lease_return = 50ms;
  // A demand that still stands is repeated this often, in case somebody forgot it.
  Duration demand_refresh = 1s;
  uint32_t max_demand = 10'000;
  // How long a worker keeps a task for which it has heard of no lease; the raylet's word may be slower than a ring.
  Duration unknown_lease_timeout = 5s;
  // Finished tasks kept so that a lost result can be computed again; past this, results of further tasks cannot.
  uint32_t max_lineage_tasks = 100'000;
  // Results the owner can lose at a time before it gives up on one object: bounds recomputation without retries left.
  uint32_t max_pull_attempts = 8;
};

// Sealed bytes in this node's arena.
struct LocalBlock {
  uint64_t offset = 0;
  uint64_t size = 0;
  friend bool operator==(const LocalBlock&, const LocalBlock&) = default;
};

// A task to run now. Every spec.refs[i].value is kInline (its bytes are there) or kStored (blocks[i] is where); a task
// with an argument that is an error is answered by the machine and never gets here.
struct ExecuteTask {
  TaskSpec spec;
  Payload code;                    // of spec.function; empty if its caller sent none
  Address caller;
  std::vector<LocalBlock> blocks;  // one per spec.refs, or empty if none is stored; each stored one is pinned once:
                                   // ReleaseBlock(spec.refs[i].ref.id) when the language no longer reads it
  uint64_t actor_incarnation = 0;  // actor tasks
  std::shared_ptr<const ActorSpec> actor;  // kActorCreation only
};

// What the language hands over to have a task run or an actor method called.
struct TaskSubmission {
  TaskSpec spec;          // id, kind, attempt, job, owner_node and actor are filled in by the machine; refs need no values
  ShapeId shape;          // from RegisterShape; not for actor calls
  Payload code;           // of spec.function; needed the first time only, ignored later
  int32_t max_retries = 0;  // -1: without end. Actor calls: max_task_retries of this call
  bool retry_exceptions = false;
};

// What a machine wishes for. Carried out and Clear()ed by its driver after every call; the vectors keep their memory.
struct CoreWorkerActions {
  std::vector<Send> sends;            // in order per destination; never to self
  std::vector<ExecuteTask> execute;   // start them in this order, all at once if several
  std::vector<TaskId> interrupt;      // running tasks that were cancelled; TaskFinished is still due
  std::vector<ObjectId> ready;        // for which Want had said false and would now say true
  std::vector<ObjectId> freed;        // owned values without references, and borrowed ones let go
  std::vector<Message> for_language;  // FindActorReply, ListStateReply, ObjectCreated, LogLines, PlacementGroupUpdate,
                                      // ActorUpdate, AssignLease, RegisterWorkerReply: by RequestId or id
  std::optional<ExitWorker> exit;     // leave, once all sends are out

  bool empty() const {
    return sends.empty() && execute.empty() && interrupt.empty() && ready.empty() && freed.empty() &&
           for_language.empty() && !exit;
  }
  void Clear() {
    sends.clear();
    execute.clear();
    interrupt.clear();
    ready.clear();
    freed.clear();
    for_language.clear();
    exit.reset();
  }
};

}  // namespace shoal::core_worker
