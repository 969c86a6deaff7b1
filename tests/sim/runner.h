// One seed: builds a cluster, lets workloads and faults at it, heals it, and demands that everything finishes and nothing remains.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/sim/observer.h"
#include "tests/sim/spec.h"

namespace shoal::sim {

struct RunOptions {
  Spec spec;
  uint64_t seed = 1;
  std::string bug;              // a deliberate bug to switch on
  std::FILE* trace = nullptr;   // where each event is printed
};

struct RunResult {
  uint64_t seed = 0;
  uint64_t trace_hash = 0;
  uint64_t events = 0;
  uint64_t executions = 0;
  uint64_t rounds = 0;
  uint64_t deaths = 0;
  int64_t simulated_ns = 0;
  std::vector<Violation> violations;
  bool ok() const { return violations.empty(); }
};

// Rules besides those of the observer: everything_finishes (liveness after healing), no_leak_in_drivers, no_leak_in_cluster. A
// SHOAL_CHECK that fails aborts the process; run in a child (farm.h) where that may happen.
RunResult RunSeed(const RunOptions& options);

}  // namespace shoal::sim
