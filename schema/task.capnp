# Shapes, objects, tasks and references: what core workers say to each other. See schema/task_messages.h for what each means.
@0xe4c136279ecea4c9;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");
using import "common.capnp".Address;
using import "common.capnp".ErrorInfo;
using import "common.capnp".ObjectId;
using import "common.capnp".ResourceSet;
using import "common.capnp".StringPair;
using import "common.capnp".TaskId;

# ---- scheduling requests

enum StrategyKind {
  default @0;
  spread @1;
  nodeAffinity @2;
  placementGroup @3;
}

struct Strategy {
  kind @0 :StrategyKind;
  node @1 :UInt64;
  soft @2 :Bool;
  group @3 :UInt64;
  bundle @4 :Int32 = -1;  # -1: any bundle of the group
}

struct WorkerKind {
  command @0 :List(Text);
  envVars @1 :List(StringPair);
}

struct Shape {
  job @0 :UInt64;
  resources @1 :ResourceSet;
  strategy @2 :Strategy;
  labels @3 :List(StringPair);
  worker @4 :WorkerKind;
  priority @5 :Int32;
}

# ---- objects and tasks

struct ObjectRefInfo {
  id @0 :ObjectId;
  ownerNode @1 :UInt64;
}

enum ValueKind {
  pending @0;
  inline @1;
  stored @2;
  error @3;
}

struct ObjectValue {
  kind @0 :ValueKind;
  data @1 :Data;                        # inline
  size @2 :UInt64;                      # stored
  locations @3 :List(UInt64);           # stored: nodes, the primary copy first
  error @4 :ErrorInfo;
  contained @5 :List(ObjectRefInfo);
}

struct ArgRef {
  ref @0 :ObjectRefInfo;
  value @1 :ObjectValue;
}

enum TaskKind {
  normal @0;
  actorCreation @1;
  actorCall @2;
}

struct TaskSpec {
  id @0 :TaskId;
  kind @1 :TaskKind;
  attempt @2 :UInt32;
  numReturns @3 :UInt32 = 1;
  job @4 :UInt64;
  ownerNode @5 :UInt64;
  function @6 :UInt64;
  name @7 :Text;
  args @8 :Data;                        # serialized by the language, never opened on the way
  refs @9 :List(ArgRef);
  nested @10 :List(ObjectRefInfo);
  parent @11 :TaskId;
  actor @12 :UInt64;
  concurrencyGroup @13 :Text;
  options @14 :Data;
}

struct PushTask {
  spec @0 :TaskSpec;
  code @1 :Data;
  lease @2 :UInt64;
  actorIncarnation @3 :UInt64;
  sequence @4 :UInt64;
}

enum TaskOutcome {
  finished @0;
  cancelled @1;
  refused @2;
}

struct TaskReply {
  task @0 :TaskId;
  attempt @1 :UInt32;
  outcome @2 :TaskOutcome;
  results @3 :List(ObjectValue);
  workerExiting @4 :Bool;
  final @5 :Bool;
}

struct ReclaimTasks {
  lease @0 :UInt64;
  count @1 :UInt32;
}

struct TasksReturned {
  lease @0 :UInt64;
  tasks @1 :List(TaskId);
}

struct CancelTask {
  task @0 :TaskId;
  force @1 :Bool;
  recursive @2 :Bool = true;
}

# ---- references

struct ResolveObject {
  id @0 :ObjectId;
  requester @1 :Address;
  lostAt @2 :UInt64;
}

struct ObjectResolved {
  id @0 :ObjectId;
  value @1 :ObjectValue;
}

struct AddBorrower {
  id @0 :ObjectId;
  borrower @1 :Address;
  replyTo @2 :Address;
  registration @3 :UInt64;
}

struct BorrowerAdded {
  id @0 :ObjectId;
  borrower @1 :Address;
  found @2 :Bool = true;
  registration @3 :UInt64;
}

struct RemoveBorrower {
  id @0 :ObjectId;
  borrower @1 :Address;
  registration @2 :UInt64;
}

struct ObjectLocation {
  id @0 :ObjectId;
  node @1 :UInt64;
  present @2 :Bool = true;
}
