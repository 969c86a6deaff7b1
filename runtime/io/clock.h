// The one place that reads clocks and the kernel's random numbers.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace shoal::io {

// Since boot; never jumps.
TimePoint MonotonicNow();
// Nanoseconds since 1970, for people only.
int64_t WallClockNs();
// From getrandom(2).
uint64_t RandomSeed();

}  // namespace shoal::io
