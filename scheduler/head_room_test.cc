// Room for what waits behind somebody's queue that keeps every node full.
#include "gmock/gmock.h"
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class HeadRoom : public HeadTest {
 protected:
  // All CPUs of node n are leased to that owner.
  void Fill(uint64_t n, const Address& owner) {
    Imagined& node = Node(n);
    const int64_t cpus = node.info.total.Get(kCpu) / ResourceSet::kStepsPerUnit;
    for (int64_t i = 0; i < cpus; ++i) {
      node.report.leases.push_back({LeaseId{n * 100 + static_cast<uint64_t>(i)}, Cpus(1).id(), owner, P(n, 2).worker, Cpus(1).resources});
    }
    SetFree(n, 0);
  }
  void TwoFullNodes(const Address& owner) {
    for (uint64_t n : {1, 2}) Join(n, 1);
    for (uint64_t n : {1, 2}) Fill(n, owner);
  }
  void Vacate(uint64_t n) {
    Node(n).report.leases.clear();
    SetFree(n, 1);
  }
};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, HeadRoom, testing::Bool());

TEST_P(HeadRoom, IsMadeForAnActorAndAskedForAgainWhileItWaits) {
  Join(1, 1);
  Fill(1, Driver(1));
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Drop<ActorUpdate>();
  Advance(400ms);
  ExpectSilence();  // it may be about to come free
  Advance(200ms);
  const MakeRoom room = Take<MakeRoom>(Raylet(1));
  EXPECT_EQ(room.resources, ResourceSet::Of({{"CPU", 1}}));
  EXPECT_EQ(room.epoch, head_->epoch());
  Advance(1s);
  EXPECT_GE(Drop<MakeRoom>(Raylet(1)), 1u);
  Vacate(1);
  Take<StartActor>(Raylet(1));
  Advance(2s);
  ExpectSilence();
}

TEST_P(HeadRoom, IsNotMadeWhereNoLeaseCouldGiveIt) {
  Join(1, 1);
  SetFree(1, 0);  // something holds it that is no lease, such as an actor
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  Drop<ActorUpdate>();
  Advance(3s);
  ExpectSilence();
}

TEST_P(HeadRoom, IsMadeForAllBundlesOfAGroupAndKeptFromLeasesUntilThen) {
  TwoFullNodes(P(1, 2));
  Spill(P(1, 2), Cpus(1), 100);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kStrictSpread, {1, 1})});
  Drop<PlacementGroupUpdate>();
  Advance(600ms);
  Take<MakeRoom>(Raylet(1));
  Take<MakeRoom>(Raylet(2));
  Vacate(1);
  EXPECT_EQ(TakeAll<GrantLeases>().size(), 0u) << "the queue would take it, and the group would never have both at once";
  Vacate(2);
  PrepareAll(3);
  EXPECT_EQ(Take<PlacementGroupUpdate>(Driver(1)).state, PlacementGroupStateKind::kCreated);
}

TEST_P(HeadRoom, IsMadeForAnOwnerWithoutAnyLeaseOnly) {
  TwoFullNodes(P(1, 2));
  Spill(P(1, 2), Cpus(1), 5);
  Advance(2s);
  ExpectSilence();
  Spill(P(1, 3), Cpus(1), 5);
  Advance(1100ms);
  EXPECT_GE(TakeAll<MakeRoom>().size(), 1u);
}

TEST_P(HeadRoom, WhatNoNodeCouldTakeIsToldToTheDriverOnce) {
  Join(1, 4);
  Join(2, 4);
  StartJob(1);
  Drop<shoal::StartJob>();
  Spill(Driver(1), Cpus(8), 1);
  ActorSpec actor = Actor(7, Driver(1));
  actor.placement = Cpus(16).resources;
  Say(Driver(1), CreateActor{actor});
  Drop<ActorUpdate>();
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kStrictSpread, {1, 1, 1})});
  Drop<PlacementGroupUpdate>();
  Advance(1s);
  ExpectSilence();  // a node may be about to join
  Advance(4s);
  std::vector<std::string> told;
  for (const auto& [to, message] : TakeAll<LogLines>()) {
    EXPECT_EQ(to, Driver(1));
    told.push_back(message.lines.at(0));
  }
  EXPECT_THAT(told, testing::UnorderedElementsAre(
                        testing::HasSubstr("tasks that want {CPU: 8} wait: no node could take that even if it were free"),
                        testing::HasSubstr("that want {CPU: 16} wait"), testing::HasSubstr("wants a node for each of its 3 bundles")));
  Spill(Driver(1), Cpus(8), 2, 2);
  Advance(5s);
  ExpectSilence();  // once
  Join(3, 16);
  Drop<shoal::StartJob>();
  Drop<GrantLeases>();
  Drop<StartActor>();
  Drop<PrepareBundles>();
}

}  // namespace
}  // namespace shoal::scheduler
