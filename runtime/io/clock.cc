#include "runtime/io/clock.h"

#include <sys/random.h>
#include <time.h>

#include "base/check.h"

namespace shoal::io {
namespace {

int64_t Read(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

// CLOCK_MONOTONIC is read without a syscall, CLOCK_BOOTTIME with one on some kernels; leases that
// must count suspended time are fenced by missing heartbeats as well.
TimePoint MonotonicNow() { return FromNanoseconds(Read(CLOCK_MONOTONIC)); }
int64_t WallClockNs() { return Read(CLOCK_REALTIME); }

uint64_t RandomSeed() {
  uint64_t seed = 0;
  SHOAL_CHECK(getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
      << "the kernel gives no random numbers";
  return seed;
}

}  // namespace shoal::io
