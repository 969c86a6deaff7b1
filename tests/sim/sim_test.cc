// Fixed seeds, fast: every seed that once exposed a defect (fixed_seeds.txt), a few more of each spec, and repeatability.
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "tests/sim/farm.h"
#include "tests/sim/runner.h"
#include "tests/sim/spec.h"

namespace shoal::sim {
namespace {

Spec SpecCalled(const std::string& name) {
  absl::StatusOr<Spec> spec = FindSpec(name);
  SHOAL_CHECK(spec.ok()) << spec.status();
  return *spec;
}

void ExpectClean(const std::string& spec, uint64_t first, uint64_t last) {
  FarmOptions farm;
  farm.run = RunsOf(SpecCalled(spec), "");
  farm.first_seed = first;
  farm.last_seed = last;
  farm.jobs = 2;
  uint64_t executions = 0;
  RunFarm(farm, [&](const RunResult& result) {
    executions += result.executions;
    for (const Violation& v : result.violations) {
      ADD_FAILURE() << "shoal_sim_run --spec " << spec << " --trace " << result.seed << "\n  " << v.rule << ": " << v.detail;
    }
    return true;
  });
  EXPECT_GT(executions, 0u) << "a run in which nothing runs proves nothing";
}

TEST(Simulator, WithoutFaultsEverythingWorks) { ExpectClean("quiet", 1, 6); }
TEST(Simulator, NobodyStarvesBehindALongQueue) { ExpectClean("fair", 1, 6); }
TEST(Simulator, SurvivesTheDeathOfProcesses) { ExpectClean("kills", 1, 20); }
TEST(Simulator, SurvivesABadNetwork) { ExpectClean("network", 1, 20); }
TEST(Simulator, SurvivesEverythingAtOnce) { ExpectClean("mixed", 1, 40); }

TEST(Simulator, ASeedThatOnceFailedStaysFixed) {
  std::ifstream file(SHOAL_SIM_FIXED_SEEDS);
  ASSERT_TRUE(file) << SHOAL_SIM_FIXED_SEEDS;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string spec;
    uint64_t seed = 0;
    if (line.empty() || line[0] == '#' || !(words >> spec >> seed)) continue;
    ExpectClean(spec, seed, seed);
  }
}

TEST(Simulator, TheSameSeedGivesTheSameRunToTheLastEvent) {
  for (uint64_t seed : {3, 17, 42}) {
    const RunResult first = RunSeed({SpecCalled("mixed"), seed, "", nullptr});
    const RunResult second = RunSeed({SpecCalled("mixed"), seed, "", nullptr});
    EXPECT_EQ(first.trace_hash, second.trace_hash) << seed;
    EXPECT_EQ(first.events, second.events) << seed;
    const RunResult other = RunSeed({SpecCalled("mixed"), seed + 1, "", nullptr});
    EXPECT_NE(first.trace_hash, other.trace_hash) << seed;
  }
}

TEST(Spec, AnUnknownWordIsAnErrorThatNamesIt) {
  EXPECT_FALSE(ParseSpec("workloads fan_out no_such_thing").ok());
  EXPECT_FALSE(ParseSpec("workloads fan_out\nfautls clog").ok());
  EXPECT_FALSE(ParseSpec("name empty").ok());
  const absl::StatusOr<Spec> spec = ParseSpec("name mine\nworkloads chain\nfaults clog\nnodes 2..3\nseconds 5\nswarm");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->nodes_max, 3u);
  EXPECT_EQ(spec->seconds, 5u);
  EXPECT_TRUE(spec->swarm);
}

}  // namespace
}  // namespace shoal::sim
