// Nodes, liveness, jobs, and the death of the head itself.
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class HeadNodes : public HeadTest {};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, HeadNodes, testing::Bool());

std::vector<uint64_t> Ids(const ClusterNodes& nodes) {
  std::vector<uint64_t> ids;
  for (const NodeInfo& node : nodes.nodes) ids.push_back(node.id.value);
  return ids;
}

TEST_P(HeadNodes, EverybodyIsToldWhoIsThere) {
  Join(1, 4);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1}));
  Join(2, 4);
  EXPECT_EQ(Ids(members_[2]), (std::vector<uint64_t>{1, 2})) << "a new node is told at once";
  Advance(1s);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1, 2}));
}

TEST_P(HeadNodes, AHeartbeatIsAnsweredWithItsOwnTime) {
  Join(1, 4);
  Say(Raylet(1), Heartbeat{N(1), 1, 12345});
  const HeartbeatAck ack = Take<HeartbeatAck>(Raylet(1));
  EXPECT_EQ(ack.sent_at_ns, 12345);
  EXPECT_EQ(ack.epoch, head_->epoch());
}

TEST_P(HeadNodes, StrangersAndEarlierIncarnationsGetNoAnswer) {
  Join(1, 4);
  Say(Raylet(9), Heartbeat{N(9), 1, 1});
  Say(Raylet(1), Heartbeat{N(1), 77, 1});
  Say(Raylet(1), Heartbeat{N(2), 1, 1});
  Say(Raylet(9), NodeReport{.node = N(9), .incarnation = 1});
  Say(P(9, 1), CreateActor{Actor(1, P(9, 1))});
  ExpectSilence();
}

TEST_P(HeadNodes, ASilentNodeIsDeadAfterDeadAfterAndNotBefore) {
  Join(1, 4);
  Join(2, 4);
  Node(2).beats = false;
  Advance(options_.dead_after - 500ms);
  ExpectSilence();
  Advance(1s);
  const NodeDied died = Take<NodeDied>(Raylet(1));
  EXPECT_EQ(died.node, N(2));
  Advance(1s);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1}));
}

TEST_P(HeadNodes, ANodeThatLeavesIsDeadAtOnce) {
  Join(1, 4);
  Join(2, 4);
  Say(Raylet(2), NodeDied{N(1), "not its own"});
  ExpectSilence();
  Say(Raylet(2), NodeDied{N(2), "it was stopped"});
  const NodeDied died = Take<NodeDied>(Raylet(1));
  EXPECT_EQ(died.node, N(2));
  EXPECT_EQ(died.message, "it was stopped");
}

TEST_P(HeadNodes, NothingNewGoesToANodeThatIsSilentUntilItIsHeardAgain) {
  Join(1, 4);
  Join(2, 4);
  SetFree(1, 0);
  Node(2).beats = false;
  Advance(options_.dead_after / 2);
  Spill(Driver(1), Cpus(1), 1);
  ExpectSilence();
  EXPECT_NE(List("why").find("it has not been heard of for a while"), std::string::npos);
  Beat(2);
  Take<GrantLeases>(Raylet(2));
}

TEST_P(HeadNodes, TheHeadsOwnPauseIsNobodysSilence) {
  Join(1, 4);
  Advance(1s);
  now_ += options_.dead_after * 3;  // SIGSTOP: no tick, no message
  head_->OnTick(now_, &actions_);
  Carry();
  ExpectSilence();
  Beat(1);
  EXPECT_GT(beats_answered_[1], 0u);
  Advance(2s);
}

TEST_P(HeadNodes, ADeadNodeThatComesBackRegistersAgain) {
  Join(1, 4);
  Join(2, 4);
  Kill(2);
  Beat(2);
  EXPECT_EQ(beats_answered_[2], 0u) << "silence makes it register";
  ReturnFromDeath(2);
  Report(2);
  Beat(2);
  EXPECT_GT(beats_answered_[2], 0u);
  Advance(1s);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1, 2}));
}

TEST_P(HeadNodes, ANewIncarnationMeansTheDeathOfTheOldOne) {
  Join(1, 4);
  Join(2, 4);
  Register(2, 8, 2);
  // The list says so, at once and without a moment in which the node is missing: the link to its new raylet may have begun.
  ASSERT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(members_[1].nodes[1].incarnation, 2u);
  Say(Raylet(2), Heartbeat{N(2), 1, 1});
  ExpectSilence();
}

TEST_P(HeadNodes, MembershipIsRepeatedAtALowRate) {
  Join(1, 4);
  Advance(1s);
  const uint64_t before = tellings_;
  Advance(15s);
  EXPECT_GE(tellings_, before + 1);
  EXPECT_LE(tellings_, before + 2);
}

// ---- jobs

TEST_P(HeadNodes, EveryRayletHearsOfAJobAlsoThoseThatComeLater) {
  Join(1, 4);
  Join(2, 4);
  Say(Raylet(1), shoal::StartJob{{Job(1), Driver(1), "ns", "main.py", "me", {}}});
  EXPECT_EQ(Take<shoal::StartJob>(Raylet(1)).job.driver, Driver(1));
  EXPECT_EQ(Take<shoal::StartJob>(Raylet(2)).job.id, Job(1));
  Say(Raylet(1), shoal::StartJob{{Job(1), Driver(1), "ns", "main.py", "me", {}}});  // a level: repeated
  ExpectSilence();
  Register(3, 4);
  EXPECT_EQ(Take<shoal::StartJob>(Raylet(3)).job.id, Job(1));
}

TEST_P(HeadNodes, AJobEndsForEverybody) {
  Join(1, 4);
  Join(2, 4);
  StartJob(1);
  EXPECT_NE(head_->Remains(), "");
  Say(Raylet(1), FinishJob{Job(1), "its driver left"});
  EXPECT_EQ(Take<FinishJob>(Raylet(1)).job, Job(1));
  EXPECT_EQ(Take<FinishJob>(Raylet(2)).reason, "its driver left");
  EXPECT_EQ(head_->Remains(), "");
}

TEST_P(HeadNodes, AJobEndsWithTheNodeOfItsDriver) {
  Join(1, 4);
  Join(2, 4);
  StartJob(2);
  Kill(2);
  EXPECT_EQ(Take<FinishJob>(Raylet(1)).job, Job(2));
  // The node comes back with the driver alive: it is told.
  ReturnFromDeath(2);
  Say(Raylet(2), shoal::StartJob{{Job(2), Driver(2), "ns", "main.py", "me", {}}});
  EXPECT_EQ(Take<FinishJob>(Raylet(2)).job, Job(2));
}

TEST_P(HeadNodes, AJobEndsIfItsNodeReportsWithoutTheDriver) {
  Join(1, 4);
  StartJob(1);
  Node(1).report.workers.erase(Node(1).report.workers.begin());
  Report(1);
  EXPECT_EQ(Take<FinishJob>(Raylet(1)).job, Job(1));
}

TEST_P(HeadNodes, ARayletThatMissedTheEndOfAJobIsToldByItsReport) {
  Join(1, 4);
  Join(2, 4);
  StartJob(1);
  Say(Raylet(1), FinishJob{Job(1), "over"});
  Drop<FinishJob>();
  Node(2).report.workers.push_back({WorkerId{77}, Role::kWorker, Job(1), 1, "leased"});
  Report(2);
  EXPECT_EQ(Take<FinishJob>(Raylet(2)).job, Job(1));
}

// ---- another head

TEST_P(HeadNodes, EachHeadHasAHigherEpoch) {
  const uint64_t first = head_->epoch(), cluster = head_->cluster_id();
  Restart();
  EXPECT_EQ(head_->epoch(), first + 1);
  Restart();
  EXPECT_EQ(head_->epoch(), first + 2);
  EXPECT_EQ(head_->cluster_id(), cluster);
}

TEST_P(HeadNodes, AClusterIdIsDrawnOnceAndKept) {
  options_.cluster_id = 0;
  store_ = {};
  Start(3);
  const uint64_t drawn = head_->cluster_id();
  EXPECT_NE(drawn, 0u);
  Start(4);
  EXPECT_EQ(head_->cluster_id(), drawn);
}

TEST_P(HeadNodes, ANewHeadWaitsForTheNodesThatItsPredecessorKnew) {
  Join(1, 4);
  Join(2, 4);
  StartJob(2);
  Restart();
  RegisterAgain(1);
  EXPECT_EQ(Take<shoal::StartJob>(Raylet(1)).job.id, Job(2));
  Advance(options_.dead_after - 500ms);
  ExpectSilence();
  Advance(1s);
  EXPECT_EQ(Take<NodeDied>(Raylet(1)).node, N(2));
  EXPECT_EQ(Take<FinishJob>(Raylet(1)).job, Job(2));
}

TEST_P(HeadNodes, NobodyIsTakenForDeadBecauseTheHeadIsNew) {
  Join(1, 4);
  Join(2, 4);
  Restart();
  RegisterAgain(1);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1, 2})) << "2 has not come back yet";
  EXPECT_EQ(members_[1].nodes[1].name, "node2");
  EXPECT_EQ(members_[1].nodes[1].incarnation, 1u);
  Advance(options_.dead_after + 1s);
  Drop<NodeDied>();
  Advance(1s);
  EXPECT_EQ(Ids(members_[1]), (std::vector<uint64_t>{1}));
}

TEST_P(HeadNodes, ANewHeadFindsEverythingAsItWasWhenNodesComeBack) {
  Join(1, 4);
  StartJob(1);
  Restart();
  RegisterAgain(1);
  Drop<shoal::StartJob>();
  Report(1);
  Advance(30s);
  EXPECT_NE(head_->Remains(), "") << "the job still runs";
}

TEST_P(HeadNodes, ANewHeadKnowsANodeThatRestartedMeanwhile) {
  Join(1, 4);
  Join(2, 4);
  StartJob(2);
  Restart();
  RegisterAgain(1);
  Drop<shoal::StartJob>();
  Register(2, 4, 2);
  EXPECT_EQ(members_[1].nodes.at(1).incarnation, 2u);
  EXPECT_EQ(Take<FinishJob>(Raylet(1)).job, Job(2));
}

}  // namespace
}  // namespace shoal::scheduler
