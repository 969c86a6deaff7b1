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
#include <type_traits>
#include <utility>
#include <variant>

#include "schema/actor_messages.h"
#include "schema/node_messages.h"
#include "schema/task_messages.h"

namespace shoal {

using MessageVariant = std::variant<
    // core worker <-> core worker
    PushTask, TaskReply, ReclaimTasks, TasksReturned, CancelTask, ResolveObject, ObjectResolved, AddBorrower,
    BorrowerAdded, RemoveBorrower, ObjectLocation,
    // core worker <-> raylet
    RegisterWorker, RegisterWorkerReply, LeaseDemand, LeaseGranted, LeaseFailed, ReturnLease, RenewLeases,
    RevokeLease, AssignLease, WorkerBlocked, WorkerDied, NodeDied, ExitWorker, LogLines, CreateObject,
    ObjectCreated, SealObject, AbortObject, PullObject, ObjectLocal, ReleaseObject, FreeObjects,
    // raylet <-> head
    RegisterNode, RegisterNodeReply, ClusterNodes, Heartbeat, HeartbeatAck, NodeReport, SpillDemand, GrantLeases,
    GrantLeasesReply, MakeRoom,
    // actors, placement groups, jobs, state
    CreateActor, WatchActor, FindActor, FindActorReply, KillActor, ActorUpdate, StartActor, StopActor, ActorStarted,
    ActorExited, BecomeActor, ActorReady, CreatePlacementGroup, RemovePlacementGroup, WatchPlacementGroup,
    PlacementGroupUpdate, PrepareBundles, BundlesPrepared, CommitBundles, ReturnBundles, StartJob, FinishJob,
    ListState, ListStateReply>;

template <class M, class Variant>
inline constexpr bool kIsMessage = false;
template <class M, class... Kinds>
inline constexpr bool kIsMessage<M, std::variant<Kinds...>> = (std::is_same_v<M, Kinds> || ...);

// One message of any kind: std::get, std::get_if and std::visit work as on the variant. What a variant of so many alternatives needs
// for its moves and its end is compiled once, in messages.cc, and not in every file that names a message.
class Message : public MessageVariant {
 public:
  Message() noexcept;  // a PushTask
  Message(const Message& other);
  Message(Message&& other) noexcept;
  Message& operator=(const Message& other);
  Message& operator=(Message&& other) noexcept;
  ~Message();
  template <class M>
    requires(kIsMessage<M, MessageVariant>)
  Message(M value) : Message(Of(std::move(value))) {}

  // Makes it a new M, to fill in.
  template <class M>
  M& Become();

 private:
  template <class Variant>
  struct Instances;
  template <class M>
  static Message Of(M&& value);
};

// A machine's wish to say something. Whoever drives the machine carries it out.
struct Send {
  Address to;
  Message message;
};

// "PushTask", for traces and errors.
const char* MessageName(const Message& message);

// A state change somebody may ask about: `shoal why`, the timeline, metering and the tests read this one stream.
struct ClusterEvent {
  std::string subject;   // "node 12ab", "lease ..", "actor ..", "job ..", "group .."
  std::string from, to;  // states
  std::string reason;
  template <class V> void Fields(V& v) { v(subject, from, to, reason); }
};

}  // namespace shoal
