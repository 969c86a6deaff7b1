// Spilled demands and how they are granted.
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class HeadLeases : public HeadTest {};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, HeadLeases, testing::Bool());

std::map<uint64_t, uint32_t> Counts(const std::vector<std::pair<Address, GrantLeases>>& asks) {
  std::map<uint64_t, uint32_t> counts;
  for (const auto& [to, ask] : asks) counts[to.node.value] += ask.count;
  return counts;
}

TEST_P(HeadLeases, ADemandGoesWhereThereIsRoom) {
  Join(1, 1);
  Join(2, 4);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 3);
  const GrantLeases ask = Take<GrantLeases>(Raylet(2));
  EXPECT_EQ(ask.count, 3u);
  EXPECT_EQ(ask.owner, Driver(1));
  EXPECT_EQ(ask.shape.id(), Cpus(1).id());
  EXPECT_EQ(ask.epoch, head_->epoch());
}

TEST_P(HeadLeases, NoMoreIsAskedForThanFits) {
  Join(1, 2);
  Join(2, 3);
  Spill(Driver(1), Cpus(1), 100);
  EXPECT_EQ(Counts(TakeAll<GrantLeases>()), (std::map<uint64_t, uint32_t>{{1, 2}, {2, 3}}));
}

TEST_P(HeadLeases, NothingIsPlacedOnANodeBeforeItsFirstReport) {
  Register(1, 4);
  Spill(Driver(1), Cpus(1), 1);
  ExpectSilence();
  Report(1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, WhatWasPromisedIsNotPromisedAgain) {
  Join(1, 2);
  Spill(P(1, 2), Cpus(1), 2);
  const GrantLeases ask = Take<GrantLeases>(Raylet(1));
  Spill(P(1, 3), Cpus(1), 1);
  ExpectSilence();
  Report(1);  // an old one: it does not count the request yet
  ExpectSilence();
  Grant(1, ask, 2);
  ExpectSilence();
  Report(1);  // now it does
  ExpectSilence();
  SetFree(1, 1);
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).owner, P(1, 3));
}

TEST_P(HeadLeases, ARefusalIsTriedElsewhereAndThereAgainOnlyAfterAReport) {
  Join(1, 1);
  Spill(Driver(1), Cpus(1), 1);
  const GrantLeases first = Take<GrantLeases>(Raylet(1));
  Grant(1, first, 0);
  ExpectSilence();
  Join(2, 1);
  const GrantLeases second = Take<GrantLeases>(Raylet(2));
  EXPECT_NE(second.request, first.request);
  Grant(2, second, 0);
  ExpectSilence();
  Report(1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, APartlyGrantedRequestLeavesTheRestWanted) {
  Join(1, 4);
  Spill(Driver(1), Cpus(1), 4);
  const GrantLeases ask = Take<GrantLeases>(Raylet(1));
  Grant(1, ask, 1);
  ExpectSilence();
  Join(2, 8);
  EXPECT_EQ(Take<GrantLeases>(Raylet(2)).count, 3u);
}

TEST_P(HeadLeases, ARepeatedDemandIsNotMetTwice) {
  Join(1, 8);
  Spill(Driver(1), Cpus(1), 2, 7);
  const GrantLeases ask = Take<GrantLeases>(Raylet(1));
  Spill(Driver(1), Cpus(1), 2, 7);
  ExpectSilence();
  Grant(1, ask, 2);
  Report(1);
  Spill(Driver(1), Cpus(1), 2, 7);
  ExpectSilence();
  Spill(Driver(1), Cpus(1), 3, 8);  // said after the grants were heard of: three more
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).count, 3u);
}

TEST_P(HeadLeases, GrantsThatWereLostAreMadeUpForIfTheDemandStands) {
  Join(1, 8);
  Spill(Driver(1), Cpus(1), 2, 7);
  Grant(1, Take<GrantLeases>(Raylet(1)), 2);
  Report(1);
  Advance(options_.refresh + 1s);
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).count, 2u);
}

TEST_P(HeadLeases, LeasesThatWaitForTheirWorkerAreNotAskedForAgain) {
  Join(1, 4);
  Join(2, 8);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 2, 1);
  Grant(2, Take<GrantLeases>(Raylet(2)), 2);
  Spill(Driver(1), Cpus(1), 3, 2);  // the owner has heard of none yet
  EXPECT_EQ(Take<GrantLeases>(Raylet(2)).count, 1u);
  Reset(2);  // that one is lost
  Take<GrantLeases>(Raylet(2));
  for (uint64_t i = 1; i <= 2; ++i) Node(2).report.leases.push_back({LeaseId{i}, Cpus(1).id(), Driver(1), {}, {}});
  Report(2);
  Reset(2);
  EXPECT_EQ(Take<GrantLeases>(Raylet(2)).count, 1u);
  Node(2).report.leases[0].worker = WorkerId{5};  // now it has: its next demand counts it
  Report(2);
  EXPECT_EQ(Take<GrantLeases>(Raylet(2)).count, 1u);
  Spill(Driver(1), Cpus(1), 0, 3);
  Node(2).report.leases.clear();
  Report(2);
}

TEST_P(HeadLeases, AnOlderDemandIsIgnored) {
  Join(1, 8);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 2, 7);
  Spill(Driver(1), Cpus(1), 5, 6);
  Spill(Driver(1), Cpus(1), 0, 6);
  SetFree(1, 8);
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).count, 2u);
}

TEST_P(HeadLeases, AWithdrawnDemandIsForgotten) {
  Join(1, 8);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 2, 1);
  EXPECT_NE(head_->Remains(), "");
  Spill(Driver(1), Cpus(1), 0, 2);
  SetFree(1, 8);
  ExpectSilence();
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadLeases, ARequestWithoutAnAnswerIsMadeElsewhere) {
  Join(1, 2);
  Spill(Driver(1), Cpus(1), 2);
  Take<GrantLeases>(Raylet(1));
  Join(2, 2);
  ExpectSilence();
  Advance(options_.rpc_timeout + 500ms);
  EXPECT_EQ(Take<GrantLeases>(Raylet(2)).count, 2u);
}

TEST_P(HeadLeases, ALateAnswerChangesNothing) {
  Join(1, 2);
  Spill(Driver(1), Cpus(1), 1);
  const GrantLeases ask = Take<GrantLeases>(Raylet(1));
  Advance(options_.rpc_timeout + 500ms);
  Grant(1, ask, 1);
  ExpectSilence();
  Report(1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, ABrokenLinkFreesWhatWasOnItsWay) {
  Join(1, 1);
  Spill(Driver(1), Cpus(1), 1);
  Take<GrantLeases>(Raylet(1));
  Reset(1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, WhatADeadNodeWasAskedForGoesElsewhere) {
  Join(1, 1);
  Join(2, 1);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 1);
  const GrantLeases ask = Take<GrantLeases>(Raylet(2));
  Grant(2, ask, 1);
  Spill(Driver(1), Cpus(1), 1, 2);
  Kill(2);
  SetFree(1, 1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, TheDemandOfADeadOwnerIsForgotten) {
  Join(1, 1);
  SetFree(1, 0);
  Spill(P(1, 2), Cpus(1), 1);
  Say(Raylet(1), WorkerDied{P(1, 2)});
  EXPECT_EQ(head_->Remains(), "");
  Spill(P(1, 3), Cpus(1), 1);
  Node(1).report.workers.clear();
  Report(1);
  EXPECT_EQ(head_->Remains(), "") << "its node reports without it";
}

TEST_P(HeadLeases, TheDemandOfAFinishedJobIsForgottenAndNotTakenAgain) {
  Join(1, 1);
  StartJob(1);
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 1);
  Say(Raylet(1), FinishJob{Job(1), "over"});
  Drop<FinishJob>();
  Spill(Driver(1), Cpus(1), 1, 2);
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadLeases, OwnersTakeTurns) {
  Join(1, 4);
  SetFree(1, 0);
  Spill(P(1, 2), Cpus(1), 100);
  Spill(P(1, 3), Cpus(1), 100);
  SetFree(1, 4);
  std::map<Address, uint32_t> got;
  for (const auto& [to, ask] : TakeAll<GrantLeases>()) got[ask.owner] += ask.count;
  EXPECT_EQ(got, (std::map<Address, uint32_t>{{P(1, 2), 2}, {P(1, 3), 2}}));
}

TEST_P(HeadLeases, HigherPriorityGoesFirst) {
  Join(1, 1);
  SetFree(1, 0);
  Spill(P(1, 2), Cpus(1), 1);
  Shape urgent = Cpus(1);
  urgent.priority = 5;
  Spill(P(1, 3), urgent, 1);
  SetFree(1, 1);
  EXPECT_EQ(Take<GrantLeases>(Raylet(1)).owner, P(1, 3));
}

TEST_P(HeadLeases, DataDecidesAmongNodesWithRoom) {
  for (uint64_t n = 1; n <= 8; ++n) Join(n, 4);
  Spill(Driver(1), Cpus(1), 1, 1, {{N(3), 100}, {N(6), 5000}, {N(99), 1 << 20}});
  Take<GrantLeases>(Raylet(6));
  SetFree(6, 0);
  Spill(Driver(2), Cpus(1), 1, 1, {{N(3), 100}, {N(6), 5000}});
  Take<GrantLeases>(Raylet(3));
}

TEST_P(HeadLeases, SpreadGoesRound) {
  for (uint64_t n = 1; n <= 4; ++n) Join(n, 8);
  Shape shape = Cpus(1);
  shape.strategy.kind = StrategyKind::kSpread;
  Spill(Driver(1), shape, 8);
  EXPECT_EQ(Counts(TakeAll<GrantLeases>()), (std::map<uint64_t, uint32_t>{{1, 2}, {2, 2}, {3, 2}, {4, 2}}));
}

TEST_P(HeadLeases, LoadIsBalancedAmongNodesWithRoom) {
  for (uint64_t n = 1; n <= 4; ++n) Join(n, 100);
  Spill(Driver(1), Cpus(1), 100);
  for (const auto& [node, count] : Counts(TakeAll<GrantLeases>())) {
    EXPECT_GE(count, 15u) << node;
    EXPECT_LE(count, 35u) << node;
  }
}

TEST_P(HeadLeases, LabelsAreObeyed) {
  Join(1, 4, {{"gpu", "h100"}, {"zone", "a"}});
  Join(2, 4, {{"gpu", "a100"}, {"zone", "b"}});
  Join(3, 4);
  auto goes_to = [&](StringMap labels) {
    Shape shape = Cpus(1);
    shape.labels = std::move(labels);
    Spill(Driver(1), shape, 12);
    std::vector<uint64_t> nodes;
    for (const auto& [node, count] : Counts(TakeAll<GrantLeases>())) nodes.push_back(node);
    Spill(Driver(1), shape, 0, 2);
    for (uint64_t n = 1; n <= 3; ++n) Reset(n);  // takes back what was asked for
    return nodes;
  };
  EXPECT_EQ(goes_to({{"gpu", "h100"}}), (std::vector<uint64_t>{1}));
  EXPECT_EQ(goes_to({{"gpu", "in(h100,a100)"}}), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(goes_to({{"zone", "!a"}}), (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(goes_to({{"gpu", "!in(h100,a100)"}}), (std::vector<uint64_t>{3}));
  EXPECT_EQ(goes_to({{"gpu", "in(h100, a100)"}, {"zone", "b"}}), (std::vector<uint64_t>{2}));
}

TEST_P(HeadLeases, HardAffinityWaitsForItsNodeAndNoOther) {
  Join(1, 4);
  Join(2, 1);
  SetFree(2, 0);
  Spill(Driver(1), OnNode(Cpus(1), 2), 1);
  ExpectSilence();
  SetFree(2, 1);
  Take<GrantLeases>(Raylet(2));
}

TEST_P(HeadLeases, HardAffinityToANodeThatIsGoneOrTooSmallFails) {
  Join(1, 4);
  Join(2, 1);
  Spill(Driver(1), OnNode(Cpus(1), 99), 1);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).error.kind, ErrorKind::kUnschedulable);
  Spill(Driver(1), OnNode(Cpus(2), 2), 1);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).shape, OnNode(Cpus(2), 2).id());
  SetFree(2, 0);
  Spill(Driver(1), OnNode(Cpus(1), 2), 1);
  ExpectSilence();
  Kill(2);
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).error.kind, ErrorKind::kUnschedulable);
}

TEST_P(HeadLeases, SoftAffinityTakesAnotherNodeIfThatOneIsFullOrGone) {
  Join(1, 4);
  Join(2, 1);
  Spill(P(1, 2), OnNode(Cpus(1), 2, true), 1);
  Take<GrantLeases>(Raylet(2));
  Spill(P(1, 3), OnNode(Cpus(1), 2, true), 1);
  Take<GrantLeases>(Raylet(1));
  Spill(P(1, 4), OnNode(Cpus(1), 99, true), 1);
  Take<GrantLeases>(Raylet(1));
}

TEST_P(HeadLeases, ANewHeadDoesNotConcludeFromAbsenceAtOnce) {
  Join(1, 4);
  Join(2, 4);
  Restart();
  JoinAgain(1);
  Spill(Driver(1), OnNode(Cpus(1), 2), 1);
  ExpectSilence();
  JoinAgain(2);
  Take<GrantLeases>(Raylet(2));
  Spill(Driver(1), OnNode(Cpus(1), 99), 1);
  Advance(options_.dead_after + 1s);
  TakeAll<GrantLeases>();  // repeated since nobody answers
  EXPECT_EQ(Take<LeaseFailed>(Driver(1)).shape, OnNode(Cpus(1), 99).id());
}

TEST_P(HeadLeases, WhatNoNodeCanEverRunWaitsForOneThatCan) {
  Join(1, 4);
  Spill(Driver(1), Cpus(16), 1);
  ExpectSilence();
  EXPECT_NE(List("why").find("it has 4 CPU in all, 16 wanted"), std::string::npos);
  Join(2, 32);
  Take<GrantLeases>(Raylet(2));
}

TEST_P(HeadLeases, ShapesWithoutResourcesSpreadAndDoNotFlood) {
  Join(1, 4);
  Join(2, 4);
  Spill(Driver(1), Cpus(0), 1000);
  const std::map<uint64_t, uint32_t> counts = Counts(TakeAll<GrantLeases>());
  EXPECT_EQ(counts, (std::map<uint64_t, uint32_t>{{1, 64}, {2, 64}}));
}

}  // namespace
}  // namespace shoal::scheduler
