# One message: the root of everything that crosses a network. Unpacked, standard framing (capnp convert works on it):
#
#   capnp decode schema/message.capnp Message < frame
#
# The alternatives are those of shoal::Message (schema/messages.h), matched by name, so that the variant may be reordered
# there; here a new message always goes to the end.
@0xd88b9ad027d4f8df;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("shoal::wire");
using Task = import "task.capnp";
using Node = import "node.capnp";
using Actor = import "actor.capnp";

struct Message {
  union {
    # core worker <-> core worker
    pushTask @0 :Task.PushTask;
    taskReply @1 :Task.TaskReply;
    reclaimTasks @2 :Task.ReclaimTasks;
    tasksReturned @3 :Task.TasksReturned;
    cancelTask @4 :Task.CancelTask;
    resolveObject @5 :Task.ResolveObject;
    objectResolved @6 :Task.ObjectResolved;
    addBorrower @7 :Task.AddBorrower;
    borrowerAdded @8 :Task.BorrowerAdded;
    removeBorrower @9 :Task.RemoveBorrower;
    objectLocation @10 :Task.ObjectLocation;

    # core worker <-> raylet
    registerWorker @11 :Node.RegisterWorker;
    registerWorkerReply @12 :Node.RegisterWorkerReply;
    leaseDemand @13 :Node.LeaseDemand;
    leaseGranted @14 :Node.LeaseGranted;
    leaseFailed @15 :Node.LeaseFailed;
    returnLease @16 :Node.ReturnLease;
    renewLeases @17 :Node.RenewLeases;
    revokeLease @18 :Node.RevokeLease;
    assignLease @19 :Node.AssignLease;
    workerBlocked @20 :Node.WorkerBlocked;
    workerDied @21 :Node.WorkerDied;
    nodeDied @22 :Node.NodeDied;
    exitWorker @23 :Node.ExitWorker;
    logLines @24 :Node.LogLines;
    createObject @25 :Node.CreateObject;
    objectCreated @26 :Node.ObjectCreated;
    sealObject @27 :Node.SealObject;
    abortObject @28 :Node.AbortObject;
    pullObject @29 :Node.PullObject;
    objectLocal @30 :Node.ObjectLocal;
    releaseObject @31 :Node.ReleaseObject;
    freeObjects @32 :Node.FreeObjects;

    # raylet <-> head
    registerNode @33 :Node.RegisterNode;
    registerNodeReply @34 :Node.RegisterNodeReply;
    clusterNodes @35 :Node.ClusterNodes;
    heartbeat @36 :Node.Heartbeat;
    heartbeatAck @37 :Node.HeartbeatAck;
    nodeReport @38 :Node.NodeReport;
    spillDemand @39 :Node.SpillDemand;
    grantLeases @40 :Node.GrantLeases;
    grantLeasesReply @41 :Node.GrantLeasesReply;

    # actors, placement groups, jobs, state
    createActor @42 :Actor.CreateActor;
    watchActor @43 :Actor.WatchActor;
    findActor @44 :Actor.FindActor;
    findActorReply @45 :Actor.FindActorReply;
    killActor @46 :Actor.KillActor;
    actorUpdate @47 :Actor.ActorUpdate;
    startActor @48 :Actor.StartActor;
    stopActor @49 :Actor.StopActor;
    actorStarted @50 :Actor.ActorStarted;
    actorExited @51 :Actor.ActorExited;
    becomeActor @52 :Actor.BecomeActor;
    actorReady @53 :Actor.ActorReady;
    createPlacementGroup @54 :Actor.CreatePlacementGroup;
    removePlacementGroup @55 :Actor.RemovePlacementGroup;
    watchPlacementGroup @56 :Actor.WatchPlacementGroup;
    placementGroupUpdate @57 :Actor.PlacementGroupUpdate;
    prepareBundles @58 :Actor.PrepareBundles;
    bundlesPrepared @59 :Actor.BundlesPrepared;
    commitBundles @60 :Actor.CommitBundles;
    returnBundles @61 :Actor.ReturnBundles;
    startJob @62 :Actor.StartJob;
    finishJob @63 :Actor.FinishJob;
    listState @64 :Actor.ListState;
    listStateReply @65 :Actor.ListStateReply;
    makeRoom @66 :Node.MakeRoom;
  }
}
