// A driver's machine and a worker's, whose messages are handed over directly, without rings and without a language.
#pragma once

#include <cstdlib>
#include <utility>
#include <vector>

#include "runtime/core_worker/core_worker.h"

namespace shoal::core_worker {

inline constexpr NodeId kNode{1};
inline constexpr JobId kJob{7};
inline const Address kDriver{kNode, WorkerId{10}};
inline const Address kWorker{kNode, WorkerId{11}};

// Messages to others are dropped.
struct Pair {
  Pair()
      : driver({.self = kDriver, .job = kJob, .role = Role::kDriver}, Rng(1)),
        worker({.self = kWorker, .job = kJob, .role = Role::kWorker}, Rng(2)) {
    shape = driver.RegisterShape(Shape{.job = kJob, .resources = ResourceSet::Of({{"CPU", 1}})});
  }

  void Grant() {
    Submit("warm");
    AssignLease assign;
    assign.lease = LeaseId{1};
    assign.owner = kDriver;
    worker.OnMessage(now, Address::Raylet(kNode), std::move(assign), &worker_actions);
    LeaseGranted granted;
    granted.shape = shape;
    granted.lease = LeaseId{1};
    granted.worker = kWorker;
    granted.ttl = 3600s;
    driver.OnMessage(now, Address::Raylet(kNode), std::move(granted), &driver_actions);
    Pump();
  }

  void BecomeActor() {
    ActorSpec spec;
    spec.id = ActorId{5};
    actor = driver.CreateActor(now, spec, &driver_actions);
    shoal::BecomeActor become;
    become.incarnation = 1;
    become.spec = spec;
    become.spec.owner = kDriver;
    become.spec.creation.id = TaskId{WorkerId{10}, 1};
    worker.OnMessage(now, Address::Raylet(kNode), std::move(become), &worker_actions);
    Pump();
    ActorUpdate update;
    update.actor = actor;
    update.state = ActorState::kAlive;
    update.address = kWorker;
    update.incarnation = 1;
    driver.OnMessage(now, Address::Head(), std::move(update), &driver_actions);
    Pump();
  }

  TaskSubmission Make(const char* name) {
    TaskSubmission submission;
    submission.spec.name = name;
    submission.spec.function = FunctionId{3};
    submission.spec.args = Payload("0123456789");
    submission.shape = shape;
    submission.max_retries = 3;
    return submission;
  }
  TaskId Submit(const char* name) { return driver.SubmitTask(now, Make(name), &driver_actions); }
  TaskId Call() {
    TaskSubmission submission = Make("call");
    submission.spec.function = {};
    return driver.SubmitActorCall(now, actor, std::move(submission), &driver_actions);
  }

  // Until neither has anything to say.
  void Pump() {
    while (!driver_actions.sends.empty() || !worker_actions.sends.empty() || !worker_actions.execute.empty()) {
      now += Duration(500);
      for (Send& send : driver_actions.sends) {
        if (auto* push = std::get_if<PushTask>(&send.message)) {
          worker.OnPushTask(now, kDriver, std::move(*push), &worker_actions);
        }
      }
      driver_actions.Clear();
      for (size_t i = 0; i < worker_actions.execute.size(); ++i) {
        const TaskSpec& spec = worker_actions.execute[i].spec;
        const TaskId id = spec.id;
        std::vector<ObjectValue> results(1);
        results[0].kind = ValueKind::kInline;
        results[0].data = Payload("result");
        worker.TaskFinished(now, id, spec.attempt, std::move(results), {}, false, false, &worker_actions);
      }
      worker_actions.execute.clear();
      for (Send& send : worker_actions.sends) {
        if (auto* reply = std::get_if<TaskReply>(&send.message)) {
          driver.OnTaskReply(now, kWorker, std::move(*reply), &driver_actions);
        }
      }
      worker_actions.Clear();
    }
    driver_actions.Clear();
  }

  void Read(const TaskId& task) {
    const ObjectValue* value = driver.Lookup(task.Return(0));
    if (value == nullptr || value->kind != ValueKind::kInline) std::abort();
    driver.RemoveLocalReference(now, task.Return(0), &driver_actions);
  }

  TimePoint now = TimePoint(1s);
  CoreWorker driver, worker;
  CoreWorkerActions driver_actions, worker_actions;
  ShapeId shape;
  ActorId actor;
};

}  // namespace shoal::core_worker
