// Many seeds over a few child processes, so that a failed check, a crash or an endless loop of one seed is a finding and not the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "tests/sim/runner.h"

namespace shoal::sim {

struct FarmOptions {
  std::function<RunResult(uint64_t seed)> run;  // in a child process
  uint64_t first_seed = 1, last_seed = 100;
  int jobs = 1;
  unsigned seed_timeout_s = 120;  // of real time: a machine that loops
};

// Runs seeds of a spec, with a deliberate bug or "".
inline std::function<RunResult(uint64_t)> RunsOf(Spec spec, std::string bug) {
  return [spec = std::move(spec), bug = std::move(bug)](uint64_t seed) { return RunSeed({spec, seed, bug, nullptr}); };
}

// Calls `on_result` in this process for each seed, in the order in which they end; a seed whose process died has the violation
// "check_failed" (with what it printed last), "crashed" or "hung". False from `on_result` ends the farm.
void RunFarm(const FarmOptions& options, const std::function<bool(const RunResult&)>& on_result);

}  // namespace shoal::sim
