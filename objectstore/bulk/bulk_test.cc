#include "objectstore/bulk/bulk.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "objectstore/bulk/client.h"
#include "objectstore/bulk/server.h"
#include "objectstore/bulk/tcp.h"
#include "objectstore/bulk/wire.h"
#include "runtime/io/fd.h"

namespace shoal::bulk {
namespace {

using absl::StatusCode;

constexpr uint64_t kMiB = uint64_t{1} << 20;
const ObjectId kObject{WorkerId{5}, 1};

BulkKey Key(uint64_t id, uint8_t fill = 7) {
  BulkKey key{.id = id};
  key.secret.fill(fill);
  return key;
}

// Carries bytes between a client and the server, and can bite. Each connection is served in turn by
// one thread; `on_data(connection, direction, bytes)` may change or cut: it returns false to close
// both sides.
class Relay {
 public:
  using OnData =
      std::function<bool(int connection, bool to_client, uint64_t before, std::string& bytes)>;
  Relay(uint16_t to, OnData on_data) : to_(to), on_data_(std::move(on_data)) {
    listener_ = *ListenTcp("127.0.0.1", 0);
    stop_ = io::UniqueFd(eventfd(0, EFD_CLOEXEC));
    thread_ = std::thread([this] { Run(); });
  }
  ~Relay() {
    const uint64_t one = 1;
    EXPECT_EQ(write(stop_.get(), &one, sizeof(one)), 8);
    thread_.join();
  }
  uint16_t port() const { return BoundPort(listener_.get()); }
  int connections() const { return connections_; }

 private:
  bool WaitFor(int a, int b) {  // false: stop
    pollfd fds[] = {{stop_.get(), POLLIN, 0}, {a, POLLIN, 0}, {b, POLLIN, 0}};
    poll(fds, 3, -1);
    return fds[0].revents == 0;
  }
  void Run() {
    while (WaitFor(listener_.get(), -1)) {
      io::UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client.valid()) continue;
      ++connections_;
      io::UniqueFd server(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(to_);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (connect(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
        continue;
      uint64_t passed[2] = {0, 0};
      bool alive = true;
      while (alive && WaitFor(client.get(), server.get())) {
        alive = Pass(client.get(), server.get(), false, &passed[0]) &&
                Pass(server.get(), client.get(), true, &passed[1]);
      }
    }
  }
  bool Pass(int from, int to, bool to_client, uint64_t* passed) {
    std::string bytes(64 << 10, '\0');
    const ssize_t size = recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN;
    bytes.resize(static_cast<size_t>(size));
    const uint64_t before = *passed;
    *passed += bytes.size();
    if (!on_data_(connections_, to_client, before, bytes)) return false;
    return send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  const uint16_t to_;
  const OnData on_data_;
  io::UniqueFd listener_, stop_;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

// The thread of the test, as the owner of both ends.
class Owner {
 public:
  void Post(std::function<void()> work) {
    std::lock_guard<std::mutex> lock(mutex_);
    work_.push_back(std::move(work));
    posted_.notify_one();
  }
  void RunUntil(const std::function<bool()>& done) {
    while (!done()) {
      std::unique_lock<std::mutex> lock(mutex_);
      posted_.wait(lock, [this] { return !work_.empty(); });
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      work();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> work_;
};

class BulkTest : public testing::Test {
 protected:
  BulkTest() {
    post_ = [this](std::function<void()> work) { owner_.Post(std::move(work)); };
    BulkServerOwner owner{.post = post_,
                          .lookup = [this](const ObjectId& id) -> std::optional<BulkSource> {
                            ++lookups_;
                            const auto it = objects_.find(id);
                            if (it == objects_.end()) return std::nullopt;
                            ++pins_;
                            return it->second;
                          },
                          .release = [this](const ObjectId&) { --pins_; }};
    server_ = *BulkServer::Start({.host = "127.0.0.1"}, source_.get(), owner);
    server_->AddKey(Key(1));
    options_.retry_pause = 1ms;
    options_.stall_timeout = 60s;
    client_ = *BulkClient::Start(target_.get(), post_, options_);
  }
  ~BulkTest() override {
    client_.reset();
    server_.reset();
    EXPECT_EQ(pins_, 0);
  }

  // Puts an object at `offset` of the source and remembers its bytes.
  void Put(ObjectId id, uint64_t offset, uint64_t size, uint64_t seed = 1,
           bool with_checksum = true) {
    EXPECT_TRUE(source_->EnsureBacked(offset, size).ok());
    Rng rng(seed);
    for (uint64_t i = 0; i < size; ++i) {
      source_->data()[offset + i] = static_cast<char>(i % 8 == 0 ? rng.Next() : i);
    }
    objects_[id] = {offset, size, with_checksum ? Checksum(source_->data() + offset, size) : 0};
  }
  BulkFetch FetchOf(ObjectId id, uint64_t size, uint64_t offset = 0) {
    return {.host = "127.0.0.1",
            .port = server_->port(),
            .key = Key(1),
            .object = id,
            .offset = offset,
            .size = size};
  }
  absl::Status Fetch(const BulkFetch& fetch) {
    absl::Status result = absl::UnknownError("not called");
    bool ended = false;
    client_->Fetch(fetch, [&](const absl::Status& status) {
      result = status;
      ended = true;
    });
    owner_.RunUntil([&] { return ended; });
    return result;
  }
  bool Arrived(ObjectId id, uint64_t offset = 0) {
    const BulkSource& s = objects_.at(id);
    return std::memcmp(target_->data() + offset, source_->data() + s.offset, s.size) == 0;
  }
  void WaitForReleases() {
    owner_.RunUntil([&] { return pins_ == 0; });
  }

  std::unique_ptr<Arena> source_ = *Arena::Create(64 * kMiB);
  std::unique_ptr<Arena> target_ = *Arena::Create(64 * kMiB);
  Owner owner_;
  Post post_;
  std::map<ObjectId, BulkSource> objects_;
  int pins_ = 0, lookups_ = 0;
  BulkClientOptions options_;
  std::unique_ptr<BulkServer> server_;
  std::unique_ptr<BulkClient> client_;
};

// Connects to the server without a client, as a stranger would.
io::UniqueFd RawConnection(uint16_t port) {
  io::UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}
// Everything that the server says until it closes the connection.
std::string ReadToEnd(int fd) {
  std::string all;
  char buffer[4096];
  ssize_t size;
  while ((size = recv(fd, buffer, sizeof(buffer), 0)) > 0)
    all.append(buffer, static_cast<size_t>(size));
  return all;
}

TEST_F(BulkTest, AnObjectOfAnySizeArrivesAsItWas) {
  uint64_t index = 1;
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{1}, kMiB - 1, kMiB, kMiB + 1, 40 * kMiB + 12345}) {
    for (const bool with_checksum : {true, false}) {
      const ObjectId id{WorkerId{9}, index++};
      Put(id, 4096, size, index, with_checksum);
      ASSERT_EQ(Fetch(FetchOf(id, size, 8192)), absl::OkStatus()) << size;
      EXPECT_TRUE(Arrived(id, 8192)) << size;
    }
  }
  WaitForReleases();
}

TEST_F(BulkTest, ManyTransfersAtATimeDoNotMix) {
  constexpr int kCount = 100;
  const uint64_t size = 300'000;
  for (int i = 0; i < kCount; ++i) Put({WorkerId{9}, 1u + i}, i * size, size, 50u + i);
  int ended = 0, failed = 0;
  for (int i = 0; i < kCount; ++i) {
    client_->Fetch(FetchOf({WorkerId{9}, 1u + i}, size, i * size), [&](const absl::Status& status) {
      ++ended;
      if (!status.ok()) ++failed;
    });
  }
  owner_.RunUntil([&] { return ended == kCount; });
  EXPECT_EQ(failed, 0);
  for (int i = 0; i < kCount; ++i) EXPECT_TRUE(Arrived({WorkerId{9}, 1u + i}, i * size)) << i;
  WaitForReleases();
}

TEST_F(BulkTest, TheConnectionServesTheNextTransferToo) {
  Put(kObject, 0, 3 * kMiB);
  Relay relay(server_->port(), [](int, bool, uint64_t, std::string&) { return true; });
  BulkFetch fetch = FetchOf(kObject, 3 * kMiB);
  fetch.port = relay.port();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Fetch(fetch), absl::OkStatus());
  fetch.object.index = 99;
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kNotFound);
  EXPECT_EQ(Fetch(FetchOf(kObject, 3 * kMiB)), absl::OkStatus());
  EXPECT_EQ(relay.connections(), 1);
}

TEST_F(BulkTest, AnObjectThatIsNotThereIsNotFound) {
  EXPECT_EQ(Fetch(FetchOf(kObject, 10)).code(), StatusCode::kNotFound);
  EXPECT_EQ(lookups_, 1) << "asked once, not once per attempt";
}

TEST_F(BulkTest, AnObjectOfAnotherSizeOrOtherBytesIsNotTaken) {
  Put(kObject, 0, 1000);
  EXPECT_EQ(Fetch(FetchOf(kObject, 999)).code(), StatusCode::kDataLoss);
  BulkFetch other = FetchOf(kObject, 1000);
  other.checksum = 12345;
  EXPECT_EQ(Fetch(other).code(), StatusCode::kNotFound);
  objects_[kObject].checksum = 0;
  EXPECT_EQ(Fetch(other).code(), StatusCode::kDataLoss) << "checked by the receiver, too";
  WaitForReleases();
}

TEST_F(BulkTest, ADestinationOutsideTheArenaIsRefused) {
  EXPECT_EQ(Fetch(FetchOf(kObject, 2, 64 * kMiB - 1)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Fetch(FetchOf(kObject, ~uint64_t{0}, 2)).code(), StatusCode::kInvalidArgument);
  BulkFetch named = FetchOf(kObject, 2);
  named.host = "not-an-address";
  EXPECT_EQ(Fetch(named).code(), StatusCode::kInvalidArgument);
}

TEST_F(BulkTest, NobodyListensIsUnavailable) {
  const io::UniqueFd free_port = *ListenTcp("127.0.0.1", 0);
  BulkFetch fetch = FetchOf(kObject, 2);
  fetch.port = BoundPort(free_port.get());
  io::UniqueFd closed = *ListenTcp("127.0.0.1", 0);
  fetch.port = BoundPort(closed.get());
  closed.Reset();
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kUnavailable);
}

TEST_F(BulkTest, AnUnknownKeyOrAWrongSecretGetsNothing) {
  Put(kObject, 0, 1000);
  BulkFetch fetch = FetchOf(kObject, 1000);
  fetch.key = Key(2);
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kUnavailable);
  fetch.key = Key(1, 8);
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kUnavailable);
  EXPECT_EQ(lookups_, 0) << "not even whether the object exists";
}

TEST_F(BulkTest, ARemovedKeyStopsATransferThatIsUnderWay) {
  Put(kObject, 0, 40 * kMiB);
  std::atomic<bool> removed = false;
  Relay relay(server_->port(), [&](int, bool to_client, uint64_t before, std::string&) {
    if (to_client && before > 2 * kMiB && !removed.exchange(true)) server_->RemoveKey(1);
    return true;
  });
  BulkFetch fetch = FetchOf(kObject, 40 * kMiB);
  fetch.port = relay.port();
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kUnavailable);
  WaitForReleases();
  EXPECT_EQ(Fetch(FetchOf(kObject, 40 * kMiB)).code(), StatusCode::kUnavailable);
  server_->AddKey(Key(1));
  EXPECT_EQ(Fetch(FetchOf(kObject, 40 * kMiB)), absl::OkStatus());
}

TEST_F(BulkTest, AStrangerIsToldNothingButRandomBytes) {
  Put(kObject, 0, 1000);
  {
    const io::UniqueFd garbage = RawConnection(server_->port());
    const std::string noise(100, 'n');
    ASSERT_EQ(send(garbage.get(), noise.data(), noise.size(), 0), 100);
    EXPECT_EQ(ReadToEnd(garbage.get()), "");
  }
  // A known key id, and a fetch that it did not seal.
  const io::UniqueFd stranger = RawConnection(server_->port());
  ClientHello hello;
  hello.key_id = 1;
  const FrameHeader header{FrameKind::kFetch, sizeof(FetchBody)};
  std::string bytes(sizeof(hello) + sizeof(header) + sizeof(FetchBody) + kTagBytes, 'f');
  std::memcpy(bytes.data(), &hello, sizeof(hello));
  std::memcpy(bytes.data() + sizeof(hello), &header, sizeof(header));
  ASSERT_EQ(send(stranger.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  EXPECT_LE(ReadToEnd(stranger.get()).size(), kRandomBytes);
  EXPECT_EQ(lookups_, 0);
}

TEST_F(BulkTest, ARecordedConversationCannotBeReplayed) {
  Put(kObject, 0, 1000);
  std::string said;
  {
    Relay relay(server_->port(), [&](int, bool to_client, uint64_t, std::string& bytes) {
      if (!to_client) said += bytes;
      return true;
    });
    BulkFetch fetch = FetchOf(kObject, 1000);
    fetch.port = relay.port();
    ASSERT_EQ(Fetch(fetch), absl::OkStatus());
    WaitForReleases();
  }
  const int before = lookups_;
  const io::UniqueFd replayer = RawConnection(server_->port());
  ASSERT_EQ(send(replayer.get(), said.data(), said.size(), 0), static_cast<ssize_t>(said.size()));
  EXPECT_LE(ReadToEnd(replayer.get()).size(), kRandomBytes);
  EXPECT_EQ(lookups_, before);
}

TEST_F(BulkTest, AFlippedBitAnywhereIsNoticed) {
  Put(kObject, 0, 2 * kMiB, 1, /*with_checksum=*/false);
  // In the server's random bytes, the found frame, the first and the second block.
  for (const uint64_t at : {uint64_t{5}, uint64_t{30}, uint64_t{100}, 500'000 + kMiB}) {
    Relay relay(server_->port(), [at](int, bool to_client, uint64_t before, std::string& bytes) {
      if (to_client && before <= at && at < before + bytes.size()) bytes[at - before] ^= 1;
      return true;
    });
    BulkFetch fetch = FetchOf(kObject, 2 * kMiB);
    fetch.port = relay.port();
    const StatusCode code = Fetch(fetch).code();
    // Other random bytes are other keys: the server closes the connection.
    EXPECT_EQ(code, at < kRandomBytes ? StatusCode::kUnavailable : StatusCode::kDataLoss) << at;
  }
  WaitForReleases();
}

TEST_F(BulkTest, ALostConnectionGoesOnFromTheMissingBlock) {
  const uint64_t size = 20 * kMiB + 77;
  Put(kObject, 0, size);
  std::atomic<uint64_t> second = 0;
  Relay relay(server_->port(),
              [&](int connection, bool to_client, uint64_t before, std::string& bytes) {
                if (connection > 1 && to_client) second += bytes.size();
                return connection > 1 || !to_client || before < 15 * kMiB;
              });
  BulkFetch fetch = FetchOf(kObject, size);
  fetch.port = relay.port();
  EXPECT_EQ(Fetch(fetch), absl::OkStatus());
  EXPECT_TRUE(Arrived(kObject));
  EXPECT_EQ(relay.connections(), 2);
  // How much was still between the relay and the client when it broke is the kernel's choice; the rest is not sent twice.
  EXPECT_LT(second, 16 * kMiB);
  WaitForReleases();
}

TEST_F(BulkTest, AnObjectThatWasMadeAnewIsFetchedFromTheStart) {
  const uint64_t size = 8 * kMiB;
  for (const bool with_checksum : {true, false}) {
    Put(kObject, 0, size, 1, with_checksum);
    Put({WorkerId{5}, 2}, 32 * kMiB, size, 2, with_checksum);  // the value that takes its place
    const BulkSource anew = objects_[{WorkerId{5}, 2}];
    Relay relay(server_->port(),
                [&](int connection, bool to_client, uint64_t before, std::string&) {
                  if (connection > 1 || !to_client || before < 4 * kMiB) return true;
                  owner_.Post([&] { objects_[kObject] = anew; });
                  return false;
                });
    BulkFetch fetch = FetchOf(kObject, size);
    fetch.port = relay.port();
    const absl::Status status = Fetch(fetch);
    // A known checksum names the bytes that are wanted; without one any whole value will do.
    EXPECT_EQ(status.code(), with_checksum ? StatusCode::kNotFound : StatusCode::kOk) << status;
    if (!with_checksum) {
      EXPECT_TRUE(Arrived(kObject));
    }
    WaitForReleases();
  }
}

TEST_F(BulkTest, APeerThatFallsSilentIsATimeout) {
  options_.stall_timeout = 50ms;
  client_ = *BulkClient::Start(target_.get(), post_, options_);
  Put(kObject, 0, 8 * kMiB);
  Relay relay(server_->port(), [&](int, bool to_client, uint64_t before, std::string& bytes) {
    if (to_client && before > 2 * kMiB) bytes.clear();  // swallowed
    return true;
  });
  BulkFetch fetch = FetchOf(kObject, 8 * kMiB);
  fetch.port = relay.port();
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kDeadlineExceeded);
  WaitForReleases();
}

TEST_F(BulkTest, APeerThatAcceptsAndSaysNothingIsUnavailable) {
  options_.connect_timeout = 20ms;
  options_.max_attempts = 2;
  client_ = *BulkClient::Start(target_.get(), post_, options_);
  const io::UniqueFd silent = *ListenTcp("127.0.0.1", 0);
  BulkFetch fetch = FetchOf(kObject, 10);
  fetch.port = BoundPort(silent.get());
  EXPECT_EQ(Fetch(fetch).code(), StatusCode::kUnavailable);
}

TEST_F(BulkTest, ACancelledTransferEndsOnceAndLetsGoOfItsPin) {
  Put(kObject, 0, 40 * kMiB);
  std::atomic<BulkFetchId> id = 0;
  Relay relay(server_->port(), [&](int, bool to_client, uint64_t before, std::string&) {
    if (to_client && before > 2 * kMiB) client_->Cancel(id);
    return true;
  });
  BulkFetch fetch = FetchOf(kObject, 40 * kMiB);
  fetch.port = relay.port();
  std::vector<StatusCode> ends;
  id = client_->Fetch(fetch, [&](const absl::Status& status) { ends.push_back(status.code()); });
  owner_.RunUntil([&] { return !ends.empty(); });
  EXPECT_EQ(ends, std::vector<StatusCode>{StatusCode::kCancelled});
  WaitForReleases();
}

TEST_F(BulkTest, MoreThanTheQueueTakesIsTurnedAway) {
  options_.max_active = 1;
  options_.max_waiting = 2;
  client_ = *BulkClient::Start(target_.get(), post_, options_);
  Put(kObject, 0, 1000);
  int ended = 0, turned_away = 0;
  for (int i = 0; i < 50; ++i) {
    client_->Fetch(FetchOf(kObject, 1000), [&](const absl::Status& status) {
      ++ended;
      if (absl::IsResourceExhausted(status)) ++turned_away;
    });
  }
  owner_.RunUntil([&] { return ended == 50; });
  EXPECT_LT(turned_away, 50);
  WaitForReleases();
}

TEST_F(BulkTest, AServerThatGoesReleasesWhatItPinned) {
  Put(kObject, 0, 40 * kMiB);
  std::atomic<bool> flowing = false;
  Relay relay(server_->port(), [&](int, bool to_client, uint64_t before, std::string& bytes) {
    if (to_client && before > kMiB) {
      if (!flowing.exchange(true)) owner_.Post([] {});
      bytes.clear();
    }
    return true;
  });
  BulkFetch fetch = FetchOf(kObject, 40 * kMiB);
  fetch.port = relay.port();
  client_->Fetch(fetch, [](const absl::Status&) {});
  owner_.RunUntil([&] { return flowing.load(); });
  EXPECT_EQ(pins_, 1);
  server_.reset();
  EXPECT_EQ(pins_, 0);
  client_.reset();  // in the middle of its transfer
}

TEST_F(BulkTest, ASourceThatLiesAboutItsPlaceIsNotServed) {
  objects_[kObject] = {63 * kMiB, 2 * kMiB, 0};
  EXPECT_EQ(Fetch(FetchOf(kObject, 2 * kMiB)).code(), StatusCode::kNotFound);
  WaitForReleases();
}

TEST(BulkWire, AFrameOpensOnlyInItsOwnPlace) {
  const uint8_t client_random[kRandomBytes] = {1}, server_random[kRandomBytes] = {2};
  CipherPair a, b;
  DeriveKeys(Key(1), client_random, server_random, &a);
  DeriveKeys(Key(1), client_random, server_random, &b);
  const FrameHeader header{FrameKind::kBlock, 5};
  std::string sealed(5 + kTagBytes, '\0');
  a.to_client.Seal(3, 7, header, "hello", sealed.data());
  const auto opens = [&](Cipher& cipher, uint32_t transfer, uint64_t number, FrameHeader h) {
    std::string copy = sealed;
    return cipher.Open(transfer, number, h, copy.data(), copy.data() + 5) &&
           copy.substr(0, 5) == "hello";
  };
  EXPECT_TRUE(opens(b.to_client, 3, 7, header));
  EXPECT_FALSE(opens(b.to_client, 3, 8, header)) << "another block";
  EXPECT_FALSE(opens(b.to_client, 4, 7, header)) << "another transfer";
  EXPECT_FALSE(opens(b.to_server, 3, 7, header)) << "the other direction";
  EXPECT_FALSE(opens(b.to_client, 3, 7, {FrameKind::kFound, 5})) << "another kind";
  DeriveKeys(Key(1), server_random, client_random, &b);
  EXPECT_FALSE(opens(b.to_client, 3, 7, header)) << "another connection";
  DeriveKeys(Key(1, 8), client_random, server_random, &b);
  EXPECT_FALSE(opens(b.to_client, 3, 7, header)) << "another secret";
}

TEST(BulkChecksum, DependsOnEveryByteAndOnTheSizeAndNotOnThePieces) {
  std::string bytes(1000, 'a');
  const uint64_t whole = Checksum(bytes.data(), bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 1;
    EXPECT_NE(Checksum(bytes.data(), bytes.size()), whole) << i;
    bytes[i] ^= 1;
  }
  EXPECT_NE(Checksum(bytes.data(), 999), whole);
  EXPECT_NE(Checksum("\0\0", 1), Checksum("\0\0", 2));
  EXPECT_NE(Checksum(nullptr, 0), 0u);
  Checksummer pieces;
  pieces.Add(bytes.data(), 320);
  pieces.Add(bytes.data() + 320, 680);
  EXPECT_EQ(pieces.Finish(), whole);
}

}  // namespace
}  // namespace shoal::bulk
