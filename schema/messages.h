// What processes say to each other: plain structs, spoken by the pure machines and by the simulator
// as they are. schema/codec.h turns them into Cap'n Proto for the network, base/fields.h into the fixed
// layout of the shared-memory rings.
//
// Who speaks (Address): the head {0,0}, a raylet {node,0}, a core worker {node,worker}. A core worker is
// connected to its own raylet and, by rings, to its neighbours; everything else it sends is carried by the
// raylets, unopened. Levels, not edges: demands, reports and desired states are repeated whole, so that one message
// repairs any number of lost ones; every handler may be called twice.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "schema/actor_messages.h"
#include "schema/node_messages.h"
#include "schema/task_messages.h"

namespace shoal {

using Message = std::variant<
    // core worker <-> core worker
    PushTask, TaskReply, ReclaimTasks, TasksReturned, CancelTask, ResolveObject, ObjectResolved, AddBorrower,
    BorrowerAdded, RemoveBorrower, ObjectLocation,
    // core worker <-> raylet
    RegisterWorker, RegisterWorkerReply, LeaseDemand, LeaseGranted, LeaseFailed, ReturnLease, RenewLeases,
    RevokeLease, AssignLease, WorkerBlocked, WorkerDied, NodeDied, ExitWorker, LogLines, CreateObject,
    ObjectCreated, SealObject, AbortObject, PullObject, ObjectLocal, ReleaseObject, FreeObjects,
    // raylet <-> head
    RegisterNode, RegisterNodeReply, ClusterNodes, Heartbeat, HeartbeatAck, NodeReport, SpillDemand, GrantLeases,
    GrantLeasesReply,
    // actors, placement groups, jobs, state
    CreateActor, WatchActor, GetActor, GetActorReply, KillActor, ActorUpdate, StartActor, StopActor, ActorStarted,
    ActorExited, BecomeActor, ActorReady, CreatePlacementGroup, RemovePlacementGroup, WatchPlacementGroup,
    PlacementGroupUpdate, PrepareBundles, BundlesPrepared, CommitBundles, ReturnBundles, StartJob, FinishJob,
    ListState, ListStateReply>;

// A machine's wish to say something. Whoever drives the machine carries it out.
struct Send {
  Address to;
  Message message;
};

// "PushTask", for traces and errors.
const char* MessageName(const Message& message);

// A state change somebody may ask about: `shoal why`, the timeline, metering and the tests read this one stream.
struct ClusterEvent {
  int64_t time_ns = 0;   // filled in by the shell, wall clock, for people
  std::string subject;   // "node 12ab", "lease ..", "actor ..", "job ..", "group .."
  std::string from, to;  // states
  std::string reason;
  template <class V> void Fields(V& v) { v(time_ns, subject, from, to, reason); }
};

}  // namespace shoal
