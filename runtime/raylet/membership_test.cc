// Who is there and who is not: the head and its heartbeats, other nodes, drivers and jobs, and who is told of deaths.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/raylet/raylet_testing.h"
#include "schema/cluster_nodes.h"

namespace shoal::raylet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST(HeadLink, RegistersUntilItIsAnswered) {
  TestNode node({{"CPU", 1}}, /*registered=*/false);
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(1));
  node.Pass(5s);
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(3));
  EXPECT_THAT(node.ToHead<Heartbeat>(), IsEmpty());
  EXPECT_THAT(node.ToHead<NodeReport>(), IsEmpty());
  RegisterNodeReply refused;
  refused.error.kind = ErrorKind::kInvalidArgument;
  node.FromHead(refused);
  EXPECT_THAT(node.ToHead<Heartbeat>(), IsEmpty());
  node.Admit(1);
  EXPECT_THAT(node.ToHead<Heartbeat>(), SizeIs(1));
  ASSERT_THAT(node.ToHead<NodeReport>(), SizeIs(1));
  EXPECT_EQ(node.ToHead<NodeReport>()[0].available.GetUnits("CPU"), 1);
}

TEST(HeadLink, ARegistrationAnsweredLateDoesNotMakeItLive) {
  TestNode node({{"CPU", 1}}, /*registered=*/false);
  node.Pass(10s);
  node.Admit(1);
  const Address driver = node.Driver();
  EXPECT_THAT(node.Leases(driver, 1, CpuShape(1)), IsEmpty());
  node.Beat();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(1));
}

TEST(HeadLink, BeatsAndReportsAtTheirPace) {
  TestNode node({{"CPU", 1}});
  node.Pass(100ms);
  node.Forget();
  node.Pass(10s);
  EXPECT_THAT(node.ToHead<Heartbeat>(), SizeIs(10));
  EXPECT_THAT(node.ToHead<NodeReport>(), SizeIs(5));
  node.Forget();
  const Address driver = node.Driver();
  EXPECT_THAT(node.ToHead<NodeReport>(), IsEmpty());
  node.Pass(20ms);
  ASSERT_THAT(node.ToHead<NodeReport>(), SizeIs(1));
  const NodeReport report = node.ToHead<NodeReport>()[0];
  ASSERT_THAT(report.workers, SizeIs(2));
  EXPECT_EQ(report.workers[0].worker, driver.worker);
  EXPECT_EQ(report.workers[0].state, "driver");
  EXPECT_EQ(report.workers[1].state, "starting");
}

TEST(HeadLink, ARestartOfTheHeadDisturbsNoLease) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Leases(driver, 2, CpuShape(1));
  node.Pass(2s);
  node.Forget();
  node.raylet.OnPeerReset(node.now, NodeId{}, &node.actions);
  node.Pass(3s, /*answered=*/false);
  node.Admit(2);
  EXPECT_THAT(node.killed, IsEmpty());
  EXPECT_THAT(node.ToHead<NodeReport>().back().leases, SizeIs(2));
}

TEST(Nodes, ThatVanishOrAreReplacedAreDead) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Nodes({OtherNode(0xb), OtherNode(0xc), OtherNode(0xd)});
  EXPECT_THAT(node.peers->nodes, SizeIs(4));
  EXPECT_THAT(node.Sent<NodeDied>(driver), IsEmpty());
  node.Nodes({OtherNode(0xb, 2), OtherNode(0xd)});
  node.Nodes({OtherNode(0xb, 2), OtherNode(0xd)});
  std::vector<NodeId> dead;
  for (const NodeDied& died : node.Sent<NodeDied>(driver)) dead.push_back(died.node);
  EXPECT_EQ(dead, (std::vector<NodeId>{NodeId{0xb}, NodeId{0xc}}));
}

TEST(Nodes, ThatWereMetAnewAreNotDeadOnceMoreInTheNextLevel) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Nodes({OtherNode(0xb), OtherNode(0xc)});
  node.raylet.OnPeerReset(node.now, NodeId{0xb}, &node.actions);
  node.Pass(0ms);
  node.Nodes({OtherNode(0xb, 2), OtherNode(0xc)});
  EXPECT_THAT(node.Sent<NodeDied>(driver), SizeIs(1));
  node.Nodes({OtherNode(0xb, 3), OtherNode(0xc)});
  EXPECT_THAT(node.Sent<NodeDied>(driver), SizeIs(2));
}

TEST(Nodes, TheirDeathEndsTheLeasesOfTheirProcesses) {
  TestNode node({{"CPU", 2}});
  node.Nodes({OtherNode(0xb), OtherNode(0xc)});
  for (uint64_t other : {0xbu, 0xcu}) {
    GrantLeases grant;
    grant.request = RequestId{other};
    grant.owner = {NodeId{other}, WorkerId{5}};
    grant.shape = CpuShape(1);
    grant.count = 1;
    node.Order(grant);
  }
  node.StartWorkers();
  NodeDied died;
  died.node = NodeId{0xb};
  node.FromHead(died);
  node.FromHead(died);
  EXPECT_THAT(node.killed, SizeIs(1));
  EXPECT_THAT(node.peers->nodes, SizeIs(2));  // the link goes at once
  node.raylet.OnPeerReset(node.now, NodeId{0xc}, &node.actions);
  node.Pass(0ms);
  node.Collect();
  EXPECT_THAT(node.killed, SizeIs(2));
  node.BuryKilled();
  EXPECT_EQ(node.Free(), 2);
}

TEST(Nodes, NewsLeadToTheSameLevelAndWhoMissedSomeRegistersAgain) {
  TestNode node({{"CPU", 1}});
  node.Nodes({OtherNode(0xb)});
  ClusterNodes news{.epoch = node.epoch, .nodes = {OtherNode(0xc)}, .whole = false, .gone = {NodeId{0xb}}};
  for (const NodeInfo& info : node.peers->nodes) news.digest += info.id == NodeId{0xb} ? 0 : DigestOf(info);
  news.digest += DigestOf(OtherNode(0xc));
  node.FromHead(news);
  EXPECT_THAT(node.peers->nodes, SizeIs(2));
  EXPECT_EQ(node.peers->nodes.back().id.value, 0xcu);
  node.Forget();
  node.FromHead(news);
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(0)) << "they may come twice";
  ++news.digest;
  node.FromHead(news);
  node.FromHead(news);
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(1));
}

TEST(Nodes, WhoIsExpelledTakesTheOthersForDead) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  node.Nodes({OtherNode(0xb)});
  node.Forget();
  ClusterNodes without_us;
  without_us.epoch = 1;
  without_us.nodes = {OtherNode(0xb)};
  node.FromHead(without_us);
  node.FromHead(without_us);
  EXPECT_THAT(node.Sent<NodeDied>(driver), SizeIs(1));
  EXPECT_THAT(node.ToHead<RegisterNode>(), SizeIs(1));
}

TEST(Undeliverable, TheSenderHearsOfTheDeath) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted lease = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Exit(lease.worker.worker, "exit code 3");
  const Address caller{NodeId{0xb}, WorkerId{8}}, stranger{NodeId{0xc}, WorkerId{9}};
  node.raylet.OnUndeliverable(node.now, caller, lease.worker, &node.actions);
  node.raylet.OnUndeliverable(node.now, driver, stranger, &node.actions);
  node.Collect();
  EXPECT_THAT(node.Sent<WorkerDied>(caller).at(0).message, HasSubstr("exit code 3"));
  const WorkerDied of_stranger = node.Sent<WorkerDied>(driver).back();
  EXPECT_EQ(of_stranger.worker, stranger);
  EXPECT_EQ(of_stranger.kind, ErrorKind::kNodeDied);
}

TEST(Undeliverable, ALeaseThatCannotReachItsOwnerEnds) {
  TestNode node({{"CPU", 1}});
  GrantLeases grant;
  grant.request = RequestId{1};
  grant.owner = {NodeId{0xb}, WorkerId{5}};
  grant.shape = CpuShape(1);
  grant.count = 1;
  node.Order(grant);
  node.StartWorkers();
  node.raylet.OnUndeliverable(node.now, Address::Raylet(kNode), grant.owner, &node.actions);
  node.Collect();
  EXPECT_THAT(node.killed, SizeIs(1));
}

TEST(Jobs, TheDeathOfADriverEndsItsJobHereAndAtTheHead) {
  TestNode node({{"CPU", 3}});
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> granted = node.Leases(driver, 2, CpuShape(1));
  node.Return(driver, granted[0].lease);
  // What a worker of the job has leased for its own tasks ends with it.
  const std::vector<LeaseGranted> nested = node.Leases(granted[1].worker, 1, CpuShape(1));
  node.Demand(granted[1].worker, CpuShape(5), 1);
  node.Exit(driver.worker);
  EXPECT_THAT(node.killed, SizeIs(2));
  EXPECT_THAT(node.ToHead<FinishJob>(), SizeIs(1));
  node.BuryKilled();
  for (const Send& send : std::vector<Send>(node.sends)) {
    if (std::holds_alternative<ExitWorker>(send.message)) node.Exit(send.to.worker);
  }
  EXPECT_EQ(node.raylet.Remains(), "");
  EXPECT_EQ(node.ToHead<SpillDemand>().back().demand.wanted, 0u);
  static_cast<void>(nested);
}

TEST(Jobs, TheEndOfAJobIsRepeatedUntilTheHeadPassesItOn) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  node.Pass(5s);
  EXPECT_THAT(node.ToHead<StartJob>(), SizeIs(::testing::Ge(2)));
  node.Exit(driver.worker);
  node.Pass(5s);
  const size_t said = node.ToHead<FinishJob>().size();
  EXPECT_GE(said, 2u);
  FinishJob finish;
  finish.job = kJob;
  node.FromHead(finish);
  node.Pass(10s);
  EXPECT_THAT(node.ToHead<FinishJob>(), SizeIs(said));
}

TEST(Jobs, ADriverWhoseJobTheHeadEndedIsToldToLeave) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  FinishJob finish;
  finish.job = kJob;
  finish.reason = "stopped";
  node.FromHead(finish);
  EXPECT_EQ(node.Sent<ExitWorker>(driver).at(0).reason, "stopped");
  node.Exit(driver.worker);
  EXPECT_THAT(node.ToHead<FinishJob>(), IsEmpty());
}

TEST(Jobs, OfOtherNodesAreKnownFromTheHead) {
  TestNode node({{"CPU", 1}});
  StartJob start;
  start.job.id = JobId{9};
  start.job.driver = {NodeId{0xb}, WorkerId{5}};
  start.job.ns = "there";
  node.FromHead(start);
  EXPECT_EQ(node.raylet.DriverOf(JobId{9}), start.job.driver);
  GrantLeases grant;
  grant.request = RequestId{1};
  grant.owner = start.job.driver;
  grant.shape = CpuShape(1, JobId{9});
  grant.count = 1;
  node.Order(grant);
  const WorkerId worker = node.starting.at(0).worker;
  node.StartWorkers();
  EXPECT_EQ(node.Sent<RegisterWorkerReply>({kNode, worker}).at(0).ns, "there");
  EXPECT_EQ(node.raylet.JobOf(worker), JobId{9});
  EXPECT_EQ(node.raylet.LogPrefixOf(worker), "(pid=100, node=0000)");
}

TEST(Store, IsServedToThoseWhoAreRegistered) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  CreateObject create;
  create.request = RequestId{4};
  create.size = 1000;
  node.Deliver(Address{kNode, WorkerId{77}}, create);
  node.Deliver(driver, create);
  ASSERT_THAT(node.Sent<ObjectCreated>(driver), SizeIs(1));
  EXPECT_THAT(node.Sent<ObjectCreated>({kNode, WorkerId{77}}), IsEmpty());
  SealObject seal;
  seal.ref = {ObjectId{driver.worker, 1}, kNode};
  seal.offset = node.Sent<ObjectCreated>(driver)[0].offset;
  seal.size = 1000;
  node.Deliver(driver, seal);
  EXPECT_TRUE(node.raylet.PinForTransfer(seal.ref.id));
  node.raylet.UnpinAfterTransfer(seal.ref.id);
  node.Pass(100ms);
  EXPECT_EQ(node.ToHead<NodeReport>().back().store_objects, 1u);
  EXPECT_THAT(node.raylet.Remains(), HasSubstr("object"));
  node.Exit(driver.worker);
  EXPECT_FALSE(node.raylet.PinForTransfer(seal.ref.id));
}

TEST(Store, FetchesFromElsewhere) {
  TestNode node({{"CPU", 1}});
  node.Nodes({OtherNode(0xb)});
  const Address driver = node.Driver();
  PullObject pull;
  pull.ref = {ObjectId{WorkerId{5}, 1}, NodeId{0xb}};
  pull.size = 500;
  pull.locations = {NodeId{0xb}};
  node.Deliver(driver, pull);
  ASSERT_THAT(node.transfers, SizeIs(1));
  EXPECT_EQ(node.transfers[0].from, NodeId{0xb});
  node.raylet.OnTransferDone(node.now, pull.ref.id, true, &node.actions);
  node.Collect();
  EXPECT_FALSE(node.Sent<ObjectLocal>(driver).at(0).error);
}

// ---- tables for people

std::string Table(TestNode* node, const Address& from, const std::string& kind) {
  node->Deliver(from, ListState{RequestId{6}, kind, "", 100});
  const ListStateReply reply = node->Sent<ListStateReply>(from).back();
  return reply.error ? reply.error.message : reply.json;
}

TEST(Tables, ShowWhatIsHere) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  EXPECT_EQ(Table(&node, Address::Head(), "leases"), "[]");
  node.Leases(driver, 3, CpuShape(1));
  node.Pass(10ms);
  EXPECT_THAT(Table(&node, driver, "leases"), HasSubstr("\"state\":\"granted\""));
  EXPECT_THAT(Table(&node, driver, "workers"), HasSubstr("\"state\":\"driver\""));
  EXPECT_THAT(Table(&node, driver, "why"), HasSubstr("\"missing\":2,\"waiting_ms\":10"));
  EXPECT_THAT(Table(&node, driver, "why"), HasSubstr("{} free"));
  EXPECT_THAT(Table(&node, driver, "resources"), HasSubstr("\"total\":\"{CPU: 1}\""));
  EXPECT_EQ(Table(&node, driver, "objects"), "[]");
  EXPECT_THAT(Table(&node, driver, "actors"), HasSubstr("ask the head"));
}

TEST(Tables, OfTasksAreAskedOfTheCoreWorkers) {
  TestNode node({{"CPU", 1}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  const Address asker{NodeId{0xb}, WorkerId{9}};
  node.Deliver(asker, ListState{RequestId{6}, "tasks", "", 100});
  ListStateReply rows;
  rows.request = node.Sent<ListState>(a).at(0).request;
  rows.json = "[{\"task\":1}]";
  node.Deliver(a, rows);
  node.Deliver(a, rows);
  EXPECT_THAT(node.Sent<ListStateReply>(asker), IsEmpty());
  node.Exit(b.worker);
  ASSERT_THAT(node.Sent<ListStateReply>(asker), SizeIs(1));
  EXPECT_EQ(node.Sent<ListStateReply>(asker)[0].json, "[{\"task\":1}]");
  EXPECT_EQ(node.Sent<ListStateReply>(asker)[0].request, RequestId{6});
  node.Deliver(asker, ListState{RequestId{7}, "tasks", "", 100});
  node.Pass(2s);
  ASSERT_THAT(node.Sent<ListStateReply>(asker), SizeIs(2));
  EXPECT_THAT(node.Sent<ListStateReply>(asker)[1].note, HasSubstr("did not answer within 1 s"));  // and which driver that is
}

}  // namespace
}  // namespace shoal::raylet
