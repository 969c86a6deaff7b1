# Leases, workers, the object store and nodes: what raylets say to core workers, to each other and to the head. See
# schema/node_messages.h for what each means.
@0x8a499f996ff8726e;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");
using import "common.capnp".Address;
using import "common.capnp".ErrorInfo;
using import "common.capnp".ErrorKind;
using import "common.capnp".ObjectId;
using import "common.capnp".ResourceSet;
using import "common.capnp".Role;
using import "common.capnp".StringPair;
using import "task.capnp".ObjectRefInfo;
using import "task.capnp".Shape;
using import "task.capnp".WorkerKind;

# ---- core worker <-> raylet

struct RegisterWorker {
  worker @0 :UInt64;
  role @1 :Role = worker;
  pid @2 :UInt32;
  protocolVersion @3 :UInt32 = 1;
  job @4 :UInt64;
  ns @5 :Text;
  entrypoint @6 :Text;
  workerKind @7 :WorkerKind;
}

struct RegisterWorkerReply {
  error @0 :ErrorInfo;
  node @1 :UInt64;
  job @2 :UInt64;
  ns @3 :Text;
  clusterId @4 :UInt64;
  arenaBytes @5 :UInt64;
}

struct LocalityHint {
  node @0 :UInt64;
  bytes @1 :UInt64;
}

struct LeaseDemand {
  shape @0 :Shape;
  wanted @1 :UInt32;
  version @2 :UInt64;
  locality @3 :List(LocalityHint);
}

struct LeaseGranted {
  shape @0 :UInt64;  # ShapeId
  lease @1 :UInt64;
  epoch @2 :UInt64;
  worker @3 :Address;
  ttl @4 :Int64;     # nanoseconds
}

struct LeaseFailed {
  shape @0 :UInt64;
  error @1 :ErrorInfo;
}

struct ReturnLease {
  lease @0 :UInt64;
  killWorker @1 :Bool;
}

struct RenewLeases {
  leases @0 :List(UInt64);
}

struct RevokeLease {
  lease @0 :UInt64;
}

struct AssignLease {
  lease @0 :UInt64;
  owner @1 :Address;
  job @2 :UInt64;
  envVars @3 :List(StringPair);
  resources @4 :ResourceSet;
}

struct WorkerBlocked {
  blocked @0 :Bool = true;
  lease @1 :UInt64;
}

struct WorkerDied {
  worker @0 :Address;
  kind @1 :ErrorKind = workerCrashed;
  message @2 :Text;
}

struct NodeDied {
  node @0 :UInt64;
  message @1 :Text;
}

struct ExitWorker {
  reason @0 :Text;
  now @1 :Bool;
}

struct LogLines {
  job @0 :UInt64;
  prefix @1 :Text;
  isStderr @2 :Bool;
  lines @3 :List(Data);  # whatever the process wrote
}

# ---- object store

struct CreateObject {
  request @0 :UInt64;
  size @1 :UInt64;
}

struct ObjectCreated {
  request @0 :UInt64;
  offset @1 :UInt64;
  error @2 :ErrorInfo;
}

struct SealObject {
  ref @0 :ObjectRefInfo;
  offset @1 :UInt64;
  size @2 :UInt64;
}

struct AbortObject {
  offset @0 :UInt64;
}

struct PullObject {
  ref @0 :ObjectRefInfo;
  size @1 :UInt64;
  locations @2 :List(UInt64);
}

struct ObjectLocal {
  id @0 :ObjectId;
  offset @1 :UInt64;
  size @2 :UInt64;
  lostAt @3 :UInt64;
  error @4 :ErrorInfo;
}

struct ReleaseObject {
  id @0 :ObjectId;
}

struct FreeObjects {
  ids @0 :List(ObjectId);
}

# ---- raylet <-> head

struct Hardware {
  cpus @0 :Float64;
  memoryBytes @1 :UInt64;
  diskBytes @2 :UInt64;
  gpus @3 :Float64;
  gpuModel @4 :Text;
}

enum ConnectivityTier {
  direct @0;
  dialsOut @1;
  relayed @2;
}

struct NodeInfo {
  id @0 :UInt64;
  incarnation @1 :UInt64;
  name @2 :Text;
  controlEndpoint @3 :Text;
  bulkEndpoint @4 :Text;
  publicKey @5 :Text;  # CURVE, Z85
  total @6 :ResourceSet;
  labels @7 :List(StringPair);
  owner @8 :Text;
  site @9 :Text;
  region @10 :Text;
  tier @11 :ConnectivityTier;
  claimed @12 :Hardware;
  measured @13 :Hardware;
  leasable @14 :Hardware;
}

struct RegisterNode {
  info @0 :NodeInfo;
  lastEpoch @1 :UInt64;
}

struct RegisterNodeReply {
  error @0 :ErrorInfo;
  epoch @1 :UInt64;
  fenceAfter @2 :Int64;  # nanoseconds
}

struct ClusterNodes {
  epoch @0 :UInt64;
  nodes @1 :List(NodeInfo);
  whole @2 :Bool = true;
  gone @3 :List(UInt64);
  digest @4 :UInt64;
}

struct Heartbeat {
  node @0 :UInt64;
  incarnation @1 :UInt64;
  sentAtNs @2 :Int64;
}

struct HeartbeatAck {
  sentAtNs @0 :Int64;
  epoch @1 :UInt64;
}

struct LeaseReport {
  lease @0 :UInt64;
  shape @1 :UInt64;
  owner @2 :Address;
  worker @3 :UInt64;
  resources @4 :ResourceSet;
}

struct ActorReport {
  actor @0 :UInt64;
  incarnation @1 :UInt64;
  worker @2 :UInt64;
  ready @3 :Bool;
}

struct BundleReport {
  group @0 :UInt64;
  bundle @1 :Int32;
  committed @2 :Bool;
}

struct WorkerReport {
  worker @0 :UInt64;
  role @1 :Role = worker;
  job @2 :UInt64;
  pid @3 :UInt32;
  state @4 :Text;
}

struct NodeReport {
  node @0 :UInt64;
  incarnation @1 :UInt64;
  version @2 :UInt64;
  available @3 :ResourceSet;
  leases @4 :List(LeaseReport);
  actors @5 :List(ActorReport);
  bundles @6 :List(BundleReport);
  workers @7 :List(WorkerReport);
  storeUsedBytes @8 :UInt64;
  storeObjects @9 :UInt64;
  storeCapacityBytes @10 :UInt64;
}

struct SpillDemand {
  owner @0 :Address;
  demand @1 :LeaseDemand;
}

struct GrantLeases {
  request @0 :UInt64;
  epoch @1 :UInt64;
  owner @2 :Address;
  shape @3 :Shape;
  count @4 :UInt32;
}

struct GrantLeasesReply {
  request @0 :UInt64;
  granted @1 :UInt32;
  refused @2 :ErrorInfo;
}

struct MakeRoom {
  epoch @0 :UInt64;
  resources @1 :ResourceSet;
}
