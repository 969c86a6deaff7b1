#include "base/rng.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(Rng, SameSeedSameNumbers) {
  Rng a(42), b(42);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.Next(), b.Next());
}

TEST(Rng, BetweenReachesBothEnds) {
  Rng rng(1);
  bool low = false, high = false;
  for (int i = 0; i < 1000; ++i) {
    const int64_t x = rng.Between(3, 5);
    ASSERT_GE(x, 3);
    ASSERT_LE(x, 5);
    low |= x == 3;
    high |= x == 5;
  }
  EXPECT_TRUE(low && high);
}

}  // namespace
}  // namespace shoal
