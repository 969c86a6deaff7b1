// Random programs over random orders of delivery and random deaths, each from a seed: nothing hangs, results are right, at the end
// nothing is left. A failure names its seed. By hand: SHOAL_SEEDS=5000 for more of them, SHOAL_SEED=12 for that one with a line per
// message, SHOAL_BUG=core.early_reply to see that a deliberate bug is noticed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/core_worker/core_worker.h"
#include "runtime/core_worker/core_worker_testing.h"

namespace shoal::core_worker {
namespace {

uint64_t NumberOf(const char* variable, uint64_t otherwise) {
  const char* wanted = std::getenv(variable);
  return wanted == nullptr ? otherwise : std::strtoull(wanted, nullptr, 10);
}

std::string What(const Message& message) {
  if (const auto* push = std::get_if<PushTask>(&message)) {
    return absl::StrCat(push->spec.name, " ", push->spec.id.index, "#", push->spec.attempt, " lease ", push->lease.value);
  }
  if (const auto* reply = std::get_if<TaskReply>(&message)) {
    return absl::StrCat(reply->task.index, "#", reply->attempt, " outcome ", static_cast<int>(reply->outcome));
  }
  if (const auto* local = std::get_if<ObjectLocal>(&message)) return absl::StrCat(local->id.index);
  if (const auto* seal = std::get_if<SealObject>(&message)) return absl::StrCat(seal->ref.id.index);
  if (const auto* pull = std::get_if<PullObject>(&message)) return absl::StrCat(pull->ref.id.index);
  return "";
}

bool Print(TimePoint now, const Address& from, const Address& to, const Message& message) {
  std::printf("%9.3f ms %s -> %s %s %s\n", static_cast<double>(ToNanoseconds(now)) / 1e6, from.ToString().c_str(),
              to.ToString().c_str(), MessageName(message), What(message).c_str());
  return true;
}

constexpr int kSteps = 120;

// One driver that does random things with tasks, objects and an actor, while workers may die.
class Program {
 public:
  Program(uint64_t seed, bool deaths) : rng_(seed), deaths_(deaths), world_(seed), driver_(world_.Driver()), owner_(world_.Driver()) {
    if (std::getenv("SHOAL_SEED") != nullptr) {
      world_.filter = [this](const Address& from, const Address& to, const Message& message) {
        return Print(world_.now, from, to, message);
      };
    }
    world_.step_time = Duration(static_cast<int64_t>(rng_.Below(200'000)));
    world_.AddWorkers(3);
    world_.AddWorkers(2, kOtherNode);
    ActorSpec spec;
    spec.max_restarts = -1;
    spec.max_task_retries = -1;
    actor_ = driver_.CreateActor(std::move(spec));
  }

  void Run() {
    for (int i = 0; i < kSteps; ++i) {
      Act();
      for (uint64_t deliveries = rng_.Below(20); deliveries > 0; --deliveries) world_.Step();
      FinishSome(0.3);
      if (rng_.Chance(0.1)) world_.Advance(Duration(static_cast<int64_t>(rng_.Below(100'000'000))));
      if (deaths_ && rng_.Chance(0.04)) KillSomebody();
      driver_.core->CheckInvariants();
    }
    Settle();
  }

 private:
  struct Expected {
    std::string text;
    bool certain;  // may be retried without end
  };

  void Expect(const TaskId& task, std::string text, bool certain) { expected_[task] = {std::move(text), certain}; }

  void Act() {
    const std::string text = absl::StrCat(next_++);
    switch (rng_.Below(9)) {
      case 0:
        return Expect(driver_.Submit("echo", text, -1), text, true);
      case 1:
        if (rng_.Chance(0.5)) return Expect(driver_.Submit("wait", text, -1), "done", true);
        return Expect(driver_.Submit("wait once", text, 0), "done", false);
      case 2:
        return Expect(driver_.Submit("large", text, -1), text, true);
      case 3: {
        const ObjectRefInfo put = driver_.Put(text);
        Expect(driver_.SubmitWith("echo", {put, put}, {}, -1), text + text, true);
        return driver_.Drop(put.id);
      }
      case 4: {
        const ObjectRefInfo put = driver_.Put(text);
        Expect(driver_.SubmitWith("keep", {}, {put}, -1), "", true);
        return driver_.Drop(put.id);
      }
      case 5: {  // the result of an earlier task, which is let go
        if (expected_.empty()) return;
        auto it = expected_.begin();
        std::advance(it, static_cast<int64_t>(rng_.Below(expected_.size())));
        const auto [task, before] = *it;
        const TaskId next = driver_.SubmitWith("echo", {driver_.RefOf(task)}, {}, -1);
        expected_.erase(it);
        driver_.Drop(task.Return(0));
        return Expect(next, before.text, before.certain);
      }
      case 6: {  // somebody else's object goes on to a worker
        const ObjectRefInfo put = owner_.Put(text);
        driver_.Do([&](CoreWorkerActions* a) { driver_.core->AdoptBorrowed(world_.now, put, std::nullopt, a); });
        world_.Run();
        owner_.Drop(put.id);
        Expect(driver_.SubmitWith("keep", {}, {put}, -1), "", true);
        return driver_.Drop(put.id);
      }
      case 7:
        return Expect(driver_.Submit("return_put", text, -1), text, true);
      default:
        calls_.push_back(text);
        return Expect(driver_.Call(actor_, "call", text), text, true);
    }
  }

  void FinishSome(double chance) {
    for (size_t i = 0; i < world_.workers(); ++i) {
      Process& worker = world_.worker(i);
      if (!worker.alive || worker.running.empty() || !rng_.Chance(chance)) continue;
      worker.Finish(worker.running.front().spec.id);
    }
  }

  void KillSomebody() {
    Process& worker = world_.worker(rng_.Below(world_.workers()));
    if (rng_.Chance(0.2)) {
      if (rng_.Chance(0.5)) {  // first only this one thinks so, and those there go on
        world_.Send(Address::Raylet(kNode), driver_.address, NodeDied{kOtherNode, "a rumour"});
        for (int i = 0; i < 30; ++i) world_.Step();
        FinishSome(1);
        for (int i = 0; i < 30; ++i) world_.Step();
      }
      world_.KillNode(kOtherNode);
      world_.AddWorkers(2, kOtherNode);
    } else if (worker.alive) {
      world_.Kill(worker);
      world_.AddWorkers(1, worker.address.node);
    }
  }

  void Settle() {
    for (int i = 0; i < 200 && driver_.core->counters().pending_tasks > 0; ++i) {
      world_.Advance(100ms);
      FinishSome(1);
    }
    ASSERT_EQ(driver_.core->counters().pending_tasks, 0) << driver_.core->DescribeTasks(10);
    for (const auto& [task, wanted] : expected_) {
      driver_.Do([&](CoreWorkerActions* a) { driver_.core->Want(world_.now, driver_.RefOf(task), true, a); });
    }
    for (int i = 0; i < 50; ++i) {
      world_.Advance(100ms);
      FinishSome(1);
    }
    for (const auto& [task, wanted] : expected_) Judge(task, wanted);
    CheckOrder();
    CheckOnce();
    CheckKept();
    LetGo();
  }

  void Judge(const TaskId& task, const Expected& wanted) {
    const std::string text = driver_.ValueOf(task);
    if (!deaths_ || wanted.certain) {
      EXPECT_EQ(text, wanted.text) << task.Hex() << " " << driver_.ErrorOf(task).message;
    } else {
      const ErrorKind kind = driver_.ErrorOf(task).kind;
      const bool excused = kind == ErrorKind::kWorkerCrashed || kind == ErrorKind::kNodeDied;
      EXPECT_TRUE(text == wanted.text || excused) << task.Hex() << " " << driver_.ErrorOf(task).message;
    }
  }

  // Within each incarnation the calls start in the order of submission.
  void CheckOrder() {
    for (size_t i = 0; i < world_.workers(); ++i) {
      std::vector<int> started;
      for (const std::string& line : world_.worker(i).started) {
        int number = 0;
        if (std::sscanf(line.c_str(), "call:%d#", &number) == 1) started.push_back(number);
      }
      EXPECT_TRUE(std::is_sorted(started.begin(), started.end())) << "worker " << i;
      EXPECT_EQ(std::adjacent_find(started.begin(), started.end()), started.end()) << "worker " << i;
    }
  }

  // What may run once at most runs once at most.
  void CheckOnce() {
    std::vector<std::string> started;
    for (size_t i = 0; i < world_.workers(); ++i) {
      for (const std::string& line : world_.worker(i).started) {
        if (line.rfind("wait once", 0) == 0) started.push_back(line.substr(0, line.find('#')));
      }
    }
    std::sort(started.begin(), started.end());
    const auto twice = std::adjacent_find(started.begin(), started.end());
    EXPECT_EQ(twice, started.end()) << *twice;
  }

  // References that workers keep are good although everybody else let go.
  void CheckKept() {
    for (size_t i = 0; i < world_.workers(); ++i) {
      Process& worker = world_.worker(i);
      if (!worker.alive) continue;
      for (const auto& [id, ref] : worker.kept) {
        worker.Do([&, wanted = ref](CoreWorkerActions* a) { worker.core->Want(world_.now, wanted, true, a); });
      }
      world_.Run();
      for (const auto& [id, ref] : worker.kept) EXPECT_NE(worker.ValueOf(id).rfind("error", 0), 0) << id.Hex();
    }
  }

  void LetGo() {
    for (const auto& [task, wanted] : expected_) driver_.Drop(task.Return(0));
    driver_.Drop(driver_.core->ActorHandleRef(actor_).id);
    world_.Run();
    for (size_t i = 0; i < world_.workers(); ++i) {
      Process& worker = world_.worker(i);
      if (!worker.alive) continue;
      for (const auto& [id, ref] : worker.kept) worker.Drop(id);
      worker.kept.clear();
    }
    world_.Advance(10s);
    EXPECT_EQ(driver_.core->counters().objects, 0) << driver_.core->DescribeObjects(5);
    EXPECT_EQ(driver_.core->counters().lineage_tasks, 0);
    EXPECT_EQ(driver_.core->counters().leases, 0);
    EXPECT_EQ(driver_.core->NextDeadline(), std::nullopt);
    EXPECT_EQ(owner_.core->counters().objects, 0) << owner_.core->DescribeObjects(5);
    for (size_t i = 0; i < world_.workers(); ++i) {
      Process& worker = world_.worker(i);
      if (!worker.alive) continue;
      EXPECT_EQ(worker.core->counters().objects, 0) << i << ": " << worker.core->DescribeObjects(5);
      EXPECT_EQ(worker.core->counters().queued_here + worker.core->counters().unsent_replies, 0) << i;
    }
  }

  Rng rng_;
  const bool deaths_;
  World world_;
  Process& driver_;
  Process& owner_;  // of objects that the driver only borrows
  ActorId actor_;
  std::map<TaskId, Expected> expected_;
  std::vector<std::string> calls_;
  int next_ = 1;
};

class RandomProgramTest : public testing::TestWithParam<bool> {};

TEST_P(RandomProgramTest, EndsWellForEverySeed) {
  const char* bug = std::getenv("SHOAL_BUG");
  if (bug != nullptr) SetDeliberateBug(bug);
  const uint64_t only = NumberOf("SHOAL_SEED", 0);
  const uint64_t last = only != 0 ? only : NumberOf("SHOAL_SEEDS", 150);
  for (uint64_t seed = std::max<uint64_t>(only, 1); seed <= last && !HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    EnableBuggify(seed);
    Program(seed, GetParam()).Run();
    DisableBuggify();
  }
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutDeaths, RandomProgramTest, testing::Values(false, true));

}  // namespace
}  // namespace shoal::core_worker
