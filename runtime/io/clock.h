// The one place that reads clocks and the kernel's random numbers. Machines are handed the result;
// nothing below the shells calls this.
//
//   machine.OnTick(io::MonotonicNow(), &actions);
//   Rng rng(io::RandomSeed());
#pragma once

#include <cstdint>

#include "base/time.h"

namespace shoal::io {

// CLOCK_MONOTONIC: since boot, never jumps, stands still while the machine is suspended.
TimePoint MonotonicNow();
// CLOCK_REALTIME in nanoseconds since 1970. For people only: it jumps.
int64_t WallClockNs();
// 64 bits from getrandom(2).
uint64_t RandomSeed();

}  // namespace shoal::io
