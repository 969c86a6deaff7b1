// What sessions promise, over many seeds of a bad network; and that these checks notice when a session breaks its
// promise.
#include <gtest/gtest.h>

#include <string>

#include "base/buggify.h"
#include "runtime/session/session_test_util.h"

namespace shoal::session {
namespace {

struct Outcome {
  std::string violation;
  uint64_t delivered = 0, resets = 0;
};

Outcome Storm(uint64_t seed, bool buggify) {
  if (buggify) EnableBuggify(seed);
  Rng rng(seed);
  Faults faults;
  faults.loss = rng.Chance(0.5) ? 0.3 * rng.Uniform() : 0;
  faults.duplication = rng.Chance(0.5) ? 0.5 * rng.Uniform() : 0;
  faults.reordering = rng.Chance(0.7) ? rng.Uniform() : 0;
  faults.restart = rng.Chance(0.5) ? 0.01 * rng.Uniform() : 0;
  faults.reset = rng.Chance(0.3) ? 0.01 * rng.Uniform() : 0;
  World world(rng.Next(), faults);
  world.Run(3000);
  world.Heal();
  for (int i = 0; i < 100; ++i) world.SendOne(i % 2);
  world.Settle();
  DisableBuggify();
  return {world.violation(), world.delivered(), world.resets()};
}

TEST(SessionStorm, DeliversOnceAndInOrderOrReportsAReset) {
  uint64_t delivered = 0, resets = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    const Outcome outcome = Storm(seed, /*buggify=*/seed % 2 == 0);
    ASSERT_EQ(outcome.violation, "") << "seed " << seed;
    delivered += outcome.delivered;
    resets += outcome.resets;
  }
  EXPECT_GT(delivered, 100'000u) << "storms without traffic prove nothing";
  EXPECT_GT(resets, 500u) << "storms without resets prove nothing";
}

TEST(SessionStorm, APerfectNetworkNeedsNoReset) {
  World world(1, {});
  world.Run(5000);
  world.Settle();
  EXPECT_EQ(world.violation(), "");
  EXPECT_EQ(world.resets(), 0u);
  EXPECT_GT(world.delivered(), 1000u);
}

#ifdef SHOAL_BUGGIFY_ENABLED
class SessionBug : public testing::TestWithParam<const char*> {};

TEST_P(SessionBug, IsFound) {
  SetDeliberateBug(GetParam());
  std::string found;
  for (uint64_t seed = 1; seed <= 50 && found.empty(); ++seed) found = Storm(seed, false).violation;
  SetDeliberateBug("");
  EXPECT_NE(found, "");
}

INSTANTIATE_TEST_SUITE_P(All, SessionBug,
                         testing::Values("session.lost_ack", "session.accept_gap", "session.stale_incarnation",
                                         "session.duplicate_delivery"),
                         [](const auto& bug) { return std::string(bug.param).substr(8); });
#endif

}  // namespace
}  // namespace shoal::session
