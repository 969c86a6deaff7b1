// What people see.
#include "gmock/gmock.h"
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

using testing::HasSubstr;
using testing::Not;

class Listing : public HeadTest {};
INSTANTIATE_TEST_SUITE_P(OnceAndTwice, Listing, testing::Bool());

TEST_P(Listing, NodesShowWhatTheyHaveAndWhetherTheyLive) {
  Join(1, 4, {{"zone", "a\"b"}});
  Join(2, 2);
  Node(1).report.store_used_bytes = 123;
  SetFree(1, 1.5);
  Kill(2);
  const std::string nodes = List("nodes");
  EXPECT_THAT(nodes, HasSubstr(R"("node_id":"0000000000000001","name":"node1","state":"ALIVE")"));
  EXPECT_THAT(nodes, HasSubstr(R"("resources_total":{"CPU":4},"resources_available":{"CPU":1.5},"labels":{"zone":"a\"b"})"));
  EXPECT_THAT(nodes, HasSubstr(R"("store_used_bytes":123)"));
  EXPECT_THAT(nodes, HasSubstr(R"("state":"DEAD")"));
  EXPECT_THAT(nodes, HasSubstr("no heartbeat came in time"));
  EXPECT_EQ(List("resources"), R"([{"total":{"CPU":4},"available":{"CPU":1.5},"nodes":1}])");
}

TEST_P(Listing, ActorsJobsAndGroupsHaveRows) {
  Join(1, 4);
  StartJob(1);
  ActorSpec spec = Actor(7, Driver(1));
  spec.name = "counter";
  Say(Driver(1), CreateActor{spec});
  StartOn(1);
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {1})});
  PrepareAll(3);
  Drop<ActorUpdate>();
  Drop<PlacementGroupUpdate>();
  EXPECT_THAT(List("actors"), HasSubstr(R"("class_name":"Counter","state":"ALIVE","name":"counter")"));
  EXPECT_THAT(List("jobs"), HasSubstr(R"("state":"RUNNING")"));
  EXPECT_THAT(List("placement_groups"),
              HasSubstr(R"("bundles":[{"bundle_index":0,"resources":{"CPU":1},"node_id":"0000000000000001"}])"));
  EXPECT_THAT(List("workers"), HasSubstr(R"("worker_type":"DRIVER","state":"driver")"));
  EXPECT_EQ(List("actors", "00000000000000ff"), "[]");
}

TEST_P(Listing, LeasesAndDemandsHaveRows) {
  Join(1, 4);
  Node(1).report.leases.push_back({LeaseId{9}, Cpus(1).id(), Driver(1), WorkerId{5}, ResourceSet::Of({{"CPU", 1}})});
  SetFree(1, 0);
  Spill(Driver(1), Cpus(1), 3);
  EXPECT_THAT(List("leases"), HasSubstr(R"("lease_id":"0000000000000009")"));
  EXPECT_THAT(List("demands"), HasSubstr(R"("wanted":3,"on_its_way":0)"));
}

TEST_P(Listing, WhySaysOfEachNodeWhyNot) {
  Join(1, 4);
  Join(2, 16, {{"zone", "b"}});
  SetFree(2, 3);
  Shape shape = Cpus(8);
  Spill(Driver(1), shape, 1);
  const std::string all = List("why");
  EXPECT_THAT(all, HasSubstr(R"("reason":"it has 4 CPU in all, 8 wanted","never":true)"));
  EXPECT_THAT(all, HasSubstr(R"("reason":"it has 3 CPU free, 8 wanted","never":false)"));
  EXPECT_EQ(List("why", shape.id().Hex()), all);
  const TaskId task{Driver(1).worker, 17};
  EXPECT_EQ(List("why", task.Hex()), all) << "a task is found by its owner";
  EXPECT_EQ(List("why", TaskId{WorkerId{5}, 17}.Hex()), "[]");
  shape.labels = {{"zone", "c"}};
  Spill(Driver(1), shape, 1);
  EXPECT_THAT(List("why"), HasSubstr("label zone is \\\"b\\\", wanted c"));
}

TEST_P(Listing, WhyCoversActorsAndGroups) {
  Join(1, 1);
  ActorSpec spec = Actor(7, Driver(1));
  spec.shape.resources = ResourceSet::Of({{"CPU", 2}});
  Say(Driver(1), CreateActor{spec});
  Say(Driver(1), CreatePlacementGroup{Group(3, Driver(1), PackStrategy::kPack, {5})});
  Drop<ActorUpdate>();
  Drop<PlacementGroupUpdate>();
  EXPECT_THAT(List("why", ActorId{7}.Hex()), HasSubstr("it has 1 CPU in all, 2 wanted"));
  EXPECT_THAT(List("why", PlacementGroupId{3}.Hex()), HasSubstr("bundle 0 {CPU: 5}: no node could take that even if it were free"));
}

TEST_P(Listing, EventsTellTheStory) {
  Join(1, 4);
  Say(Driver(1), CreateActor{Actor(7, Driver(1))});
  StartOn(1);
  Drop<ActorUpdate>();
  const std::string events = List("events", "actor 0000000000000007");
  EXPECT_THAT(events, HasSubstr(R"("from":"STARTING","to":"ALIVE")"));
  EXPECT_THAT(events, Not(HasSubstr("node 0000000000000001\",\"from\":\"\"")));
}

TEST_P(Listing, LimitsAreKeptAndUnknownTablesNamed) {
  for (uint64_t n = 1; n <= 5; ++n) Join(n, 1);
  Say(Driver(1), ListState{RequestId{1}, "nodes", "", 2});
  const std::string json = Take<ListStateReply>(Driver(1)).json;
  EXPECT_THAT(json, HasSubstr("node2"));
  EXPECT_THAT(json, Not(HasSubstr("node3")));
  Say(Driver(1), ListState{RequestId{2}, "nonsense", "", 2});
  const ListStateReply reply = Take<ListStateReply>(Driver(1));
  EXPECT_EQ(reply.error.kind, ErrorKind::kInvalidArgument);
  EXPECT_THAT(reply.error.message, HasSubstr("nodes, actors"));
}

}  // namespace
}  // namespace shoal::scheduler
