// Messages to a server process that is killed with SIGKILL and started again, over the real network: sessions,
// ZeroMQ, CURVE. The server appends the number of each message that it is handed to a log in shared memory, one
// store each, and checks nothing: a message that is lost, comes twice or out of order is in the log for the parent
// to see.
//
// What was in flight when the server died is lost by contract, and the client is told so (peer_reset). It then waits
// for the server to say how much it has, and goes on from there: that is all that an application has to do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "runtime/io/clock.h"
#include "runtime/io/network.h"

namespace shoal::io {
namespace {

#ifdef SHOAL_SLOW
constexpr uint64_t kMessages = 1'000'000, kKills = 100;
#else
constexpr uint64_t kMessages = 100'000, kKills = 5;
#endif
constexpr size_t kMessageBytes = 64;
constexpr uint64_t kSayEvery = 1024;    // messages between two reports of the server
constexpr uint64_t kAhead = 16 * 1024;  // messages that the client sends beyond the last report
const NodeId kClient{7}, kServer{0};

// Memory that the server's death does not touch.
struct Shared {
  char server_keys[2][41];
  char client_key[41];
  std::atomic<uint32_t> port;
  uint64_t log[kMessages + kAhead];  // number + 1, in the order of arrival
};

Shared* Map(int fd) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  SHOAL_CHECK(memory != MAP_FAILED);
  return static_cast<Shared*>(memory);
}

// ---- the server process: argv "--server FD"

int RunServer(int fd) {
  Shared* shared = Map(fd);
  uint64_t have = 0;
  while (have < kMessages && shared->log[have] != 0) ++have;
  auto loop = *EventLoop::Create();
  Network* network = nullptr;
  const auto say = [&] {
    SHOAL_CHECK(network->Send(kClient, Address::Head(), Address::Raylet(kClient), absl::StrCat(have)).ok());
  };
  auto started = Network::Start({.keys = {shared->server_keys[0], shared->server_keys[1]},
                                 .role = Role::kHead,
                                 .incarnation = RandomSeed() | 1,
                                 .listen_host = "127.0.0.1",
                                 .port = static_cast<uint16_t>(shared->port.load())},
                                loop.get(),
                                {.deliver =
                                     [&](const Address&, const Address&, std::string message) {
                                       uint64_t number = 0;
                                       std::memcpy(&number, message.data(), sizeof(number));
                                       SHOAL_CHECK(message.size() == kMessageBytes && have < std::size(shared->log));
                                       shared->log[have++] = number + 1;
                                       if (have % kSayEvery == 0 || have == kMessages) say();
                                     },
                                 .peer_reset = [&](NodeId) { say(); }});
  SHOAL_CHECK(started.ok()) << started.status();
  network = started->get();
  shared->port = network->port();
  network->SetPeers({{kClient, "", shared->client_key}});
  say();
  loop->Run();
  return 0;
}

// ---- the client, in the test's process

class Client {
 public:
  explicit Client(int fd) : fd_(fd), shared_(Map(fd)), rng_(RandomSeed()) {}
  ~Client() {
    loop_->Stop();
    if (thread_.joinable()) thread_.join();
    network_.reset();
    KillServer();
  }

  void Start() {
    const KeyPair server = KeyPair::Draw(), own = KeyPair::Draw();
    std::strcpy(shared_->server_keys[0], server.public_key.c_str());
    std::strcpy(shared_->server_keys[1], server.secret_key.c_str());
    std::strcpy(shared_->client_key, own.public_key.c_str());
    loop_ = *EventLoop::Create();
    auto started =
        Network::Start({.keys = own, .self = kClient, .incarnation = RandomSeed() | 1}, loop_.get(),
                       {.deliver = [this](const Address&, const Address&, std::string said) { OnHave(said); },
                        .peer_reset = [this](NodeId) { OnReset(); }});
    SHOAL_CHECK(started.ok()) << started.status();
    network_ = *std::move(started);
    StartServer();
    while (shared_->port == 0) std::this_thread::yield();
    network_->SetPeers({{kServer, absl::StrCat("127.0.0.1:", shared_->port.load()), server.public_key}});
    thread_ = std::thread([this] { loop_->Run(); });
  }
  bool AwaitEnd(std::chrono::seconds patience) {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, patience, [this] { return done_; });
  }
  uint64_t kills() const { return kills_; }
  uint64_t resets() const { return resets_; }
  const Shared& shared() const { return *shared_; }

 private:
  void StartServer() {
    const std::string fd = absl::StrCat(fd_);
    char program[] = "/proc/self/exe", role[] = "--server";
    char* arguments[] = {program, role, const_cast<char*>(fd.c_str()), nullptr};
    SHOAL_CHECK(posix_spawn(&server_, program, nullptr, nullptr, arguments, environ) == 0);
  }
  void KillServer() {
    if (server_ <= 0) return;
    kill(server_, SIGKILL);
    waitpid(server_, nullptr, 0);
    server_ = -1;
  }
  void OnReset() {
    ++resets_;
    may_send_ = false;  // until the server has said what it has
  }
  void OnHave(const std::string& said) {
    uint64_t have = 0;
    SHOAL_CHECK(absl::SimpleAtoi(said, &have));
    if (!may_send_) {
      next_ = have;
      may_send_ = alive_ = true;
    }
    if (have == kMessages && kills_ == kKills) {
      std::lock_guard lock(mutex_);
      done_ = true;
      ended_.notify_one();
    }
    // Spread over the run, at no particular place; never one that has not been heard of, whose death nobody could
    // notice.
    if (kills_ < kKills && have >= kill_at_ && alive_) {
      KillServer();
      alive_ = false;
      ++kills_;
      kill_at_ = (kills_ * kMessages + rng_.Below(kMessages)) / (kKills + 1);
      StartServer();
    }
    while (next_ < kMessages && next_ < have + kAhead) {
      std::string message(kMessageBytes, '.');
      std::memcpy(message.data(), &next_, sizeof(next_));
      SHOAL_CHECK(network_->Send(kServer, Address::Raylet(kClient), Address::Head(), message).ok());
      ++next_;
    }
  }

  const int fd_;
  Shared* const shared_;
  Rng rng_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Network> network_;
  std::thread thread_;
  pid_t server_ = -1;
  uint64_t next_ = 0;
  bool may_send_ = false;
  bool alive_ = false;  // the server that runs has spoken
  uint64_t kill_at_ = 1;
  std::atomic<uint64_t> kills_ = 0, resets_ = 0;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;  // guarded by mutex_
};

TEST(SessionKill, NothingIsLostAndNothingComesTwice) {
  const int fd = memfd_create("session_kill", 0);  // inherited by the server
  ASSERT_EQ(ftruncate(fd, sizeof(Shared)), 0);
  Client client(fd);
  client.Start();
  ASSERT_TRUE(client.AwaitEnd(std::chrono::seconds(500)))
      << client.kills() << " kills, " << client.resets() << " resets";
  EXPECT_EQ(client.kills(), kKills);
  EXPECT_GE(client.resets(), kKills) << "each death must be told";
  for (uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(client.shared().log[i], i + 1) << "at " << i;
  EXPECT_EQ(client.shared().log[kMessages], 0u) << "nothing comes after the last one";
}

}  // namespace
}  // namespace shoal::io

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--server") return shoal::io::RunServer(std::stoi(argv[2]));
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
