// Placement groups: all or none, in two phases, and what runs in them.
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class HeadGroups : public HeadTest {
 protected:
  PlacementGroupUpdate Update(const Address& to, PlacementGroupStateKind state) {
    PlacementGroupUpdate update = Take<PlacementGroupUpdate>(to);
    EXPECT_EQ(update.state, state) << update.reason << update.error.message;
    return update;
  }
  // Creates it and has every node prepare.
  PlacementGroupUpdate Make(PlacementGroupSpec spec) {
    const Address owner = spec.owner;
    const uint64_t id = spec.id.value;
    Say(owner, CreatePlacementGroup{std::move(spec)});
    Update(owner, PlacementGroupStateKind::kPending);
    PrepareAll(id);
    return Update(owner, PlacementGroupStateKind::kCreated);
  }
  std::map<uint64_t, size_t> PreparedOn(const std::vector<std::pair<Address, PrepareBundles>>& asks) {
    std::map<uint64_t, size_t> counts;
    for (const auto& [to, ask] : asks) counts[to.node.value] += ask.bundles.size();
    return counts;
  }
};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, HeadGroups, testing::Bool());

TEST_P(HeadGroups, BundlesArePreparedThenCommitted) {
  Join(1, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {1, 2})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  const PrepareBundles prepare = Take<PrepareBundles>(Raylet(1));
  ASSERT_EQ(prepare.bundles.size(), 2u);
  EXPECT_EQ(prepare.epoch, head_->epoch());
  EXPECT_EQ(prepare.bundles[1].resources, ResourceSet::Of({{"CPU", 2}}));
  Say(Raylet(1), BundlesPrepared{prepare.request, PlacementGroupId{3}, true});
  EXPECT_EQ(Take<CommitBundles>(Raylet(1)).indices, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(Update(Driver(1), PlacementGroupStateKind::kCreated).bundle_nodes, (std::vector<NodeId>{N(1), N(1)}));
}

// A node starts so many workers at a time, but a bundle starts none.
TEST_P(HeadGroups, AHundredSmallGroupsNeedNoReportInBetween) {
  Join(1, 4);
  for (uint64_t id = 1; id <= 100; ++id) {
    Say(Driver(1), CreatePlacementGroup{Group(id, Driver(1), PackStrategy::kPack, {0.01})});
    Update(Driver(1), PlacementGroupStateKind::kPending);
  }
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()), (std::map<uint64_t, size_t>{{1, 100}}));
}

TEST_P(HeadGroups, StrictSpreadTakesANodeEach) {
  Join(1, 4);
  Join(2, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kStrictSpread, {1, 1, 1})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  ExpectSilence();
  Join(3, 4);
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()), (std::map<uint64_t, size_t>{{1, 1}, {2, 1}, {3, 1}}));
}

TEST_P(HeadGroups, StrictPackTakesOneNodeForAll) {
  Join(1, 2);
  Join(2, 2);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kStrictPack, {2, 2})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  ExpectSilence();
  Join(3, 4);
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()), (std::map<uint64_t, size_t>{{3, 2}}));
}

TEST_P(HeadGroups, PackUsesFewNodesAndSpreadMany) {
  for (uint64_t n = 1; n <= 4; ++n) Join(n, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {1, 1, 1, 1})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()).size(), 1u);
  Say(Driver(1), CreatePlacementGroup{Group(4, Driver(1), PackStrategy::kSpread, {1, 1, 1, 1})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  EXPECT_GE(PreparedOn(TakeAll<PrepareBundles>()).size(), 3u) << "one is full";
}

TEST_P(HeadGroups, PackAndSpreadAreBestEffort) {
  Join(1, 2);
  Join(2, 2);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {2, 2})});
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()).size(), 2u);
  Join(3, 2);
  Say(Driver(1), CreatePlacementGroup{Group(4, Driver(1), PackStrategy::kSpread, {1, 1})});
  EXPECT_EQ(PreparedOn(TakeAll<PrepareBundles>()), (std::map<uint64_t, size_t>{{3, 2}}));
  Drop<PlacementGroupUpdate>();
}

TEST_P(HeadGroups, BundlesGoWhereTheirLabelsLead) {
  Join(1, 4, {{"zone", "a"}});
  Join(2, 4, {{"zone", "b"}});
  PlacementGroupSpec spec = Group(3, Driver(1), PackStrategy::kPack, {1, 1});
  spec.bundle_labels = {{{"zone", "b"}}, {{"zone", "a"}}};
  EXPECT_EQ(Make(spec).bundle_nodes, (std::vector<NodeId>{N(2), N(1)}));
}

TEST_P(HeadGroups, OneRefusalReturnsAll) {
  Join(1, 1);
  Join(2, 1);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kSpread, {1, 1})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  const PrepareBundles first = Take<PrepareBundles>(Raylet(1)), second = Take<PrepareBundles>(Raylet(2));
  Say(Raylet(1), BundlesPrepared{first.request, PlacementGroupId{3}, true});
  Say(Raylet(2), BundlesPrepared{second.request, PlacementGroupId{3}, false});
  EXPECT_EQ(Take<ReturnBundles>(Raylet(1)).indices.size(), 1u);
  EXPECT_EQ(Take<ReturnBundles>(Raylet(2)).indices.size(), 1u);
  ExpectSilence();
  Say(Raylet(1), BundlesPrepared{first.request, PlacementGroupId{3}, true});  // late, of an attempt that is over
  ExpectSilence();
  Report(2);
  ExpectSilence();  // node 1's bundle counts until it reports, too
  Report(1);
  PrepareAll(3);
  Update(Driver(1), PlacementGroupStateKind::kCreated);
}

TEST_P(HeadGroups, SilenceReturnsAllAndIsTriedElsewhere) {
  Join(1, 1);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {1})});
  Update(Driver(1), PlacementGroupStateKind::kPending);
  Take<PrepareBundles>(Raylet(1));
  Join(2, 1);
  ExpectSilence();
  Advance(options_.rpc_timeout + 500ms);
  Take<ReturnBundles>(Raylet(1));
  PrepareAll(3);
  EXPECT_EQ(Update(Driver(1), PlacementGroupStateKind::kCreated).bundle_nodes, (std::vector<NodeId>{N(2)}));
}

TEST_P(HeadGroups, WhatABundleHoldsIsNotGivenToOthers) {
  Join(1, 2);
  Make(Group(3, Driver(1), PackStrategy::kPack, {2}));
  Spill(Driver(1), Cpus(1), 1);
  ExpectSilence();
  Report(1);
  ExpectSilence();
}

TEST_P(HeadGroups, LeasesOfAGroupGoToItsBundles) {
  Join(1, 4);
  Join(2, 4);
  Make(Group(3, Driver(1), PackStrategy::kStrictSpread, {2, 2}));
  Report(1);
  Report(2);
  Spill(Driver(1), InGroup(Cpus(1), 3), 10);
  std::map<uint64_t, uint32_t> counts;
  for (const auto& [to, ask] : TakeAll<GrantLeases>()) counts[to.node.value] += ask.count;
  EXPECT_EQ(counts, (std::map<uint64_t, uint32_t>{{1, 2}, {2, 2}})) << "as many as the bundles hold";
}

TEST_P(HeadGroups, ALeaseOfOneBundleGoesToItsNodeAndWaitsThere) {
  Join(1, 4);
  Join(2, 4);
  const auto nodes = Make(Group(3, Driver(1), PackStrategy::kStrictSpread, {1, 1})).bundle_nodes;
  Spill(Driver(1), InGroup(Cpus(1), 3, 1), 1);
  const GrantLeases ask = Take<GrantLeases>(Address::Raylet(nodes[1]));
  EXPECT_EQ(ask.shape.strategy.bundle, 1);
  Grant(nodes[1].value, ask, 0);
  ExpectSilence();
  Report(nodes[1].value);
  Take<GrantLeases>(Address::Raylet(nodes[1]));
}

TEST_P(HeadGroups, ADemandMayComeBeforeItsGroup) {
  Join(1, 4);
  Join(2, 4);
  SetFree(2, 0);
  Spill(P(2, 3), InGroup(Cpus(1), 3), 1);
  ExpectSilence();
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  Advance(2 * options_.refresh);
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).owner, P(2, 3));
}

TEST_P(HeadGroups, ADemandForAGroupThatNobodyCreatesFails) {
  Join(1, 4);
  Spill(Driver(1), InGroup(Cpus(1), 3), 1);
  Advance(options_.dead_after + 1s);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).error.kind, ErrorKind::kPlacementGroupRemoved);
}

TEST_P(HeadGroups, WhatFitsIntoNoBundleFails) {
  Join(1, 4);
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  Spill(Driver(1), InGroup(Cpus(2), 3), 1);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).error.kind, ErrorKind::kUnschedulable);
  Spill(Driver(1), InGroup(Cpus(1), 3, 5), 1);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).error.kind, ErrorKind::kUnschedulable);
}

TEST_P(HeadGroups, RemovalReturnsBundlesAndEndsWhatIsInThem) {
  Join(1, 4);
  Make(Group(3, Driver(1), PackStrategy::kPack, {2}));
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = -1;
  spec.shape = InGroup(Cpus(1), 3, 0);
  Say(Driver(1), CreateActor{spec});
  StartOn(1);
  Drop<ActorUpdate>();
  Spill(P(1, 2), InGroup(Cpus(1), 3), 5);
  TakeAll<GrantLeases>();
  Say(Driver(1), RemovePlacementGroup{PlacementGroupId{3}});
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
  EXPECT_EQ(Take<ReturnBundles>(Raylet(1)).group, PlacementGroupId{3});
  EXPECT_EQ(Take<ActorUpdate>(Driver(1)).error.kind, ErrorKind::kPlacementGroupRemoved);
  Take<StopActor>(Raylet(1));
  EXPECT_EQ(Take<LeaseFailed>(P(1, 2)).error.kind, ErrorKind::kPlacementGroupRemoved);
  Spill(P(1, 2), InGroup(Cpus(1), 3), 5, 2);
  EXPECT_EQ(Take<LeaseFailed>(P(1, 2)).error.kind, ErrorKind::kPlacementGroupRemoved) << "now at once";
  Reset(1);  // frees the requests
  Drop<PlacementGroupUpdate>();
  Drop<ActorUpdate>();
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadGroups, RemovalIsAlwaysAnsweredAndFinal) {
  Join(1, 4);
  Say(Driver(1), RemovePlacementGroup{PlacementGroupId{3}});
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {2})});
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
}

TEST_P(HeadGroups, RemovalWhileItIsPreparedReturnsWhatMayHaveBeenReserved) {
  Join(1, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {2})});
  Drop<PlacementGroupUpdate>();
  const PrepareBundles ask = Take<PrepareBundles>(Raylet(1));
  Say(Driver(1), RemovePlacementGroup{PlacementGroupId{3}});
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
  Take<ReturnBundles>(Raylet(1));
  Say(Raylet(1), BundlesPrepared{ask.request, PlacementGroupId{3}, true});
  ExpectSilence();
}

TEST_P(HeadGroups, ReportsAreHeldAgainstWhatShouldBe) {
  Join(1, 4);
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  Node(1).report.bundles[0].committed = false;
  Report(1);
  EXPECT_EQ(Take<CommitBundles>(Raylet(1)).group, PlacementGroupId{3});
  Node(1).report.bundles = {{PlacementGroupId{3}, 0, true}, {PlacementGroupId{4}, 2, true}, {PlacementGroupId{3}, -5, true}};
  Report(1);
  std::map<uint64_t, std::vector<int32_t>> returned;
  for (const auto& [to, message] : TakeAll<ReturnBundles>()) returned[message.group.value] = message.indices;
  EXPECT_EQ(returned, (std::map<uint64_t, std::vector<int32_t>>{{3, {-5}}, {4, {2}}}));
  Node(1).report.bundles.clear();
  Node(1).report.available = Node(1).info.total;
  Report(1);  // the node lost it: again
  Update(Driver(1), PlacementGroupStateKind::kRescheduling);
  PrepareAll(3);
  Update(Driver(1), PlacementGroupStateKind::kCreated);
}

TEST_P(HeadGroups, BundlesOfADeadNodeGoElsewhereTheOthersStay) {
  Join(1, 4);
  Join(2, 4);
  const auto nodes = Make(Group(3, Driver(1), PackStrategy::kStrictSpread, {1, 1})).bundle_nodes;
  const int on_second = nodes[0] == N(2) ? 0 : 1;
  Kill(2);
  const auto lost = Update(Driver(1), PlacementGroupStateKind::kRescheduling);
  EXPECT_EQ(lost.bundle_nodes[static_cast<size_t>(on_second)], NodeId{});
  ExpectSilence();
  Join(3, 4);
  const PrepareBundles ask = Take<PrepareBundles>(Raylet(3));
  ASSERT_EQ(ask.bundles.size(), 1u);
  EXPECT_EQ(ask.bundles[0].index, on_second);
  Say(Raylet(3), BundlesPrepared{ask.request, PlacementGroupId{3}, true});
  EXPECT_EQ(Take<CommitBundles>(Raylet(3)).indices, (std::vector<int32_t>{on_second}));
  Update(Driver(1), PlacementGroupStateKind::kCreated);
}

TEST_P(HeadGroups, AnActorInALostBundleRestartsWhereTheBundleGoes) {
  Join(1, 1);
  SetFree(1, 0);
  Join(2, 4);
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  ActorSpec spec = Actor(7, Driver(1));
  spec.max_restarts = 1;
  spec.shape = InGroup(Cpus(1), 3, 0);
  Say(Driver(1), CreateActor{spec});
  StartOn(2);
  Kill(2);
  Drop<ActorUpdate>();
  Drop<PlacementGroupUpdate>();
  Join(3, 4);
  PrepareAll(3);
  EXPECT_EQ(StartOn(3).incarnation, 2u);
  Drop<ActorUpdate>();
  Update(Driver(1), PlacementGroupStateKind::kCreated);
}

TEST_P(HeadGroups, ADeadNodeDuringPreparationIsARefusal) {
  Join(1, 1);
  Join(2, 1);
  options_.rpc_timeout = 60s;
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kSpread, {1, 1})});
  Drop<PlacementGroupUpdate>();
  TakeAll<PrepareBundles>();
  Register(2, 1, 2);
  Drop<NodeDied>();
  EXPECT_EQ(Take<ReturnBundles>(Raylet(1)).group, PlacementGroupId{3});
}

TEST_P(HeadGroups, AGroupEndsWithItsOwnerOrJobUnlessItIsDetached) {
  Join(1, 8);
  StartJob(1);
  PlacementGroupSpec detached = Group(5, Driver(1), PackStrategy::kPack, {1});
  detached.detached = true;
  Make(Group(3, P(1, 2), PackStrategy::kPack, {1}));
  Make(Group(4, Driver(1), PackStrategy::kPack, {1}));
  Make(detached);
  Say(Raylet(1), WorkerDied{P(1, 2)});
  Update(P(1, 2), PlacementGroupStateKind::kRemoved);
  EXPECT_EQ(Take<ReturnBundles>(Raylet(1)).group, PlacementGroupId{3});
  Say(Raylet(1), FinishJob{Job(1), "over"});
  Drop<FinishJob>();
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
  EXPECT_EQ(Take<ReturnBundles>(Raylet(1)).group, PlacementGroupId{4});
}

TEST_P(HeadGroups, WatchersHearOfItWhoeverSpeaksFirst) {
  Join(1, 4);
  Say(P(1, 3), WatchPlacementGroup{PlacementGroupId{3}});
  Update(P(1, 3), PlacementGroupStateKind::kPending);
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  Update(P(1, 3), PlacementGroupStateKind::kPending);
  Update(P(1, 3), PlacementGroupStateKind::kCreated);
  Say(Driver(1), RemovePlacementGroup{PlacementGroupId{3}});
  Update(P(1, 3), PlacementGroupStateKind::kRemoved);
  Update(Driver(1), PlacementGroupStateKind::kRemoved);
  Take<ReturnBundles>(Raylet(1));
}

TEST_P(HeadGroups, NonsenseIsRefused) {
  Join(1, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {})});
  EXPECT_EQ(Update(Driver(1), PlacementGroupStateKind::kRemoved).error.kind, ErrorKind::kInvalidArgument);
  PlacementGroupSpec spec = Group(4, Driver(1), PackStrategy::kPack, {1, 1});
  spec.bundle_labels = {{{"zone", "b"}}};
  Say(Driver(1), CreatePlacementGroup{spec});
  EXPECT_EQ(Update(Driver(1), PlacementGroupStateKind::kRemoved).error.kind, ErrorKind::kInvalidArgument);
}

TEST_P(HeadGroups, ANewHeadKnowsWhereBundlesAre) {
  Join(1, 4);
  Make(Group(3, Driver(1), PackStrategy::kPack, {1}));
  Report(1);
  Restart();
  JoinAgain(1);
  EXPECT_EQ(Update(Driver(1), PlacementGroupStateKind::kCreated).bundle_nodes, (std::vector<NodeId>{N(1)}));
  ExpectSilence();
  Spill(Driver(1), InGroup(Cpus(1), 3), 1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadGroups, ANewHeadReturnsWhatTheOldOneHadOnlyPrepared) {
  Join(1, 4);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {4})});
  Drop<PlacementGroupUpdate>();
  Take<PrepareBundles>(Raylet(1));
  Restart();
  RegisterAgain(1);
  Update(Driver(1), PlacementGroupStateKind::kPending);
  Node(1).report.available = {};
  Node(1).report.bundles.push_back({PlacementGroupId{3}, 0, false});
  Report(1);
  Take<ReturnBundles>(Raylet(1));
  Node(1).report.available = Node(1).info.total;
  Node(1).report.bundles.clear();
  Report(1);
  PrepareAll(3);
  Update(Driver(1), PlacementGroupStateKind::kCreated);
}

}  // namespace
}  // namespace shoal::scheduler
