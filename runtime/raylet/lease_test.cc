// Leases from demand to return: who gets a worker, when, with what, and what ends it.
#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/raylet/raylet_testing.h"

namespace shoal::raylet {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Leases, ADemandIsMetByStartingWorkers) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(1), 2);
  EXPECT_THAT(node.starting, SizeIs(2));  // the spare one that a driver brings counts
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), IsEmpty());
  node.StartWorkers();
  const std::vector<LeaseGranted> granted = node.Sent<LeaseGranted>(driver);
  ASSERT_THAT(granted, SizeIs(2));
  EXPECT_EQ(granted[0].shape, CpuShape(1).id());
  EXPECT_EQ(granted[0].epoch, 1u);
  EXPECT_EQ(granted[0].ttl, RayletOptions().lease_ttl);
  EXPECT_NE(granted[0].worker, granted[1].worker);
}

TEST(Leases, TheWorkerHearsOfItsLeaseBeforeTheOwner) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  const LeaseGranted granted = node.Leases(driver, 1, CpuShape(2)).at(0);
  size_t assigned_at = 0, granted_at = 0;
  for (size_t i = 0; i < node.sends.size(); ++i) {
    if (std::holds_alternative<AssignLease>(node.sends[i].message)) assigned_at = i;
    if (std::holds_alternative<LeaseGranted>(node.sends[i].message)) granted_at = i;
  }
  EXPECT_LT(assigned_at, granted_at);
  const AssignLease assigned = node.Sent<AssignLease>(granted.worker).at(0);
  EXPECT_EQ(assigned.lease, granted.lease);
  EXPECT_EQ(assigned.owner, driver);
  EXPECT_EQ(assigned.env_vars, (StringMap{{"OMP_NUM_THREADS", "2"}}));
}

TEST(Leases, NeverMoreThanThereIs) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  EXPECT_THAT(node.Leases(driver, 10, CpuShape(1)), SizeIs(2));
  EXPECT_EQ(node.Free(), 0);
}

TEST(Leases, AReturnedWorkerServesTheNextDemandWithoutANewProcess) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted first = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Demand(driver, CpuShape(1), 1);
  node.Return(driver, first.lease);
  const LeaseGranted second = node.Sent<LeaseGranted>(driver).at(1);
  EXPECT_EQ(second.worker, first.worker);
  EXPECT_NE(second.lease, first.lease);
  EXPECT_THAT(node.starting, IsEmpty());
  node.Return(driver, first.lease);  // twice: the lease of now is not touched
  EXPECT_EQ(node.Free(), 0);
}

TEST(Leases, OnlyTheOwnerMayReturn) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver(), other = node.Driver(JobId{2});
  const LeaseGranted granted = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Return(other, granted.lease);
  EXPECT_EQ(node.Free(), 0);
}

TEST(Leases, AWithdrawnDemandIsNotServed) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(1), 2);
  node.Demand(driver, CpuShape(1), 0);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), IsEmpty());
  EXPECT_EQ(node.Free(), 2);
  EXPECT_EQ(node.raylet.Remains(), "a worker that is driver");
}

TEST(Leases, AnOlderVersionOfADemandIsNoNews) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  LeaseDemand demand;
  demand.shape = CpuShape(1);
  demand.version = 5;
  demand.wanted = 1;
  node.Deliver(driver, demand);
  demand.version = 4;
  demand.wanted = 0;
  node.Deliver(driver, demand);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(1));
}

TEST(Leases, AKilledWorkerKeepsItsSlotUntilItIsGone) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted granted = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Return(driver, granted.lease, /*kill=*/true);
  node.Return(driver, granted.lease, /*kill=*/true);
  ASSERT_THAT(node.killed, SizeIs(1));
  EXPECT_EQ(node.Free(), 0);
  node.BuryKilled();
  EXPECT_EQ(node.Free(), 1);
}

TEST(Leases, TheDeathOfAWorkerIsToldToEverybody) {
  TestNode node({{"CPU", 2}});
  node.Nodes({OtherNode(0xb)});
  const Address driver = node.Driver(), other = node.Driver(JobId{2});
  const LeaseGranted granted = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Exit(granted.worker.worker, "signal 11 (Segmentation fault)");
  for (const Address& to : {driver, other, Address::Raylet(NodeId{0xb})}) {
    const std::vector<WorkerDied> died = node.Sent<WorkerDied>(to);
    ASSERT_THAT(died, SizeIs(1)) << to.ToString();
    EXPECT_EQ(died[0].worker, granted.worker);
    EXPECT_EQ(died[0].kind, ErrorKind::kWorkerCrashed);
    EXPECT_THAT(died[0].message, ::testing::HasSubstr("Segmentation fault"));
  }
  node.Exit(granted.worker.worker, "signal 11 (Segmentation fault)");
  EXPECT_THAT(node.Sent<WorkerDied>(driver), SizeIs(1));
  EXPECT_EQ(node.Free(), 2);
}

TEST(Leases, TheDeathOfAnOwnerEndsItsLeasesAndKillsTheirWorkers) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> granted = node.Leases(driver, 2, CpuShape(1));
  node.Exit(driver.worker);
  EXPECT_THAT(node.killed, SizeIs(2));
  node.BuryKilled();
  EXPECT_EQ(node.raylet.Remains(), "");
  EXPECT_EQ(node.Free(), 2);
}

TEST(Leases, TheDeathOfAnOwnerElsewhereEndsItsLeases) {
  TestNode node({{"CPU", 2}});
  node.Nodes({OtherNode(0xb)});
  const Address owner{NodeId{0xb}, WorkerId{5}};
  GrantLeases grant;
  grant.request = RequestId{1};
  grant.owner = owner;
  grant.shape = CpuShape(1);
  grant.count = 1;
  node.Order(grant);
  node.StartWorkers();
  ASSERT_THAT(node.Sent<LeaseGranted>(owner), SizeIs(1));
  WorkerDied died;
  died.worker = owner;
  node.Deliver(Address::Raylet(NodeId{0xc}), died);  // not its raylet
  EXPECT_THAT(node.killed, IsEmpty());
  node.Deliver(Address::Raylet(NodeId{0xb}), died);
  node.Deliver(Address::Raylet(NodeId{0xb}), died);
  EXPECT_THAT(node.killed, SizeIs(1));
  node.BuryKilled();
  grant.request = RequestId{2};
  node.Order(grant);
  EXPECT_EQ(node.ToHead<GrantLeasesReply>().back().granted, 0u);
}

TEST(Leases, ABlockedWorkerLendsItsCpu) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted parent = node.Leases(driver, 1, CpuShape(1)).at(0);
  WorkerBlocked blocked;
  node.Deliver(parent.worker, blocked);
  node.Deliver(parent.worker, blocked);
  EXPECT_EQ(node.Free(), 1);
  const std::vector<LeaseGranted> child = node.Leases(parent.worker, 1, CpuShape(1));
  ASSERT_THAT(child, SizeIs(1));
  blocked.blocked = false;
  node.Deliver(parent.worker, blocked);
  EXPECT_EQ(node.Free(), -1);
  // It may finish its task, and then the lease is over.
  EXPECT_FALSE(node.Sent<AssignLease>(parent.worker).back().lease);
  EXPECT_EQ(node.Sent<RevokeLease>(driver).at(0).lease, parent.lease);
  node.Return(parent.worker, child[0].lease);
  EXPECT_EQ(node.Free(), 0);
  node.Return(driver, parent.lease);
  EXPECT_EQ(node.Free(), 1);
}

TEST(Leases, AWorkerThatFindsItsCpuAgainGoesOn) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted lease = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Deliver(lease.worker, WorkerBlocked{true});
  node.Deliver(lease.worker, WorkerBlocked{false});
  node.Deliver(lease.worker, WorkerBlocked{false});
  EXPECT_THAT(node.Sent<AssignLease>(lease.worker), SizeIs(1));
  EXPECT_THAT(node.Sent<RevokeLease>(driver), IsEmpty());
}

TEST(Leases, AWorkerThatDiesBlockedLeavesNothingBehind) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted parent = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Deliver(parent.worker, WorkerBlocked{true});
  node.Exit(parent.worker.worker);
  EXPECT_EQ(node.Free(), 1);
}

TEST(Leases, AnUnrenewedLeaseExpires) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> granted = node.Leases(driver, 2, CpuShape(1));
  node.Pass(40s);
  node.Deliver(driver, RenewLeases{{granted[0].lease}});
  node.Pass(40s);
  ASSERT_THAT(node.killed, SizeIs(1));
  EXPECT_EQ(node.killed[0].worker, granted[1].worker.worker);
  node.Deliver(driver, RenewLeases{{granted[1].lease}});
  EXPECT_EQ(node.Sent<RevokeLease>(driver).at(0).lease, granted[1].lease);
}

TEST(Leases, ARevokedLeaseIsReturnedRenewedOrEnded) {
  TestNode node({{"CPU", 2}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  const std::vector<LeaseGranted> of_a = node.Leases(a, 2, CpuShape(1));
  node.Demand(b, CpuShape(2, JobId{2}), 1);
  node.Pass(2s);
  ASSERT_THAT(node.Sent<RevokeLease>(a), SizeIs(2));
  node.Deliver(a, RenewLeases{{of_a[0].lease}});  // its task runs
  for (int second = 0; second < 12; ++second) {
    node.Demand(b, CpuShape(2, JobId{2}), 1);
    node.Pass(1s);
  }
  ASSERT_THAT(node.killed, SizeIs(1)) << "the other one's owner does not answer";
  EXPECT_EQ(node.killed[0].worker, of_a[1].worker.worker);
}

TEST(Leases, AnOwnerThatNoLongerRepeatsItselfIsGrantedNothing) {
  TestNode node({{"CPU", 1}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  node.Leases(a, 1, CpuShape(1));
  node.Demand(b, CpuShape(1, JobId{2}), 1);
  node.Pass(11s);
  node.BuryKilled();  // a does not give its lease back
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(b), IsEmpty());
  node.Demand(b, CpuShape(1, JobId{2}), 1);  // it goes on
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(b), SizeIs(1));
}

TEST(Leases, TwoOwnersShareWhatThereIs) {
  TestNode node({{"CPU", 4}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  const std::vector<LeaseGranted> of_a = node.Leases(a, 100, CpuShape(1));
  ASSERT_THAT(of_a, SizeIs(4));
  node.Demand(b, CpuShape(1, JobId{2}), 100);
  for (int i = 0; i < 2; ++i) node.Return(a, of_a[static_cast<size_t>(i)].lease);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(b), SizeIs(2));
}

TEST(Leases, WhatComesFreeIsKeptForALargerDemandThatStarves) {
  TestNode node({{"CPU", 2}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  const std::vector<LeaseGranted> of_a = node.Leases(a, 100, CpuShape(1));
  node.Demand(b, CpuShape(2, JobId{2}), 1);
  node.Pass(2s);
  ASSERT_THAT(node.Sent<RevokeLease>(a), SizeIs(2));
  node.Return(a, of_a[0].lease);
  EXPECT_THAT(node.Sent<LeaseGranted>(a), SizeIs(2)) << "it is half of what b waits for";
  node.Return(a, of_a[1].lease);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(b), SizeIs(1));
}

TEST(Leases, RoomIsMadeForTheHeadAndKeptForAWhile) {
  TestNode node({{"CPU", 1}});
  const Address a = node.Driver();
  const std::vector<LeaseGranted> of_a = node.Leases(a, 100, CpuShape(1));
  node.Order(MakeRoom{0, ResourceSet::Of({{"CPU", 1}})});
  ASSERT_THAT(node.Sent<RevokeLease>(a), SizeIs(1));
  node.Return(a, of_a[0].lease);
  EXPECT_THAT(node.Sent<LeaseGranted>(a), SizeIs(1)) << "it is for the head";
  node.Pass(1100ms);  // which has not come
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(a), SizeIs(2));
  node.Order(MakeRoom{0, ResourceSet::Of({{"CPU", 2}})});
  EXPECT_THAT(node.Sent<RevokeLease>(a), SizeIs(1)) << "it never has that much";
}

TEST(Leases, AnOwnerWithoutAnyGetsOneOfTheRichest) {
  TestNode node({{"CPU", 2}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  const std::vector<LeaseGranted> of_a = node.Leases(a, 100, CpuShape(1));
  node.Demand(b, CpuShape(1, JobId{2}), 1);
  node.Pass(90ms);
  EXPECT_THAT(node.Sent<RevokeLease>(a), IsEmpty());
  node.Pass(2s);
  const std::vector<RevokeLease> revoked = node.Sent<RevokeLease>(a);
  ASSERT_THAT(revoked, SizeIs(1));  // one is enough, however long it takes to come back
  node.Return(a, revoked[0].lease);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(b), SizeIs(1));
}

TEST(Leases, TasksWithoutResourcesDoNotStartAProcessEach) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> granted = node.Leases(driver, 1000, ShapeOf({}));
  EXPECT_THAT(granted, SizeIs(16));
  for (int i = 0; i < 5; ++i) node.Deliver(granted[static_cast<size_t>(i)].worker, WorkerBlocked{true});
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(21));  // those who wait do not count
}

TEST(Leases, GpusAreNumberedAndShared) {
  TestNode node({{"CPU", 8}, {"GPU", 2}});
  const Address driver = node.Driver();
  auto devices = [&](const LeaseGranted& lease) {
    return node.Sent<AssignLease>(lease.worker).back().env_vars.at(0);
  };
  using Entry = std::pair<std::string, std::string>;
  const std::vector<LeaseGranted> halves = node.Leases(driver, 3, ShapeOf({{"GPU", 0.5}}));
  ASSERT_THAT(halves, SizeIs(3));
  EXPECT_EQ(devices(halves[0]), Entry("CUDA_VISIBLE_DEVICES", "0"));
  EXPECT_EQ(devices(halves[1]), Entry("CUDA_VISIBLE_DEVICES", "0"));
  EXPECT_EQ(devices(halves[2]), Entry("CUDA_VISIBLE_DEVICES", "1"));
  EXPECT_THAT(node.Leases(driver, 1, ShapeOf({{"GPU", 1}})), IsEmpty());  // two halves are no whole one
  node.Return(driver, halves[0].lease);
  node.Return(driver, halves[1].lease);
  node.StartWorkers();
  const LeaseGranted whole = node.Sent<LeaseGranted>(driver).back();
  EXPECT_EQ(devices(whole), Entry("CUDA_VISIBLE_DEVICES", "0"));
  const LeaseGranted none = node.Leases(driver, 1, CpuShape(1)).at(0);
  EXPECT_EQ(devices(none), Entry("CUDA_VISIBLE_DEVICES", ""));
}

// ---- what the head has to do with it

TEST(Spill, WhatDoesNotFitIsToldToTheHeadAndWithdrawn) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> granted = node.Leases(driver, 5, CpuShape(1));
  std::vector<SpillDemand> spilled = node.ToHead<SpillDemand>();
  ASSERT_THAT(spilled, SizeIs(1));
  EXPECT_EQ(spilled[0].owner, driver);
  EXPECT_EQ(spilled[0].demand.wanted, 3u);
  node.Demand(driver, CpuShape(1), 0);
  spilled = node.ToHead<SpillDemand>();
  ASSERT_THAT(spilled, SizeIs(2));
  EXPECT_EQ(spilled[1].demand.wanted, 0u);
  EXPECT_GT(spilled[1].demand.version, spilled[0].demand.version);
}

TEST(Spill, ChangesAreBatchedInTime) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  for (uint32_t wanted = 2; wanted < 50; ++wanted) node.Demand(driver, CpuShape(1), wanted);
  EXPECT_LE(node.ToHead<SpillDemand>().size(), 2u);
  node.Pass(100ms);
  EXPECT_LE(node.ToHead<SpillDemand>().size(), 3u);
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 48u);
}

TEST(Spill, ARepeatedDemandIsRepeatedToTheHead) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(4), 1);
  node.Pass(1s);
  node.Demand(driver, CpuShape(4), 1);
  EXPECT_THAT(node.ToHead<SpillDemand>(), SizeIs(2));
}

TEST(Spill, StrategyAndLabelsDecideWhoGrants) {
  RayletOptions options;
  options.info.labels = {{"disk", "ssd"}};
  TestNode node({{"CPU", 8}}, true, options);
  const Address driver = node.Driver();
  auto granted_here = [&](const Shape& shape) { return node.Leases(driver, 1, shape).size() == 1; };
  Shape shape = CpuShape(1);
  shape.labels = {{"disk", "ssd"}};
  EXPECT_TRUE(granted_here(shape));
  shape.labels = {{"disk", "!ssd"}};
  EXPECT_FALSE(granted_here(shape));
  shape.labels = {{"disk", "in(hdd, ssd)"}};
  EXPECT_TRUE(granted_here(shape));
  shape.labels = {{"gpu", "!in(a,b)"}};
  EXPECT_TRUE(granted_here(shape));
  shape.labels = {};
  shape.strategy.kind = StrategyKind::kSpread;
  EXPECT_FALSE(granted_here(shape));
  shape.strategy.kind = StrategyKind::kNodeAffinity;
  shape.strategy.node = NodeId{0xb};
  shape.strategy.soft = true;
  EXPECT_FALSE(granted_here(shape));
  shape.strategy.node = kNode;
  EXPECT_TRUE(granted_here(shape));
  shape.strategy.soft = false;
  EXPECT_TRUE(granted_here(shape));
  EXPECT_THAT(node.ToHead<SpillDemand>(), SizeIs(3));
}

TEST(Spill, TheHeadGrantsToOwnersElsewhereOncePerRequest) {
  TestNode node({{"CPU", 2}});
  node.Nodes({OtherNode(0xb)});
  const Address owner{NodeId{0xb}, WorkerId{5}};
  GrantLeases grant;
  grant.request = RequestId{1};
  grant.owner = owner;
  grant.shape = CpuShape(1);
  grant.count = 3;
  node.Order(grant);
  node.Order(grant);
  node.StartWorkers();
  const std::vector<GrantLeasesReply> replies = node.ToHead<GrantLeasesReply>();
  ASSERT_THAT(replies, SizeIs(2));
  for (const GrantLeasesReply& reply : replies) {
    EXPECT_EQ(reply.granted, 2u);
    EXPECT_EQ(reply.refused.kind, ErrorKind::kUnschedulable);
  }
  EXPECT_THAT(node.Sent<LeaseGranted>(owner), SizeIs(2));
  node.Return(owner, node.Sent<LeaseGranted>(owner)[0].lease);
  EXPECT_EQ(node.Free(), 1);
}

TEST(Spill, TheHeadGrantsNothingThatALocalOwnerNoLongerWants) {
  TestNode node({{"CPU", 4}});
  const Address driver = node.Driver();
  Shape shape = CpuShape(1);
  shape.strategy.kind = StrategyKind::kSpread;
  node.Demand(driver, shape, 1);
  GrantLeases grant;
  grant.request = RequestId{1};
  grant.owner = driver;
  grant.shape = shape;
  grant.count = 3;
  node.Order(grant);
  EXPECT_EQ(node.ToHead<GrantLeasesReply>().back().granted, 1u);
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 0u);
}

TEST(Spill, ANewHeadHearsEverythingAgain) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(4), 2);
  node.Forget();
  node.raylet.OnPeerReset(node.now, NodeId{}, &node.actions);
  node.Pass(0ms);
  EXPECT_THAT(node.ToHead<SpillDemand>(), IsEmpty());
  node.Admit(2);
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(1));
  EXPECT_THAT(node.ToHead<NodeReport>(), SizeIs(1));
  EXPECT_EQ(node.ToHead<StartJob>().at(0).job.driver, driver);
  ASSERT_THAT(node.ToHead<SpillDemand>(), SizeIs(1));
  EXPECT_EQ(node.ToHead<SpillDemand>()[0].demand.wanted, 2u);
}

}  // namespace
}  // namespace shoal::raylet
