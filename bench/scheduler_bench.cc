// What a decision of the head costs: choosing a node among many and accounting for it, with eight shapes interned.
#include <vector>

#include "benchmark/benchmark.h"
#include "scheduler/head.h"
#include "scheduler/policy/fit_index.h"

namespace shoal::scheduler {
namespace {

struct Cluster {
  explicit Cluster(uint32_t nodes, double used) : rng(1) {
    const ResourceSet total = ResourceSet::Of({{"CPU", 64}, {"GPU", 8}, {"memory", 1e12}});
    for (uint32_t i = 0; i < nodes; ++i) {
      const uint32_t slot = index.AddNode(total, {});
      const double free = rng.Uniform() < used ? 0.5 : 64;
      index.SetAvailable(slot, ResourceSet::Of({{"CPU", free}, {"GPU", 8}, {"memory", 1e12}}));
    }
    for (int i = 1; i <= 8; ++i) needs.push_back(index.Intern({.resources = ResourceSet::Of({{"CPU", i}})}));
  }
  FitIndex index;
  Rng rng;
  std::vector<NeedId> needs;
};

// One decision and its accounting, and the end of an earlier lease: a steady state.
void DecideLease(benchmark::State& state) {
  Cluster cluster(static_cast<uint32_t>(state.range(0)), static_cast<double>(state.range(1)) / 1000);
  constexpr size_t kHeld = 32;
  std::vector<std::pair<uint32_t, NeedId>> held(kHeld, {FitIndex::kNone, 0});
  size_t i = 0;
  for (auto _ : state) {
    const NeedId need = cluster.needs[++i % cluster.needs.size()];
    const uint32_t slot = cluster.index.BetterOfTwo(need, cluster.rng);
    if (slot == FitIndex::kNone) {
      state.SkipWithError("a node with room must be found");
      break;
    }
    cluster.index.Take(slot, need, 1);
    auto& [oldest, which] = held[i % kHeld];
    if (oldest != FitIndex::kNone) cluster.index.Give(oldest, which, 1);
    held[i % kHeld] = {slot, need};
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(DecideLease)
    ->ArgNames({"nodes", "used_permille"})
    ->ArgsProduct({{1'000, 100'000}, {500, 950, 995}});

void FindOnly(benchmark::State& state) {
  Cluster cluster(static_cast<uint32_t>(state.range(0)), static_cast<double>(state.range(1)) / 1000);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(cluster.index.BetterOfTwo(cluster.needs[++i % cluster.needs.size()], cluster.rng));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(FindOnly)->ArgNames({"nodes", "used_permille"})->ArgsProduct({{1'000, 100'000}, {500, 950, 995}});

// The whole head: a demand for as many leases as there are nodes, and its withdrawal.
void ServeDemand(benchmark::State& state) {
  const uint64_t nodes = static_cast<uint64_t>(state.range(0));
  Head head({.cluster_id = 1}, {}, Rng(1));
  HeadActions actions;
  TimePoint now = FromNanoseconds(1);
  head.Start(now, &actions);
  actions.Clear();
  const ResourceSet total = ResourceSet::Of({{"CPU", 1}});
  std::vector<NodeReport> reports;
  for (uint64_t n = 1; n <= nodes; ++n) {
    NodeInfo info{.id = NodeId{n}, .incarnation = 1, .total = total};
    NodeReport report{.node = NodeId{n}, .incarnation = 1, .available = total};
    report.workers.push_back({.worker = WorkerId{n}});
    head.OnMessage(now, Address::Raylet(NodeId{n}), RegisterNode{info}, &actions);
    actions.Clear();
    head.OnMessage(now, Address::Raylet(NodeId{n}), NodeReport(report), &actions);
    reports.push_back(report);
    actions.Clear();
  }
  const Shape shape{.job = JobId{1}, .resources = total};
  const Address owner{NodeId{1}, WorkerId{1}};
  uint64_t version = 0;
  for (auto _ : state) {
    LeaseDemand demand{.shape = shape, .wanted = static_cast<uint32_t>(nodes), .version = ++version};
    head.OnMessage(now, Address::Raylet(NodeId{1}), SpillDemand{owner, demand}, &actions);
    state.PauseTiming();
    std::vector<Send> sends;
    std::swap(sends, actions.sends);
    actions.Clear();
    demand.wanted = 0;
    demand.version = ++version;
    head.OnMessage(now, Address::Raylet(NodeId{1}), SpillDemand{owner, demand}, &actions);
    for (const Send& send : sends) {
      if (const auto* ask = std::get_if<GrantLeases>(&send.message)) {
        head.OnMessage(now, send.to, GrantLeasesReply{ask->request, 0, {}}, &actions);
      }
    }
    for (const NodeReport& report : reports) {
      head.OnMessage(now, Address::Raylet(report.node), NodeReport(report), &actions);
    }
    actions.Clear();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(nodes));
}
BENCHMARK(ServeDemand)->ArgName("nodes")->Arg(1'000);

}  // namespace
}  // namespace shoal::scheduler
