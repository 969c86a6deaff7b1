// A set of small numbers (slots of nodes) that finds the next member fast however empty it is: one bit per number and one
// summary bit per 64 of them, so that a search over 100,000 slots reads at most two words and the summary (25 words).
//
//   Bitmap fits;
//   fits.Resize(100'000);
//   fits.Set(17);
//   fits.NextCyclic(99'000) == 17
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shoal::scheduler {

class Bitmap {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Grows to hold numbers below `size`; never shrinks.
  void Resize(uint32_t size) {
    if (size <= words_.size() * 64) return;
    words_.resize((size + 63) / 64);
    summary_.resize((words_.size() + 63) / 64);
  }
  bool Test(uint32_t i) const { return i / 64 < words_.size() && (words_[i / 64] >> (i % 64) & 1) != 0; }
  // True if it was not there.
  bool Set(uint32_t i) {
    uint64_t& word = words_[i / 64];
    const uint64_t bit = uint64_t{1} << (i % 64);
    if ((word & bit) != 0) return false;
    word |= bit;
    summary_[i / 4096] |= uint64_t{1} << (i / 64 % 64);
    ++count_;
    return true;
  }
  void Clear(uint32_t i) {
    uint64_t& word = words_[i / 64];
    const uint64_t bit = uint64_t{1} << (i % 64);
    if ((word & bit) == 0) return;
    word &= ~bit;
    if (word == 0) summary_[i / 4096] &= ~(uint64_t{1} << (i / 64 % 64));
    --count_;
  }
  bool any() const { return count_ > 0; }
  uint32_t count() const { return count_; }

  // The first member >= from, or kNone.
  uint32_t Next(uint32_t from) const {
    size_t w = from / 64;
    if (w >= words_.size()) return kNone;
    const uint64_t rest = words_[w] & (~uint64_t{0} << (from % 64));
    if (rest != 0) return static_cast<uint32_t>(w * 64) + static_cast<uint32_t>(std::countr_zero(rest));
    ++w;
    for (size_t s = w / 64; s < summary_.size(); ++s) {
      uint64_t words = summary_[s];
      if (s == w / 64) words &= w % 64 == 0 ? ~uint64_t{0} : ~uint64_t{0} << (w % 64);
      if (words == 0) continue;
      const size_t found = s * 64 + static_cast<size_t>(std::countr_zero(words));
      return static_cast<uint32_t>(found * 64) + static_cast<uint32_t>(std::countr_zero(words_[found]));
    }
    return kNone;
  }
  // The same, going on from 0; kNone only if it is empty.
  uint32_t NextCyclic(uint32_t from) const {
    const uint32_t found = Next(from);
    return found == kNone && from > 0 ? Next(0) : found;
  }

 private:
  std::vector<uint64_t> words_;
  std::vector<uint64_t> summary_;
  uint32_t count_ = 0;
};

}  // namespace shoal::scheduler
