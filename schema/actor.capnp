# Actors, placement groups, jobs and queries of state: what everybody says to the head and it says to raylets. See
# schema/actor_messages.h for what each means.
@0x94577f3b47188d22;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");
using import "common.capnp".Address;
using import "common.capnp".ErrorInfo;
using import "common.capnp".ResourceSet;
using import "common.capnp".StringPair;
using import "task.capnp".Shape;
using import "task.capnp".TaskSpec;
using import "task.capnp".WorkerKind;

# ---- actors

struct ActorSpec {
  id @0 :UInt64;
  job @1 :UInt64;
  owner @2 :Address;
  name @3 :Text;
  ns @4 :Text;
  detached @5 :Bool;
  getIfExists @6 :Bool;
  maxRestarts @7 :Int32;
  maxTaskRetries @8 :Int32;
  maxConcurrency @9 :Int32 = 1;
  maxPendingCalls @10 :Int32 = -1;
  shape @11 :Shape;
  placement @12 :ResourceSet;
  creation @13 :TaskSpec;
  code @14 :Data;
  handle @15 :Data;
}

enum ActorState {
  pending @0;
  starting @1;
  alive @2;
  restarting @3;
  dead @4;
}

struct CreateActor {
  spec @0 :ActorSpec;
}

struct WatchActor {
  actor @0 :UInt64;
}

struct FindActor {
  request @0 :UInt64;
  name @1 :Text;
  ns @2 :Text;
}

struct FindActorReply {
  request @0 :UInt64;
  error @1 :ErrorInfo;
  actor @2 :UInt64;
  handle @3 :Data;
  maxTaskRetries @4 :Int32;
}

struct KillActor {
  actor @0 :UInt64;
  noRestart @1 :Bool = true;
  whenIdle @2 :Bool;
}

struct ActorUpdate {
  actor @0 :UInt64;
  state @1 :ActorState;
  address @2 :Address;
  incarnation @3 :UInt64;
  error @4 :ErrorInfo;
  existing @5 :UInt64;
  maxTaskRetries @6 :Int32;
}

struct StartActor {
  epoch @0 :UInt64;
  incarnation @1 :UInt64;
  spec @2 :ActorSpec;
}

struct StopActor {
  epoch @0 :UInt64;
  actor @1 :UInt64;
  incarnation @2 :UInt64;
  whenIdle @3 :Bool;
  reason @4 :Text;
}

struct ActorStarted {
  actor @0 :UInt64;
  incarnation @1 :UInt64;
  address @2 :Address;
  error @3 :ErrorInfo;
}

struct ActorExited {
  actor @0 :UInt64;
  incarnation @1 :UInt64;
  intended @2 :Bool;
  error @3 :ErrorInfo;
}

struct BecomeActor {
  incarnation @0 :UInt64;
  spec @1 :ActorSpec;
}

struct ActorReady {
  actor @0 :UInt64;
  incarnation @1 :UInt64;
  error @2 :ErrorInfo;
}

# ---- placement groups

enum PackStrategy {
  pack @0;
  spread @1;
  strictPack @2;
  strictSpread @3;
}

enum PlacementGroupStateKind {
  pending @0;
  preparing @1;
  created @2;
  rescheduling @3;
  removed @4;
}

struct PlacementGroupSpec {
  id @0 :UInt64;
  job @1 :UInt64;
  owner @2 :Address;
  name @3 :Text;
  ns @4 :Text;
  detached @5 :Bool;
  strategy @6 :PackStrategy;
  bundles @7 :List(ResourceSet);
  bundleLabels @8 :List(List(StringPair));  # empty, or one selector per bundle
}

struct CreatePlacementGroup {
  spec @0 :PlacementGroupSpec;
}

struct RemovePlacementGroup {
  group @0 :UInt64;
}

struct WatchPlacementGroup {
  group @0 :UInt64;
}

struct PlacementGroupUpdate {
  group @0 :UInt64;
  state @1 :PlacementGroupStateKind;
  bundleNodes @2 :List(UInt64);
  error @3 :ErrorInfo;
  reason @4 :Text;
}

struct Bundle {
  group @0 :UInt64;
  index @1 :Int32;
  resources @2 :ResourceSet;
}

struct PrepareBundles {
  epoch @0 :UInt64;
  request @1 :UInt64;
  bundles @2 :List(Bundle);
}

struct BundlesPrepared {
  request @0 :UInt64;
  group @1 :UInt64;
  ok @2 :Bool;
}

struct CommitBundles {
  epoch @0 :UInt64;
  group @1 :UInt64;
  indices @2 :List(Int32);
}

struct ReturnBundles {
  epoch @0 :UInt64;
  group @1 :UInt64;
  indices @2 :List(Int32);
}

# ---- jobs and state

struct JobInfo {
  id @0 :UInt64;
  driver @1 :Address;
  ns @2 :Text;
  entrypoint @3 :Text;
  user @4 :Text;
  workerKind @5 :WorkerKind;
}

struct StartJob {
  job @0 :JobInfo;
}

struct FinishJob {
  job @0 :UInt64;
  reason @1 :Text;
}

struct ListState {
  request @0 :UInt64;
  kind @1 :Text;
  argument @2 :Text;
  limit @3 :UInt32 = 10000;
}

struct ListStateReply {
  request @0 :UInt64;
  error @1 :ErrorInfo;
  json @2 :Text;
  note @3 :Text;
}
