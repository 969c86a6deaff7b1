#include "runtime/io/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace shoal::io {
namespace {

// Both ends in one process, each with a mapping of its own.
struct Ends {
  explicit Ends(size_t bytes = kRingBytes) {
    near = *RingPair::Create(bytes);
    far = *RingPair::Attach(UniqueFd(fcntl(near->memfd().get(), F_DUPFD_CLOEXEC, 0)));
  }
  // A third mapping, as a broken peer would scribble on it. Offsets as in ring.cc.
  char* Scribble() {
    const off_t size = lseek(near->memfd().get(), 0, SEEK_END);
    void* at = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED,
                    near->memfd().get(), 0);
    return static_cast<char*>(at);
  }
  RingHeader* Header() { return reinterpret_cast<RingHeader*>(Scribble()); }
  char* Bytes() { return Scribble() + 4096; }

  std::unique_ptr<RingPair> near, far;
};

std::string Pattern(size_t size, uint64_t seed) {
  std::string bytes(size, '\0');
  Rng rng(seed);
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = rng.Next();
    std::memcpy(&bytes[i], &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

std::string Take(RingReader& in) {
  std::string_view record;
  if (!in.Peek(&record)) return "<nothing>";
  std::string copy(record);
  in.Pop();
  in.Publish();
  return copy;
}

TEST(Ring, CarriesRecordsInOrderBothWays) {
  Ends ends;
  EXPECT_TRUE(ends.near->out().TryWrite("one"));
  EXPECT_TRUE(ends.near->out().TryWrite(""));
  EXPECT_TRUE(ends.far->out().TryWrite("back"));
  char* const to = ends.near->out().Reserve(3);
  ASSERT_NE(to, nullptr);
  std::memcpy(to, "two", 3);
  EXPECT_TRUE(ends.far->in().HasData());
  ends.near->out().Commit();
  EXPECT_EQ(Take(ends.far->in()), "one");
  EXPECT_EQ(Take(ends.far->in()), "");
  EXPECT_EQ(Take(ends.far->in()), "two");
  EXPECT_EQ(Take(ends.far->in()), "<nothing>");
  EXPECT_EQ(Take(ends.near->in()), "back");
  EXPECT_TRUE(ends.near->status().ok());
}

TEST(Ring, ShowsNothingBeforeCommitAndForgetsAnAbandonedReservation) {
  Ends ends;
  ASSERT_NE(ends.near->out().Reserve(100), nullptr);
  EXPECT_FALSE(ends.far->in().HasData());
  EXPECT_TRUE(ends.near->out().TryWrite("kept"));
  EXPECT_EQ(Take(ends.far->in()), "kept");
  EXPECT_FALSE(ends.far->in().HasData());
}

TEST(Ring, PeekGivesTheSameRecordUntilPop) {
  Ends ends;
  const std::string large = Pattern(kRingBytes / 2, 1);
  EXPECT_TRUE(ends.near->out().TryWrite("a"));
  EXPECT_TRUE(ends.near->out().TryWrite(large));
  std::string_view record;
  ASSERT_TRUE(ends.far->in().Peek(&record));
  ASSERT_TRUE(ends.far->in().Peek(&record));
  EXPECT_EQ(record, "a");
  ends.far->in().Pop();
  ASSERT_TRUE(ends.far->in().Peek(&record));
  ASSERT_TRUE(ends.far->in().Peek(&record));
  EXPECT_EQ(record, large);
  ends.far->in().Pop();
  ends.far->in().Pop();  // nothing to pop
  EXPECT_FALSE(ends.far->in().Peek(&record));
}

TEST(Ring, RefusesWhatDoesNotFitUntilTheReaderGivesRoomBack) {
  Ends ends(kMinRingBytes);
  const std::string record(1000, 'x');
  int written = 0;
  while (ends.near->out().TryWrite(record)) ++written;
  EXPECT_EQ(written, 4);
  std::string_view got;
  ASSERT_TRUE(ends.far->in().Peek(&got));
  ends.far->in().Pop();
  EXPECT_FALSE(ends.near->out().TryWrite(record)) << "popped, but not published";
  ends.far->in().Publish();
  EXPECT_TRUE(ends.near->out().TryWrite(record));
}

TEST(Ring, CarriesAnyMixOfSizesAcrossTheWrap) {
  Ends ends(kMinRingBytes);
  Rng rng(7);
  uint64_t sent = 0, received = 0;
  while (received < 20'000) {
    const size_t size = Rng(sent).Below(1024 + 1);
    if (rng.Chance(0.5) && ends.near->out().TryWrite(Pattern(size, sent))) ++sent;
    std::string_view record;
    if (rng.Chance(0.5) && ends.far->in().Peek(&record)) {
      ASSERT_EQ(record, Pattern(Rng(received).Below(1024 + 1), received));
      ends.far->in().Pop();
      ends.far->in().Publish();
      ++received;
    }
  }
  EXPECT_TRUE(ends.far->status().ok());
}

TEST(Ring, ARecordLargerThanTheRingArrivesWholeAndTheNextOnesAfterIt) {
  Ends ends(kMinRingBytes);
  const std::string large = Pattern(1'000'001, 3);
  bool written = ends.near->out().TryWrite(large);
  EXPECT_FALSE(written);
  EXPECT_EQ(ends.near->out().Reserve(1), nullptr) << "a large record is under way";
  std::string_view record;
  while (!written) {
    ASSERT_FALSE(ends.far->in().Peek(&record));
    written = ends.near->out().TryWrite(large);
  }
  EXPECT_EQ(Take(ends.far->in()), large);
  EXPECT_TRUE(ends.near->out().TryWrite("next"));
  EXPECT_EQ(Take(ends.far->in()), "next");
}

TEST(Ring, ARecordOfTheLargestSizePassesBetweenProcesses) {
  auto made = *RingPair::Create();
  const std::string large = Pattern(kMaxRecordBytes, 5);
  const pid_t child = fork();
  if (child == 0) {
    auto mine = *RingPair::Attach(UniqueFd(fcntl(made->memfd().get(), F_DUPFD_CLOEXEC, 0)));
    std::string_view record;
    while (!mine->in().Peek(&record)) {
    }
    const bool same = record == large;
    while (!mine->out().TryWrite(same ? "same" : "different")) {
    }
    _exit(0);
  }
  while (!made->out().TryWrite(large)) std::this_thread::yield();
  std::string_view answer;
  while (!made->in().Peek(&answer)) std::this_thread::yield();
  EXPECT_EQ(answer, "same");
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Ring, TwoThreadsExchangeAMillionRecordsUnharmed) {
  Ends ends(64 << 10);
  constexpr uint64_t kCount = 1'000'000;
  std::thread writer([&] {
    for (uint64_t i = 0; i < kCount; ++i) {
      const size_t size = 8 + i % 61;
      char* to;
      while ((to = ends.near->out().Reserve(size)) == nullptr) std::this_thread::yield();
      std::memset(to, static_cast<int>(i & 0xff), size);
      std::memcpy(to, &i, sizeof(i));
      ends.near->out().Commit();
    }
  });
  uint64_t next = 0, wrong = 0;
  while (next < kCount) {
    std::string_view record;
    bool any = false;
    while (ends.far->in().Peek(&record)) {
      uint64_t value = 0;
      std::memcpy(&value, record.data(), sizeof(value));
      const bool right = value == next && record.size() == 8 + next % 61 &&
                         (record.size() == 8 || record.back() == static_cast<char>(next & 0xff));
      wrong += right ? 0 : 1;
      ++next;
      any = true;
      ends.far->in().Pop();
    }
    if (any) ends.far->in().Publish();
    if (!any) std::this_thread::yield();
  }
  writer.join();
  EXPECT_EQ(wrong, 0u);
}

TEST(Ring, AHeadBeyondTheRingMakesTheReaderCorruptForGood) {
  Ends ends;
  EXPECT_TRUE(ends.near->out().TryWrite("good"));
  ends.Header()->head = kRingBytes * 3;
  EXPECT_EQ(Take(ends.far->in()), "<nothing>");
  EXPECT_TRUE(ends.far->in().corrupt());
  EXPECT_EQ(ends.far->status().code(), absl::StatusCode::kDataLoss);
  ends.Header()->head = 16;
  EXPECT_FALSE(ends.far->in().HasData());
  EXPECT_EQ(Take(ends.far->in()), "<nothing>");
}

TEST(Ring, ATailThatCannotBeMakesTheWriterCorruptForGood) {
  for (const uint64_t tail : {uint64_t{4'000'000}, ~uint64_t{0}, uint64_t{12}}) {
    Ends ends(kMinRingBytes);
    while (ends.near->out().TryWrite(std::string(1000, 'x'))) {
    }
    ends.Header()->tail = tail;
    EXPECT_FALSE(ends.near->out().TryWrite(std::string(1000, 'x')));
    EXPECT_TRUE(ends.near->out().corrupt()) << tail;
    EXPECT_EQ(ends.near->status().code(), absl::StatusCode::kDataLoss);
    ends.Header()->tail = 0;
    EXPECT_FALSE(ends.near->out().TryWrite("")) << "for good";
  }
}

TEST(Ring, LengthsThatLieAreRefused) {
  const uint32_t lies[] = {
      100'000,                        // beyond what was written
      0x3fffffff,                     // the largest
      0x80000000,                     // an empty chunk
      0x40000000 | (kRingBytes * 2),  // a chunk larger than the ring
      0xffffffff,                     // a wrap marker with nothing after it
  };
  for (const uint32_t lie : lies) {
    Ends ends;
    EXPECT_TRUE(ends.near->out().TryWrite("record"));
    std::memcpy(ends.Bytes(), &lie, sizeof(lie));
    EXPECT_EQ(Take(ends.far->in()), "<nothing>");
    EXPECT_TRUE(ends.far->in().corrupt()) << std::hex << lie;
  }
}

TEST(Ring, ARecordInTheMiddleOfALargeOneIsRefused) {
  Ends ends;
  EXPECT_TRUE(ends.near->out().TryWrite(Pattern(kRingBytes / 2, 1)));
  EXPECT_TRUE(ends.near->out().TryWrite("record"));
  const uint32_t plain = 8;
  std::memcpy(ends.Bytes() + kRingBytes / 8 + 8, &plain,
              sizeof(plain));  // where the second chunk began
  EXPECT_EQ(Take(ends.far->in()), "<nothing>");
  EXPECT_TRUE(ends.far->in().corrupt());
}

TEST(Ring, NoGarbageInTheSharedMemoryHurtsEitherEnd) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Ends ends(kMinRingBytes);
    Rng rng(seed);
    char* const shared = ends.Scribble();
    for (int step = 0; step < 200; ++step) {
      const uint64_t garbage = rng.Chance(0.5) ? rng.Next() : rng.Below(kMinRingBytes) * 8;
      const size_t at = rng.Chance(0.3) ? (rng.Chance(0.5) ? 0 : 64) : rng.Below(1024) * 8;
      if (rng.Chance(0.2)) std::memcpy(shared + at, &garbage, sizeof(garbage));
      ends.near->out().TryWrite(std::string(rng.Below(1024), 'x'));
      std::string_view record;
      for (int i = 0; i < 3 && ends.far->in().Peek(&record); ++i) {
        ASSERT_LE(record.size(), kMaxRecordBytes);
        ends.far->in().Pop();
        ends.far->in().Publish();
      }
    }
    munmap(shared, 2 * (4096 + kMinRingBytes));
  }
}

TEST(RingPair, RefusesMemoryThatIsNotARing) {
  const auto refused = [](UniqueFd fd) { return RingPair::Attach(std::move(fd)).status().code(); };
  EXPECT_EQ(refused(UniqueFd()), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused(UniqueFd(open("/dev/null", O_RDWR))), absl::StatusCode::kInvalidArgument);
  UniqueFd unsealed(memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 2 * (4096 + kRingBytes)), 0);
  EXPECT_EQ(refused(std::move(unsealed)), absl::StatusCode::kInvalidArgument);
  UniqueFd small(memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(small.get(), 100), 0);
  ASSERT_EQ(fcntl(small.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refused(std::move(small)), absl::StatusCode::kInvalidArgument);
  UniqueFd blank(memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(blank.get(), 2 * (4096 + kRingBytes)), 0);
  ASSERT_EQ(fcntl(blank.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refused(std::move(blank)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(RingPair::Create(12345).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(RingPair, IsAttachedOnlyOnceItHasNotBeenUsed) {
  Ends ends;
  EXPECT_TRUE(ends.far->out().TryWrite("x"));
  const auto again =
      RingPair::Attach(UniqueFd(fcntl(ends.near->memfd().get(), F_DUPFD_CLOEXEC, 0)));
  EXPECT_EQ(again.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace shoal::io
