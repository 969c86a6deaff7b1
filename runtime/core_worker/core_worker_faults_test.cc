// What programs get when something goes wrong: deaths, refusals, late and repeated messages.
#include "base/buggify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/core_worker/core_worker.h"
#include "runtime/core_worker/core_worker_testing.h"

namespace shoal::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Which worker runs the task; null if none.
Process* HostOf(World& world, const TaskId& task) {
  for (size_t i = 0; i < world.workers(); ++i) {
    if (world.worker(i).alive && world.worker(i).Running(task) != nullptr) return &world.worker(i);
  }
  return nullptr;
}

// Shows that tasks are short, so that several are pushed at a time.
void WarmUp(World& world, Process& driver) {
  for (int i = 0; i < 40; ++i) driver.Drop(driver.Submit("echo").Return(0));
  world.Run();
}

// ---- deaths of workers

TEST(CoreWorkerFaultsTest, ADeadWorkersTaskRunsAgainWhileRetriesLast) {
  World world(1);
  Process& driver = world.Driver();
  world.AddWorkers(3);
  const TaskId task = driver.Submit("wait", "", /*max_retries=*/1);
  world.Run();
  world.Kill(*HostOf(world, task));
  world.Run();
  Process* second = HostOf(world, task);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->started.back(), "wait:#1");
  world.Kill(*second);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kWorkerCrashed);
  EXPECT_THAT(driver.ErrorOf(task).message, HasSubstr("retries"));
}

TEST(CoreWorkerFaultsTest, OnlyTheFirstTaskAtADeadWorkerIsCharged) {
  World world(2);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  WarmUp(world, driver);
  const TaskId poison = driver.Submit("wait");
  std::vector<TaskId> behind;
  for (int i = 0; i < 5; ++i) behind.push_back(driver.Submit("echo", "x", /*max_retries=*/0));
  world.Run();
  ASSERT_EQ(world.worker(0).core->counters().queued_here, 5);
  world.Kill(world.worker(0));
  world.AddWorkers(1);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(poison).kind, ErrorKind::kWorkerCrashed);
  for (const TaskId& task : behind) EXPECT_EQ(driver.ValueOf(task), "x");
}

TEST(CoreWorkerFaultsTest, NewsOfADeathMayComeTwiceAndOfStrangers) {
  World world(3);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  const TaskId task = driver.Submit("wait", "", 5);
  world.Run();
  const Address dead = HostOf(world, task)->address;
  world.Kill(*HostOf(world, task));
  world.Run();
  for (const Address& address : {dead, dead, Address{kOtherNode, WorkerId{12345}}}) {
    world.Send(Address::Raylet(kNode), driver.address, WorkerDied{address, ErrorKind::kWorkerCrashed, "again"});
  }
  world.Run();
  HostOf(world, task)->Finish(task, "value");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "value");
  EXPECT_EQ(driver.core->counters().tasks_retried, 1);
}

TEST(CoreWorkerFaultsTest, ANodeThatDiedChargesAllItsTasks) {
  World world(4);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  WarmUp(world, driver);
  driver.Submit("wait");
  const TaskId behind = driver.Submit("echo", "x", /*max_retries=*/0);
  const TaskId retried = driver.Submit("echo", "y", /*max_retries=*/1);
  world.Run();
  world.KillNode(kOtherNode);
  world.AddWorkers(1);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(behind).kind, ErrorKind::kNodeDied) << "it may have run: the node may only be cut off";
  EXPECT_EQ(driver.ValueOf(retried), "y");
}

TEST(CoreWorkerFaultsTest, ANodeMayComeBackWithOtherWorkers) {
  World world(5);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const ObjectRefInfo put = driver.Put("kept");
  driver.SubmitWith("keep", {}, {put});
  world.Run();
  world.KillNode(kOtherNode);
  world.Run();
  world.AddWorkers(1, kOtherNode);
  driver.SubmitWith("keep", {}, {put});
  driver.Drop(put.id);
  world.Run();
  EXPECT_THAT(driver.freed, IsEmpty()) << "the new worker is a borrower";
  world.worker(1).Drop(put.id);
  world.Run();
  EXPECT_THAT(driver.freed, ElementsAre(put.id));
}

TEST(CoreWorkerFaultsTest, AReplyOfAnAttemptThatWasGivenUpIsNotAccepted) {
  World world(6);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  const TaskId task = driver.Submit("wait", "", 3);
  world.Run();
  Process* first = HostOf(world, task);
  // Everybody thinks it is dead, but it goes on.
  world.Send(Address::Raylet(kNode), driver.address, WorkerDied{first->address, ErrorKind::kWorkerCrashed, "rumour"});
  world.Run();
  first->Finish(task, "old");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "pending");
  HostOf(world, task)->Finish(task, "new");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "new");
}

TEST(CoreWorkerFaultsTest, AnOwnersDeathMakesItsObjectsErrors) {
  World world(7);
  Process& owner = world.Driver();
  Process& reader = world.Driver();
  const TaskId never = owner.Submit("echo");
  const ObjectRefInfo ref = owner.RefOf(never);
  reader.Do([&](CoreWorkerActions* a) {
    reader.core->AdoptBorrowed(world.now, ref, std::nullopt, a);
    EXPECT_FALSE(reader.core->Want(world.now, ref, true, a));
  });
  world.Run();
  world.Kill(owner);
  world.Run();
  EXPECT_THAT(reader.ready, ElementsAre(ref.id));
  ASSERT_NE(reader.core->Lookup(ref.id), nullptr);
  EXPECT_EQ(reader.core->Lookup(ref.id)->error.kind, ErrorKind::kOwnerDied);
}

TEST(CoreWorkerFaultsTest, ABorrowersDeathReleasesWhatItHeld) {
  World world(8);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ObjectRefInfo put = driver.Put("kept");
  driver.SubmitWith("keep", {}, {put});
  driver.Drop(put.id);
  world.Run();
  world.Kill(world.worker(0));
  world.Run();
  EXPECT_THAT(driver.freed, ElementsAre(put.id));
}

// ---- leases

TEST(CoreWorkerFaultsTest, ARefusedTaskGoesElsewhereAtNoCost) {
  World world(9);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  bool lose = true;
  world.filter = [&](const Address&, const Address& to, const Message& message) {
    const auto* assign = std::get_if<AssignLease>(&message);
    return !(lose && assign != nullptr && assign->lease && to == world.worker(0).address);
  };
  const TaskId task = driver.Submit("echo", "x");
  world.Run();
  EXPECT_EQ(world.worker(0).core->counters().queued_here, 1) << "kept until the raylet's word comes";
  EXPECT_EQ(driver.ValueOf(task), "pending");
  lose = false;
  world.Advance(6s);
  EXPECT_EQ(driver.ValueOf(task), "x");
  EXPECT_EQ(driver.core->counters().tasks_retried, 0);
}

TEST(CoreWorkerFaultsTest, ATaskWaitsForTheRayletsWordOnItsLease) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    World world(seed);  // the push may overtake AssignLease
    Process& driver = world.Driver();
    world.AddWorkers(1);
    const TaskId task = driver.Submit("echo", "x");
    world.Run();
    EXPECT_EQ(driver.ValueOf(task), "x") << seed;
  }
}

TEST(CoreWorkerFaultsTest, ARevokedLeaseReturnsWhenItsTaskHasFinished) {
  World world(10);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  WarmUp(world, driver);
  const TaskId task = driver.Submit("wait");
  const TaskId behind = driver.Submit("echo", "x");
  world.Run();
  const LeaseId lease{1};
  for (int i = 0; i < 2; ++i) world.Send(Address::Raylet(kNode), driver.address, RevokeLease{lease});
  world.Send(Address::Raylet(kNode), driver.address, RevokeLease{LeaseId{77}});
  world.Run();
  EXPECT_EQ(driver.core->counters().leases, 1);
  EXPECT_EQ(world.Count<RenewLeases>(), 1) << "the owner is there, its task runs";
  EXPECT_EQ(world.worker(0).core->counters().queued_here, 0);
  world.worker(0).Finish(task);
  world.Run();
  EXPECT_EQ(driver.ValueOf(behind), "x") << "on another lease";
}

TEST(CoreWorkerFaultsTest, LeasesAreRenewedWhileTheyAreUsed) {
  World world(11);
  world.ttl = 3s;
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId task = driver.Submit("wait");
  world.Advance(10s);
  EXPECT_GE(world.Count<RenewLeases>(), 8);
  world.worker(0).Finish(task, "late");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "late");
}

TEST(CoreWorkerFaultsTest, AnOwnerThatSleptTooLongGivesItsLeasesUp) {
  World world(12);
  world.ttl = 3s;
  Process& driver = world.Driver();
  world.AddWorkers(2);
  const TaskId once = driver.Submit("wait", "once", 0);
  const TaskId again = driver.Submit("wait", "again", 1);
  world.Run();
  world.now += 10s;
  driver.core->OnTick(world.now, &driver.actions);
  driver.Carry();
  driver.core->CheckInvariants();
  EXPECT_EQ(driver.ErrorOf(once).kind, ErrorKind::kWorkerCrashed);
  EXPECT_EQ(driver.ValueOf(again), "pending");
  EXPECT_EQ(driver.core->counters().leases, 0);
}

TEST(CoreWorkerFaultsTest, AGrantSaidTwiceIsOneLease) {
  World world(13);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  world.filter = [&, once = true](const Address& from, const Address& to, const Message& message) mutable {
    if (std::get_if<LeaseGranted>(&message) != nullptr && std::exchange(once, false)) world.Send(from, to, message);
    return true;
  };
  const TaskId task = driver.Submit("wait");
  world.Run();
  EXPECT_EQ(driver.core->counters().leases, 1);
  world.worker(0).Finish(task);
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "done");
}

TEST(CoreWorkerFaultsTest, ADemandThatCannotBeMetFailsItsTasks) {
  World world(14);
  Process& driver = world.Driver();
  const TaskId task = driver.Submit("echo");
  LeaseFailed failed;
  failed.shape = driver.shape;
  failed.error.kind = ErrorKind::kPlacementGroupRemoved;
  for (int i = 0; i < 2; ++i) world.Send(Address::Raylet(kNode), driver.address, failed);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kPlacementGroupRemoved);
}

TEST(CoreWorkerFaultsTest, AnAttemptPushedTwiceRunsOnce) {
  World world(15);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  world.filter = [&, once = true](const Address& from, const Address& to, const Message& message) mutable {
    if (std::get_if<PushTask>(&message) != nullptr && std::exchange(once, false)) world.Send(from, to, message);
    return true;
  };
  const TaskId task = driver.Submit("wait");
  world.Run();
  EXPECT_THAT(world.worker(0).started, SizeIs(1));
  world.worker(0).Finish(task, "x");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "x");
}

// ---- cancellation

TEST(CoreWorkerFaultsTest, CancellationReachesATaskWhereverItIs) {
  World world(16);
  Process& driver = world.Driver();
  auto cancel = [&](const TaskId& task, bool force) {
    for (int i = 0; i < 2; ++i) {
      driver.Do([&](CoreWorkerActions* a) { driver.core->CancelTask(world.now, task.Return(0), force, true, a); });
    }
    world.Run();
  };
  const TaskId queued = driver.Submit("echo");
  const TaskId waiting = driver.SubmitWith("echo", {driver.RefOf(queued)}, {});
  cancel(waiting, false);
  EXPECT_EQ(driver.ErrorOf(waiting).kind, ErrorKind::kTaskCancelled);
  cancel(queued, false);
  EXPECT_EQ(driver.ErrorOf(queued).kind, ErrorKind::kTaskCancelled);
  world.AddWorkers(1);
  WarmUp(world, driver);
  const TaskId running = driver.Submit("wait", "", 5);
  const TaskId pushed = driver.Submit("echo");
  world.Run();
  cancel(pushed, false);
  EXPECT_EQ(driver.ErrorOf(pushed).kind, ErrorKind::kTaskCancelled);
  cancel(running, false);
  EXPECT_THAT(world.worker(0).interrupted, ElementsAre(running, running));
  EXPECT_EQ(driver.ValueOf(running), "pending");
  world.Kill(world.worker(0));
  world.AddWorkers(1);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(running).kind, ErrorKind::kTaskCancelled) << "never retried once cancelled";
}

TEST(CoreWorkerFaultsTest, ForceKillsTheWorkerOfARunningTaskOnly) {
  World world(17);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  WarmUp(world, driver);
  world.Advance(200ms);
  const TaskId task = driver.Submit("wait", "", 5);
  const TaskId other = driver.Submit("wait", "", 0);
  world.Run();
  Process* host = HostOf(world, task);
  driver.Do([&](CoreWorkerActions* a) { driver.core->CancelTask(world.now, task.Return(0), true, true, a); });
  world.Run();
  EXPECT_FALSE(host->alive);
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kTaskCancelled);
  ASSERT_NE(HostOf(world, other), nullptr);
  HostOf(world, other)->Finish(other, "x");
  world.Run();
  EXPECT_EQ(driver.ValueOf(other), "x");
}

TEST(CoreWorkerFaultsTest, CancellationGoesToTheTasksThatATaskSubmitted) {
  World world(18);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId parent = driver.Submit("wait");
  world.Run();
  Process& worker = world.worker(0);
  TaskSubmission child = worker.Make("echo", "");
  child.spec.parent = parent;
  const TaskId inner = worker.Submit(std::move(child));
  driver.Do([&](CoreWorkerActions* a) { driver.core->CancelTask(world.now, parent.Return(0), false, true, a); });
  world.Run();
  EXPECT_EQ(worker.ErrorOf(inner).kind, ErrorKind::kTaskCancelled);
}

// ---- objects that are lost

TEST(CoreWorkerFaultsTest, ALostResultIsComputedAgain) {
  World world(19);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const ObjectRefInfo put = driver.Put("in");
  const TaskId first = driver.SubmitWith("large a", {put}, {}, 2);
  const TaskId second = driver.SubmitWith("large b", {driver.RefOf(first)}, {}, 2);
  driver.Drop(first.Return(0));
  driver.Drop(put.id);
  world.Run();
  EXPECT_EQ(driver.core->counters().lineage_tasks, 2);
  world.KillNode(kOtherNode);
  world.AddWorkers(1);
  driver.Do([&](CoreWorkerActions* a) { driver.core->Want(world.now, driver.RefOf(second), true, a); });
  world.Run();
  EXPECT_EQ(driver.ValueOf(second), "in") << "ran both again";
  driver.Drop(second.Return(0));
  world.Run();
  EXPECT_EQ(driver.core->counters().lineage_tasks, 0);
  EXPECT_EQ(driver.core->counters().objects, 0);
}

TEST(CoreWorkerFaultsTest, ALostResultWithoutRetriesIsAnError) {
  World world(20);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const TaskId task = driver.Submit("large", "x", 0);
  world.Run();
  world.KillNode(kOtherNode);
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kObjectLost);
}

TEST(CoreWorkerFaultsTest, ATaskWhoseArgumentIsLostGivesItsWorkerUpUntilItIsMadeAgain) {
  World world(21);
  Process& driver = world.Driver();
  world.AddWorkers(1, kNode);
  const TaskId first = driver.Submit("large", "x", 3);
  world.Run();
  world.Advance(200ms);
  world.store.clear();  // evicted behind everybody's back
  const TaskId second = driver.SubmitWith("echo", {driver.RefOf(first)}, {});
  world.Advance(1s);
  EXPECT_EQ(driver.ValueOf(second), "x") << "although there is one worker for both";
}

// ---- actors

TEST(CoreWorkerFaultsTest, CallsWithRetriesGoToTheNextIncarnationInOrder) {
  World world(22);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  ActorSpec spec;
  spec.max_restarts = 1;
  spec.max_task_retries = -1;
  const ActorId actor = driver.CreateActor(std::move(spec));
  const TaskId first = driver.Call(actor, "wait first");
  const TaskId second = driver.Call(actor, "second");
  world.Run();
  world.Kill(*HostOf(world, first));
  world.Run();
  Process* host = HostOf(world, first);
  ASSERT_NE(host, nullptr);
  EXPECT_THAT(host->started, ElementsAre("Actor.__init__:#0", "wait first:#1"));
  host->Finish(first, "a");
  world.Run();
  EXPECT_EQ(driver.ValueOf(first), "a");
  EXPECT_EQ(driver.ValueOf(second), "");
  EXPECT_EQ(driver.core->ActorStatus(actor)->incarnation, 2);
}

TEST(CoreWorkerFaultsTest, CallsWithoutRetriesFailWhenTheirActorRestarts) {
  World world(23);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  ActorSpec spec;
  spec.max_restarts = 1;
  const ActorId actor = driver.CreateActor(std::move(spec));
  const TaskId lost = driver.Call(actor, "wait");
  world.Run();
  world.Kill(*HostOf(world, lost));
  world.Run();
  const TaskId later = driver.Call(actor, "echo", "x");
  world.Run();
  EXPECT_EQ(driver.ErrorOf(lost).kind, ErrorKind::kActorUnavailable);
  EXPECT_EQ(driver.ValueOf(later), "x");
}

TEST(CoreWorkerFaultsTest, CallsFailWhenTheirActorIsDead) {
  World world(24);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  const TaskId lost = driver.Call(actor, "wait");
  world.Run();
  world.Kill(world.worker(0));
  world.Run();
  const TaskId later = driver.Call(actor, "echo");
  EXPECT_EQ(driver.ErrorOf(lost).kind, ErrorKind::kActorDied);
  EXPECT_EQ(driver.ErrorOf(later).kind, ErrorKind::kActorDied);
  EXPECT_EQ(driver.core->ActorStatus(actor)->state, ActorState::kDead);
}

TEST(CoreWorkerFaultsTest, AnotherIncarnationIsRefused) {
  World world(25);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  world.Run();
  PushTask push;
  push.spec.id = {driver.address.worker, 999};
  push.spec.kind = TaskKind::kActorCall;
  push.spec.actor = actor;
  push.actor_incarnation = 2;
  std::vector<TaskOutcome> outcomes;
  world.filter = [&](const Address&, const Address&, const Message& message) {
    if (const auto* reply = std::get_if<TaskReply>(&message)) outcomes.push_back(reply->outcome);
    return true;
  };
  world.Send(driver.address, world.worker(0).address, push);
  push.spec.kind = TaskKind::kNormal;
  push.spec.id.index = 998;
  push.lease = LeaseId{5};
  world.Send(driver.address, world.worker(0).address, push);
  world.Run();
  EXPECT_THAT(outcomes, ElementsAre(TaskOutcome::kRefused, TaskOutcome::kRefused));
}

TEST(CoreWorkerFaultsTest, AnActorThatExitsFinishesItsReplyAndRefusesTheRest) {
  World world(26);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  ActorSpec spec;
  spec.max_restarts = -1;
  const ActorId actor = driver.CreateActor(std::move(spec));
  const TaskId first = driver.Call(actor, "wait");
  const TaskId exit = driver.Call(actor, "exit");
  const TaskId rest = driver.Call(actor, "echo");
  world.Run();
  world.worker(0).Finish(first, "a");
  world.Run();
  EXPECT_FALSE(world.worker(0).alive);
  EXPECT_EQ(driver.ValueOf(first), "a");
  EXPECT_EQ(driver.ValueOf(exit), "");
  EXPECT_EQ(driver.ErrorOf(rest).kind, ErrorKind::kActorDied);
}

TEST(CoreWorkerFaultsTest, TheHeadIsAskedAgainUntilItAnswers) {
  World world(27);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  int lost = 3;
  world.filter = [&](const Address&, const Address& to, const Message&) { return !to.is_head() || --lost < 0; };
  const ActorId actor = driver.CreateActor();
  const TaskId call = driver.Call(actor, "echo", "x");
  world.Run();
  EXPECT_EQ(driver.ValueOf(call), "pending");
  world.Advance(10s);
  EXPECT_EQ(driver.ValueOf(call), "x");
}

TEST(CoreWorkerFaultsTest, AnOldUpdateChangesNothing) {
  World world(28);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  ActorSpec spec;
  spec.max_restarts = 1;
  const ActorId actor = driver.CreateActor(std::move(spec));
  world.Run();
  const ActorUpdate old = *driver.core->ActorStatus(actor);
  world.Kill(*world.Find(old.address));
  world.Run();
  for (ActorState state : {ActorState::kAlive, ActorState::kRestarting, ActorState::kPending}) {
    ActorUpdate update = old;
    update.state = state;
    for (int i = 0; i < 2; ++i) world.Send(Address::Head(), driver.address, update);
  }
  world.Run();
  EXPECT_EQ(driver.core->ActorStatus(actor)->incarnation, 2);
  EXPECT_EQ(driver.core->ActorStatus(actor)->state, ActorState::kAlive);
}

TEST(CoreWorkerFaultsTest, AnotherActorMayTakeItsPlace) {
  World world(29);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId existing = driver.CreateActor();
  world.Run();
  ActorSpec spec;
  spec.name = "name";
  spec.get_if_exists = true;
  const ActorId actor = driver.CreateActor(std::move(spec));
  const TaskId call = driver.Call(actor, "echo", "x");
  ActorUpdate update;
  update.actor = actor;
  update.existing = existing;
  for (int i = 0; i < 2; ++i) world.Send(Address::Head(), driver.address, update);
  world.Run();
  EXPECT_EQ(driver.ValueOf(call), "x");
  EXPECT_EQ(driver.core->ActorStatus(actor)->actor, existing);
  const TaskId later = driver.Call(actor, "echo", "y");
  world.Run();
  EXPECT_EQ(driver.ValueOf(later), "y");
}

// ---- the raylet

TEST(CoreWorkerFaultsTest, WithoutItsRayletEverythingPendingFails) {
  World world(30);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId task = driver.Submit("wait", "", -1);
  world.Run();
  const ActorId actor = driver.CreateActor();
  const TaskId call = driver.Call(actor, "echo");
  world.Run();
  driver.Do([&](CoreWorkerActions* a) { driver.core->OnRayletLost(world.now, "connection reset", a); });
  driver.core->CheckInvariants();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kNodeDied);
  EXPECT_EQ(driver.ErrorOf(call).kind, ErrorKind::kNodeDied);
  EXPECT_TRUE(driver.exited);
  EXPECT_EQ(driver.ErrorOf(driver.Submit("echo")).kind, ErrorKind::kNodeDied);
  EXPECT_EQ(driver.ErrorOf(driver.Call(actor, "echo")).kind, ErrorKind::kNodeDied);
  EXPECT_EQ(driver.core->NextDeadline(), std::nullopt);
}

}  // namespace
}  // namespace shoal::core_worker
