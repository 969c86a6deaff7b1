// Workloads of plain tasks: fan-out, chains by reference, nesting, cancellation, user errors.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

class FanOut : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "fan_out"; }
  void Round() override {
    const int64_t count = rng_.Between(1, 40);
    const int64_t run_ns = rng_.Chance(0.3) ? Milliseconds(50, 400) : Milliseconds(0, 20);
    // No more than the largest machine has: other demands wait for a larger one to join.
    const int64_t most = std::min<int64_t>(4, 2 * cluster_.LargestMachineSteps() / ResourceSet::kStepsPerUnit);
    const uint32_t cpus = rng_.Chance(0.7) ? 100 : static_cast<uint32_t>(rng_.Between(1, most)) * 50;
    for (int64_t i = 0; i < count; ++i) {
      TaskRequest request;
      request.program.tag = Mix(rng_.Next());
      request.program.duration_ns = run_ns;
      request.program.cpu_hundredths = cpus;
      const TaskId task = driver(0).Submit(request);
      Await(0, driver(0).RefOf(task.Return(0)), Mix(request.program.tag), Loss::kNone);
    }
  }
};

// One driver's queue keeps every machine full for a second; an actor, a group of bundles and another driver's task must not wait for
// its end.
class Hog : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "hog"; }
  int drivers() const override { return 2; }
  void Round() override {
    hog_left_ = 0;
    const int64_t slots = cluster_.TotalSteps() / ResourceSet::kStepsPerUnit;
    const int64_t count = slots * rng_.Between(20, 40);
    for (int64_t i = 0; i < count; ++i) {
      TaskRequest request;
      request.program.tag = Mix(rng_.Next());
      request.program.duration_ns = Milliseconds(80, 120);
      const TaskId task = driver(0).Submit(request);
      ++hog_left_;
      Await(0, driver(0).RefOf(task.Return(0)), Mix(request.program.tag), Loss::kNone, [this](const Got&) { --hog_left_; });
    }
    Open();
    driver(1).After(Milliseconds(200, 400), [this] {
      if (alive(1)) Others();
      Close();
    });
  }

 private:
  void Others() {
    Language& lang = driver(1);
    TaskRequest task;
    task.program.tag = Mix(rng_.Next());
    Await(1, lang.RefOf(lang.Submit(task).Return(0)), Mix(task.program.tag), Loss::kNone, [this](const Got&) { Arrived("a task"); });

    ActorRequest request;
    request.max_restarts = request.max_task_retries = -1;
    request.cpus = 1;
    const ActorId actor = lang.CreateActor(request);
    TaskRequest call;
    call.program.op = Op::kAppend;
    call.program.tag = NextTag();
    call.max_retries = -1;
    const TaskId id = lang.Call(actor, call);
    Await(1, lang.RefOf(id.Return(0)), call.program.tag, Loss::kNone, [this, actor](const Got&) {
      Arrived("an actor");
      if (!alive(1)) return;
      driver(1).KillActor(actor);
      driver(1).ForgetActor(actor);
    });

    PlacementGroupSpec group;
    group.id = rng_.NewId<PlacementGroupId>();
    group.strategy = PackStrategy::kSpread;
    group.bundles.assign(2, ResourceSet::Of({{std::string(kCpu), 1}}));
    Open();
    auto created = std::make_shared<bool>(false), removed = std::make_shared<bool>(false);
    lang.CreateGroup(group, [this, created, removed, id = group.id](const PlacementGroupUpdate& update) {
      if (update.state == PlacementGroupStateKind::kRemoved && !std::exchange(*removed, true)) return Close();
      if (update.state != PlacementGroupStateKind::kCreated || std::exchange(*created, true)) return;
      Arrived("a placement group");
      if (alive(1)) driver(1).RemoveGroup(id);
    });
  }
  // While nothing else goes wrong, long before the queue is empty.
  void Arrived(const char* what) {
    if (cluster_.calm() && hog_left_ == 0) Fail("nobody_starves", absl::StrCat(what, " waited until another queue was empty"));
  }
  int64_t hog_left_ = 0;
};

// Each task takes the result of the one before; intermediate references are let go at once.
class Chain : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "chain"; }
  void Round() override {
    Language& lang = driver(0);
    const int64_t chains = rng_.Between(1, 4);
    for (int64_t c = 0; c < chains; ++c) {
      const uint64_t first = rng_.Next() >> 8;
      ObjectRefInfo last = lang.Put(first);
      uint64_t expected = first;
      const int64_t length = rng_.Between(1, 8);
      for (int64_t i = 0; i < length; ++i) {
        TaskRequest request;
        request.program.op = Op::kSum;
        request.program.tag = static_cast<uint64_t>(i);
        request.program.duration_ns = Milliseconds(0, 10);
        request.refs = {last};
        if (rng_.Chance(0.3)) request.refs.push_back(last);
        expected = expected * request.refs.size() + static_cast<uint64_t>(i);
        const TaskId task = lang.Submit(request);
        lang.Drop(last.id);
        last = lang.RefOf(task.Return(0));
      }
      Await(0, last, expected, Loss::kNone);
    }
  }
};

class Nested : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "nested"; }
  void Round() override {
    const int64_t count = rng_.Between(1, 6);
    for (int64_t i = 0; i < count; ++i) {
      TaskRequest request;
      request.program.op = Op::kNested;
      request.program.tag = rng_.Next() >> 8;
      request.program.count = static_cast<uint32_t>(rng_.Between(1, 3));
      request.program.depth = static_cast<uint32_t>(rng_.Between(0, 2));
      request.program.duration_ns = Milliseconds(0, 10);
      request.program.child_ns = Milliseconds(0, 20);
      const TaskId task = driver(0).Submit(request);
      Await(0, driver(0).RefOf(task.Return(0)),
            NestedResult(request.program.tag, request.program.count, request.program.depth), Loss::kNone);
    }
  }
};

class Cancel : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "cancel"; }
  void Round() override {
    Language& lang = driver(0);
    const int64_t count = rng_.Between(1, 12);
    for (int64_t i = 0; i < count; ++i) {
      TaskRequest request;
      const bool nested = rng_.Chance(0.3);
      request.program.op = nested ? Op::kNested : Op::kEcho;
      request.program.tag = rng_.Next() >> 8;
      request.program.count = 2;
      request.program.child_ns = Milliseconds(1, 500);
      request.program.duration_ns = Milliseconds(0, 500);
      const TaskId task = lang.Submit(request);
      const ObjectId result = task.Return(0);
      const bool cancels = rng_.Chance(0.7);
      if (cancels) {
        const bool force = rng_.Chance(0.3);
        Open();
        lang.After(Milliseconds(0, 600), [this, result, force] {
          driver(0).Cancel(result, force);
          Close();
        });
      }
      const uint64_t expected =
          nested ? NestedResult(request.program.tag, 2, 0) : Mix(request.program.tag);
      Open();
      lang.Get(lang.RefOf(result), [this, result, expected, cancels](const Got& got) {
        const bool cancelled = cancels && got.error.kind == ErrorKind::kTaskCancelled;
        if (!cancelled) Compare(got, expected, cancels ? Loss::kActor : Loss::kNone, result.Hex());
        driver(0).Drop(result);
        Close();
      });
    }
  }
};

// User errors, retried or not, and tasks that may not be retried at all.
class Retry : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "retry"; }
  void Round() override {
    const int64_t count = rng_.Between(1, 10);
    for (int64_t i = 0; i < count; ++i) {
      TaskRequest request;
      request.program.op = Op::kRaise;
      request.program.tag = rng_.Next() >> 8;
      request.program.count = static_cast<uint32_t>(rng_.Between(0, 2));
      request.program.duration_ns = Milliseconds(0, 60);
      request.max_retries = static_cast<int32_t>(rng_.Between(0, 3));
      request.retry_exceptions = rng_.Chance(0.5);
      request.program.at_most_once = request.max_retries == 0;
      const TaskId task = driver(0).Submit(request);
      Open();
      driver(0).Get(driver(0).RefOf(task.Return(0)), [this, task, request](const Got& got) {
        Judge(task, request, got);
        driver(0).Drop(task.Return(0));
        Close();
      });
    }
  }

 private:
  void Judge(const TaskId& task, const TaskRequest& request, const Got& got) {
    if (Excused()) return;
    const bool deaths = cluster_.deaths() > 0;
    if (got.ok()) return Compare(got, Mix(request.program.tag), Loss::kNone, task.Hex());
    if (got.error.kind == ErrorKind::kApplication) {
      // Deaths use up retries too, so with them an error that one more try would have cured may stay.
      const bool curable = request.program.count == 0 ||
                           (request.retry_exceptions && !deaths &&
                            request.max_retries >= static_cast<int32_t>(request.program.count));
      if (curable) Fail("results_arrive", absl::StrCat("retry: ", task.Hex(), " raised although tries were left"));
      return;
    }
    const bool crash = got.error.kind == ErrorKind::kWorkerCrashed || got.error.kind == ErrorKind::kNodeDied;
    if (!crash || !deaths) {
      Fail("results_arrive", absl::StrCat("retry: ", task.Hex(), ": ", got.error.message));
    }
  }
};

}  // namespace

std::unique_ptr<Workload> MakeTaskWorkload(const std::string& name, Cluster* cluster, Rng rng) {
  if (name == "hog") return std::make_unique<Hog>(cluster, rng);
  if (name == "fan_out") return std::make_unique<FanOut>(cluster, rng);
  if (name == "chain") return std::make_unique<Chain>(cluster, rng);
  if (name == "nested") return std::make_unique<Nested>(cluster, rng);
  if (name == "cancel") return std::make_unique<Cancel>(cluster, rng);
  if (name == "retry") return std::make_unique<Retry>(cluster, rng);
  return nullptr;
}

}  // namespace shoal::sim
