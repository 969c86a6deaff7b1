// How long things took, in buckets an eighth of a power of two wide: cheap enough to note every decision of the head.
//
//   Histogram times;
//   times.Add(1'250);                    // nanoseconds
//   times.Quantile(0.99);                // the upper edge of its bucket, so at most an eighth too much
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace shoal {

class Histogram {
 public:
  void Add(uint64_t value, uint64_t times = 1) {
    buckets_[BucketOf(value)] += times;
    count_ += times;
    sum_ += value * times;
    max_ = std::max(max_, value);
  }
  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  uint64_t max() const { return max_; }
  // 0 if nothing was added.
  uint64_t Quantile(double q) const {
    const auto rank = static_cast<uint64_t>(q * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > rank) return std::min(UpperEdge(i), max_);
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 3;
  static constexpr uint64_t kSub = uint64_t{1} << kSubBits;

  static size_t BucketOf(uint64_t value) {
    if (value < kSub) return value;
    const int shift = static_cast<int>(std::bit_width(value)) - 1 - kSubBits;
    return static_cast<size_t>(shift) * kSub + (value >> shift);
  }
  static uint64_t UpperEdge(size_t bucket) {
    if (bucket < 2 * kSub) return bucket;
    const uint64_t shift = bucket / kSub - 1;
    return ((bucket % kSub + kSub + 1) << shift) - 1;
  }

  std::array<uint64_t, (64 - kSubBits + 1) * kSub> buckets_{};
  uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace shoal
