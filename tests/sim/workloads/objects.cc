// Workloads of objects and references: borrowed references in arguments, results and actor state; large objects over nodes.
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

class Borrow : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "borrow"; }
  void Round() override {
    const int64_t count = rng_.Between(1, 6);
    for (int64_t i = 0; i < count; ++i) {
      if (rng_.Chance(0.5)) {
        Arguments();
      } else {
        Results();
      }
    }
  }

 private:
  // References inside arguments; the caller lets go of its own at once.
  void Arguments() {
    Language& lang = driver(0);
    TaskRequest request;
    request.program.op = Op::kReadNested;
    request.program.tag = rng_.Next() >> 16;
    request.program.duration_ns = Milliseconds(0, 30);
    uint64_t expected = request.program.tag;
    const int64_t count = rng_.Between(1, 3);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t number = rng_.Next() >> 16;
      request.nested.push_back(lang.Put(number));
      expected += number;
    }
    const TaskId task = lang.Submit(request);
    for (const ObjectRefInfo& ref : request.nested) lang.Drop(ref.id);
    Await(0, lang.RefOf(task.Return(0)), expected, Loss::kNone);
  }

  // A reference inside a result, read here, handed to another task, and let go in between.
  void Results() {
    Language& lang = driver(0);
    TaskRequest request;
    request.program.op = Op::kReturnRef;
    request.program.tag = rng_.Next() >> 16;
    request.program.duration_ns = Milliseconds(0, 30);
    const TaskId task = lang.Submit(request);
    const uint64_t inner_number = Mix(request.program.tag);
    Await(0, lang.RefOf(task.Return(0)), request.program.tag, Loss::kNone, [this, inner_number](const Got& got) {
      if (!got.ok()) return;
      if (got.contained.size() != 1) return Fail("results_are_right", "a result lost the reference inside");
      Language& l = driver(0);
      const ObjectRefInfo inner = got.contained[0];
      if (rng_.Chance(0.5)) {
        l.Hold(inner);
        Await(0, inner, inner_number, Loss::kIfDeaths);
      }
      if (rng_.Chance(0.5)) {
        TaskRequest reader;
        reader.program.op = Op::kReadNested;
        reader.program.tag = 1;
        reader.program.duration_ns = Milliseconds(0, 30);
        reader.nested = {inner};
        const TaskId read = l.Submit(reader);
        Await(0, l.RefOf(read.Return(0)), inner_number + 1, Loss::kIfDeaths);
      }
      if (rng_.Chance(0.3)) {
        const ObjectRefInfo outer = l.Put(5, {inner});
        Await(0, outer, 5, Loss::kNone);
      }
    });
  }
};

class Large : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "large"; }
  void Round() override {
    Language& lang = driver(0);
    const int64_t count = rng_.Between(1, 4);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t size = static_cast<uint64_t>(rng_.Between(200, 4000)) << 10;
      if (rng_.Chance(0.5)) {
        TaskRequest request;
        request.program.op = Op::kLarge;
        request.program.tag = rng_.Next() >> 16;
        request.program.size = size;
        request.program.duration_ns = Milliseconds(0, 30);
        request.shape = lang.RegisterShape(Spread());
        const TaskId task = lang.Submit(request);
        Readers(lang.RefOf(task.Return(0)), Mix(request.program.tag));
        continue;
      }
      const uint64_t number = rng_.Next() >> 16;
      Open();
      lang.PutLarge(number, size, [this, number](std::optional<ObjectRefInfo> ref) {
        if (ref) Readers(*ref, number);
        Close();
      });
    }
  }

 private:
  Shape Spread() {
    Shape shape{.job = driver(0).job(), .resources = ResourceSet::Of({{std::string(kCpu), 1}})};
    shape.strategy.kind = StrategyKind::kSpread;
    return shape;
  }
  void Readers(const ObjectRefInfo& ref, uint64_t number) {
    Language& lang = driver(0);
    const int64_t readers = rng_.Between(0, 4);
    for (int64_t i = 0; i < readers; ++i) {
      TaskRequest request;
      request.program.op = Op::kSum;
      request.program.tag = static_cast<uint64_t>(i);
      request.program.duration_ns = Milliseconds(0, 30);
      request.refs = {ref};
      request.shape = lang.RegisterShape(Spread());
      const TaskId task = lang.Submit(request);
      Await(0, lang.RefOf(task.Return(0)), number + static_cast<uint64_t>(i), Loss::kStoreFull);
    }
    if (rng_.Chance(0.5)) return Await(0, ref, number, Loss::kStoreFull);
    lang.Drop(ref.id);
  }
};

// An actor keeps references of its caller after the caller let go.
class ActorStateWorkload : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "actor_state"; }
  void Round() override {
    Language& lang = driver(0);
    const ActorId actor = lang.CreateActor({});
    uint64_t sum = 0;
    const int64_t holds = rng_.Between(1, 4);
    for (int64_t i = 0; i < holds; ++i) {
      const uint64_t number = rng_.Next() >> 16;
      const ObjectRefInfo ref = lang.Put(number);
      CallActor(actor, Op::kHold, {ref}, 0);
      lang.Drop(ref.id);
      sum += number;
    }
    CallActor(actor, Op::kReadHeld, {}, sum);
    if (rng_.Chance(0.5)) {
      CallActor(actor, Op::kDropHeld, {}, 0);
      CallActor(actor, Op::kReadHeld, {}, 0);
    }
    lang.ForgetActor(actor);
  }

 private:
  void CallActor(ActorId actor, Op op, std::vector<ObjectRefInfo> nested, uint64_t sum) {
    TaskRequest request;
    request.program.op = op;
    request.program.tag = NextTag();
    request.program.duration_ns = Milliseconds(0, 20);
    request.program.at_most_once = true;
    request.nested = std::move(nested);
    request.max_retries = 0;
    const TaskId task = driver(0).Call(actor, request);
    Await(0, driver(0).RefOf(task.Return(0)), request.program.tag + sum, Loss::kActor);
  }
};

}  // namespace

std::unique_ptr<Workload> MakeObjectWorkload(const std::string& name, Cluster* cluster, Rng rng) {
  if (name == "borrow") return std::make_unique<Borrow>(cluster, rng);
  if (name == "large") return std::make_unique<Large>(cluster, rng);
  if (name == "actor_state") return std::make_unique<ActorStateWorkload>(cluster, rng);
  return nullptr;
}

}  // namespace shoal::sim
