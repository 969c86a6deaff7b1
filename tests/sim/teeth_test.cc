// Tests the tests: each deliberate bug in the machines must be found within 500 seeds. One line per bug: name, seed, violated rule.
#include <cstdio>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/sim/farm.h"
#include "tests/sim/spec.h"

namespace shoal::sim {
namespace {

constexpr uint64_t kSeeds = 500;

struct Bug {
  const char* name;
  const char* spec;  // where it shows soonest
};

constexpr Bug kBugs[] = {
    {"session.lost_ack", "network"},
};

class Teeth : public testing::TestWithParam<Bug> {};

TEST_P(Teeth, FindTheBugWithin500Seeds) {
  const Bug& bug = GetParam();
  absl::StatusOr<Spec> spec = FindSpec(bug.spec);
  ASSERT_TRUE(spec.ok()) << spec.status();
  FarmOptions farm;
  farm.run = RunsOf(*spec, bug.name);
  farm.last_seed = kSeeds;
  farm.jobs = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  bool found = false;
  RunFarm(farm, [&](const RunResult& result) {
    if (result.ok()) return true;
    found = true;
    std::printf("%-40s %-8s seed %-4llu %s\n", bug.name, bug.spec, static_cast<unsigned long long>(result.seed),
                result.violations[0].rule.c_str());
    std::fflush(stdout);
    return false;
  });
  ASSERT_TRUE(found) << bug.name << " lives in " << kSeeds << " seeds of " << bug.spec;
}

INSTANTIATE_TEST_SUITE_P(DeliberateBugs, Teeth, testing::ValuesIn(kBugs), [](const testing::TestParamInfo<Bug>& bug) {
  std::string name = bug.param.name;
  for (char& c : name) {
    if (c == '.') c = '_';
  }
  return name;
});

}  // namespace
}  // namespace shoal::sim
