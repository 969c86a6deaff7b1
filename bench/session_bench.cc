// How many messages of 64 bytes a link carries, undisturbed: two sessions alone, and two daemons over ZeroMQ, CURVE
// and loopback.
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "runtime/io/clock.h"
#include "runtime/io/network.h"
#include "runtime/session/session.h"

namespace shoal {
namespace {

using session::Session;
using session::SessionActions;

constexpr int kBatch = 1000;

session::SessionOptions Options(bool head) {
  const NodeId node{7};
  return {.role = head ? Role::kHead : Role::kRaylet,
          .self = head ? NodeId{} : node,
          .incarnation = head ? 1u : 2u,
          .peer = head ? node : NodeId{}};
}

// Carries frames of both until there are none; returns how many messages came out at `b`.
size_t Exchange(TimePoint now, Session& a, SessionActions& from_a, Session& b, SessionActions& from_b) {
  size_t delivered = 0;
  SessionActions answers;
  while (!from_a.frames.empty() || !from_b.frames.empty()) {
    for (const std::string& frame : from_a.frames) b.OnFrame(now, frame, &answers);
    from_a.Clear();
    for (const std::string& frame : from_b.frames) a.OnFrame(now, frame, &from_a);
    from_b.Clear();
    delivered += answers.delivered.size();
    answers.delivered.clear();
    std::swap(answers, from_b);
  }
  return delivered;
}

void BM_TwoSessions(benchmark::State& state) {
  TimePoint now = FromNanoseconds(1'000'000'000);
  Session a(Options(true), Rng(1)), b(Options(false), Rng(2));
  SessionActions from_a, from_b;
  a.Start(now, &from_a);
  b.Start(now, &from_b);
  Exchange(now, a, from_a, b, from_b);
  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  size_t delivered = 0;
  for (auto _ : state) {
    now += 1ms;
    for (int i = 0; i < kBatch; ++i) a.Send(now, message, &from_a);
    a.Flush(now, &from_a);
    delivered += Exchange(now, a, from_a, b, from_b);
  }
  state.SetItemsProcessed(static_cast<int64_t>(delivered));
}
BENCHMARK(BM_TwoSessions)->Arg(64)->Arg(1024);

// A daemon in a thread of its own that counts what it is handed.
struct Daemon {
  Daemon(NodeId node, const io::KeyPair& keys, bool listens) : loop(*io::EventLoop::Create()) {
    io::NetworkHandlers handlers;
    handlers.deliver = [this](const Address&, const Address&, std::string) {
      if (++received % kBatch != 0) return;
      std::lock_guard lock(mutex);
      changed.notify_one();
    };
    network = *io::Network::Start({.keys = keys,
                                   .role = node ? Role::kRaylet : Role::kHead,
                                   .self = node,
                                   .incarnation = io::RandomSeed() | 1,
                                   .listen_host = listens ? "127.0.0.1" : ""},
                                  loop.get(), std::move(handlers));
  }
  ~Daemon() {
    loop->Stop();
    thread.join();
    network.reset();
  }
  void Run() {
    thread = std::thread([this] { loop->Run(); });
  }

  std::unique_ptr<io::EventLoop> loop;
  std::unique_ptr<io::Network> network;
  std::atomic<uint64_t> received = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::thread thread;
};

void BM_TwoDaemons(benchmark::State& state) {
  const io::KeyPair head_keys = io::KeyPair::Draw(), node_keys = io::KeyPair::Draw();
  Daemon head(NodeId{}, head_keys, true), node(NodeId{7}, node_keys, false);
  head.network->SetPeers({{NodeId{7}, "", node_keys.public_key}});
  node.network->SetPeers({{NodeId{}, absl::StrCat("127.0.0.1:", head.network->port()), head_keys.public_key}});
  head.Run();
  node.Run();
  const std::string message(static_cast<size_t>(state.range(0)), 'x');
  constexpr uint64_t kInFlight = 64 * kBatch;
  uint64_t sent = 0;
  const auto await = [&](uint64_t count) {
    std::unique_lock lock(head.mutex);
    head.changed.wait(lock, [&] { return head.received >= count; });
  };
  const auto send_batch = [&] {
    node.loop->Post([&node, &message] {
      for (int i = 0; i < kBatch; ++i) {
        static_cast<void>(node.network->Send(NodeId{}, Address::Raylet(NodeId{7}), Address::Head(), message));
      }
    });
    sent += kBatch;
  };
  send_batch();
  await(sent);  // connected
  for (auto _ : state) {
    send_batch();
    if (sent > kInFlight) await(sent - kInFlight);
  }
  await(sent);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kBatch);
}
BENCHMARK(BM_TwoDaemons)->Arg(64)->Arg(1024)->UseRealTime();

}  // namespace
}  // namespace shoal
