// What the core worker machines cost per task, both sides, without rings and without a language: submit, push, execute, reply, read,
// release. Figures per task cover two machines.
#include <vector>

#include "benchmark/benchmark.h"
#include "bench/core_worker_pair.h"

namespace shoal::core_worker {
namespace {

void BM_TaskRoundTrip(benchmark::State& state) {
  Pair pair;
  pair.Grant();
  for (auto _ : state) {
    const TaskId task = pair.Submit("noop");
    pair.Pump();
    pair.Read(task);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_TaskRoundTrip);

void BM_TasksInBatches(benchmark::State& state) {
  Pair pair;
  pair.Grant();
  const auto batch = static_cast<size_t>(state.range(0));
  std::vector<TaskId> tasks(batch);
  for (auto _ : state) {
    for (TaskId& task : tasks) task = pair.Submit("noop");
    pair.Pump();
    for (const TaskId& task : tasks) pair.Read(task);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_TasksInBatches)->Arg(100)->Arg(10'000);

void BM_ActorCallRoundTrip(benchmark::State& state) {
  Pair pair;
  pair.BecomeActor();
  for (auto _ : state) {
    const TaskId task = pair.Call();
    pair.Pump();
    pair.Read(task);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ActorCallRoundTrip);

void BM_ActorCallsInBatches(benchmark::State& state) {
  Pair pair;
  pair.BecomeActor();
  const auto batch = static_cast<size_t>(state.range(0));
  std::vector<TaskId> tasks(batch);
  for (auto _ : state) {
    for (TaskId& task : tasks) task = pair.Call();
    pair.Pump();
    for (const TaskId& task : tasks) pair.Read(task);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_ActorCallsInBatches)->Arg(1000);

void BM_PutAndRelease(benchmark::State& state) {
  Pair pair;
  for (auto _ : state) {
    const ObjectRefInfo ref = pair.driver.PutInline(pair.now, Payload("value"), {}, &pair.driver_actions);
    pair.driver.RemoveLocalReference(pair.now, ref.id, &pair.driver_actions);
    pair.driver_actions.Clear();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PutAndRelease);

}  // namespace
}  // namespace shoal::core_worker
