// What a message costs on the way between two processes of a node: through the ring alone, with a
// reader that spins, with one that sleeps, and through the unix socket that the rings replace.
//
//   build/dev/bench/ring_bench --benchmark_format=json
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "objectstore/shm/arena.h"
#include "runtime/io/doorbell.h"
#include "runtime/io/local_socket.h"
#include "runtime/io/ring.h"

namespace shoal::io {
namespace {

UniqueFd Copy(int fd) { return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

void BM_WriteAndReadInOneThread(benchmark::State& state) {
  auto near = *RingPair::Create();
  auto far = *RingPair::Attach(Copy(near->memfd().get()));
  const size_t size = static_cast<size_t>(state.range(0));
  const std::string record(size, 'x');
  for (auto _ : state) {
    for (int i = 0; i < 16; ++i) near->out().TryWrite(record);
    std::string_view got;
    while (far->in().Peek(&got)) {
      benchmark::DoNotOptimize(got.data());
      far->in().Pop();
    }
    far->in().Publish();
  }
  state.SetItemsProcessed(state.iterations() * 16);
  state.SetBytesProcessed(state.iterations() * 16 * static_cast<int64_t>(size));
}
BENCHMARK(BM_WriteAndReadInOneThread)->Arg(64)->Arg(1024)->Arg(16384);

// Answers each record until an empty one comes; sleeps after `spins` looks without success.
void Echo(RingPair* pair, Doorbell* bell, DoorbellHandle peer, int spins) {
  std::string_view record;
  while (true) {
    for (int i = 0; i < spins && !pair->in().HasData(); ++i) __builtin_ia32_pause();
    while (!pair->in().Peek(&record)) {
      bell->PrepareSleep();
      pollfd ready{.fd = bell->event_fd(), .events = POLLIN, .revents = 0};
      if (!pair->in().HasData()) poll(&ready, 1, -1);
      bell->Wake();
    }
    const bool end = record.empty();
    pair->in().Pop();
    pair->in().Publish();
    if (end) return;
    pair->out().TryWrite("12345678");
    peer.Ring();
  }
}

// The argument is the number of looks before a side sleeps: 0 is always asleep, a million never.
void BM_RoundTrip(benchmark::State& state) {
  auto near = *RingPair::Create();
  auto far = *RingPair::Attach(Copy(near->memfd().get()));
  Doorbell near_bell = *Doorbell::Create(), far_bell = *Doorbell::Create();
  const int spins = static_cast<int>(state.range(0));
  std::thread echo([&] {
    Echo(far.get(), &far_bell,
         DoorbellHandle(Copy(near_bell.memory_fd()), Copy(near_bell.event_fd())), spins);
  });
  DoorbellHandle peer(Copy(far_bell.memory_fd()), Copy(far_bell.event_fd()));
  for (auto _ : state) {
    near->out().TryWrite("12345678");
    peer.Ring();
    std::string_view record;
    for (int i = 0; i < spins && !near->in().HasData(); ++i) __builtin_ia32_pause();
    while (!near->in().Peek(&record)) {
      near_bell.PrepareSleep();
      pollfd ready{.fd = near_bell.event_fd(), .events = POLLIN, .revents = 0};
      if (!near->in().HasData()) poll(&ready, 1, -1);
      near_bell.Wake();
    }
    near->in().Pop();
    near->in().Publish();
  }
  near->out().TryWrite("");
  peer.Ring();
  echo.join();
}
BENCHMARK(BM_RoundTrip)->Arg(0)->Arg(1'000'000)->UseRealTime();

void BM_SocketRoundTrip(benchmark::State& state) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return;
  LocalSocket near{UniqueFd(ends[0])}, far{UniqueFd(ends[1])};
  const auto receive = [](LocalSocket& socket) {
    LocalFrame frame;
    std::vector<UniqueFd> fds;
    while (true) {
      const auto got = socket.Receive(&frame, &fds);
      if (!got.ok() || *got) return got.ok();
      pollfd ready{.fd = socket.fd(), .events = POLLIN, .revents = 0};
      poll(&ready, 1, -1);
    }
  };
  std::thread echo([&] {
    while (receive(far)) static_cast<void>(far.Send({.bytes = "12345678"}, {}));
  });
  for (auto _ : state) {
    static_cast<void>(near.Send({.bytes = "12345678"}, {}));
    receive(near);
  }
  near.Close();
  echo.join();
}
BENCHMARK(BM_SocketRoundTrip)->UseRealTime();

void BM_CopyInto(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  auto arena = *Arena::Create(size);
  if (!arena->EnsureBacked(0, size).ok()) return state.SkipWithError("no memory");
  const std::string from(size, 'x');
  const bool plain = state.range(1) != 0;
  for (auto _ : state) {
    if (plain) {
      std::memcpy(arena->data(), from.data(), size);
    } else {
      CopyInto(arena->data(), from.data(), size);
    }
    benchmark::ClobberMemory();
  }
  state.SetLabel(plain ? "memcpy" : "CopyInto");
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(size));
}
BENCHMARK(BM_CopyInto)->ArgsProduct({{64 << 10, 4 << 20, 64 << 20}, {0, 1}});

}  // namespace
}  // namespace shoal::io
