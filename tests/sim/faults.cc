#include "tests/sim/faults.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::sim {
namespace {

bool Has(const std::vector<std::string>& faults, const char* name) {
  return std::find(faults.begin(), faults.end(), name) != faults.end();
}

}  // namespace

const std::vector<std::string>& FaultNames() {
  static const auto& names = *new std::vector<std::string>{
      "kill_worker", "kill_raylet", "kill_head", "pause", "slow",  "clog",        "swizzle",
      "cut",         "cut_one_way", "isolate",   "lossy", "drift", "small_store", "buggify"};
  return names;
}

void ApplyStaticFaults(const std::vector<std::string>& faults, Rng* rng, ClusterOptions* options) {
  NetworkOptions& network = options->network;
  network.delay_ns_mean = rng->Between(10'000, 5'000'000);
  if (Has(faults, "lossy")) {
    network.loss = rng->Uniform() * 0.3;
    network.duplication = rng->Uniform() * 0.5;
    network.reordering = rng->Uniform() * 0.5;
  }
  if (Has(faults, "drift")) options->drift_ppm_max = 10'000;
  if (Has(faults, "small_store")) options->store_bytes = static_cast<uint64_t>(rng->Between(6, 16)) << 20;
}

bool MayLookDead(const std::vector<std::string>& faults) {
  for (const char* name : {"pause", "slow", "clog", "swizzle", "cut", "cut_one_way", "isolate", "lossy"}) {
    if (Has(faults, name)) return true;
  }
  return false;
}

FaultInjector::FaultInjector(Cluster* cluster, std::vector<std::string> faults, Rng rng, int64_t until_ns)
    : cluster_(*cluster), faults_(std::move(faults)), rng_(rng), until_ns_(until_ns) {}

void FaultInjector::Repeat(int64_t mean_ns, std::function<void()> strike) {
  const int64_t at = cluster_.now_ns() + rng_.Between(mean_ns / 10, 2 * mean_ns);
  if (at >= until_ns_) return;
  cluster_.At(at, [this, mean_ns, strike = std::move(strike)]() mutable {
    if (healed_) return;
    strike();
    Repeat(mean_ns, std::move(strike));
  });
}

void FaultInjector::Begin() {
  auto begin = [this](const char* name, int64_t mean_low_ms, int64_t mean_high_ms, auto strike) {
    if (Has(faults_, name)) Repeat(Milliseconds(mean_low_ms, mean_high_ms), strike);
  };
  begin("kill_worker", 300, 5'000, [this] { KillWorker(); });
  begin("kill_raylet", 3'000, 15'000, [this] { KillRaylet(); });
  begin("kill_head", 4'000, 20'000, [this] { KillHead(); });
  begin("pause", 500, 5'000, [this] { Pause(); });
  begin("slow", 3'000, 15'000, [this] { Slow(); });
  begin("clog", 200, 3'000, [this] { Clog(); });
  begin("swizzle", 5'000, 20'000, [this] { Swizzle(); });
  begin("cut", 2'000, 10'000, [this] { Cut(true); });
  begin("cut_one_way", 2'000, 10'000, [this] { Cut(false); });
  begin("isolate", 8'000, 25'000, [this] { Isolate(); });
}

void FaultInjector::Heal() {
  healed_ = true;
  cluster_.network().Heal();
  for (uint32_t m = 0; m < cluster_.machine_count(); ++m) {
    cluster_.machine(m).slowness = 1;
    cluster_.machine(m).handling_ns_max = 0;
  }
  cluster_.trace().Note(cluster_.now_ns(), "healed");
}

// A machine whose raylet may die.
uint32_t FaultInjector::AnyVictim() {
  const uint32_t first = cluster_.options().protected_nodes + 1;
  if (first >= cluster_.machine_count()) return 0;
  return static_cast<uint32_t>(rng_.Between(first, cluster_.machine_count() - 1));
}

void FaultInjector::KillWorker() {
  const uint32_t m = static_cast<uint32_t>(rng_.Between(1, cluster_.machine_count() - 1));
  std::vector<uint32_t> workers;
  for (uint32_t child : cluster_.machine(m).children) {
    if (cluster_.process(child).kind == ProcessKind::kWorker) workers.push_back(child);
  }
  if (!workers.empty()) cluster_.KillProcess(workers[rng_.Below(workers.size())], "fault");
}

void FaultInjector::KillRaylet() {
  const uint32_t victim = AnyVictim();
  if (victim != 0) cluster_.KillDaemon(victim, Milliseconds(20, rng_.Chance(0.5) ? 500 : 8'000));
}

void FaultInjector::KillHead() { cluster_.KillDaemon(0, Milliseconds(20, rng_.Chance(0.5) ? 300 : 4'000)); }

void FaultInjector::Pause() {
  const uint32_t m = AnyMachine();
  const int64_t for_ns = Milliseconds(5, rng_.Chance(0.7) ? 300 : 2'500);
  const auto& children = cluster_.machine(m).children;
  if (rng_.Chance(0.3)) return cluster_.PauseMachine(m, for_ns);
  if (!children.empty() && rng_.Chance(0.6)) return cluster_.PauseProcess(children[rng_.Below(children.size())], for_ns);
  if (cluster_.machine(m).daemon != 0) cluster_.PauseProcess(cluster_.machine(m).daemon, for_ns);
}

void FaultInjector::Slow() {
  const uint32_t m = static_cast<uint32_t>(rng_.Between(1, cluster_.machine_count() - 1));
  cluster_.machine(m).slowness = static_cast<double>(rng_.Between(2, 10));
  cluster_.machine(m).handling_ns_max = rng_.Between(100'000, 2'000'000);
  cluster_.trace().Note(cluster_.now_ns(), absl::StrCat("slow machine ", m));
  cluster_.At(cluster_.now_ns() + Milliseconds(500, 8'000), [this, m] {
    cluster_.machine(m).slowness = 1;
    cluster_.machine(m).handling_ns_max = 0;
  });
}

void FaultInjector::Clog() {
  const uint32_t from = AnyMachine(), to = AnyMachine();
  cluster_.network().Clog(from, to, cluster_.now_ns() + Milliseconds(1, 3'000));
  cluster_.trace().Note(cluster_.now_ns(), absl::StrCat("clog ", from, " -> ", to));
}

// Clogs the links of a random set of machines one after another, and opens them in another order.
void FaultInjector::Swizzle() {
  const uint32_t center = AnyMachine();
  for (uint32_t m = 0; m < cluster_.machine_count(); ++m) {
    if (m == center || rng_.Chance(0.5)) continue;
    const int64_t begin = cluster_.now_ns() + Milliseconds(0, 1'500);
    const int64_t end = begin + Milliseconds(100, 2'500);
    const bool outwards = rng_.Chance(0.5);
    cluster_.At(begin, [this, center, m, end, outwards] {
      if (healed_) return;
      cluster_.network().Clog(outwards ? center : m, outwards ? m : center, end);
    });
  }
  cluster_.trace().Note(cluster_.now_ns(), absl::StrCat("swizzle around ", center));
}

void FaultInjector::CutFor(uint32_t a, uint32_t b, int64_t for_ns) {
  cluster_.network().Cut(a, b, true);
  cluster_.At(cluster_.now_ns() + for_ns, [this, a, b] { cluster_.network().Cut(a, b, false); });
}

void FaultInjector::Cut(bool both_ways) {
  const uint32_t a = AnyMachine(), b = AnyMachine();
  if (a == b) return;
  // A machine with drivers stays in the cluster: between it and the head the cut is short.
  const bool short_cut = (a == 0 && b <= cluster_.options().protected_nodes) ||
                         (b == 0 && a <= cluster_.options().protected_nodes);
  const int64_t for_ns = Milliseconds(50, short_cut ? 1'500 : 15'000);
  CutFor(a, b, for_ns);
  if (both_ways) CutFor(b, a, for_ns);
  cluster_.trace().Note(cluster_.now_ns(),
                        absl::StrCat("cut ", a, both_ways ? " <-> " : " -> ", b, " for ", for_ns / 1'000'000, " ms"));
}

void FaultInjector::Isolate() {
  const uint32_t victim = AnyVictim();
  if (victim == 0) return;
  const int64_t for_ns = Milliseconds(2'000, 20'000);
  const bool inwards = rng_.Chance(0.8), outwards = !inwards || rng_.Chance(0.8);
  for (uint32_t m = 0; m < cluster_.machine_count(); ++m) {
    if (m == victim) continue;
    if (inwards) CutFor(m, victim, for_ns);
    if (outwards) CutFor(victim, m, for_ns);
  }
  cluster_.trace().Note(cluster_.now_ns(), absl::StrCat("isolate ", victim, " for ", for_ns / 1'000'000, " ms"));
}

}  // namespace shoal::sim
