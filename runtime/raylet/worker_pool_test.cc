// Worker processes: who may register, which process serves whom, when they are started and stopped.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/raylet/raylet_testing.h"

namespace shoal::raylet {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Shape KindShape(const std::string& value, double cpus = 1) {
  Shape shape = CpuShape(cpus);
  shape.worker.env_vars = {{"KIND", value}};
  return shape;
}

RegisterWorkerReply Answer(const TestNode& node, WorkerId worker) {
  return node.Sent<RegisterWorkerReply>({kNode, worker}).back();
}

TEST(Registration, AWorkerMustHaveBeenStartedHere) {
  TestNode node({{"CPU", 1}});
  node.Register(WorkerId{99});
  EXPECT_EQ(Answer(node, WorkerId{99}).error.kind, ErrorKind::kNotFound);
  EXPECT_EQ(node.raylet.Remains(), "");
}

TEST(Registration, AnotherProtocolIsRefusedInOneSentence) {
  TestNode node({{"CPU", 1}});
  RegisterWorker hello;
  hello.worker = WorkerId{5};
  hello.role = Role::kDriver;
  hello.protocol_version = kProtocolVersion + 1;
  node.Deliver(Address{kNode, hello.worker}, hello);
  const ErrorInfo error = Answer(node, hello.worker).error;
  EXPECT_EQ(error.kind, ErrorKind::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("install the same version"));
}

TEST(Registration, ADriverLearnsWhereItIsAndTheHeadOfItsJob) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const RegisterWorkerReply reply = Answer(node, driver.worker);
  EXPECT_FALSE(reply.error);
  EXPECT_EQ(reply.node, kNode);
  EXPECT_EQ(reply.job, kJob);
  EXPECT_EQ(reply.ns, "space");
  EXPECT_EQ(reply.cluster_id, 77u);
  EXPECT_EQ(reply.arena_bytes, 64u << 20);
  ASSERT_THAT(node.ToHead<StartJob>(), SizeIs(1));
  EXPECT_EQ(node.ToHead<StartJob>()[0].job.driver, driver);
  EXPECT_EQ(node.raylet.DriverOf(kJob), driver);
  EXPECT_EQ(node.raylet.JobOf(driver.worker), kJob);
}

TEST(Registration, ComesTwiceWithoutHarm) {
  TestNode node({{"CPU", 2}});
  const Address driver = node.Driver();
  RegisterWorker hello;
  hello.worker = driver.worker;
  hello.role = Role::kDriver;
  hello.job = kJob;
  node.Deliver(driver, hello);
  EXPECT_FALSE(Answer(node, driver.worker).error);
  EXPECT_THAT(node.ToHead<StartJob>(), SizeIs(1));
  const WorkerId worker = node.starting.at(0).worker;
  node.Register(worker);
  node.Register(worker);
  EXPECT_THAT(node.Sent<RegisterWorkerReply>({kNode, worker}), SizeIs(2));
  EXPECT_EQ(Answer(node, worker).ns, "space");
}

TEST(Registration, AJobHasOneDriver) {
  TestNode node({{"CPU", 1}});
  node.Driver();
  const Address second = node.Driver();
  EXPECT_EQ(Answer(node, second.worker).error.kind, ErrorKind::kNameTaken);
}

TEST(Registration, AnAdminBringsNoJob) {
  TestNode node({{"CPU", 1}});
  RegisterWorker hello;
  hello.worker = WorkerId{5};
  hello.role = Role::kAdmin;
  node.Deliver(Address{kNode, hello.worker}, hello);
  EXPECT_FALSE(Answer(node, hello.worker).error);
  EXPECT_THAT(node.ToHead<StartJob>(), IsEmpty());
  EXPECT_THAT(node.starting, IsEmpty());
  node.Exit(hello.worker);
  EXPECT_THAT(node.ToHead<FinishJob>(), IsEmpty());
}

TEST(Pool, ADriverBringsASpareWorker) {
  TestNode node({{"CPU", 2}});
  node.Driver();
  ASSERT_THAT(node.starting, SizeIs(1));
  EXPECT_EQ(node.starting[0].job, kJob);
}

TEST(Pool, WorkersServeTheirKindAndJobOnly) {
  TestNode node({{"CPU", 8}});
  const Address a = node.Driver(), b = node.Driver(JobId{2});
  node.StartWorkers();
  const LeaseGranted first = node.Leases(a, 1, KindShape("x")).at(0);
  node.Return(a, first.lease);
  const LeaseGranted other_kind = node.Leases(a, 1, KindShape("y")).at(0);
  EXPECT_NE(other_kind.worker, first.worker);
  Shape of_b = KindShape("x");
  of_b.job = JobId{2};
  EXPECT_NE(node.Leases(b, 1, of_b).at(0).worker, first.worker);
  EXPECT_EQ(node.Leases(a, 1, KindShape("x", 2)).at(0).worker, first.worker);  // another size is no matter
}

TEST(Pool, AWorkerSeesTheSameGpusForLife) {
  TestNode node({{"CPU", 8}, {"GPU", 2}});
  const Address driver = node.Driver();
  const LeaseGranted gpu0 = node.Leases(driver, 1, ShapeOf({{"GPU", 1}})).at(0);
  const LeaseGranted gpu1 = node.Leases(driver, 1, ShapeOf({{"GPU", 1}})).at(0);
  node.Return(driver, gpu1.lease);
  const LeaseGranted none = node.Leases(driver, 1, CpuShape(1)).at(0);
  EXPECT_NE(none.worker, gpu1.worker);
  EXPECT_EQ(node.Leases(driver, 1, ShapeOf({{"GPU", 1}})).at(0).worker, gpu1.worker);
  EXPECT_NE(gpu0.worker, gpu1.worker);
}

TEST(Pool, NotTooManyStartAtATime) {
  RayletOptions options;
  options.max_starting = 3;
  TestNode node({{"CPU", 10}}, true, options);
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(1), 10);
  EXPECT_THAT(node.starting, SizeIs(3));
  const WorkerId first = node.starting[0].worker;
  node.starting.erase(node.starting.begin());
  node.Register(first);
  EXPECT_THAT(node.starting, SizeIs(3));
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(10));
}

TEST(Pool, AFullPoolEvictsAnIdleWorkerOfAnotherKind) {
  RayletOptions options;
  options.max_workers = 2;
  TestNode node({{"CPU", 10}}, true, options);
  const Address driver = node.Driver();
  const std::vector<LeaseGranted> x = node.Leases(driver, 2, CpuShape(1));
  ASSERT_THAT(x, SizeIs(2));
  EXPECT_THAT(node.Leases(driver, 1, KindShape("y")), IsEmpty());
  EXPECT_THAT(node.starting, IsEmpty());
  node.Demand(driver, CpuShape(1), 0);
  node.Return(driver, x[0].lease);
  EXPECT_THAT(node.Sent<ExitWorker>(x[0].worker), SizeIs(1));
  node.Pass(10ms);
  EXPECT_THAT(node.Sent<ExitWorker>(x[0].worker), SizeIs(1));
  node.Exit(x[0].worker.worker);
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(3));
}

TEST(Pool, IdleWorkersBeyondTheNumberOfCpusAreStopped) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  Shape shape = ShapeOf({});
  const std::vector<LeaseGranted> granted = node.Leases(driver, 3, shape);
  for (const LeaseGranted& lease : granted) node.Return(driver, lease.lease);
  node.Pass(59s);
  EXPECT_THAT(node.Sent<ExitWorker>(granted[0].worker), IsEmpty());
  node.Pass(2s);
  EXPECT_THAT(node.Sent<ExitWorker>(granted[0].worker), SizeIs(1));  // the one that was idle for longest
  EXPECT_THAT(node.Sent<ExitWorker>(granted[1].worker), SizeIs(1));
  EXPECT_THAT(node.Sent<ExitWorker>(granted[2].worker), IsEmpty());
  node.Exit(granted[0].worker.worker);
  node.Forget();
  node.Pass(3s);
  ASSERT_THAT(node.killed, SizeIs(1));  // it did not listen
  EXPECT_EQ(node.killed[0].worker, granted[1].worker.worker);
}

TEST(Pool, AKindThatCannotBeStartedFailsItsDemand) {
  TestNode node({{"CPU", 4}});
  const Address driver = node.Driver();
  node.StartWorkers();
  node.Demand(driver, KindShape("broken"), 1);
  node.Demand(driver, KindShape("sound"), 1);
  for (int i = 0; i < 3; ++i) {
    WorkerId broken;
    for (const StartWorkerProcess& start : node.starting) {
      if (start.kind.env_vars.at(0).second == "broken") broken = start.worker;
    }
    ASSERT_TRUE(broken) << i;
    std::erase_if(node.starting, [&](const StartWorkerProcess& start) { return start.worker == broken; });
    ErrorInfo error;
    error.kind = ErrorKind::kRuntimeEnvSetup;
    error.message = "no such file";
    node.raylet.OnWorkerStartFailed(node.now, broken, error, &node.actions);
    node.raylet.OnWorkerStartFailed(node.now, broken, error, &node.actions);
    node.Pass(0ms);
    node.Collect();
  }
  const std::vector<LeaseFailed> failed = node.Sent<LeaseFailed>(driver);
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed[0].shape, KindShape("broken").id());
  EXPECT_EQ(failed[0].error.kind, ErrorKind::kRuntimeEnvSetup);
  EXPECT_THAT(failed[0].error.message, HasSubstr("no such file"));
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(1));
  EXPECT_EQ(node.Free(), 3);
}

TEST(Pool, AWorkerThatDoesNotRegisterInTimeIsReplaced) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(1), 1);
  const WorkerId late = node.starting.at(0).worker;
  for (int i = 0; i < 4; ++i) {
    node.Pass(8s);
    node.Demand(driver, CpuShape(1), 1);
  }
  ASSERT_THAT(node.killed, SizeIs(1));
  EXPECT_EQ(node.killed[0].worker, late);
  node.Register(late);
  EXPECT_EQ(Answer(node, late).error.kind, ErrorKind::kNotFound);
  node.BuryKilled();
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(1));
}

TEST(Pool, DeathsWhileStartingAreMadeUpFor) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  node.Demand(driver, CpuShape(1), 1);
  for (int i = 0; i < 4; ++i) {
    const WorkerId worker = node.starting.at(0).worker;
    node.starting.clear();
    node.Exit(worker, "signal 9 (Killed)");
  }
  EXPECT_THAT(node.Sent<LeaseFailed>(driver), IsEmpty());
  EXPECT_THAT(node.Sent<WorkerDied>(driver), IsEmpty());  // nobody knew them
  node.StartWorkers();
  EXPECT_THAT(node.Sent<LeaseGranted>(driver), SizeIs(1));
}

TEST(Pool, AnInheritedConnectionThatBreaksEndsTheProcess) {
  TestNode node({{"CPU", 1}});
  const Address driver = node.Driver();
  const LeaseGranted lease = node.Leases(driver, 1, CpuShape(1)).at(0);
  node.Exit(lease.worker.worker, "its connection broke");
  EXPECT_THAT(node.killed, SizeIs(1));
}

}  // namespace
}  // namespace shoal::raylet
