// Actors: placed, started, restarted, watched, named, ended; and never two of one.
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class HeadActors : public HeadTest {
 protected:
  // Creates it and answers for the raylet of node n.
  StartActor Live(ActorSpec spec, uint64_t n) {
    const Address owner = spec.owner;
    Say(owner, CreateActor{std::move(spec)});
    EXPECT_EQ(Take<ActorUpdate>(owner).state, ActorState::kPending);
    const StartActor start = StartOn(n);
    const ActorUpdate update = Take<ActorUpdate>(owner);
    EXPECT_EQ(update.state, ActorState::kAlive);
    EXPECT_EQ(update.address, P(n, 5));
    EXPECT_EQ(update.incarnation, start.incarnation);
    return start;
  }
  ActorUpdate Update(const Address& to, ActorState state) {
    ActorUpdate update = Take<ActorUpdate>(to);
    EXPECT_EQ(update.state, state);
    return update;
  }
};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, HeadActors, testing::Bool());

TEST_P(HeadActors, AnActorIsPlacedStartedAndAnnounced) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  EXPECT_EQ(Update(Driver(1), ActorState::kPending).actor, ActorId{7});
  const StartActor start = Take<StartActor>(Raylet(1));
  EXPECT_EQ(start.epoch, head_->epoch());
  EXPECT_EQ(start.incarnation, 1u);
  EXPECT_EQ(start.spec.owner, Driver(1));
  Say(Raylet(1), ActorStarted{ActorId{7}, 1, P(1, 5), {}});
  const ActorUpdate alive = Update(Driver(1), ActorState::kAlive);
  EXPECT_EQ(alive.address, P(1, 5));
  EXPECT_EQ(alive.incarnation, 1u);
}

TEST_P(HeadActors, ItIsPlacedWhereItsPlacementIsFreeAndHoldsItsShape) {
  Join(1, 2);
  SetFree(1, 0.5);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});  // holds nothing, wants to find a CPU
  Update(Driver(1), ActorState::kPending);
  ExpectSilence();
  SetFree(1, 1);
  Take<StartActor>(Raylet(1));
}

TEST_P(HeadActors, StartsDoNotPileUpOnOneNodeBeforeItReports) {
  Join(1, 1);
  Join(2, 1);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Say(Driver(1), CreateActor{Actor(8, Driver(1))});
  Say(Driver(1), CreateActor{Actor(9, Driver(1))});
  Drop<ActorUpdate>();
  EXPECT_EQ(TakeAll<StartActor>().size(), 2u);
}

TEST_P(HeadActors, AfterTheReportThatCountsItTheRestOfTheNodeIsFree) {
  Join(1, 1);
  Live(Actor(7, Driver(1)), 1);  // holds no CPU
  Report(1);
  Live(Actor(8, Driver(1)), 1);
}

TEST_P(HeadActors, ANodeThatHasNoRoomAfterAllIsTriedAgainAfterItsReport) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  const StartActor first = Take<StartActor>(Raylet(1));
  Say(Raylet(1), ActorStarted{ActorId{7}, first.incarnation, {}, {ErrorKind::kUnschedulable, "full", {}}});
  ExpectSilence();
  Join(2, 4);
  const StartActor second = Take<StartActor>(Raylet(2));
  EXPECT_GT(second.incarnation, first.incarnation);
  Say(Raylet(2), ActorStarted{ActorId{7}, second.incarnation, {}, {ErrorKind::kUnschedulable, "full", {}}});
  Report(1);
  Take<StartActor>(Raylet(1));
}

TEST_P(HeadActors, AConstructorThatFailsIsTheEnd) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = -1;
  Say(Driver(1), CreateActor{spec});
  Update(Driver(1), ActorState::kPending);
  const StartActor start = Take<StartActor>(Raylet(1));
  ErrorInfo error{ErrorKind::kActorDied, "ValueError", Payload("pickled")};  // what workers of both languages say
  Say(Raylet(1), ActorStarted{ActorId{7}, start.incarnation, {}, error});
  const ActorUpdate dead = Update(Driver(1), ActorState::kDead);
  EXPECT_EQ(dead.error.kind, ErrorKind::kActorDied);
  EXPECT_EQ(dead.error.detail.view(), "pickled");
}

// ---- restarts

TEST_P(HeadActors, ACrashUsesUpARestart) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 2;
  StartActor start = Live(spec, 1);
  for (uint64_t incarnation = 2; incarnation <= 3; ++incarnation) {
    Exit(1, start, false);
    EXPECT_EQ(Update(Driver(1), ActorState::kRestarting).error.kind, ErrorKind::kActorUnavailable);
    start = StartOn(1);
    EXPECT_EQ(start.incarnation, incarnation);
    Update(Driver(1), ActorState::kAlive);
  }
  Exit(1, start, false);
  const ActorUpdate dead = Update(Driver(1), ActorState::kDead);
  EXPECT_EQ(dead.error.kind, ErrorKind::kActorDied);
  EXPECT_NE(dead.error.message.find("signal 9"), std::string::npos) << dead.error.message;
}

TEST_P(HeadActors, AnIntendedExitIsFinal) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = -1;
  Exit(1, Live(spec, 1), true);
  EXPECT_EQ(Update(Driver(1), ActorState::kDead).error.kind, ErrorKind::kActorDied);
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadActors, AnActorOfASilentNodeStartsElsewhereOnlyWhenItsNodeIsDead) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  spec.shape.resources = ResourceSet::Of({{"CPU", 4}});
  SetFree(1, 0);
  Join(2, 4);
  Live(spec, 2);
  Join(3, 4);
  Node(2).beats = false;
  Advance(options_.dead_after - 500ms);
  ExpectSilence();
  Advance(1s);
  Drop<NodeDied>();
  Update(Driver(1), ActorState::kRestarting);
  EXPECT_EQ(StartOn(3).incarnation, 2u);
  Update(Driver(1), ActorState::kAlive);
  // The node comes back with the old one, which has fenced itself or will hear this.
  ReturnFromDeath(2);
  Report(2);
  const StopActor stop = Take<StopActor>(Raylet(2));
  EXPECT_EQ(stop.actor, ActorId{7});
  EXPECT_EQ(stop.incarnation, 1u);
}

TEST_P(HeadActors, WhatHasNotBegunOnADeadNodeStartsElsewhereFreely) {
  Join(1, 4);
  SetFree(1, 0);
  Join(2, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});  // may not restart
  Update(Driver(1), ActorState::kPending);
  Take<StartActor>(Raylet(2));  // never arrives
  Kill(2);
  SetFree(1, 4);
  EXPECT_EQ(StartOn(1).incarnation, 2u);
  Update(Driver(1), ActorState::kAlive);
}

TEST_P(HeadActors, WhatHadBegunOnADeadNodeCounts) {
  Join(1, 4);
  SetFree(1, 0);
  Join(2, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  const StartActor start = Take<StartActor>(Raylet(2));
  Node(2).report.actors.push_back({ActorId{7}, start.incarnation, P(2, 5).worker, false});
  Report(2);
  Kill(2);
  Update(Driver(1), ActorState::kDead);
}

TEST_P(HeadActors, ANewRayletOnTheNodeMeansThatTheActorIsGone) {
  Join(1, 4);
  Join(2, 4);
  SetFree(1, 0);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  Live(spec, 2);
  Register(2, 4, 2);
  Drop<NodeDied>();
  Update(Driver(1), ActorState::kRestarting);
  ExpectSilence();
  Report(2);
  EXPECT_EQ(StartOn(2).incarnation, 2u);
  Update(Driver(1), ActorState::kAlive);
}

TEST_P(HeadActors, AReportWithoutALivingActorMeansThatItIsGone) {
  Join(1, 4);
  Live(Actor(7, Driver(1)), 1);
  ForgetActor(1, ActorId{7});
  Report(1);
  Update(Driver(1), ActorState::kDead);
}

TEST_P(HeadActors, AReportWithoutAStartingActorMeansNothingYet) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  Take<StartActor>(Raylet(1));
  Report(1);  // older than the request
  ExpectSilence();
  Advance(5 * options_.rpc_timeout);
  Report(1);  // however long the link takes: a second request under way could start a second one
  ExpectSilence();
}

TEST_P(HeadActors, AfterABrokenLinkTheReportTellsWhetherTheStartArrived) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  const StartActor lost = Take<StartActor>(Raylet(1));
  Reset(1);
  Drop<ActorUpdate>();
  Report(1);
  const StartActor again = Take<StartActor>(Raylet(1));
  EXPECT_GT(again.incarnation, lost.incarnation) << "nobody can mistake one for the other";
  // This one arrived, though its answer does not.
  Node(1).report.actors.push_back({ActorId{7}, again.incarnation, P(1, 5).worker, false});
  Reset(1);
  Drop<ActorUpdate>();
  Report(1);
  ExpectSilence();
  Node(1).report.actors[0].ready = true;
  Report(1);
  EXPECT_EQ(Update(Driver(1), ActorState::kAlive).address, P(1, 5));
}

TEST_P(HeadActors, AStartThatComesTooLateIsStopped) {
  Join(1, 4);
  StartActor start = Live(Actor(7, Driver(1)), 1);
  Exit(1, start, false);
  Update(Driver(1), ActorState::kDead);
  Say(Raylet(1), ActorStarted{ActorId{7}, start.incarnation, P(1, 5), {}});
  EXPECT_EQ(Take<StopActor>(Raylet(1)).incarnation, start.incarnation);
}

TEST_P(HeadActors, ACrashBeforeItLivedUsesUpARestartToo) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  const StartActor start = Take<StartActor>(Raylet(1));
  Say(Raylet(1), ActorStarted{ActorId{7}, start.incarnation, {}, {ErrorKind::kWorkerCrashed, "signal 11", {}}});
  Update(Driver(1), ActorState::kDead);
}

// ---- killing

TEST_P(HeadActors, AKilledActorIsDeadAtOnceAndItsNodeIsToldUntilItListens) {
  Join(1, 4);
  const StartActor start = Live(Actor(7, Driver(1)), 1);
  Say(Driver(1), KillActor{ActorId{7}});
  EXPECT_EQ(Update(Driver(1), ActorState::kDead).error.kind, ErrorKind::kActorDied);
  EXPECT_EQ(Take<StopActor>(Raylet(1)).incarnation, start.incarnation);
  Report(1);
  EXPECT_EQ(Take<StopActor>(Raylet(1)).incarnation, start.incarnation);
  Exit(1, start, true);
  Report(1);
}

TEST_P(HeadActors, KilledToRestartItComesBackIfItMay) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  StartActor start = Live(spec, 1);
  Say(Driver(1), KillActor{ActorId{7}, /*no_restart=*/false});
  Take<StopActor>(Raylet(1));
  Exit(1, start, true);
  Update(Driver(1), ActorState::kRestarting);
  start = StartOn(1);
  Update(Driver(1), ActorState::kAlive);
  Say(Driver(1), KillActor{ActorId{7}, /*no_restart=*/false});
  Take<StopActor>(Raylet(1));
  Exit(1, start, true);
  Update(Driver(1), ActorState::kDead);
}

TEST_P(HeadActors, WithoutHandlesItEndsWhenItIsIdle) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = -1;
  const StartActor start = Live(spec, 1);
  Say(Driver(1), KillActor{ActorId{7}, true, /*when_idle=*/true});
  EXPECT_TRUE(Take<StopActor>(Raylet(1)).when_idle);
  Report(1);
  EXPECT_TRUE(Take<StopActor>(Raylet(1)).when_idle) << "repeated while it is there";
  Exit(1, start, false);  // it crashes first: nobody could call it again
  Update(Driver(1), ActorState::kDead);
}

TEST_P(HeadActors, WithoutHandlesBeforeItHasAPlaceItEndsAtOnce) {
  Join(1, 4);
  SetFree(1, 0);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kPending);
  Say(Driver(1), KillActor{ActorId{7}, true, true});
  Update(Driver(1), ActorState::kDead);
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadActors, KilledBeforeItWasCreatedItNeverLives) {
  Join(1, 4);
  Join(2, 4);
  Say(P(2, 2), KillActor{ActorId{7}});
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Update(Driver(1), ActorState::kDead);
}

// ---- names

TEST_P(HeadActors, ANameLeadsToTheActorUntilItIsDead) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.name = "counter";
  spec.ns = "ns";
  spec.handle = Payload("handle");
  spec.max_task_retries = 3;
  Live(spec, 1);
  Say(P(1, 2), FindActor{RequestId{1}, "counter", "ns"});
  const FindActorReply found = Take<FindActorReply>(P(1, 2));
  EXPECT_EQ(found.actor, ActorId{7});
  EXPECT_EQ(found.handle.view(), "handle");
  EXPECT_EQ(found.max_task_retries, 3);
  Say(P(1, 2), FindActor{RequestId{2}, "counter", "other"});
  EXPECT_EQ(Take<FindActorReply>(P(1, 2)).error.kind, ErrorKind::kNotFound);
  Say(Driver(1), KillActor{ActorId{7}});
  Update(Driver(1), ActorState::kDead);
  Take<StopActor>(Raylet(1));
  Say(P(1, 2), FindActor{RequestId{3}, "counter", "ns"});
  EXPECT_EQ(Take<FindActorReply>(P(1, 2)).error.kind, ErrorKind::kNotFound);
  spec.id = ActorId{8};
  Live(spec, 1);
}

TEST_P(HeadActors, ATakenNameIsRefusedAndStaysRefused) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.name = "counter";
  Live(spec, 1);
  spec.id = ActorId{8};
  Say(P(1, 2), CreateActor{spec});
  EXPECT_EQ(Update(P(1, 2), ActorState::kDead).error.kind, ErrorKind::kNameTaken);
  Say(Driver(1), KillActor{ActorId{7}});
  Drop<ActorUpdate>();
  Drop<StopActor>();
  Say(P(1, 2), CreateActor{spec});  // the request was repeated before its answer came
  EXPECT_EQ(Update(P(1, 2), ActorState::kDead).error.kind, ErrorKind::kNameTaken);
}

TEST_P(HeadActors, GetIfExistsGivesTheOneThatIsThere) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.name = "counter";
  spec.get_if_exists = true;
  const StartActor start = Live(spec, 1);
  spec.id = ActorId{8};
  Say(P(1, 2), CreateActor{spec});
  const ActorUpdate update = Update(P(1, 2), ActorState::kAlive);
  EXPECT_EQ(update.actor, ActorId{8});
  EXPECT_EQ(update.existing, ActorId{7});
  EXPECT_EQ(update.address, P(1, 5));
  // From now on it hears of that one.
  Exit(1, start, false);
  EXPECT_EQ(Update(P(1, 2), ActorState::kDead).actor, ActorId{7});
  Update(Driver(1), ActorState::kDead);
}

// ---- watchers

TEST_P(HeadActors, AWatcherHearsTheStateNowAndAtEveryChange) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  StartActor start = Live(spec, 1);
  Say(P(2, 3), WatchActor{ActorId{7}});
  EXPECT_EQ(Update(P(2, 3), ActorState::kAlive).address, P(1, 5));
  Exit(1, start, false);
  Update(P(2, 3), ActorState::kRestarting);
  StartOn(1);
  EXPECT_EQ(Update(P(2, 3), ActorState::kAlive).incarnation, 2u);
  Drop<ActorUpdate>(Driver(1));
  Say(Raylet(2), WorkerDied{P(2, 3)});
  Say(Driver(1), KillActor{ActorId{7}});
  Update(Driver(1), ActorState::kDead);
  Take<StopActor>(Raylet(1));  // and nothing to the dead watcher
}

TEST_P(HeadActors, WhoWatchesBeforeTheCreatorSpeaksIsNotSentAway) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  Say(P(2, 3), WatchActor{ActorId{7}});
  Update(P(2, 3), ActorState::kPending);
  Live(Actor(7, Driver(1)), 1);
  Update(P(2, 3), ActorState::kPending);
  Update(P(2, 3), ActorState::kAlive);
}

TEST_P(HeadActors, AnActorThatNobodyCreatesIsDeadAfterAWhile) {
  Join(1, 4);
  Say(P(1, 3), WatchActor{ActorId{7}});
  Update(P(1, 3), ActorState::kPending);
  Advance(options_.dead_after + 1s);
  EXPECT_EQ(Update(P(1, 3), ActorState::kDead).error.kind, ErrorKind::kActorDied);
}

TEST_P(HeadActors, LateWatchersLearnTheCause) {
  Join(1, 4);
  Exit(1, Live(Actor(7, Driver(1)), 1), false);
  Drop<ActorUpdate>();
  Say(P(1, 3), WatchActor{ActorId{7}});
  EXPECT_NE(Update(P(1, 3), ActorState::kDead).error.message.find("signal 9"), std::string::npos);
}

TEST_P(HeadActors, AfterABrokenLinkWatchersAreToldAnew) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  Live(Actor(7, Driver(1)), 1);
  Say(P(2, 3), WatchActor{ActorId{7}});
  Drop<ActorUpdate>();
  Reset(2);
  Update(P(2, 3), ActorState::kAlive);
}

// ---- what it depends on

TEST_P(HeadActors, AnActorEndsWithItsOwnerUnlessItIsDetached) {
  Join(1, 4);
  ActorSpec detached = Actor(8, P(1, 2));
  detached.detached = true;
  detached.name = "service";
  Live(Actor(7, P(1, 2)), 1);
  Live(detached, 1);
  Say(Raylet(1), WorkerDied{P(1, 2)});
  EXPECT_EQ(Update(P(1, 2), ActorState::kDead).actor, ActorId{7});
  EXPECT_EQ(Take<StopActor>(Raylet(1)).actor, ActorId{7});
}

TEST_P(HeadActors, ActorsEndWithTheirJobUnlessTheyAreDetached) {
  Join(1, 4);
  StartJob(1);
  ActorSpec detached = Actor(8, Driver(1));
  detached.detached = true;
  Live(Actor(7, Driver(1)), 1);
  Live(detached, 1);
  Say(Raylet(1), FinishJob{Job(1), "over"});
  Drop<FinishJob>();
  EXPECT_EQ(Update(Driver(1), ActorState::kDead).actor, ActorId{7});
  EXPECT_EQ(Take<StopActor>(Raylet(1)).actor, ActorId{7});
  EXPECT_EQ(head_->Remains(), "");
  Say(P(1, 2), CreateActor{Actor(9, P(1, 2))});
  Update(P(1, 2), ActorState::kDead);  // too late
}

TEST_P(HeadActors, AnActorEndsWithTheNodeOfItsOwner) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  Live(Actor(7, P(2, 2)), 1);
  Kill(2);
  EXPECT_EQ(Take<StopActor>(Raylet(1)).actor, ActorId{7});
  // The owner was only cut off: when it is back it hears what became of it.
  Say(P(2, 2), WatchActor{ActorId{7}});
  ExpectSilence();
  ReturnFromDeath(2);
  Update(P(2, 2), ActorState::kDead);
}

TEST_P(HeadActors, HardAffinityToADeadNodeIsTheEnd) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.shape = OnNode(spec.shape, 99);
  Say(Driver(1), CreateActor{spec});
  Update(Driver(1), ActorState::kPending);
  EXPECT_EQ(Update(Driver(1), ActorState::kDead).error.kind, ErrorKind::kUnschedulable);
}

// ---- another head

TEST_P(HeadActors, ANewHeadFindsLivingActorsAndDoesNotStartThemAgain) {
  Join(1, 4);
  StartJob(1);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  spec.name = "counter";
  const StartActor start = Live(spec, 1);
  Report(1);
  Restart();
  RegisterAgain(1);
  Drop<shoal::StartJob>();
  EXPECT_EQ(Update(Driver(1), ActorState::kAlive).address, P(1, 5));
  Report(1);
  ExpectSilence();
  Say(P(1, 2), FindActor{RequestId{1}, "counter", ""});
  EXPECT_EQ(Take<FindActorReply>(P(1, 2)).actor, ActorId{7});
  Exit(1, start, false);
  Update(Driver(1), ActorState::kRestarting);
  const StartActor again = StartOn(1);
  Update(Driver(1), ActorState::kAlive);
  Restart();
  JoinAgain(1);
  Drop<shoal::StartJob>();
  Drop<ActorUpdate>();
  Exit(1, again, false);
  EXPECT_EQ(Update(Driver(1), ActorState::kDead).incarnation, 2u) << "restarts are counted over heads";
}

TEST_P(HeadActors, ANewHeadGivesTheNodeOfAnActorTimeToComeBack) {
  Join(1, 4);
  Join(2, 4);
  SetFree(1, 0);
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  Live(spec, 2);
  Restart();
  JoinAgain(1);
  Drop<ActorUpdate>();
  SetFree(1, 4);
  Advance(options_.dead_after - 500ms);
  ExpectSilence();
  Advance(1s);
  Drop<NodeDied>();
  Update(Driver(1), ActorState::kRestarting);
  EXPECT_EQ(StartOn(1).incarnation, 2u);
  Update(Driver(1), ActorState::kAlive);
}

TEST_P(HeadActors, ANewHeadFinishesWhatTheOldOneBegan) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  const StartActor lost = Take<StartActor>(Raylet(1));
  Restart();
  RegisterAgain(1);
  Update(Driver(1), ActorState::kStarting);
  ExpectSilence();
  Report(1);  // without the actor: the request never arrived
  EXPECT_GT(StartOn(1).incarnation, lost.incarnation);
  Update(Driver(1), ActorState::kAlive);
}

TEST_P(HeadActors, ANewHeadTellsWatchersWhatTheOldOneCouldNot) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  const StartActor start = Live(Actor(7, Driver(1)), 1);
  Say(P(2, 3), WatchActor{ActorId{7}});
  Drop<ActorUpdate>();
  Exit(1, start, false);
  Restart();  // before anybody was told
  JoinAgain(2);
  EXPECT_EQ(Update(P(2, 3), ActorState::kDead).error.kind, ErrorKind::kActorDied);
}

TEST_P(HeadActors, AnActorThatIsDeadIsNotCreatedAgainByANewHead) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  Exit(1, Live(spec, 1), false);
  Drop<ActorUpdate>();
  Restart();
  JoinAgain(1);
  Update(Driver(1), ActorState::kDead);
  Say(Driver(1), CreateActor{spec});
  Update(Driver(1), ActorState::kDead);
}

TEST_P(HeadActors, WhatIsWrittenDownIsSmallAfterTheFirstTime) {
  Join(1, 4);
  ActorSpec spec = Actor(7, Driver(1));
  spec.code = Payload(std::string(50'000, 'x'));
  spec.max_restarts = -1;
  StartActor start = Live(spec, 1);
  all_writes_.clear();
  Exit(1, start, false);
  StartOn(1);
  Drop<ActorUpdate>();
  size_t bytes = 0;
  for (const StoreWrite& write : all_writes_) bytes += write.value ? write.value->size() : 0;
  EXPECT_GT(bytes, 0u);
  EXPECT_LT(bytes, 2000u);
}

}  // namespace
}  // namespace shoal::scheduler
