// Faults as workloads of their own: each kind strikes at random moments until the cluster is healed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/sim/cluster.h"

namespace shoal::sim {

const std::vector<std::string>& FaultNames();

// Faults that are properties of the whole run: lossy, drift, small_store.
void ApplyStaticFaults(const std::vector<std::string>& faults, Rng* rng, ClusterOptions* options);

// True if one of them can keep a live machine from answering in time.
bool MayLookDead(const std::vector<std::string>& faults);

class FaultInjector {
 public:
  FaultInjector(Cluster* cluster, std::vector<std::string> faults, Rng rng, int64_t until_ns);

  // Sets all faults going.
  void Begin();
  // Ends all of them: what is cut is joined, what is slow is fast, nothing is lost any more.
  void Heal();

 private:
  void Repeat(int64_t mean_ns, std::function<void()> strike);
  void KillWorker();
  void KillRaylet();
  void KillHead();
  void Pause();
  void Slow();
  void Clog();
  void Swizzle();
  void Cut(bool both_ways);
  void Isolate();
  uint32_t AnyMachine() { return static_cast<uint32_t>(rng_.Below(cluster_.machine_count())); }
  uint32_t AnyVictim();
  int64_t Milliseconds(int64_t low, int64_t high) { return rng_.Between(low, high) * 1'000'000; }
  void CutFor(uint32_t a, uint32_t b, int64_t for_ns);

  Cluster& cluster_;
  const std::vector<std::string> faults_;
  Rng rng_;
  const int64_t until_ns_;
  bool healed_ = false;
};

}  // namespace shoal::sim
