// Actors, placement groups, jobs and queries of state: what everybody says to the head and it says to raylets.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "schema/task_messages.h"

namespace shoal {

// ---- actors

struct ActorSpec {
  ActorId id;
  JobId job;
  Address owner;
  std::string name, ns;              // name "": anonymous
  bool detached = false;
  bool get_if_exists = false;
  int32_t max_restarts = 0;          // -1: without end
  int32_t max_task_retries = 0;
  int32_t max_concurrency = 1;
  int32_t max_pending_calls = -1;
  Shape shape;                       // held while it lives
  ResourceSet placement;             // what it must find free to be placed; nothing of it is held
  TaskSpec creation;
  Payload code;
  Payload handle;                    // opaque: what the language needs to build a handle from the name
  // Free on its node when it is placed: what it holds, and what it wants to find free.
  ResourceSet ToFind() const {
    ResourceSet find = shape.resources;
    for (const auto& [resource, steps] : placement.amounts()) find.Set(resource, std::max(find.Get(resource), steps));
    return find;
  }
  template <class V> void Fields(V& v) {
    v(id, job, owner, name, ns, detached, get_if_exists, max_restarts, max_task_retries, max_concurrency,
      max_pending_calls, shape, placement, creation, code, handle);
  }
};

enum class ActorState : uint8_t { kPending, kStarting, kAlive, kRestarting, kDead };

// Core worker -> head.
struct CreateActor {
  ActorSpec spec;
  template <class V> void Fields(V& v) { v(spec); }
};
struct WatchActor {
  ActorId actor;
  template <class V> void Fields(V& v) { v(actor); }
};
struct FindActor {
  RequestId request;
  std::string name, ns;
  template <class V> void Fields(V& v) { v(request, name, ns); }
};
struct FindActorReply {
  RequestId request;
  ErrorInfo error;
  ActorId actor;
  Payload handle;
  int32_t max_task_retries = 0;
  template <class V> void Fields(V& v) { v(request, error, actor, handle, max_task_retries); }
};
struct KillActor {
  ActorId actor;
  bool no_restart = true;
  bool when_idle = false;  // the last handle is gone: let queued calls finish
  template <class V> void Fields(V& v) { v(actor, no_restart, when_idle); }
};

// Head -> owner and watchers; level.
struct ActorUpdate {
  ActorId actor;
  ActorState state = ActorState::kPending;
  Address address;
  uint64_t incarnation = 0;  // 1, 2, ... per start
  ErrorInfo error;           // why kDead or kRestarting, or why it could not be created
  ActorId existing;          // get_if_exists: use that one instead
  int32_t max_task_retries = 0;
  template <class V> void Fields(V& v) {
    v(actor, state, address, incarnation, error, existing, max_task_retries);
  }
};

// Head -> raylet.
struct StartActor {
  uint64_t epoch = 0;
  uint64_t incarnation = 0;
  ActorSpec spec;
  template <class V> void Fields(V& v) { v(epoch, incarnation, spec); }
};
struct StopActor {
  uint64_t epoch = 0;
  ActorId actor;
  uint64_t incarnation = 0;  // 0: any
  bool when_idle = false;
  std::string reason;
  template <class V> void Fields(V& v) { v(epoch, actor, incarnation, when_idle, reason); }
};
// Raylet -> head.
struct ActorStarted {
  ActorId actor;
  uint64_t incarnation = 0;
  Address address;
  ErrorInfo error;  // kUnschedulable: no room after all, place it again; others: the constructor failed
  template <class V> void Fields(V& v) { v(actor, incarnation, address, error); }
};
struct ActorExited {
  ActorId actor;
  uint64_t incarnation = 0;
  bool intended = false;  // exit_actor or StopActor: never restarted
  ErrorInfo error;
  template <class V> void Fields(V& v) { v(actor, incarnation, intended, error); }
};
// Raylet -> worker, which becomes this actor and answers with ActorReady.
struct BecomeActor {
  uint64_t incarnation = 0;
  ActorSpec spec;
  template <class V> void Fields(V& v) { v(incarnation, spec); }
};
struct ActorReady {
  ActorId actor;
  uint64_t incarnation = 0;
  ErrorInfo error;
  template <class V> void Fields(V& v) { v(actor, incarnation, error); }
};

// ---- placement groups

enum class PackStrategy : uint8_t { kPack, kSpread, kStrictPack, kStrictSpread };
enum class PlacementGroupStateKind : uint8_t { kPending, kPreparing, kCreated, kRescheduling, kRemoved };

struct PlacementGroupSpec {
  PlacementGroupId id;
  JobId job;
  Address owner;
  std::string name, ns;
  bool detached = false;
  PackStrategy strategy = PackStrategy::kPack;
  std::vector<ResourceSet> bundles;
  std::vector<StringMap> bundle_labels;  // empty, or one selector per bundle
  template <class V> void Fields(V& v) {
    v(id, job, owner, name, ns, detached, strategy, bundles, bundle_labels);
  }
};
struct CreatePlacementGroup {
  PlacementGroupSpec spec;
  template <class V> void Fields(V& v) { v(spec); }
};
struct RemovePlacementGroup {
  PlacementGroupId group;
  template <class V> void Fields(V& v) { v(group); }
};
struct WatchPlacementGroup {
  PlacementGroupId group;
  template <class V> void Fields(V& v) { v(group); }
};
struct PlacementGroupUpdate {
  PlacementGroupId group;
  PlacementGroupStateKind state = PlacementGroupStateKind::kPending;
  std::vector<NodeId> bundle_nodes;
  ErrorInfo error;
  std::string reason;  // why it waits
  template <class V> void Fields(V& v) { v(group, state, bundle_nodes, error, reason); }
};
struct Bundle {
  PlacementGroupId group;
  int32_t index = 0;
  ResourceSet resources;
  template <class V> void Fields(V& v) { v(group, index, resources); }
};
// Head -> raylet: all of them or none. A prepared bundle is returned by itself if no commit follows in time.
struct PrepareBundles {
  uint64_t epoch = 0;
  RequestId request;
  std::vector<Bundle> bundles;
  template <class V> void Fields(V& v) { v(epoch, request, bundles); }
};
struct BundlesPrepared {
  RequestId request;
  PlacementGroupId group;
  bool ok = false;
  template <class V> void Fields(V& v) { v(request, group, ok); }
};
struct CommitBundles {
  uint64_t epoch = 0;
  PlacementGroupId group;
  std::vector<int32_t> indices;
  template <class V> void Fields(V& v) { v(epoch, group, indices); }
};
struct ReturnBundles {
  uint64_t epoch = 0;
  PlacementGroupId group;
  std::vector<int32_t> indices;  // empty: all of the group
  template <class V> void Fields(V& v) { v(epoch, group, indices); }
};

// ---- jobs and state

struct JobInfo {
  JobId id;
  Address driver;
  std::string ns, entrypoint, user;
  WorkerKind worker_kind;
  template <class V> void Fields(V& v) { v(id, driver, ns, entrypoint, user, worker_kind); }
};
struct StartJob {  // raylet of the driver -> head; level
  JobInfo job;
  template <class V> void Fields(V& v) { v(job); }
};
struct FinishJob {  // raylet -> head -> raylets: kill its workers, free its objects
  JobId job;
  std::string reason;
  template <class V> void Fields(V& v) { v(job, reason); }
};

// Anybody -> head or raylet: rows of a table, as JSON. kind: nodes, actors, tasks, objects, workers, jobs, leases,
// placement_groups, resources, why.
struct ListState {
  RequestId request;
  std::string kind;
  std::string argument;  // of "tasks": the one task that is asked for
  uint32_t limit = 10'000;
  template <class V> void Fields(V& v) { v(request, kind, argument, limit); }
};
struct ListStateReply {
  RequestId request;
  ErrorInfo error;
  std::string json;  // an array of objects
  std::string note;  // what is missing from it, for people
  template <class V> void Fields(V& v) { v(request, error, json, note); }
};

}  // namespace shoal
