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
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/fields.h"
#include "base/ids.h"
#include "base/payload.h"
#include "base/resources.h"
#include "base/time.h"

namespace shoal {

// Raised when peers of another version could misunderstand each other.
inline constexpr uint32_t kProtocolVersion = 1;
// Results and arguments up to this size travel inside messages; larger ones live in the object store.
inline constexpr uint64_t kInlineLimitBytes = 100 * 1024;

using StringMap = std::vector<std::pair<std::string, std::string>>;  // sorted by key

enum class Role : uint8_t { kHead, kRaylet, kDriver, kWorker, kAdmin };

enum class ErrorKind : uint8_t {
  kNone,
  kApplication,        // user code raised; detail holds the language's serialized exception
  kWorkerCrashed,      // the process died under the task
  kNodeDied,
  kActorDied,          // final
  kActorUnavailable,   // may come back; the call may or may not have run
  kTaskCancelled,
  kObjectLost,
  kOwnerDied,
  kObjectStoreFull,
  kOutOfMemory,
  kPlacementGroupRemoved,
  kUnschedulable,      // can never run as asked
  kRuntimeEnvSetup,
  kPendingCallsLimit,
  kNameTaken,
  kNotFound,
  kInvalidArgument,
  kSystem,
};

struct ErrorInfo {
  ErrorKind kind = ErrorKind::kNone;
  std::string message;  // one sentence: the cause and the fix
  Payload detail;       // kApplication: serialized exception
  explicit operator bool() const { return kind != ErrorKind::kNone; }
  template <class V> void Fields(V& v) { v(kind, message, detail); }
};

// ---------------------------------------------------------------- scheduling requests

enum class StrategyKind : uint8_t { kDefault, kSpread, kNodeAffinity, kPlacementGroup };

struct Strategy {
  StrategyKind kind = StrategyKind::kDefault;
  NodeId node;               // kNodeAffinity
  bool soft = false;         // kNodeAffinity: another node will do if that one is gone or full
  PlacementGroupId group;    // kPlacementGroup
  int32_t bundle = -1;       // kPlacementGroup: -1 is any bundle
  template <class V> void Fields(V& v) { v(kind, node, soft, group, bundle); }
};

// How the raylet makes a worker process.
struct WorkerKind {
  std::vector<std::string> command;  // empty: fork from the Python zygote; else this program in worker mode
  StringMap env_vars;                // runtime_env
  template <class V> void Fields(V& v) { v(command, env_vars); }
};

// What a task needs of its worker. Tasks of one shape share leases.
struct Shape {
  JobId job;
  ResourceSet resources;
  Strategy strategy;
  StringMap labels;  // label selector: value is "x", "!x", "in(a,b)" or "!in(a,b)"
  WorkerKind worker;
  int32_t priority = 0;
  ShapeId id() const { return ShapeId{StableHash(*this)}; }
  template <class V> void Fields(V& v) { v(job, resources, strategy, labels, worker, priority); }
};

// ---------------------------------------------------------------- objects and tasks

// All that is needed to find an object: its name names the owner process, this adds the owner's node.
struct ObjectRefInfo {
  ObjectId id;
  NodeId owner_node;
  Address owner() const { return {owner_node, id.owner}; }
  friend bool operator==(const ObjectRefInfo&, const ObjectRefInfo&) = default;
  template <class V> void Fields(V& v) { v(id, owner_node); }
};

enum class ValueKind : uint8_t { kPending, kInline, kStored, kError };

// The value of an object, or where it is.
struct ObjectValue {
  ValueKind kind = ValueKind::kPending;
  Payload data;                         // kInline
  uint64_t size = 0;                    // kStored
  std::vector<NodeId> locations;        // kStored: nodes that hold a copy, the primary first
  ErrorInfo error;                      // kError
  std::vector<ObjectRefInfo> contained;  // references serialized inside the value
  template <class V> void Fields(V& v) { v(kind, data, size, locations, error, contained); }
};

// A top-level argument given as a reference. The caller pushes a task only when each of them exists; small values it
// knows ride along, large ones are pulled by the receiving node.
struct ArgRef {
  ObjectRefInfo ref;
  ObjectValue value;  // kPending if the receiver has to ask the owner
  template <class V> void Fields(V& v) { v(ref, value); }
};

enum class TaskKind : uint8_t { kNormal, kActorCreation, kActorCall };

struct TaskSpec {
  TaskId id;
  TaskKind kind = TaskKind::kNormal;
  uint32_t attempt = 0;
  uint32_t num_returns = 1;
  JobId job;
  NodeId owner_node;
  FunctionId function;                // which code; for an actor call the class
  std::string name;                   // function or "Class.method", for people; the method follows the last dot
  Payload args;                       // positional and keyword arguments, serialized by the language
  std::vector<ArgRef> refs;           // top-level references, by position inside args
  std::vector<ObjectRefInfo> nested;  // references inside other arguments
  TaskId parent;
  ActorId actor;
  std::string concurrency_group;
  Payload options;                    // opaque to the machines: the language's own per-task settings
  Address caller() const { return {owner_node, id.owner}; }
  template <class V> void Fields(V& v) {
    v(id, kind, attempt, num_returns, job, owner_node, function, name, args, refs, nested, parent, actor,
      concurrency_group, options);
  }
};

// Caller -> worker. `code` is there the first time this caller sends this function to this worker.
struct PushTask {
  TaskSpec spec;
  Payload code;
  LeaseId lease;                    // normal tasks: refused unless the worker holds this lease
  uint64_t actor_incarnation = 0;   // actor calls: refused by any other incarnation
  uint64_t sequence = 0;            // actor calls: 0, 1, 2, ... per caller and incarnation
  template <class V> void Fields(V& v) { v(spec, code, lease, actor_incarnation, sequence); }
};

enum class TaskOutcome : uint8_t {
  kFinished,   // results hold values or errors
  kCancelled,  // did not run, or stopped
  kRefused,    // did not run: stale lease or incarnation, or the worker is leaving; push it elsewhere
};

// Worker -> caller.
struct TaskReply {
  TaskId task;
  uint32_t attempt = 0;
  TaskOutcome outcome = TaskOutcome::kFinished;
  std::vector<ObjectValue> results;
  bool worker_exiting = false;  // exit_actor, max_calls: nothing more may be pushed
  template <class V> void Fields(V& v) { v(task, attempt, outcome, results, worker_exiting); }
};

// Caller -> worker: give back up to `count` tasks of this lease that have not started, newest first.
struct ReclaimTasks {
  LeaseId lease;
  uint32_t count = 0;
  template <class V> void Fields(V& v) { v(lease, count); }
};

// Worker -> caller: these never started here; push them elsewhere. Sent on ReclaimTasks, and unasked when the
// worker blocks in get, so that a task never waits behind one that waits for it.
struct TasksReturned {
  LeaseId lease;
  std::vector<TaskId> tasks;
  template <class V> void Fields(V& v) { v(lease, tasks); }
};

struct CancelTask {
  TaskId task;
  bool force = false;      // kill the worker if it runs
  bool recursive = true;   // and the tasks that it submitted
  template <class V> void Fields(V& v) { v(task, force, recursive); }
};

// Anybody -> owner: what is this object? Answered by ObjectResolved as soon as it exists. `lost_at` says that a copy
// was not found there, so that the owner drops that location and, with no copy left, recomputes.
struct ResolveObject {
  ObjectId id;
  Address requester;
  NodeId lost_at;
  template <class V> void Fields(V& v) { v(id, requester, lost_at); }
};

struct ObjectResolved {
  ObjectId id;
  ObjectValue value;
  template <class V> void Fields(V& v) { v(id, value); }
};

// Reference counting across processes. `borrower` holds the object until RemoveBorrower or its death. The sender
// keeps whatever kept the object alive until BorrowerAdded arrives.
struct AddBorrower {
  ObjectId id;
  Address borrower;
  Address reply_to;
  template <class V> void Fields(V& v) { v(id, borrower, reply_to); }
};

struct BorrowerAdded {
  ObjectId id;
  Address borrower;
  bool found = true;  // false: the owner had already freed it
  template <class V> void Fields(V& v) { v(id, borrower, found); }
};

struct RemoveBorrower {
  ObjectId id;
  Address borrower;
  template <class V> void Fields(V& v) { v(id, borrower); }
};

// Anybody -> owner: a node now holds, or no longer holds, a copy.
struct ObjectLocation {
  ObjectId id;
  NodeId node;
  bool present = true;
  template <class V> void Fields(V& v) { v(id, node, present); }
};

// ---------------------------------------------------------------- core worker <-> raylet

struct RegisterWorker {
  WorkerId worker;
  Role role = Role::kWorker;
  uint32_t pid = 0;
  uint32_t protocol_version = kProtocolVersion;
  JobId job;                   // drivers choose theirs
  std::string ns;              // namespace of the job
  std::string entrypoint;      // drivers: the command line, for people
  WorkerKind worker_kind;      // drivers: default kind of worker of the job
  template <class V> void Fields(V& v) {
    v(worker, role, pid, protocol_version, job, ns, entrypoint, worker_kind);
  }
};

struct RegisterWorkerReply {
  ErrorInfo error;
  NodeId node;
  JobId job;
  std::string ns;
  uint64_t cluster_id = 0;
  uint64_t arena_bytes = 0;
  template <class V> void Fields(V& v) { v(error, node, job, ns, cluster_id, arena_bytes); }
};

struct LocalityHint {
  NodeId node;
  uint64_t bytes = 0;
  template <class V> void Fields(V& v) { v(node, bytes); }
};

// Level: how many workers of this shape the owner could use now, beyond those it holds. Repeated whole; 0 withdraws.
struct LeaseDemand {
  Shape shape;
  uint32_t wanted = 0;
  uint64_t version = 0;  // the raylet keeps the highest per (owner, shape)
  std::vector<LocalityHint> locality;
  template <class V> void Fields(V& v) { v(shape, wanted, version, locality); }
};

// Raylet that granted -> owner, who pushes tasks to `worker` until it returns the lease or it expires.
struct LeaseGranted {
  ShapeId shape;
  LeaseId lease;
  uint64_t epoch = 0;     // fencing: head epoch under which it was granted
  Address worker;
  Duration ttl{};         // from the owner's receipt; renewed by RenewLeases
  template <class V> void Fields(V& v) { v(shape, lease, epoch, worker, ttl); }
};

// The demand can never be met (group removed, hard affinity to a dead node, environment that fails to start).
struct LeaseFailed {
  ShapeId shape;
  ErrorInfo error;
  template <class V> void Fields(V& v) { v(shape, error); }
};

// Owner -> raylet that granted.
struct ReturnLease {
  LeaseId lease;
  bool kill_worker = false;  // force cancel, or state that must not be reused
  template <class V> void Fields(V& v) { v(lease, kill_worker); }
};

struct RenewLeases {
  std::vector<LeaseId> leases;
  template <class V> void Fields(V& v) { v(leases); }
};

// Raylet -> owner: return it when what runs there has finished; push nothing more.
struct RevokeLease {
  LeaseId lease;
  template <class V> void Fields(V& v) { v(lease); }
};

// Raylet -> its worker: whose tasks to accept. lease 0: none.
struct AssignLease {
  LeaseId lease;
  Address owner;
  JobId job;
  StringMap env_vars;  // CUDA_VISIBLE_DEVICES, OMP_NUM_THREADS, ...
  ResourceSet resources;
  template <class V> void Fields(V& v) { v(lease, owner, job, env_vars, resources); }
};

// Worker -> raylet: its task waits in get; lend its CPUs to others meanwhile.
struct WorkerBlocked {
  bool blocked = true;
  template <class V> void Fields(V& v) { v(blocked); }
};

// Raylet -> workers: drop what you knew of this process. Broadcast.
struct WorkerDied {
  Address worker;
  ErrorKind kind = ErrorKind::kWorkerCrashed;
  std::string message;
  template <class V> void Fields(V& v) { v(worker, kind, message); }
};

struct NodeDied {
  NodeId node;
  std::string message;
  template <class V> void Fields(V& v) { v(node, message); }
};

// Raylet -> worker: finish what runs, then leave.
struct ExitWorker {
  std::string reason;
  bool now = false;
  template <class V> void Fields(V& v) { v(reason, now); }
};

// Worker output for the driver of its job; prefix names the task or actor, pid and node.
struct LogLines {
  JobId job;
  std::string prefix;
  bool is_stderr = false;
  std::vector<std::string> lines;
  template <class V> void Fields(V& v) { v(job, prefix, is_stderr, lines); }
};

// Object store. Offsets count from the start of the node's arena.
struct CreateObject {
  RequestId request;
  uint64_t size = 0;
  template <class V> void Fields(V& v) { v(request, size); }
};
struct ObjectCreated {
  RequestId request;
  uint64_t offset = 0;
  ErrorInfo error;
  template <class V> void Fields(V& v) { v(request, offset, error); }
};
// From now on nobody writes there. The block [offset, offset + size) may lie inside a chunk of this worker.
struct SealObject {
  ObjectRefInfo ref;
  uint64_t offset = 0;
  uint64_t size = 0;
  template <class V> void Fields(V& v) { v(ref, offset, size); }
};
struct AbortObject {
  uint64_t offset = 0;
  template <class V> void Fields(V& v) { v(offset); }
};
// Make it readable here and pin it for this worker. Answered by ObjectLocal.
struct PullObject {
  ObjectRefInfo ref;
  uint64_t size = 0;
  std::vector<NodeId> locations;
  template <class V> void Fields(V& v) { v(ref, size, locations); }
};
struct ObjectLocal {
  ObjectId id;
  uint64_t offset = 0;
  uint64_t size = 0;
  NodeId lost_at;    // with kObjectLost: where it was sought last
  ErrorInfo error;
  template <class V> void Fields(V& v) { v(id, offset, size, lost_at, error); }
};
struct ReleaseObject {  // undoes one PullObject or the creator's pin
  ObjectId id;
  template <class V> void Fields(V& v) { v(id); }
};
// Owner -> raylets that hold copies: no references are left.
struct FreeObjects {
  std::vector<ObjectId> ids;
  template <class V> void Fields(V& v) { v(ids); }
};

// ---------------------------------------------------------------- nodes

struct Hardware {
  double cpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t disk_bytes = 0;
  double gpus = 0;
  std::string gpu_model;
  template <class V> void Fields(V& v) { v(cpus, memory_bytes, disk_bytes, gpus, gpu_model); }
};

enum class ConnectivityTier : uint8_t { kDirect, kDialsOut, kRelayed };

struct NodeInfo {
  NodeId id;
  uint64_t incarnation = 0;       // of the raylet process
  std::string name;
  std::string control_endpoint;   // host:port other raylets dial; empty if none can
  std::string bulk_endpoint;
  std::string public_key;         // CURVE, Z85
  ResourceSet total;
  StringMap labels;
  std::string owner, site, region;
  ConnectivityTier tier = ConnectivityTier::kDirect;
  Hardware claimed, measured, leasable;
  template <class V> void Fields(V& v) {
    v(id, incarnation, name, control_endpoint, bulk_endpoint, public_key, total, labels, owner, site, region, tier,
      claimed, measured, leasable);
  }
};

struct RegisterNode {
  NodeInfo info;
  uint64_t last_epoch = 0;
  template <class V> void Fields(V& v) { v(info, last_epoch); }
};

struct RegisterNodeReply {
  ErrorInfo error;
  uint64_t epoch = 0;             // of the head: commands with a lower one are refused
  Duration fence_after{};         // the raylet stops its actors if the head was silent that long
  template <class V> void Fields(V& v) { v(error, epoch, fence_after); }
};

// Head -> every raylet: level, all nodes alive.
struct ClusterNodes {
  uint64_t epoch = 0;
  std::vector<NodeInfo> nodes;
  template <class V> void Fields(V& v) { v(epoch, nodes); }
};

// Liveness, apart from everything else. The raylet's fence counts from sent_at of the newest answered beat.
struct Heartbeat {
  NodeId node;
  uint64_t incarnation = 0;
  int64_t sent_at_ns = 0;
  template <class V> void Fields(V& v) { v(node, incarnation, sent_at_ns); }
};
struct HeartbeatAck {
  int64_t sent_at_ns = 0;
  uint64_t epoch = 0;
  template <class V> void Fields(V& v) { v(sent_at_ns, epoch); }
};

struct LeaseReport {
  LeaseId lease;
  ShapeId shape;
  Address owner;
  WorkerId worker;
  ResourceSet resources;
  template <class V> void Fields(V& v) { v(lease, shape, owner, worker, resources); }
};
struct ActorReport {
  ActorId actor;
  uint64_t incarnation = 0;
  WorkerId worker;
  bool ready = false;
  template <class V> void Fields(V& v) { v(actor, incarnation, worker, ready); }
};
struct BundleReport {
  PlacementGroupId group;
  int32_t bundle = 0;
  bool committed = false;
  template <class V> void Fields(V& v) { v(group, bundle, committed); }
};
struct WorkerReport {
  WorkerId worker;
  Role role = Role::kWorker;
  JobId job;
  uint32_t pid = 0;
  std::string state;  // starting, idle, leased, actor, driver
  template <class V> void Fields(V& v) { v(worker, role, job, pid, state); }
};

// Raylet -> head: level, everything it holds. Sent when something changed and at least every two seconds.
struct NodeReport {
  NodeId node;
  uint64_t incarnation = 0;
  uint64_t version = 0;
  ResourceSet available;
  std::vector<LeaseReport> leases;
  std::vector<ActorReport> actors;
  std::vector<BundleReport> bundles;
  std::vector<WorkerReport> workers;
  uint64_t store_used_bytes = 0;
  uint64_t store_objects = 0;
  uint64_t store_capacity_bytes = 0;
  uint64_t tasks_finished = 0;
  template <class V> void Fields(V& v) {
    v(node, incarnation, version, available, leases, actors, bundles, workers, store_used_bytes, store_objects,
      store_capacity_bytes, tasks_finished);
  }
};

// Raylet -> head: level, what its own workers want and it could not grant itself.
struct SpillDemand {
  Address owner;
  LeaseDemand demand;
  template <class V> void Fields(V& v) { v(owner, demand); }
};

// Head -> raylet: grant up to `count` leases of this shape to `owner` if you can.
struct GrantLeases {
  RequestId request;
  uint64_t epoch = 0;
  Address owner;
  Shape shape;
  uint32_t count = 0;
  template <class V> void Fields(V& v) { v(request, epoch, owner, shape, count); }
};
struct GrantLeasesReply {
  RequestId request;
  uint32_t granted = 0;
  ErrorInfo refused;  // why not all
  template <class V> void Fields(V& v) { v(request, granted, refused); }
};

// ---------------------------------------------------------------- actors

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
struct GetActor {
  RequestId request;
  std::string name, ns;
  template <class V> void Fields(V& v) { v(request, name, ns); }
};
struct GetActorReply {
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

// ---------------------------------------------------------------- placement groups

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

// ---------------------------------------------------------------- jobs and state

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
  std::string argument;
  uint32_t limit = 10'000;
  template <class V> void Fields(V& v) { v(request, kind, argument, limit); }
};
struct ListStateReply {
  RequestId request;
  ErrorInfo error;
  std::string json;  // an array of objects
  template <class V> void Fields(V& v) { v(request, error, json); }
};

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
