// Leases, workers, the object store and nodes: what raylets say to core workers, to each other and to the head.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "schema/task_messages.h"

namespace shoal {

// ---- core worker <-> raylet

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
  LeaseId lease;  // under which the task runs; the worker may hold another one when this arrives. 0: the present one
  template <class V> void Fields(V& v) { v(blocked, lease); }
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

// ---- nodes

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

// Head -> every raylet: all nodes alive, or what is new since (schema/cluster_nodes.h).
struct ClusterNodes {
  uint64_t epoch = 0;
  std::vector<NodeInfo> nodes;
  bool whole = true;
  std::vector<NodeId> gone;  // news
  uint64_t digest = 0;       // news: of the whole that they lead to
  template <class V> void Fields(V& v) { v(epoch, nodes, whole, gone, digest); }
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
  template <class V> void Fields(V& v) {
    v(node, incarnation, version, available, leases, actors, bundles, workers, store_used_bytes, store_objects,
      store_capacity_bytes);
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

// Head -> raylet: level, repeated while needed. Something that the head has to place waits for this much room: have leases returned, and
// keep what comes free for the head for a while.
struct MakeRoom {
  uint64_t epoch = 0;
  ResourceSet resources;
  template <class V> void Fields(V& v) { v(epoch, resources); }
};

}  // namespace shoal
