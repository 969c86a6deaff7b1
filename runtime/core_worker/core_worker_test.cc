// What programs get when nothing goes wrong.
#include "runtime/core_worker/core_worker.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/core_worker/core_worker_testing.h"

namespace shoal::core_worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(CoreWorkerTest, RunsATask) {
  World world(1);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId task = driver.Submit("echo", "hello");
  EXPECT_EQ(driver.ValueOf(task), "pending");
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "hello");
  EXPECT_EQ(driver.core->counters().pending_tasks, 0);
}

TEST(CoreWorkerTest, AWaitingReaderIsToldOnce) {
  World world(1);
  Process& driver = world.Driver();
  const TaskId task = driver.Submit("echo", "hello");
  driver.Do([&](CoreWorkerActions* a) {
    EXPECT_FALSE(driver.core->Want(world.now, driver.RefOf(task), true, a));
    EXPECT_FALSE(driver.core->Want(world.now, driver.RefOf(task), true, a));
  });
  world.AddWorkers(1);
  world.Run();
  EXPECT_THAT(driver.ready, ElementsAre(task.Return(0)));
  driver.Do([&](CoreWorkerActions* a) { EXPECT_TRUE(driver.core->Want(world.now, driver.RefOf(task), true, a)); });
}

TEST(CoreWorkerTest, CodeTravelsOncePerWorker) {
  World world(2);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  size_t with_code = 0;
  world.filter = [&](const Address&, const Address&, const Message& message) {
    const auto* push = std::get_if<PushTask>(&message);
    if (push != nullptr && !push->code.empty()) ++with_code;
    return true;
  };
  for (const char* name : {"echo", "echo", "large", "echo", "large"}) driver.Submit(name, "x");
  world.Run();
  EXPECT_EQ(with_code, 2);
}

TEST(CoreWorkerTest, ManyTasksShareTheWorkers) {
  World world(3);
  world.step_time = 300us;
  Process& driver = world.Driver();
  world.AddWorkers(4);
  std::vector<TaskId> tasks;
  for (int i = 0; i < 500; ++i) tasks.push_back(driver.Submit("echo", std::to_string(i)));
  world.Run();
  for (int i = 0; i < 500; ++i) ASSERT_EQ(driver.ValueOf(tasks[i]), std::to_string(i));
  for (size_t i = 0; i < 4; ++i) EXPECT_FALSE(world.worker(i).started.empty()) << i;
}

TEST(CoreWorkerTest, ALoopOfSubmissionsStatesFewDemands) {
  World world(3);
  Process& driver = world.Driver();
  for (int i = 0; i < 500; ++i) driver.Submit("echo");
  world.Run();
  EXPECT_LT(world.Count<LeaseDemand>(), 12);
  world.Advance(10ms);
  EXPECT_EQ(world.last_demand, 500);
  world.Advance(5s);
  EXPECT_GT(world.Count<LeaseDemand>(), 4) << "a demand that stands is repeated";
  EXPECT_LT(world.Count<LeaseDemand>(), 20);
}

TEST(CoreWorkerTest, AnIdleLeaseReturns) {
  World world(4);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  driver.Submit("echo");
  world.Run();
  EXPECT_EQ(driver.core->counters().leases, 1);
  world.Advance(200ms);
  EXPECT_EQ(driver.core->counters().leases, 0);
  EXPECT_EQ(world.Count<ReturnLease>(), 1);
  EXPECT_EQ(driver.core->NextDeadline(), std::nullopt);
}

TEST(CoreWorkerTest, ALeaseThatComesTooLateGoesBackAtOnce) {
  World world(5);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId task = driver.Submit("echo");
  driver.Do([&](CoreWorkerActions* a) { driver.core->CancelTask(world.now, task.Return(0), false, false, a); });
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kTaskCancelled);
  EXPECT_EQ(driver.core->counters().leases, 0);
}

TEST(CoreWorkerTest, ATaskWaitsForItsArgument) {
  World world(6);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  const TaskId first = driver.Submit("wait");
  const TaskId second = driver.SubmitWith("echo", {driver.RefOf(first)}, {});
  driver.Drop(first.Return(0));  // the task holds it
  world.Run();
  EXPECT_EQ(driver.ValueOf(second), "pending");
  for (size_t i = 0; i < 2; ++i) {
    if (world.worker(i).Running(first) != nullptr) world.worker(i).Finish(first, "value");
  }
  world.Run();
  EXPECT_EQ(driver.ValueOf(second), "value");
  EXPECT_THAT(driver.freed, ElementsAre(first.Return(0)));
}

TEST(CoreWorkerTest, AnErrorGoesThroughALongChainOfTasks) {
  World world(7);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  TaskId task = driver.Submit("raise");
  for (int i = 0; i < 100'000; ++i) {
    const TaskId next = driver.SubmitWith("echo", {driver.RefOf(task)}, {});
    driver.Drop(task.Return(0));
    task = next;
  }
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kApplication);
  EXPECT_EQ(driver.core->counters().objects, 1);
}

TEST(CoreWorkerTest, AnErrorOfManyResultsTravelsOnce) {
  World world(7);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  size_t texts = 0;
  world.filter = [&](const Address&, const Address&, const Message& message) {
    if (const auto* reply = std::get_if<TaskReply>(&message)) {
      for (const ObjectValue& value : reply->results) texts += value.error ? 1 : 0;
    }
    return true;
  };
  TaskSubmission submission = driver.Make("raise", "");
  submission.spec.num_returns = 1000;
  const TaskId task = driver.Submit(std::move(submission));
  world.Run();
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(driver.ValueOf(task.Return(i)), "error 1");
  EXPECT_EQ(texts, 1u);
  for (uint32_t i = 0; i < 1000; ++i) driver.Drop(task.Return(i));
  world.Run();
  EXPECT_EQ(driver.core->counters().objects, 0);
}

TEST(CoreWorkerTest, LargeResultsStayInTheStoreUntilNobodyWantsThem) {
  World world(8);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const TaskId task = driver.Submit("large", "many bytes");
  world.Run();
  ASSERT_NE(driver.core->Lookup(task.Return(0)), nullptr);
  EXPECT_EQ(driver.core->Lookup(task.Return(0))->kind, ValueKind::kStored);
  driver.Do([&](CoreWorkerActions* a) { EXPECT_FALSE(driver.core->Want(world.now, driver.RefOf(task), true, a)); });
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "many bytes");
  driver.Drop(task.Return(0));
  world.Run();
  EXPECT_FALSE(world.store.contains({kOtherNode, task.Return(0)}));
  for (const auto& [key, count] : world.pins) EXPECT_EQ(count, 0) << key.second.Hex();
}

TEST(CoreWorkerTest, AStoredArgumentIsPulledBeforeTheTaskStarts) {
  World world(9);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const ObjectRefInfo put = driver.PutStored("bytes");
  const TaskId task = driver.SubmitWith("echo", {put}, {});
  driver.Drop(put.id);
  world.Run();
  EXPECT_EQ(driver.ValueOf(task), "bytes");
  EXPECT_THAT(driver.freed, ElementsAre(put.id));
  for (const auto& [key, count] : world.pins) EXPECT_EQ(count, 0) << key.second.Hex();
}

TEST(CoreWorkerTest, BytesThatWentWhileATaskWasQueuedArePulledAgain) {
  World world(9);
  Process& driver = world.Driver();
  world.AddWorkers(1, kOtherNode);
  const ObjectRefInfo put = driver.PutStored("bytes");
  const TaskId first = driver.SubmitWith("wait", {put}, {});
  const TaskId second = driver.SubmitWith("echo", {put}, {});
  driver.Drop(put.id);
  world.Run();
  ASSERT_NE(world.worker(0).Running(first), nullptr);
  world.worker(0).Finish(first);  // lets the bytes go before its reply leaves and the next one starts
  world.Run();
  EXPECT_EQ(driver.ValueOf(second), "bytes");
  for (const auto& [key, count] : world.pins) EXPECT_EQ(count, 0) << key.second.Hex();
}

TEST(CoreWorkerTest, BlockedWorkersGiveTheirTasksBack) {
  World world(10);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  std::vector<TaskId> tasks;
  for (int i = 0; i < 40; ++i) driver.Submit("echo");  // shows that tasks are short
  world.Run();
  const TaskId blocked = driver.Submit("wait");
  for (int i = 0; i < 5; ++i) tasks.push_back(driver.Submit("echo", "x"));
  world.Run();
  Process& worker = world.worker(0);
  EXPECT_GT(worker.core->counters().queued_here, 0);
  worker.Do([&](CoreWorkerActions* a) { worker.core->SetBlocked(world.now, true, a); });
  EXPECT_EQ(worker.core->counters().queued_here, 0);
  world.Run();
  world.AddWorkers(1);
  world.Advance(20ms);
  for (const TaskId& task : tasks) EXPECT_EQ(driver.ValueOf(task), "x");
  worker.Do([&](CoreWorkerActions* a) { worker.core->SetBlocked(world.now, false, a); });
  worker.Finish(blocked);
  world.Run();
  EXPECT_EQ(driver.ValueOf(blocked), "done");
}

TEST(CoreWorkerTest, TasksBehindALongOneGoElsewhere) {
  World world(11);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  for (int i = 0; i < 40; ++i) driver.Submit("echo");
  world.Run();
  driver.Submit("wait");
  const TaskId behind = driver.Submit("echo", "x");
  world.Run();
  EXPECT_EQ(driver.ValueOf(behind), "pending");
  world.AddWorkers(1);
  world.Advance(30ms);
  EXPECT_EQ(driver.ValueOf(behind), "x");
  EXPECT_GT(world.Count<ReclaimTasks>(), 0);
}

// ---- references

TEST(CoreWorkerTest, AWorkerThatKeepsAReferenceKeepsTheObject) {
  World world(12);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ObjectRefInfo put = driver.Put("kept");
  driver.SubmitWith("keep", {}, {put});
  driver.Drop(put.id);
  world.Run();
  EXPECT_THAT(driver.freed, IsEmpty());
  Process& worker = world.worker(0);
  worker.Do([&](CoreWorkerActions* a) { EXPECT_FALSE(worker.core->Want(world.now, put, true, a)); });
  world.Run();
  EXPECT_EQ(worker.ValueOf(put.id), "kept");
  worker.Drop(put.id);
  world.Run();
  EXPECT_THAT(driver.freed, ElementsAre(put.id));
}

TEST(CoreWorkerTest, TheReplyWaitsUntilTheOwnerKnowsTheBorrower) {
  World world(13);
  Process& owner = world.Driver();
  Process& caller = world.Driver();
  world.AddWorkers(1);
  const ObjectRefInfo put = owner.Put("kept");
  caller.Do([&](CoreWorkerActions* a) { caller.core->AdoptBorrowed(world.now, put, std::nullopt, a); });
  world.Run();
  bool hold = true;
  const Address worker = world.worker(0).address;
  std::vector<Message> held;
  world.filter = [&](const Address&, const Address& to, const Message& message) {
    if (!hold || to != worker || std::get_if<BorrowerAdded>(&message) == nullptr) return true;
    held.push_back(message);
    return false;
  };
  const TaskId task = caller.SubmitWith("keep", {}, {put});
  world.Run();
  EXPECT_EQ(caller.ValueOf(task), "pending");
  EXPECT_EQ(world.worker(0).core->counters().unsent_replies, 1);
  hold = false;
  for (Message& message : held) world.Send(owner.address, worker, message);
  world.Run();
  EXPECT_EQ(caller.ValueOf(task), "");
}

TEST(CoreWorkerTest, AReferenceInsideAResultIsHeldThroughTheResult) {
  World world(14);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const TaskId task = driver.Submit("return_put", "x");
  world.Run();
  Process& worker = world.worker(0);
  EXPECT_THAT(worker.freed, IsEmpty());
  ASSERT_THAT(driver.core->Lookup(task.Return(0))->contained, SizeIs(1));
  const ObjectRefInfo inner = driver.core->Lookup(task.Return(0))->contained[0];
  driver.Do([&](CoreWorkerActions* a) { driver.core->AdoptBorrowed(world.now, inner, task.Return(0), a); });
  driver.Drop(task.Return(0));
  world.Run();
  driver.Do([&](CoreWorkerActions* a) { EXPECT_FALSE(driver.core->Want(world.now, inner, true, a)); });
  world.Run();
  EXPECT_EQ(driver.ValueOf(inner.id), "inner x");
  driver.Drop(inner.id);
  world.Run();
  EXPECT_THAT(worker.freed, ElementsAre(inner.id));
}

TEST(CoreWorkerTest, AThirdPartysReferenceInAResultIsRegisteredForTheCaller) {
  World world(15);
  Process& owner = world.Driver();
  Process& caller = world.Driver();
  world.AddWorkers(1);
  const ObjectRefInfo put = owner.Put("third");
  owner.SubmitWith("keep", {}, {put});
  world.Run();
  owner.Drop(put.id);
  world.Advance(200ms);  // the lease goes back, the worker keeps the reference
  const TaskId task = caller.Submit("return_kept");
  world.Run();
  world.worker(0).Drop(put.id);
  world.Run();
  EXPECT_THAT(owner.freed, IsEmpty());
  caller.Drop(task.Return(0));
  world.Run();
  EXPECT_THAT(owner.freed, ElementsAre(put.id));
}

// ---- actors

TEST(CoreWorkerTest, CallsStartInOrder) {
  World world(16);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  std::vector<TaskId> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(driver.Call(actor, "add", std::to_string(i)));
  world.Run();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(driver.ValueOf(calls[i]), std::to_string(i));
  ASSERT_THAT(world.worker(0).started, SizeIs(21));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(world.worker(0).started[i + 1], "add:" + std::to_string(i) + "#0");
  }
  EXPECT_EQ(driver.ValueOf(driver.core->ActorHandleRef(actor).id), "");
  EXPECT_EQ(driver.core->ActorStatus(actor)->state, ActorState::kAlive);
}

TEST(CoreWorkerTest, ACallWithoutItsArgumentHoldsBackThoseBehindIt) {
  World world(17);
  Process& driver = world.Driver();
  world.AddWorkers(2);
  const TaskId argument = driver.Submit("wait");
  const ActorId actor = driver.CreateActor();
  TaskSubmission first = driver.Make("first", "");
  first.spec.refs.push_back({.ref = driver.RefOf(argument), .value = {}});
  driver.Do([&](CoreWorkerActions* a) { driver.core->SubmitActorCall(world.now, actor, std::move(first), a); });
  driver.Call(actor, "second");
  world.Run();
  Process& host = *world.Find(driver.core->ActorStatus(actor)->address);
  EXPECT_THAT(host.started, SizeIs(1));
  Process& other = &host == &world.worker(0) ? world.worker(1) : world.worker(0);
  other.Finish(argument, "x");
  world.Run();
  EXPECT_THAT(host.started, ElementsAre("Actor.__init__:#0", "first:#0", "second:#0"));
}

TEST(CoreWorkerTest, ASyncActorRunsOneCallAtATimeAndGroupsRunApart) {
  World world(18);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  world.Run();
  world.worker(0).core->SetConcurrency(1, {{"io", 2}});
  const TaskId one = driver.Call(actor, "wait one");
  driver.Call(actor, "wait two");
  for (int i = 0; i < 3; ++i) {
    TaskSubmission call = driver.Make("wait io", "");
    call.spec.concurrency_group = "io";
    driver.Do([&](CoreWorkerActions* a) { driver.core->SubmitActorCall(world.now, actor, std::move(call), a); });
  }
  world.Run();
  EXPECT_THAT(world.worker(0).started,
              ElementsAre("Actor.__init__:#0", "wait one:#0", "wait io:#0", "wait io:#0"));
  world.worker(0).Finish(one);
  EXPECT_THAT(world.worker(0).started.back(), "wait two:#0");
  TaskSubmission lost = driver.Make("echo", "");
  lost.spec.concurrency_group = "nowhere";
  TaskId task;
  driver.Do([&](CoreWorkerActions* a) { task = driver.core->SubmitActorCall(world.now, actor, std::move(lost), a); });
  world.Run();
  EXPECT_EQ(driver.ErrorOf(task).kind, ErrorKind::kInvalidArgument);
}

TEST(CoreWorkerTest, AnAnonymousActorDiesAfterItsLastCallWithoutHandles) {
  World world(19);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  const TaskId call = driver.Call(actor, "wait");
  world.Run();
  driver.Drop(driver.core->ActorHandleRef(actor).id);
  world.Run();
  EXPECT_EQ(world.Count<KillActor>(), 0);
  world.worker(0).Finish(call);
  world.Run();
  EXPECT_EQ(driver.ValueOf(call), "done");
  EXPECT_FALSE(world.worker(0).alive);
  EXPECT_EQ(driver.core->ActorStatus(actor), nullptr) << "a dead actor without handles is forgotten";
}

TEST(CoreWorkerTest, APassedHandleKeepsTheActor) {
  World world(20);
  Process& driver = world.Driver();
  Process& other = world.Driver();
  world.AddWorkers(1);
  const ActorId actor = driver.CreateActor();
  world.Run();
  const ObjectRefInfo handle = driver.core->ActorHandleRef(actor);
  other.Do([&](CoreWorkerActions* a) {
    other.core->AdoptBorrowed(world.now, handle, std::nullopt, a);
    other.core->RegisterActorHandle(world.now, actor, handle, 0, -1, a);
    other.core->RegisterActorHandle(world.now, actor, handle, 0, -1, a);
  });
  world.Run();
  driver.Drop(handle.id);
  const TaskId call = other.Call(actor, "echo", "x");
  world.Run();
  EXPECT_EQ(other.ValueOf(call), "x");
  other.Drop(handle.id);
  world.Run();
  EXPECT_FALSE(world.worker(0).alive);
}

TEST(CoreWorkerTest, AnActorNobodyWantsIsKilledBeforeItLives) {
  World world(21);
  Process& driver = world.Driver();
  const ActorId actor = driver.CreateActor();
  world.Run();
  driver.Drop(driver.core->ActorHandleRef(actor).id);
  world.Run();
  EXPECT_EQ(world.Count<KillActor>(), 1);
  EXPECT_EQ(driver.core->ActorStatus(actor), nullptr);
  EXPECT_EQ(driver.core->counters().objects, 0);
}

TEST(CoreWorkerTest, PendingCallsAreLimited) {
  World world(22);
  Process& driver = world.Driver();
  ActorSpec spec;
  spec.max_pending_calls = 2;
  const ActorId actor = driver.CreateActor(std::move(spec));
  driver.Call(actor, "a");
  EXPECT_FALSE(driver.core->ActorQueueFull(actor));
  driver.Call(actor, "b");
  EXPECT_TRUE(driver.core->ActorQueueFull(actor));
  const TaskId third = driver.Call(actor, "c");
  EXPECT_EQ(driver.ErrorOf(third).kind, ErrorKind::kPendingCallsLimit);
  EXPECT_THAT(driver.ErrorOf(third).message, HasSubstr("max_pending_calls"));
}

TEST(CoreWorkerTest, AnActorMayCallItself) {
  World world(23);
  Process& driver = world.Driver();
  world.AddWorkers(1);
  ActorSpec spec;
  spec.max_concurrency = 2;
  const ActorId actor = driver.CreateActor(std::move(spec));
  world.Run();
  Process& host = world.worker(0);
  host.Do([&](CoreWorkerActions* a) { host.core->RegisterActorHandle(world.now, actor, {}, 0, -1, a); });
  world.Run();
  const TaskId call = host.Call(actor, "echo", "me");
  world.Run();
  EXPECT_EQ(host.ValueOf(call), "me");
}

TEST(CoreWorkerTest, DescribesItself) {
  World world(24);
  Process& driver = world.Driver();
  driver.Submit("say \"hi\"");
  EXPECT_THAT(driver.core->DescribeTasks(10), HasSubstr(R"("name":"say \"hi\"","kind":"task","state":"queued")"));
  EXPECT_THAT(driver.core->DescribeObjects(10), HasSubstr(R"("state":"pending")"));
  EXPECT_EQ(driver.core->DescribeTasks(0), "");
}

}  // namespace
}  // namespace shoal::core_worker
