#include "runtime/io/local_hub.h"

#include <poll.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/io/doorbell.h"
#include "runtime/io/ring.h"
#include "schema/codec.h"

namespace shoal::io {
namespace {

constexpr NodeId kNode{7};
using Kind = LocalFrame::Kind;

// A process at the other end, which blocks until it gets what it waits for.
class Client {
 public:
  explicit Client(const std::string& path) : socket_(*LocalSocket::Connect(path)), bell_(*Doorbell::Create()) {}

  void Ring() { EXPECT_TRUE(socket_.Send({.kind = Kind::kDoorbell}, {bell_.memory_fd(), bell_.event_fd()}).ok()); }
  void Say(const Address& to, const Message& message) {
    LocalFrame frame{.to = to};
    frame.bytes = EncodeMessage(message);
    EXPECT_TRUE(socket_.Send(frame, {}).ok());
  }
  void Register(uint64_t id) {
    RegisterWorker hello;
    hello.worker = WorkerId{id};
    Say({}, hello);
  }
  void AskRing(uint64_t peer, int memfd) {
    EXPECT_TRUE(socket_.Send({.kind = Kind::kConnectRing, .to = {kNode, WorkerId{peer}}}, {memfd}).ok());
  }
  // False at the end of the connection.
  bool Receive(LocalFrame* frame, std::vector<UniqueFd>* fds) {
    while (true) {
      const absl::StatusOr<bool> received = socket_.Receive(frame, fds);
      if (!received.ok()) return false;
      if (*received) return true;
      pollfd waiting{.fd = socket_.fd(), .events = POLLIN, .revents = 0};
      poll(&waiting, 1, -1);
    }
  }

 private:
  LocalSocket socket_;
  Doorbell bell_;
};

class LocalHubTest : public testing::Test {
 protected:
  LocalHubTest() {
    char name[] = "/tmp/hub-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/raylet.sock";
    LocalHubHandlers handlers;
    handlers.admit = [this](const RegisterWorker& hello, uint32_t pid) {
      if (hello.worker.value == kUnwanted) return absl::PermissionDeniedError("not you");
      Event(absl::StrCat("admit ", hello.worker.value, pid == static_cast<uint32_t>(getpid()) ? "" : " from elsewhere"));
      return absl::OkStatus();
    };
    handlers.receive = [this](WorkerId from, const Address& to, std::string bytes) {
      Event(absl::StrCat("receive from ", from.value, " to ", to.node.value, "/", to.worker.value, ": ",
                         MessageName(*DecodeMessage(bytes))));
    };
    handlers.gone = [this](WorkerId worker, const std::string&) { Event(absl::StrCat("gone ", worker.value)); };
    handlers.unreachable = [this](WorkerId asker, WorkerId peer) {
      Event(absl::StrCat("unreachable ", asker.value, " ", peer.value));
    };
    hub_ = *LocalHub::Listen(path_, kNode, loop_.get(), std::move(handlers));
    thread_ = std::thread([this] { loop_->Run(); });
  }
  ~LocalHubTest() override {
    loop_->Stop(0);
    thread_.join();
    hub_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Event(std::string event) {
    std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  // The next event, which must be this one.
  void Expect(const std::string& event) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !events_.empty(); });
    EXPECT_EQ(events_.front(), event);
    events_.erase(events_.begin());
  }
  // In the hub's own thread.
  void InLoop(std::function<void()> work) { loop_->events().Post(std::move(work)); }

  static constexpr uint64_t kUnwanted = 99;
  std::string directory_, path_;
  std::unique_ptr<DaemonLoop> loop_ = *DaemonLoop::Create();
  std::unique_ptr<LocalHub> hub_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;  // guarded by mutex_
  std::thread thread_;
  LocalFrame frame_;
  std::vector<UniqueFd> fds_;
};

TEST_F(LocalHubTest, CarriesMessagesBothWaysByTheNameThatWasRegistered) {
  Client worker(path_);
  worker.Register(1);
  Expect("admit 1");
  worker.Say({NodeId{8}, WorkerId{5}}, RevokeLease{});
  Expect("receive from 1 to 8/5: RevokeLease");
  InLoop([this] { EXPECT_TRUE(hub_->Send(WorkerId{1}, {NodeId{8}, WorkerId{5}}, "bytes")); });
  ASSERT_TRUE(worker.Receive(&frame_, &fds_));
  EXPECT_EQ(frame_.from, (Address{NodeId{8}, WorkerId{5}}));
  EXPECT_EQ(frame_.bytes, "bytes");
  InLoop([this] { Event(absl::StrCat("sent ", hub_->Send(WorkerId{2}, {}, "x"))); });
  Expect("sent 0");
}

TEST_F(LocalHubTest, WhoDoesNotRegisterFirstIsTurnedAway) {
  Client stranger(path_);
  stranger.Say({}, RevokeLease{});
  EXPECT_FALSE(stranger.Receive(&frame_, &fds_));
  Client unwanted(path_);
  unwanted.Register(kUnwanted);
  EXPECT_FALSE(unwanted.Receive(&frame_, &fds_));
}

TEST_F(LocalHubTest, ANameIsTakenOnce) {
  Client first(path_), second(path_);
  first.Register(1);
  Expect("admit 1");
  second.Register(1);
  EXPECT_FALSE(second.Receive(&frame_, &fds_));
  first.Say({}, RevokeLease{});
  Expect("receive from 1 to 0/0: RevokeLease");
}

TEST_F(LocalHubTest, TheEndOfAConnectionIsReportedAndTheNameIsFree) {
  {
    Client worker(path_);
    worker.Register(1);
    worker.Say({}, RevokeLease{});
  }
  Expect("admit 1");
  Expect("receive from 1 to 0/0: RevokeLease");  // what it said before it went
  Expect("gone 1");
  Client again(path_);
  again.Register(1);
  Expect("admit 1");
}

TEST_F(LocalHubTest, IntroducesTwoProcessesForARing) {
  Client one(path_), two(path_);
  for (Client* client : {&one, &two}) client->Ring();
  one.Register(1);
  Expect("admit 1");
  two.Register(2);
  Expect("admit 2");
  const std::unique_ptr<RingPair> ring = *RingPair::Create();
  one.AskRing(2, ring->memfd().get());
  ASSERT_TRUE(two.Receive(&frame_, &fds_));
  EXPECT_EQ(frame_.kind, Kind::kConnectRing);
  EXPECT_EQ(frame_.from, (Address{kNode, WorkerId{1}}));
  ASSERT_EQ(fds_.size(), 3u);
  EXPECT_TRUE(RingPair::Attach(std::move(fds_[0])).ok());
  EXPECT_TRUE(DoorbellHandle(std::move(fds_[1]), std::move(fds_[2])).usable());
  ASSERT_TRUE(one.Receive(&frame_, &fds_));
  EXPECT_EQ(frame_.kind, Kind::kRingConnected);
  EXPECT_EQ(frame_.from, (Address{kNode, WorkerId{2}}));
  ASSERT_EQ(fds_.size(), 2u);
  EXPECT_TRUE(DoorbellHandle(std::move(fds_[0]), std::move(fds_[1])).usable());
}

TEST_F(LocalHubTest, ARingToNobodyIsRefused) {
  Client one(path_);
  one.Ring();
  one.Register(1);
  Expect("admit 1");
  const std::unique_ptr<RingPair> ring = *RingPair::Create();
  one.AskRing(2, ring->memfd().get());
  ASSERT_TRUE(one.Receive(&frame_, &fds_));
  EXPECT_EQ(frame_.kind, Kind::kRingRefused);
  EXPECT_EQ(frame_.from.worker, WorkerId{2});
  Expect("unreachable 1 2");
}

TEST_F(LocalHubTest, OneThatDoesNotReadIsGone) {
  Client worker(path_);
  worker.Register(1);
  Expect("admit 1");
  InLoop([this] {
    const std::string large(kMaxFrameBytes / 2, 'x');
    for (size_t sent = 0; sent <= kMaxUnsentBytes + kMaxFrameBytes; sent += large.size()) hub_->Send(WorkerId{1}, {}, large);
  });
  Expect("gone 1");
}

TEST_F(LocalHubTest, WhatIsClosedIsNotReported) {
  Client worker(path_);
  worker.Register(1);
  Expect("admit 1");
  InLoop([this] {
    hub_->Close(WorkerId{1});
    Event(absl::StrCat("connected ", hub_->Has(WorkerId{1})));
  });
  Expect("connected 0");
  EXPECT_FALSE(worker.Receive(&frame_, &fds_));
}

}  // namespace
}  // namespace shoal::io
