// The clock of one simulated process: it starts anywhere and runs up to 1 % fast or slow, so that a machine that compares times of two
// processes, or trusts that a second is as long elsewhere, is found out.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace shoal::sim {

class LocalClock {
 public:
  LocalClock() = default;
  // `drift_ppm`: parts per million by which it runs fast (negative: slow).
  LocalClock(int64_t born_ns, int64_t offset_ns, int64_t drift_ppm)
      : born_ns_(born_ns), offset_ns_(offset_ns), drift_ppm_(drift_ppm) {}

  TimePoint ToLocal(int64_t global_ns) const {
    const int64_t elapsed = global_ns - born_ns_;
    return FromNanoseconds(offset_ns_ + elapsed + Scale(elapsed, drift_ppm_, kMillion));
  }
  // The first global time at which the clock shows at least `local`; never before the birth of the process.
  int64_t ToGlobal(TimePoint local) const {
    if (local == TimePoint::max()) return INT64_MAX;
    const int64_t elapsed = ToNanoseconds(local) - offset_ns_;
    if (elapsed <= 0) return born_ns_;
    int64_t global = born_ns_ + Scale(elapsed, kMillion, kMillion + drift_ppm_);
    while (ToLocal(global) < local) ++global;  // at most a few roundings
    return global;
  }

 private:
  static constexpr int64_t kMillion = 1'000'000;
  static int64_t Scale(int64_t value, int64_t by, int64_t over) {
    return static_cast<int64_t>(static_cast<__int128>(value) * by / over);
  }

  int64_t born_ns_ = 0;
  int64_t offset_ns_ = 0;
  int64_t drift_ppm_ = 0;
};

}  // namespace shoal::sim
