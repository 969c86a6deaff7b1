// Time as the machines see it: handed in by whoever drives them, never read from a clock. One
// TimePoint counts nanoseconds since an arbitrary start (boot in production, zero in the simulator)
// and never jumps.
#pragma once

#include <chrono>
#include <cstdint>

namespace shoal {

struct MonotonicClock {  // deliberately has no now()
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

using Duration = std::chrono::nanoseconds;
using TimePoint = MonotonicClock::time_point;

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

inline int64_t ToNanoseconds(TimePoint t) { return t.time_since_epoch().count(); }
inline TimePoint FromNanoseconds(int64_t ns) { return TimePoint(Duration(ns)); }

}  // namespace shoal
