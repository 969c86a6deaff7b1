#include "runtime/io/doorbell.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "runtime/io/ring.h"

namespace shoal::io {
namespace {

// Two hand-offs each. doorbell_slow_test builds this file with half a million.
#ifndef SHOAL_DOORBELL_ROUNDS
#define SHOAL_DOORBELL_ROUNDS 20'000
#endif
constexpr uint64_t kRounds = SHOAL_DOORBELL_ROUNDS;

UniqueFd Copy(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
DoorbellHandle HandleOf(const Doorbell& bell) {
  return DoorbellHandle(Copy(bell.memory_fd()), Copy(bell.event_fd()));
}
bool EventIsSet(const Doorbell& bell, int timeout_ms = 0) {
  pollfd ready{.fd = bell.event_fd(), .events = POLLIN, .revents = 0};
  return poll(&ready, 1, timeout_ms) == 1;
}

TEST(Doorbell, MakesNoEventWhileTheReceiverIsAwake) {
  Doorbell bell = *Doorbell::Create();
  DoorbellHandle handle = HandleOf(bell);
  ASSERT_TRUE(handle.usable());
  handle.Ring();
  EXPECT_FALSE(EventIsSet(bell));
}

TEST(Doorbell, WakesASleeperOnce) {
  Doorbell bell = *Doorbell::Create();
  DoorbellHandle a = HandleOf(bell), b = HandleOf(bell);
  bell.PrepareSleep();
  a.Ring();
  b.Ring();
  uint64_t rings = 0;
  ASSERT_EQ(read(bell.event_fd(), &rings, sizeof(rings)), 8);
  EXPECT_EQ(rings, 1u) << "one system call per sleep, however many senders";
  bell.Wake();
  EXPECT_FALSE(EventIsSet(bell));
}

TEST(Doorbell, AnEventThatCameLateDoesNotStaySet) {
  Doorbell bell = *Doorbell::Create();
  // As a sender would that took the flag down before an earlier Wake and wrote only after it.
  const uint64_t one = 1;
  ASSERT_EQ(write(bell.event_fd(), &one, sizeof(one)), 8);
  bell.PrepareSleep();
  EXPECT_TRUE(EventIsSet(bell));
  bell.Wake();
  bell.PrepareSleep();
  EXPECT_FALSE(EventIsSet(bell));
}

TEST(Doorbell, DescriptorsThatAreNotADoorbellAreNeverWrittenTo) {
  Doorbell bell = *Doorbell::Create();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  UniqueFd near(ends[0]), far(ends[1]);
  EXPECT_FALSE(DoorbellHandle(Copy(bell.memory_fd()), std::move(near)).usable());
  EXPECT_FALSE(DoorbellHandle(Copy(bell.memory_fd()), UniqueFd(eventfd(0, EFD_CLOEXEC))).usable())
      << "it could block";
  EXPECT_FALSE(DoorbellHandle(UniqueFd(), Copy(bell.event_fd())).usable());
  EXPECT_FALSE(
      DoorbellHandle(UniqueFd(memfd_create("t", MFD_CLOEXEC)), Copy(bell.event_fd())).usable());
  DoorbellHandle(UniqueFd(), UniqueFd()).Ring();
}

// One end of a ping-pong in which each side sleeps whenever it finds nothing. A lost wake-up shows
// as a sleep that outlasts the patience; returns how many messages came before.
uint64_t PingPong(RingPair* pair, Doorbell* bell, DoorbellHandle* peer, uint64_t count,
                  bool first) {
  constexpr int kPatienceMs = 20'000;
  const auto say = [&](uint64_t value) {
    char* const to = pair->out().Reserve(sizeof(value));
    memcpy(to, &value, sizeof(value));
    pair->out().Commit();
    peer->Ring();
  };
  if (first) say(0);
  for (uint64_t i = 0; i < count; ++i) {
    std::string_view record;
    while (!pair->in().Peek(&record)) {
      bell->PrepareSleep();
      if (!pair->in().HasData() && !EventIsSet(*bell, kPatienceMs)) return i;
      bell->Wake();
    }
    uint64_t value = 0;
    memcpy(&value, record.data(), sizeof(value));
    pair->in().Pop();
    pair->in().Publish();
    if (value != i) return i;
    if (first ? i + 1 < count : true) say(first ? i + 1 : i);
  }
  return count;
}

TEST(Doorbell, LosesNoWakeUpBetweenThreads) {
  auto near = *RingPair::Create();
  auto far = *RingPair::Attach(Copy(near->memfd().get()));
  Doorbell near_bell = *Doorbell::Create(), far_bell = *Doorbell::Create();
  uint64_t far_count = 0;
  std::thread other([&] {
    DoorbellHandle peer = HandleOf(near_bell);
    far_count = PingPong(far.get(), &far_bell, &peer, kRounds, /*first=*/false);
  });
  DoorbellHandle peer = HandleOf(far_bell);
  EXPECT_EQ(PingPong(near.get(), &near_bell, &peer, kRounds, /*first=*/true), kRounds);
  other.join();
  EXPECT_EQ(far_count, kRounds);
}

TEST(Doorbell, LosesNoWakeUpBetweenProcesses) {
  auto near = *RingPair::Create();
  Doorbell near_bell = *Doorbell::Create(), far_bell = *Doorbell::Create();
  const pid_t child = fork();
  if (child == 0) {
    auto far = *RingPair::Attach(Copy(near->memfd().get()));
    DoorbellHandle peer = HandleOf(near_bell);
    _exit(PingPong(far.get(), &far_bell, &peer, kRounds, /*first=*/false) == kRounds ? 0 : 1);
  }
  DoorbellHandle peer = HandleOf(far_bell);
  EXPECT_EQ(PingPong(near.get(), &near_bell, &peer, kRounds, /*first=*/true), kRounds);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// Streams, where the sender is ahead and both the sleeping and the ringing race all the time.
TEST(Doorbell, LosesNoWakeUpInAStream) {
  constexpr uint64_t kCount = 1'000'000;
  auto near = *RingPair::Create();
  auto far = *RingPair::Attach(Copy(near->memfd().get()));
  Doorbell bell = *Doorbell::Create();
  std::thread sender([&] {
    DoorbellHandle handle = HandleOf(bell);
    for (uint64_t i = 0; i < kCount; ++i) {
      while (!near->out().TryWrite("12345678")) std::this_thread::yield();
      handle.Ring();
    }
  });
  uint64_t received = 0;
  bool lost = false;
  while (received < kCount && !lost) {
    std::string_view record;
    while (far->in().Peek(&record)) {
      far->in().Pop();
      ++received;
    }
    far->in().Publish();
    bell.PrepareSleep();
    if (received < kCount && !far->in().HasData()) lost = !EventIsSet(bell, 20'000);
    bell.Wake();
  }
  EXPECT_FALSE(lost);
  sender.join();
}

}  // namespace
}  // namespace shoal::io
