# What all messages are made of: names, addresses, resources, errors. See base/ids.h and base/resources.h.
#
# Rules of the whole contract (schema/README.md): a struct here has the name of its C++ struct and its fields in the order of
# that struct's Fields(), one ordinal each; new fields and new enumerants go to the end; from the first release on nothing is removed or renumbered; a
# default here is the default there. codec_test compares both descriptions.
@0x9d6f5464c58ffa8e;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");

# Single ids (NodeId, WorkerId, JobId, ActorId, LeaseId, ...) are plain UInt64; 0 is "none".

struct ObjectId {
  owner @0 :UInt64;  # WorkerId of the process that made it
  index @1 :UInt64;
}

struct TaskId {
  owner @0 :UInt64;
  index @1 :UInt64;
}

# A raylet is {node, 0}, the head {0, 0}.
struct Address {
  node @0 :UInt64;
  worker @1 :UInt64;
}

struct ResourceAmount {
  name @0 :Text;
  steps @1 :Int64;  # of 0.0001 unit
}

# Sorted by name, each name once, no amount zero; anything else is refused.
struct ResourceSet {
  amounts @0 :List(ResourceAmount);
}

# One entry of a StringMap, which is a List(StringPair) sorted by key.
struct StringPair {
  key @0 :Text;
  value @1 :Text;
}

enum Role {
  head @0;
  raylet @1;
  driver @2;
  worker @3;
  admin @4;
}

enum ErrorKind {
  none @0;
  application @1;
  workerCrashed @2;
  nodeDied @3;
  actorDied @4;
  actorUnavailable @5;
  taskCancelled @6;
  objectLost @7;
  ownerDied @8;
  objectStoreFull @9;
  outOfMemory @10;
  placementGroupRemoved @11;
  unschedulable @12;
  runtimeEnvSetup @13;
  pendingCallsLimit @14;
  nameTaken @15;
  notFound @16;
  invalidArgument @17;
  system @18;
}

struct ErrorInfo {
  kind @0 :ErrorKind;
  message @1 :Text;
  detail @2 :Data;  # application: the language's serialized exception
}
