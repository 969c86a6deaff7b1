#include "base/histogram.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(HistogramTest, QuantilesAreAtMostAnEighthTooLarge) {
  Histogram times;
  for (uint64_t value = 1; value <= 100'000; ++value) times.Add(value);
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = q * 100'000;
    EXPECT_GE(static_cast<double>(times.Quantile(q)), exact) << q;
    EXPECT_LE(static_cast<double>(times.Quantile(q)), exact * 1.126) << q;
  }
  EXPECT_EQ(times.Quantile(1), 100'000u);
  EXPECT_EQ(times.count(), 100'000u);
  EXPECT_EQ(times.sum(), 5'000'050'000u);
}

TEST(HistogramTest, TakesTheSmallestAndTheLargest) {
  Histogram times;
  EXPECT_EQ(times.Quantile(0.5), 0u);
  times.Add(0, 3);
  times.Add(UINT64_MAX);
  EXPECT_EQ(times.Quantile(0.5), 0u);
  EXPECT_EQ(times.Quantile(0.99), UINT64_MAX);
  EXPECT_EQ(times.max(), UINT64_MAX);
}

TEST(HistogramTest, SmallValuesAreExact) {
  for (uint64_t value = 0; value < 16; ++value) {
    Histogram times;
    times.Add(value);
    times.Add(1'000);
    EXPECT_EQ(times.Quantile(0), value);
  }
}

}  // namespace
}  // namespace shoal
