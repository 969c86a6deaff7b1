// Actors and bundles: orders of the head, carried out once, whenever and however often they come.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/raylet/raylet_testing.h"

namespace shoal::raylet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr ActorId kActor{0xac};
constexpr PlacementGroupId kGroup{0x96};

StartActor StartOf(uint64_t incarnation, double cpus = 1) {
  StartActor start;
  start.incarnation = incarnation;
  start.spec.id = kActor;
  start.spec.job = kJob;
  start.spec.owner = {NodeId{0xb}, WorkerId{5}};
  start.spec.shape = cpus > 0 ? CpuShape(cpus) : ShapeOf({});
  start.spec.creation.name = "Counter.__init__";
  return start;
}

StopActor StopOf(uint64_t incarnation, bool when_idle = false) {
  StopActor stop;
  stop.actor = kActor;
  stop.incarnation = incarnation;
  stop.when_idle = when_idle;
  return stop;
}

// Started, constructed, and where it is.
WorkerId Alive(TestNode* node, uint64_t incarnation, double cpus = 1) {
  node->Order(StartOf(incarnation, cpus));
  node->StartWorkers();
  WorkerId worker;
  for (const Send& send : node->sends) {
    if (std::holds_alternative<BecomeActor>(send.message)) worker = send.to.worker;
  }
  ActorReady ready;
  ready.actor = kActor;
  ready.incarnation = incarnation;
  node->Deliver(Address{kNode, worker}, ready);
  return worker;
}

TEST(Actors, AreStartedOnceHoweverOftenTheOrderComes) {
  TestNode node({{"CPU", 2}});
  node.Order(StartOf(1));
  node.Order(StartOf(1));
  EXPECT_THAT(node.starting, SizeIs(1));
  const WorkerId worker = Alive(&node, 1);
  node.Order(StartOf(1));
  const std::vector<ActorStarted> started = node.ToHead<ActorStarted>();
  ASSERT_THAT(started, SizeIs(2));  // the second answers the repeated order
  for (const ActorStarted& one : started) {
    EXPECT_FALSE(one.error);
    EXPECT_EQ(one.address, (Address{kNode, worker}));
  }
  EXPECT_EQ(node.Free(), 1);
  EXPECT_EQ(node.ToHead<NodeReport>().back().actors.at(0).ready, true);
}

TEST(Actors, FindTheirEnvironmentBeforeTheirConstructor) {
  TestNode node({{"CPU", 2}, {"GPU", 1}});
  StartActor start = StartOf(1);
  start.spec.shape = ShapeOf({{"GPU", 1}});
  node.Order(start);
  node.StartWorkers();
  std::vector<std::string> order;
  for (const Send& send : node.sends) {
    if (std::holds_alternative<AssignLease>(send.message)) order.push_back("environment");
    if (std::holds_alternative<BecomeActor>(send.message)) order.push_back("actor");
  }
  EXPECT_EQ(order, (std::vector<std::string>{"environment", "actor"}));
}

TEST(Actors, WithoutRoomTheOrderIsGivenBack) {
  TestNode node({{"CPU", 2}});
  node.Order(StartOf(1, 3));
  const ActorStarted refused = node.ToHead<ActorStarted>().at(0);
  EXPECT_EQ(refused.error.kind, ErrorKind::kUnschedulable);
  EXPECT_EQ(refused.incarnation, 1u);
  EXPECT_EQ(node.raylet.Remains(), "");
}

TEST(Actors, TheEndOfTheProcessIsReported) {
  TestNode node({{"CPU", 2}});
  const WorkerId worker = Alive(&node, 1);
  node.Exit(worker, "signal 11 (Segmentation fault)");
  const ActorExited exited = node.ToHead<ActorExited>().at(0);
  EXPECT_FALSE(exited.intended);
  EXPECT_THAT(exited.error.message, HasSubstr("Segmentation fault"));
  EXPECT_EQ(node.Free(), 2);
  node.Order(StartOf(1));  // the order that was overtaken by the end
  EXPECT_THAT(node.ToHead<ActorExited>(), SizeIs(2));
  EXPECT_THAT(node.starting, IsEmpty());
  Alive(&node, 2);
  EXPECT_EQ(node.Free(), 1);
}

TEST(Actors, ThatLeaveByThemselvesMeantTo) {
  TestNode node({{"CPU", 2}});
  const WorkerId worker = Alive(&node, 1);
  ActorExited leaving;
  leaving.actor = kActor;
  leaving.intended = true;
  node.Deliver(Address{kNode, worker}, leaving);
  node.Exit(worker);
  EXPECT_TRUE(node.ToHead<ActorExited>().at(0).intended);
}

TEST(Actors, AFailedConstructorIsTheEnd) {
  TestNode node({{"CPU", 2}});
  node.Order(StartOf(1));
  node.StartWorkers();
  WorkerId worker;
  for (const Send& send : node.sends) {
    if (std::holds_alternative<BecomeActor>(send.message)) worker = send.to.worker;
  }
  ActorReady ready;
  ready.actor = kActor;
  ready.incarnation = 1;
  ready.error.kind = ErrorKind::kApplication;
  node.Deliver(Address{kNode, worker}, ready);
  node.Deliver(Address{kNode, worker}, ready);
  ASSERT_THAT(node.ToHead<ActorStarted>(), SizeIs(1));
  EXPECT_EQ(node.ToHead<ActorStarted>()[0].error.kind, ErrorKind::kApplication);
  EXPECT_TRUE(node.Sent<ExitWorker>({kNode, worker}).at(0).now);
  node.Exit(worker);
  EXPECT_EQ(node.raylet.Remains(), "");
}

TEST(Actors, AreStoppedAtOnceOrAfterTheirCalls) {
  for (bool when_idle : {false, true}) {
    TestNode node({{"CPU", 2}});
    const WorkerId worker = Alive(&node, 1);
    node.Order(StopOf(1, when_idle));
    node.Order(StopOf(1, when_idle));
    const std::vector<ExitWorker> exits = node.Sent<ExitWorker>({kNode, worker});
    ASSERT_THAT(exits, SizeIs(1));
    EXPECT_EQ(exits[0].now, !when_idle);
    node.Pass(10s);
    EXPECT_THAT(node.killed, SizeIs(when_idle ? 0 : 1));
    node.Exit(worker);
    EXPECT_TRUE(node.ToHead<ActorExited>().at(0).intended);
  }
}

TEST(Actors, ImpatienceOverrulesPatience) {
  TestNode node({{"CPU", 2}});
  const WorkerId worker = Alive(&node, 1);
  node.Order(StopOf(1, true));
  node.Order(StopOf(1, false));
  EXPECT_THAT(node.Sent<ExitWorker>({kNode, worker}), SizeIs(2));
  node.Pass(3s);
  EXPECT_THAT(node.killed, SizeIs(1));
}

TEST(Actors, AreStoppedBeforeTheyHaveAWorker) {
  TestNode node({{"CPU", 1}});
  node.Order(StartOf(1));
  node.Order(StopOf(0));
  EXPECT_TRUE(node.ToHead<ActorExited>().at(0).intended);
  node.StartWorkers();
  EXPECT_EQ(node.raylet.Remains(), "");
  EXPECT_EQ(node.Free(), 1);
}

TEST(Actors, AStopThatComesFirstWins) {
  TestNode node({{"CPU", 1}});
  node.Order(StopOf(1));
  node.Order(StartOf(1));
  EXPECT_THAT(node.starting, IsEmpty());
  EXPECT_THAT(node.ToHead<ActorExited>(), SizeIs(2));
}

TEST(Actors, ANewIncarnationWaitsForTheEndOfTheOld) {
  TestNode node({{"CPU", 1}});
  const WorkerId old = Alive(&node, 1);
  node.Forget();
  node.Order(StartOf(2));
  node.Order(StartOf(1));  // late
  ASSERT_THAT(node.killed, SizeIs(1));
  EXPECT_THAT(node.starting, IsEmpty());
  node.BuryKilled();
  EXPECT_EQ(node.ToHead<ActorExited>().at(0).incarnation, 1u);
  EXPECT_THAT(node.starting, SizeIs(1));
  EXPECT_NE(node.starting[0].worker, old);
}

TEST(Actors, OfAFinishedJobGoUnlessDetached) {
  for (bool detached : {false, true}) {
    TestNode node({{"CPU", 2}});
    StartActor start = StartOf(1);
    start.spec.detached = detached;
    node.Order(start);
    node.StartWorkers();
    const WorkerId worker = Alive(&node, 1);
    const std::vector<LeaseGranted> granted = node.Leases({kNode, worker}, 1, CpuShape(1));
    ASSERT_THAT(granted, SizeIs(1));
    FinishJob finish;
    finish.job = kJob;
    node.FromHead(finish);
    node.FromHead(finish);
    EXPECT_THAT(node.killed, SizeIs(detached ? 0 : 2));  // and what it had leased
  }
}

TEST(Actors, AFenceKillsThemAtOnce) {
  TestNode node({{"CPU", 2}});
  const WorkerId worker = Alive(&node, 1);
  node.Pass(2s);  // answered
  node.Forget();
  node.Pass(5900ms, /*answered=*/false);
  EXPECT_THAT(node.killed, IsEmpty());
  node.Pass(200ms, /*answered=*/false);
  ASSERT_THAT(node.killed, SizeIs(1));
  EXPECT_EQ(node.killed[0].worker, worker);
  EXPECT_THAT(node.ToHead<RegisterNode>(), ::testing::Not(IsEmpty()));
  node.BuryKilled();
  // Nothing is granted or started until the head answers again.
  const Address driver = node.Driver();
  EXPECT_THAT(node.Leases(driver, 1, CpuShape(1)), IsEmpty());
  node.Order(StartOf(2));
  EXPECT_EQ(node.ToHead<ActorStarted>().back().error.kind, ErrorKind::kUnschedulable);
  node.Beat();  // an answer to a beat of before
  EXPECT_THAT(node.Leases(driver, 1, CpuShape(1)), IsEmpty());
  node.Admit(1);
  node.Beat();
  EXPECT_THAT(node.Leases(driver, 1, CpuShape(1)), SizeIs(1));
}

TEST(Actors, TheFenceIsLookedAtBeforeAnOrderThatComesLate) {
  TestNode node({{"CPU", 2}});
  Alive(&node, 1);
  node.now += 20s;  // the machine slept
  node.Order(StartOf(2));
  EXPECT_THAT(node.killed, SizeIs(1));
  EXPECT_THAT(node.starting, IsEmpty());
}

TEST(Epochs, OrdersOfAnEarlierHeadAreRefused) {
  TestNode node({{"CPU", 2}});
  node.Admit(5);
  StartActor start = StartOf(1);
  start.epoch = 4;
  node.FromHead(start);
  EXPECT_THAT(node.starting, IsEmpty());
  GrantLeases grant;
  grant.epoch = 4;
  grant.count = 1;
  grant.shape = CpuShape(1);
  node.FromHead(grant);
  EXPECT_THAT(node.ToHead<GrantLeasesReply>(), IsEmpty());
  EXPECT_THAT(node.ToHead<ActorStarted>(), IsEmpty());
}

TEST(Epochs, ALaterHeadIsRegisteredWith) {
  TestNode node({{"CPU", 2}});
  node.Forget();
  ClusterNodes nodes;
  nodes.epoch = 9;
  node.FromHead(nodes);
  const RegisterNode again = node.ToHead<RegisterNode>().at(0);
  EXPECT_EQ(again.last_epoch, 9u);
}

TEST(Epochs, OnlyTheHeadGivesOrders) {
  TestNode node({{"CPU", 2}});
  StartActor start = StartOf(1);
  start.epoch = 1;
  node.Deliver(Address::Raylet(NodeId{0xb}), start);
  node.Deliver(node.Driver(), start);
  EXPECT_THAT(node.starting, SizeIs(1));  // the driver's spare
  EXPECT_THAT(node.ToHead<ActorStarted>(), IsEmpty());
}

// ---- bundles

PrepareBundles PrepareOf(std::vector<double> cpus) {
  PrepareBundles prepare;
  prepare.request = RequestId{3};
  for (size_t i = 0; i < cpus.size(); ++i) {
    prepare.bundles.push_back({kGroup, static_cast<int32_t>(i), ResourceSet::Of({{"CPU", cpus[i]}})});
  }
  return prepare;
}

void Commit(TestNode* node, std::vector<int32_t> indices) {
  CommitBundles commit;
  commit.group = kGroup;
  commit.indices = std::move(indices);
  node->Order(commit);
}

Shape InBundle(double cpus, int32_t bundle) {
  Shape shape = CpuShape(cpus);
  shape.strategy.kind = StrategyKind::kPlacementGroup;
  shape.strategy.group = kGroup;
  shape.strategy.bundle = bundle;
  return shape;
}

TEST(Bundles, AllOrNoneAreReserved) {
  TestNode node({{"CPU", 3}});
  node.Order(PrepareOf({2, 2}));
  EXPECT_FALSE(node.ToHead<BundlesPrepared>().back().ok);
  EXPECT_EQ(node.Free(), 3);
  node.Order(PrepareOf({2, 1}));
  node.Order(PrepareOf({2, 1}));
  EXPECT_TRUE(node.ToHead<BundlesPrepared>().back().ok);
  EXPECT_EQ(node.ToHead<BundlesPrepared>().back().group, kGroup);
  EXPECT_EQ(node.Free(), 0);
}

TEST(Bundles, AreGivenBackWithoutACommit) {
  TestNode node({{"CPU", 3}});
  node.Order(PrepareOf({1, 2}));
  Commit(&node, {1});
  node.Pass(11s);
  EXPECT_EQ(node.Free(), 1);
  EXPECT_THAT(node.ToHead<NodeReport>().back().bundles, SizeIs(1));
}

TEST(Bundles, LeasesInsideDrawFromThem) {
  TestNode node({{"CPU", 3}});
  const Address driver = node.Driver();
  node.Demand(driver, InBundle(1, 0), 3);
  EXPECT_THAT(node.Leases(driver, 3, InBundle(1, 0)), IsEmpty());
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 3u);  // the head knows where the group is
  node.Order(PrepareOf({2}));
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), IsEmpty());  // prepared is not committed
  Commit(&node, {0});
  Commit(&node, {0});
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(2));
  EXPECT_EQ(node.Free(), 1);
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 0u);  // the last can only be met here
}

TEST(Bundles, WhatIsTooLargeForOneIsLeftToTheHead) {
  TestNode node({{"CPU", 3}});
  const Address driver = node.Driver();
  node.Order(PrepareOf({1}));
  Commit(&node, {0});
  node.Demand(driver, InBundle(2, 0), 1);
  node.Pass(1s);
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 1u);
}

TEST(Bundles, TheirReturnEndsWhatIsInside) {
  TestNode node({{"CPU", 3}});
  const Address driver = node.Driver();
  node.Order(PrepareOf({2, 1}));
  Commit(&node, {0, 1});
  const LeaseGranted lease = node.Leases(driver, 1, InBundle(1, 0)).at(0);
  StartActor start = StartOf(1);
  start.spec.shape = InBundle(1, 1);
  node.Order(start);
  node.StartWorkers();
  ReturnBundles back;
  back.group = kGroup;
  node.Order(back);
  node.Order(back);
  EXPECT_THAT(node.killed, SizeIs(2));
  EXPECT_EQ(node.Free(), 0);  // until they are gone
  node.Order(PrepareOf({2, 1}));
  EXPECT_FALSE(node.ToHead<BundlesPrepared>().back().ok);
  node.BuryKilled();
  EXPECT_EQ(node.Free(), 3);
  EXPECT_EQ(node.Sent<WorkerDied>(driver).at(0).kind, ErrorKind::kPlacementGroupRemoved);
  EXPECT_EQ(node.ToHead<ActorExited>().at(0).error.kind, ErrorKind::kPlacementGroupRemoved);
  static_cast<void>(lease);
}

TEST(Bundles, AnyBundleOfTheGroupWillDo) {
  TestNode node({{"CPU", 3}});
  const Address driver = node.Driver();
  node.Order(PrepareOf({1, 2}));
  Commit(&node, {0, 1});
  EXPECT_THAT(node.Leases(driver, 5, InBundle(1, -1)), SizeIs(3));
  EXPECT_THAT(node.Leases(driver, 1, InBundle(2, -1)), IsEmpty());
}

TEST(Bundles, GpusOfABundleAreItsOwn) {
  TestNode node({{"CPU", 3}, {"GPU", 2}});
  const Address driver = node.Driver();
  PrepareBundles prepare;
  prepare.bundles.push_back({kGroup, 0, ResourceSet::Of({{"GPU", 1}})});
  node.Order(prepare);
  Commit(&node, {0});
  Shape inside = ShapeOf({{"GPU", 0.5}});
  inside.strategy = InBundle(1, 0).strategy;
  const std::vector<LeaseGranted> halves = node.Leases(driver, 3, inside);
  ASSERT_THAT(halves, SizeIs(2));
  const std::vector<LeaseGranted> outside = node.Leases(driver, 2, ShapeOf({{"GPU", 1}}));
  ASSERT_THAT(outside, SizeIs(1));
  EXPECT_EQ(node.Sent<AssignLease>(halves[1].worker).back().env_vars.at(0).second, "0");
  EXPECT_EQ(node.Sent<AssignLease>(outside[0].worker).back().env_vars.at(0).second, "1");
}

}  // namespace
}  // namespace shoal::raylet
