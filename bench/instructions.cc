// Fixed scenarios for counting instructions and heap allocations, which repeat exactly where times do not.
//
//   instructions SCENARIO [ROUNDS]   runs it; prints the allocations of one round
//   instructions                     lists the scenarios
//
// bench/instructions.py runs it under callgrind, which counts while Measured() runs, and compares with what is kept in
// bench/instructions.json.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fields.h"
#include "base/rng.h"
#include "bench/allocations.h"
#include "bench/core_worker_pair.h"
#include "scheduler/policy/fit_index.h"

namespace shoal {
namespace {

constexpr int kWarm = 2'000;
constexpr size_t kBatch = 100;

using Round = std::function<void()>;

// `make` readies what `run` needs; both get the same pair of machines.
template <class Make>
Round WithPair(Make&& make) {
  auto pair = std::make_shared<core_worker::Pair>();
  return make(pair);
}

// One task from submission to release, alone.
Round Task() {
  return WithPair([](auto pair) {
    pair->Grant();
    return [pair] {
      const TaskId task = pair->Submit("noop");
      pair->Pump();
      pair->Read(task);
    };
  });
}

// A hundred tasks submitted, then run, then read.
Round Tasks() {
  return WithPair([](auto pair) {
    pair->Grant();
    auto tasks = std::make_shared<std::vector<TaskId>>(kBatch);
    return [pair, tasks] {
      for (TaskId& task : *tasks) task = pair->Submit("noop");
      pair->Pump();
      for (const TaskId& task : *tasks) pair->Read(task);
    };
  });
}

Round ActorCall() {
  return WithPair([](auto pair) {
    pair->BecomeActor();
    return [pair] {
      const TaskId task = pair->Call();
      pair->Pump();
      pair->Read(task);
    };
  });
}

Round Put() {
  return WithPair([](auto pair) {
    return [pair] {
      const ObjectRefInfo ref = pair->driver.PutInline(pair->now, Payload("value"), {}, &pair->driver_actions);
      pair->driver.RemoveLocalReference(pair->now, ref.id, &pair->driver_actions);
      pair->driver_actions.Clear();
    };
  });
}

Round Get() {
  return WithPair([](auto pair) {
    const ObjectRefInfo ref = pair->driver.PutInline(pair->now, Payload("value"), {}, &pair->driver_actions);
    return [pair, ref] {
      const bool here = pair->driver.WantAll(pair->now, {&ref, 1}, &pair->driver_actions) == 1;
      if (!here || pair->driver.Lookup(ref.id) == nullptr) std::abort();
    };
  });
}

// A task's push and its reply, to ring bytes and back.
Round Encode() {
  PushTask push;
  push.spec.name = "noop";
  push.spec.function = FunctionId{3};
  push.spec.args = Payload("0123456789");
  TaskReply reply;
  reply.results.resize(1);
  reply.results[0].kind = ValueKind::kInline;
  reply.results[0].data = Payload("result");
  auto messages = std::make_shared<std::vector<Message>>();
  messages->emplace_back(std::move(push));
  messages->emplace_back(std::move(reply));
  auto bytes = std::make_shared<std::vector<char>>(4096);
  return [messages, bytes] {
    for (const Message& message : *messages) {
      const size_t size = EncodedSize(message);
      EncodeTo(message, bytes->data());
      Message back;
      if (!Decode(std::string_view(bytes->data(), size), &back)) std::abort();
    }
  };
}

// One choice among 10,000 nodes, of which one in twenty has room, and the end of an earlier lease.
Round LeaseDecision() {
  struct Cluster {
    scheduler::FitIndex index;
    Rng rng{1};
    std::vector<scheduler::NeedId> needs;
    std::vector<std::pair<uint32_t, scheduler::NeedId>> held;
    size_t rounds = 0;
  };
  auto cluster = std::make_shared<Cluster>();
  const ResourceSet total = ResourceSet::Of({{"CPU", 64}});
  for (int i = 0; i < 10'000; ++i) {
    const uint32_t slot = cluster->index.AddNode(total, {});
    cluster->index.SetAvailable(slot, ResourceSet::Of({{"CPU", i % 20 == 0 ? 64 : 0.5}}));
  }
  for (int i = 1; i <= 8; ++i) cluster->needs.push_back(cluster->index.Intern({.resources = ResourceSet::Of({{"CPU", i}})}));
  return [cluster] {
    const scheduler::NeedId need = cluster->needs[cluster->rounds % cluster->needs.size()];
    const uint32_t slot = cluster->index.BetterOfTwo(need, cluster->rng);
    if (slot == scheduler::FitIndex::kNone) std::abort();
    cluster->index.Take(slot, need, 1);
    if (cluster->held.size() < 32) {
      cluster->held.emplace_back(slot, need);
    } else {
      auto& [oldest, which] = cluster->held[cluster->rounds % cluster->held.size()];
      cluster->index.Give(oldest, which, 1);
      oldest = slot;
      which = need;
    }
    ++cluster->rounds;
  };
}

const std::map<std::string, Round (*)()>& Scenarios() {
  static const std::map<std::string, Round (*)()> kScenarios = {
      {"task", Task}, {"100_tasks", Tasks}, {"actor_call", ActorCall}, {"put", Put},
      {"get", Get},   {"encode", Encode},   {"lease_decision", LeaseDecision},
  };
  return kScenarios;
}

}  // namespace
}  // namespace shoal

extern "C" __attribute__((noinline)) void Measured(const std::function<void()>& round, long rounds) {
  for (long i = 0; i < rounds; ++i) round();
}

int main(int argc, char** argv) {
  const auto& scenarios = shoal::Scenarios();
  if (argc < 2) {
    for (const auto& [name, make] : scenarios) std::printf("%s\n", name.c_str());
    return 0;
  }
  const auto found = scenarios.find(argv[1]);
  if (found == scenarios.end()) {
    std::fprintf(stderr, "there is no scenario %s; without an argument this program lists them\n", argv[1]);
    return 2;
  }
  const long rounds = argc > 2 ? std::atol(argv[2]) : 1'000;
  const shoal::Round round = found->second();
  for (int i = 0; i < shoal::kWarm; ++i) round();
  const uint64_t before = shoal::Allocations();
  Measured(round, rounds);
  std::printf("%.3f\n", static_cast<double>(shoal::Allocations() - before) / static_cast<double>(rounds));
  return 0;
}
