// Every fuzz target over its seeds and some thousand mutations of them, by a fixed seed: seconds of what libFuzzer does for hours.
#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

const std::vector<Target>& AllTargets() {
  static const auto& targets =
      *new std::vector<Target>{kMessage, kRingForm, kSession, kLocalFrame, kJoinToken, kBulkServer, kJson};
  return targets;
}

std::string Mutated(const std::vector<std::string>& seeds, Rng& rng) {
  std::string bytes = seeds[rng.Below(seeds.size())];
  for (uint64_t i = 1 + rng.Below(4); i > 0; --i) {
    const size_t at = rng.Below(bytes.size() + 1);
    switch (rng.Below(5)) {
      case 0: bytes.resize(at); break;
      case 1: bytes.insert(at, 1 + rng.Below(8), static_cast<char>(rng.Next())); break;
      case 2: bytes += seeds[rng.Below(seeds.size())].substr(0, at); break;
      case 3: bytes.erase(at, 1 + rng.Below(8)); break;
      default:
        if (at < bytes.size()) bytes[at] = static_cast<char>(rng.Next());
    }
  }
  return bytes;
}

class FuzzSmokeTest : public testing::TestWithParam<Target> {};

TEST_P(FuzzSmokeTest, SurvivesSeedsAndTheirMutations) {
  const std::vector<std::string> seeds = GetParam().seeds();
  ASSERT_FALSE(seeds.empty());
  GetParam().run("");
  for (const std::string& seed : seeds) GetParam().run(seed);
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) GetParam().run(Mutated(seeds, rng));
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzSmokeTest, testing::ValuesIn(AllTargets()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace shoal::fuzz
