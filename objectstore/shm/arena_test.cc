#include "objectstore/shm/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace shoal {
namespace {

using absl::StatusCode;

constexpr uint64_t kMiB = uint64_t{1} << 20;

uint64_t ReservedBytes(const Arena& arena) {
  struct stat info {};
  EXPECT_EQ(fstat(arena.fd(), &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

TEST(Arena, TakesMemoryOnlyAsItIsAskedFor) {
  auto arena = *Arena::Create(uint64_t{1} << 40);
  EXPECT_EQ(ReservedBytes(*arena), 0u);
  ASSERT_TRUE(arena->EnsureBacked(10 * kMiB, 3 * kMiB).ok());
  EXPECT_EQ(ReservedBytes(*arena), 3 * kMiB);
  ASSERT_TRUE(arena->EnsureBacked(10 * kMiB, 3 * kMiB).ok());
  ASSERT_TRUE(arena->EnsureBacked(11 * kMiB + 5, 7).ok());
  EXPECT_EQ(ReservedBytes(*arena), 3 * kMiB);
  // Reaching over what is known on both sides.
  ASSERT_TRUE(arena->EnsureBacked(9 * kMiB, 6 * kMiB).ok());
  EXPECT_EQ(ReservedBytes(*arena), 6 * kMiB);
}

TEST(Arena, AnOddSizeIsUsableToItsLastByte) {
  auto arena = *Arena::Create(kMiB + 1);
  EXPECT_EQ(arena->size(), kMiB + 4096);
  ASSERT_TRUE(arena->EnsureBacked(0, arena->size()).ok());
  arena->data()[arena->size() - 1] = 'x';
}

TEST(Arena, RangesOutsideAreErrors) {
  auto arena = *Arena::Create(4 * kMiB);
  EXPECT_EQ(arena->EnsureBacked(4 * kMiB, 1).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(arena->EnsureBacked(0, 4 * kMiB + 1).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(arena->EnsureBacked(~uint64_t{0}, 2).code(), StatusCode::kOutOfRange);
  EXPECT_EQ(arena->EnsureBacked(1, ~uint64_t{0}).code(), StatusCode::kOutOfRange);
  EXPECT_TRUE(arena->EnsureBacked(4 * kMiB, 0).ok());
  EXPECT_EQ(Arena::Create(0).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Arena::Create(~uint64_t{0}).status().code(), StatusCode::kInvalidArgument);
}

TEST(Arena, WhatOneProcessWritesAnotherReads) {
  auto arena = *Arena::Create(8 * kMiB);
  const pid_t child = fork();
  if (child == 0) {
    auto mine = Arena::Attach(fcntl(arena->fd(), F_DUPFD_CLOEXEC, 0), /*writable=*/true);
    if (!mine.ok() || !(*mine)->EnsureBacked(5 * kMiB, 100).ok()) _exit(1);
    std::strcpy((*mine)->data() + 5 * kMiB, "from the child");
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  EXPECT_STREQ(arena->data() + 5 * kMiB, "from the child");
}

TEST(Arena, AReaderCanNeitherWriteNorMapWritable) {
  auto arena = *Arena::Create(kMiB);
  ASSERT_TRUE(arena->EnsureBacked(0, kMiB).ok());
  arena->data()[0] = 'r';
  auto reader = *Arena::Attach(*arena->OpenReadOnly(), /*writable=*/false);
  EXPECT_EQ(reader->data()[0], 'r');
  EXPECT_EQ(reader->EnsureBacked(0, 1).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(Arena::Attach(*arena->OpenReadOnly(), /*writable=*/true).status().code(),
            StatusCode::kPermissionDenied);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    reader->data()[0] = 'w';
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(arena->data()[0], 'r');
}

TEST(Arena, NobodyCanPullPagesAwayByShrinking) {
  auto arena = *Arena::Create(kMiB);
  EXPECT_NE(ftruncate(arena->fd(), 0), 0);
  EXPECT_NE(ftruncate(arena->fd(), 2 * kMiB), 0);
}

TEST(Arena, MemoryThatIsNotAnArenaIsRefused) {
  EXPECT_EQ(Arena::Attach(-1, true).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Arena::Attach(open("/dev/null", O_RDWR), true).status().code(),
            StatusCode::kInvalidArgument);
  const int unsealed = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(unsealed, 4096), 0);
  EXPECT_EQ(Arena::Attach(unsealed, true).status().code(), StatusCode::kInvalidArgument);
}

// What the machine has left, as the tests want it.
uint64_t g_headroom = 0;
uint64_t TestHeadroom() { return g_headroom; }

TEST(Arena, AMachineWithoutMemoryIsAnErrorAndWhatFitsStillFits) {
  g_headroom = Arena::kKeepFreeBytes + 10 * kMiB;
  auto arena = *Arena::Create(64 * kMiB, &TestHeadroom);
  EXPECT_TRUE(arena->EnsureBacked(0, 10 * kMiB).ok());
  // The granule around it does not fit any more, the range itself does.
  g_headroom = Arena::kKeepFreeBytes + 4096;
  EXPECT_TRUE(arena->EnsureBacked(10 * kMiB, 4096).ok());
  g_headroom = Arena::kKeepFreeBytes;
  EXPECT_EQ(arena->EnsureBacked(20 * kMiB, kMiB).code(), StatusCode::kResourceExhausted);
  g_headroom = 0;
  EXPECT_EQ(arena->EnsureBacked(20 * kMiB, kMiB).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ReservedBytes(*arena), 10 * kMiB + 4096);
  EXPECT_TRUE(arena->EnsureBacked(5 * kMiB, 5 * kMiB).ok()) << "reserved before";
  g_headroom = ~uint64_t{0};
  EXPECT_TRUE(arena->EnsureBacked(0, 64 * kMiB).ok());
}

TEST(Arena, PagesThatAnotherProcessFilledCostNothingWhenMemoryIsShort) {
  g_headroom = ~uint64_t{0};
  auto arena = *Arena::Create(16 * kMiB, &TestHeadroom);
  ASSERT_TRUE(arena->EnsureBacked(0, 4 * kMiB).ok());
  std::memset(arena->data(), 'x', 4 * kMiB);
  g_headroom = 0;
  auto other = *Arena::Attach(fcntl(arena->fd(), F_DUPFD_CLOEXEC, 0), true, &TestHeadroom);
  EXPECT_TRUE(other->EnsureBacked(kMiB, 2 * kMiB).ok());
  EXPECT_EQ(other->EnsureBacked(3 * kMiB, 2 * kMiB).code(), StatusCode::kResourceExhausted);
}

TEST(MemoryHeadroom, ReadsWhatTheKernelSays) {
  const std::string_view meminfo = "MemTotal:  24 kB\nMemAvailable:   12345 kB\nSwap: 1 kB\n";
  EXPECT_EQ(internal::FindNumber(meminfo, "MemAvailable", 7), 12345u);
  EXPECT_EQ(internal::FindNumber(meminfo, "MemAvail", 7), 7u);
  EXPECT_EQ(internal::FindNumber(meminfo, "Absent", 7), 7u);
  EXPECT_EQ(internal::FindNumber("MemAvailable: none", "MemAvailable", 7), 7u);
  EXPECT_EQ(internal::FindNumber("MemAvailable:", "MemAvailable", 7), 7u);
}

TEST(MemoryHeadroom, CountsFileCacheAsFreeAndNeverGoesBelowZero) {
  EXPECT_EQ(internal::CgroupHeadroom("max\n", "100\n", ""), UINT64_MAX);
  EXPECT_EQ(internal::CgroupHeadroom("", "", ""), UINT64_MAX);
  EXPECT_EQ(internal::CgroupHeadroom("1000\n", "600\n", ""), 400u);
  EXPECT_EQ(internal::CgroupHeadroom("1000\n", "600\n", "active_file 100\ninactive_file 50\n"),
            550u);
  EXPECT_EQ(internal::CgroupHeadroom("1000\n", "1600\n", ""), 0u);
  EXPECT_EQ(internal::CgroupHeadroom("1000\n", "600\n", "inactive_file 9999\n"), 1000u);
}

TEST(MemoryHeadroom, ThisMachineHasSome) {
  EXPECT_GT(MemoryHeadroom(), 0u);
  EXPECT_LT(MemoryHeadroom(), uint64_t{1} << 50);
}

TEST(Arena, PrefaultsInTheBackgroundWithoutDisturbingWriters) {
  auto arena = *Arena::Create(64 * kMiB);
  ASSERT_TRUE(arena->EnsureBacked(0, 32 * kMiB).ok());
  arena->StartPrefault(32 * kMiB);
  std::memset(arena->data(), 'w', 32 * kMiB);
  while (arena->prefaulted_bytes() < 32 * kMiB) std::this_thread::yield();
  arena->StopPrefault();
  EXPECT_EQ(std::string_view(arena->data(), 32 * kMiB).find_first_not_of('w'),
            std::string_view::npos);
  EXPECT_EQ(ReservedBytes(*arena), 32 * kMiB);
}

TEST(Arena, StopsPrefaultingWhenItGoes) {
  auto arena = *Arena::Create(uint64_t{1} << 33);
  arena->StartPrefault(uint64_t{1} << 28);
  arena.reset();
}

TEST(CopyInto, CopiesEverySizeAtEveryAlignment) {
  Rng rng(1);
  std::string from(6 * kMiB, '\0');
  for (char& c : from) c = static_cast<char>(rng.Next());
  std::vector<char> to(6 * kMiB);
  const size_t sizes[] = {0,       1, 15, 16, 63, 64, 65, 4096, kMiB - 1, kMiB + 1, 4 * kMiB + 77,
                          5 * kMiB};
  for (const size_t size : sizes) {
    for (const size_t shift : {size_t{0}, size_t{1}, size_t{8}, size_t{15}}) {
      std::memset(to.data(), 0, to.size());
      CopyInto(to.data() + shift, from.data() + 3, size);
      ASSERT_EQ(std::memcmp(to.data() + shift, from.data() + 3, size), 0) << size << " " << shift;
      ASSERT_EQ(to[shift + size], 0);
      if (shift > 0) {
        ASSERT_EQ(to[shift - 1], 0);
      }
    }
  }
}

}  // namespace
}  // namespace shoal
