#include "objectstore/bulk/server.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <thread>
#include <utility>

#include "objectstore/bulk/tcp.h"
#include "objectstore/bulk/wire.h"
#include "runtime/io/clock.h"
#include "runtime/io/event_loop.h"

namespace shoal::bulk {
namespace {

using io::MonotonicNow;

constexpr Duration kProveWithin = 5s;    // from connect to the first frame that authenticates
constexpr Duration kReadWithin = 30s;    // for a client that has bytes or blocks to take
constexpr Duration kIdleTimeout = 120s;  // without a request
constexpr size_t kFetchFrameBytes = kMaxFrameOverhead + sizeof(FetchBody);
constexpr size_t kCreditFrameBytes = kMaxFrameOverhead + sizeof(CreditBody);

}  // namespace

// What is not constant belongs to the transfer thread, but for pinned_, which is the owner's.
class BulkServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const BulkServerOptions& options, const Arena* arena, BulkServerOwner owner,
       io::UniqueFd listener, std::unique_ptr<io::EventLoop> loop)
      : options_(options),
        arena_(arena),
        owner_(std::move(owner)),
        port_(BoundPort(listener.get())),
        loop_(std::move(loop)),
        listener_(std::move(listener)) {
    FillRandom(reinterpret_cast<uint8_t*>(&instance_), sizeof(instance_));
  }

  absl::Status Start();
  // The next three in the owner's thread.
  void StopAndRelease();
  std::optional<BulkSource> LookUp(const ObjectId& object);
  void Release(const ObjectId& object);
  uint16_t port() const { return port_; }
  void AddKey(const BulkKey& key);
  void RemoveKey(uint64_t id);

 private:
  struct Connection {
    enum class State { kHello, kIdle, kLookup, kSending };
    uint64_t id = 0;
    io::UniqueFd fd;
    State state = State::kHello;
    bool proved = false;
    uint64_t key_id = 0;
    TimePoint deadline;
    CipherPair ciphers;
    std::string in;  // not yet a whole frame
    std::string out;
    size_t written = 0;
    bool wants_write = false;
    uint32_t transfer = 0;        // number of the current one, from 1
    uint64_t control_frames = 0;  // received in this transfer
    ObjectId object;
    std::optional<BulkSource> source;  // pinned while set
    uint64_t next_block = 0;
    uint64_t credit = 0;
  };

  void Accept();
  void OnReady(uint64_t id, uint32_t events);
  bool ReadInput(Connection& c);
  bool Consume(Connection& c);
  bool TakeHello(Connection& c);
  bool TakeFrame(Connection& c, FrameKind kind, std::string_view body);
  void OnFound(uint64_t id, uint32_t transfer, std::optional<BulkSource> source);
  bool WriteOutput(Connection& c);
  void NextBlock(Connection& c);
  void WatchWrites(Connection& c);
  void ReleaseLater(const ObjectId& object);
  void Unpin(Connection& c);
  void Close(uint64_t id);
  void CloseThoseWith(uint64_t key_id);
  std::optional<TimePoint> NextDeadline() const;
  void OnTick();

  const BulkServerOptions options_;
  const Arena* const arena_;
  const BulkServerOwner owner_;
  const uint16_t port_;
  uint64_t instance_ = 0;  // differs between runs: after a restart nothing can be resumed
  std::unique_ptr<io::EventLoop> loop_;
  std::thread thread_;

  // Lookups that found something and were not released yet. Kept by the owner's thread, so that a
  // server that goes releases each exactly once, wherever its transfer was.
  std::map<ObjectId, uint64_t> pinned_;

  io::UniqueFd listener_;
  io::UniqueFd spare_{open("/dev/null", O_RDONLY | O_CLOEXEC)};
  std::map<uint64_t, BulkKey> keys_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  uint64_t last_id_ = 0;
};

absl::Status BulkServer::Impl::Start() {
  loop_->SetTimer([this] { return NextDeadline(); }, [this] { OnTick(); });
  const absl::Status added = loop_->AddFd(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
  if (!added.ok()) return added;
  thread_ = std::thread([this] {
    BlockSignals();
    loop_->Run();
  });
  return absl::OkStatus();
}

void BulkServer::Impl::StopAndRelease() {
  loop_->Stop();
  if (thread_.joinable()) thread_.join();
  connections_.clear();
  for (auto& [id, key] : keys_) OPENSSL_cleanse(key.secret.data(), key.secret.size());
  while (!pinned_.empty()) Release(pinned_.begin()->first);
}

std::optional<BulkSource> BulkServer::Impl::LookUp(const ObjectId& object) {
  std::optional<BulkSource> source = owner_.lookup(object);
  if (source) ++pinned_[object];
  return source;
}

void BulkServer::Impl::Release(const ObjectId& object) {
  const auto it = pinned_.find(object);
  if (it == pinned_.end()) return;
  const ObjectId id = it->first;
  if (--it->second == 0) pinned_.erase(it);
  owner_.release(id);
}

void BulkServer::Impl::ReleaseLater(const ObjectId& object) {
  owner_.post([weak = weak_from_this(), object] {
    if (const std::shared_ptr<Impl> self = weak.lock()) self->Release(object);
  });
}

void BulkServer::Impl::AddKey(const BulkKey& key) {
  loop_->Post([this, key] {
    const auto known = keys_.find(key.id);
    if (known != keys_.end() && known->second.secret != key.secret) CloseThoseWith(key.id);
    keys_[key.id] = key;
  });
}

void BulkServer::Impl::RemoveKey(uint64_t id) {
  loop_->Post([this, id] {
    keys_.erase(id);
    CloseThoseWith(id);
  });
}

void BulkServer::Impl::CloseThoseWith(uint64_t key_id) {
  std::vector<uint64_t> ids;
  for (const auto& [id, c] : connections_) {
    if (c->state != Connection::State::kHello && c->key_id == key_id) ids.push_back(id);
  }
  for (const uint64_t id : ids) Close(id);
}

void BulkServer::Impl::Accept() {
  while (true) {
    io::UniqueFd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      if (errno != EMFILE && errno != ENFILE) return;
      // Turn one away rather than be told of it for ever.
      spare_.Reset();
      io::UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).Reset();
      spare_ = io::UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
      return;
    }
    if (connections_.size() >= options_.max_connections) continue;
    SetTransferOptions(fd.get());
    auto c = std::make_unique<Connection>();
    const uint64_t id = c->id = ++last_id_;
    c->deadline = MonotonicNow() + kProveWithin;
    const auto ready = [this, id](uint32_t events) { OnReady(id, events); };
    if (!loop_->AddFd(fd.get(), EPOLLIN, ready).ok()) continue;
    c->fd = std::move(fd);
    connections_[id] = std::move(c);
  }
}

void BulkServer::Impl::OnReady(uint64_t id, uint32_t events) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  Connection& c = *it->second;
  bool alive = true;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) alive = ReadInput(c) && Consume(c);
  if (alive) alive = WriteOutput(c);
  if (!alive) Close(id);
}

bool BulkServer::Impl::ReadInput(Connection& c) {
  char buffer[4096];
  const ssize_t size = recv(c.fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  c.in.append(buffer, static_cast<size_t>(size));
  return size > 0;
}

// False if the connection is to be closed: nothing that we did not expect is answered.
bool BulkServer::Impl::Consume(Connection& c) {
  if (c.state == Connection::State::kHello) {
    if (c.in.size() < sizeof(ClientHello)) return true;
    if (!TakeHello(c)) return false;
  }
  while (c.in.size() >= sizeof(FrameHeader)) {
    FrameHeader header;
    std::memcpy(&header, c.in.data(), sizeof(header));
    const bool fetch = header.kind == FrameKind::kFetch && header.length == sizeof(FetchBody);
    const bool credit = header.kind == FrameKind::kCredit && header.length == sizeof(CreditBody);
    if (!fetch && !credit) return false;
    const size_t frame_bytes = fetch ? kFetchFrameBytes : kCreditFrameBytes;
    if (c.in.size() < frame_bytes) return true;
    // A transfer begins with its fetch; both ends count.
    if (fetch) {
      if (c.state != Connection::State::kIdle) return false;
      ++c.transfer;
      c.control_frames = 0;
    }
    char* const body = c.in.data() + sizeof(header);
    if (!c.ciphers.to_server.Open(c.transfer, Cipher::kControl + c.control_frames++, header, body,
                                  body + header.length)) {
      return false;
    }
    c.proved = true;
    if (!TakeFrame(c, header.kind, {body, header.length})) return false;
    c.in.erase(0, frame_bytes);
  }
  return true;
}

bool BulkServer::Impl::TakeHello(Connection& c) {
  ClientHello hello;
  std::memcpy(&hello, c.in.data(), sizeof(hello));
  c.in.erase(0, sizeof(hello));
  const auto key = keys_.find(hello.key_id);
  if (hello.magic != kMagic || hello.version != kVersion || key == keys_.end()) return false;
  uint8_t random[kRandomBytes];
  FillRandom(random, sizeof(random));
  DeriveKeys(key->second, hello.random, random, &c.ciphers);
  c.key_id = hello.key_id;
  c.state = Connection::State::kIdle;
  c.out.append(reinterpret_cast<const char*>(random), sizeof(random));
  return true;
}

bool BulkServer::Impl::TakeFrame(Connection& c, FrameKind kind, std::string_view body) {
  if (kind == FrameKind::kCredit) {
    const auto credit = ReadBody<CreditBody>(body);
    if (!credit || credit->blocks > kCreditBlocks) return false;
    // May come after the last block, when it does nothing.
    c.credit = std::min<uint64_t>(c.credit + credit->blocks, kCreditBlocks);
    c.deadline = MonotonicNow() + kReadWithin;
    return true;
  }
  const auto fetch = ReadBody<FetchBody>(body);
  if (!fetch || fetch->credit > kCreditBlocks) return false;
  c.state = Connection::State::kLookup;
  c.deadline = MonotonicNow() + kReadWithin;
  c.object = ObjectId{WorkerId{fetch->owner}, fetch->index};
  c.next_block = fetch->first_block;
  c.credit = fetch->credit;
  owner_.post([weak = weak_from_this(), id = c.id, transfer = c.transfer, object = c.object] {
    const std::shared_ptr<Impl> self = weak.lock();
    if (self == nullptr) return;
    std::optional<BulkSource> source = self->LookUp(object);
    self->loop_->Post([impl = self.get(), id, transfer, object, source] {
      const auto it = impl->connections_.find(id);
      if (it != impl->connections_.end() && it->second->transfer == transfer) {
        impl->OnFound(id, transfer, source);
      } else if (source) {  // the client went meanwhile
        impl->ReleaseLater(object);
      }
    });
  });
  return true;
}

void BulkServer::Impl::OnFound(uint64_t id, uint32_t transfer, std::optional<BulkSource> source) {
  Connection& c = *connections_.at(id);
  c.source = source;
  const bool usable = source && source->offset <= arena_->size() &&
                      source->size <= arena_->size() - source->offset &&
                      c.next_block <= BlockCount(source->size);
  if (usable) {
    // Bytes at another place may be another value of the same object, computed anew.
    const FoundBody found{source->size, source->checksum,
                          source->checksum != 0 ? source->checksum : instance_ ^ source->offset};
    c.out += SealBody(c.ciphers.to_client, transfer, Cipher::kControl, FrameKind::kFound, found);
    c.state = Connection::State::kSending;
  } else {
    const FrameHeader header{FrameKind::kAbsent, 0};
    std::string frame(sizeof(header) + kTagBytes, '\0');
    std::memcpy(frame.data(), &header, sizeof(header));
    c.ciphers.to_client.Seal(transfer, Cipher::kControl, header, nullptr,
                             frame.data() + sizeof(header));
    c.out += frame;
    Unpin(c);
    c.state = Connection::State::kIdle;
  }
  if (!WriteOutput(c)) Close(id);
}

void BulkServer::Impl::NextBlock(Connection& c) {
  const uint64_t size = BlockSize(c.source->size, c.next_block);
  const FrameHeader header{FrameKind::kBlock, static_cast<uint32_t>(size)};
  c.out.resize(sizeof(header) + size + kTagBytes);
  std::memcpy(c.out.data(), &header, sizeof(header));
  c.ciphers.to_client.Seal(c.transfer, c.next_block, header,
                           arena_->data() + c.source->offset + c.next_block * kBlockBytes,
                           c.out.data() + sizeof(header));
  ++c.next_block;
  --c.credit;
}

// Writes what the socket takes, but encrypts one block at most, so that all connections get their
// turn.
bool BulkServer::Impl::WriteOutput(Connection& c) {
  bool encrypted = false;
  while (true) {
    if (c.state == Connection::State::kSending && c.next_block == BlockCount(c.source->size)) {
      Unpin(c);  // the last block is copied
      c.state = Connection::State::kIdle;
    }
    if (c.written == c.out.size()) {
      c.out.clear();
      c.written = 0;
      if (c.state != Connection::State::kSending || c.credit == 0 || encrypted) break;
      NextBlock(c);
      encrypted = true;
    }
    const ssize_t size = send(c.fd.get(), c.out.data() + c.written, c.out.size() - c.written,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
      break;
    }
    c.written += static_cast<size_t>(size);
    // Bytes that go nowhere else than to somebody who has proved nothing do not buy time.
    if (c.proved) c.deadline = MonotonicNow() + kReadWithin;
  }
  if (c.state == Connection::State::kIdle && c.proved && c.out.empty()) {
    c.deadline = MonotonicNow() + kIdleTimeout;
    c.out.shrink_to_fit();
  }
  WatchWrites(c);
  return true;
}

void BulkServer::Impl::WatchWrites(Connection& c) {
  const bool wants = !c.out.empty() || (c.state == Connection::State::kSending && c.credit > 0);
  if (wants == c.wants_write) return;
  c.wants_write = wants;
  loop_->ChangeFd(c.fd.get(), wants ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void BulkServer::Impl::Unpin(Connection& c) {
  if (!c.source) return;
  c.source.reset();
  ReleaseLater(c.object);
}

void BulkServer::Impl::Close(uint64_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  Unpin(*it->second);
  loop_->RemoveFd(it->second->fd.get());
  connections_.erase(it);
}

std::optional<TimePoint> BulkServer::Impl::NextDeadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, c] : connections_) next = std::min(next.value_or(c->deadline), c->deadline);
  return next;
}

void BulkServer::Impl::OnTick() {
  const TimePoint now = MonotonicNow();
  std::vector<uint64_t> late;
  for (const auto& [id, c] : connections_) {
    if (c->deadline <= now) late.push_back(id);
  }
  for (const uint64_t id : late) Close(id);
}

absl::StatusOr<std::unique_ptr<BulkServer>> BulkServer::Start(const BulkServerOptions& options,
                                                              const Arena* arena,
                                                              BulkServerOwner owner) {
  absl::StatusOr<io::UniqueFd> listener = ListenTcp(options.host, options.port);
  if (!listener.ok()) return listener.status();
  absl::StatusOr<std::unique_ptr<io::EventLoop>> loop = io::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  auto impl = std::make_shared<Impl>(options, arena, std::move(owner), *std::move(listener),
                                     *std::move(loop));
  const absl::Status started = impl->Start();
  if (!started.ok()) return started;
  return std::unique_ptr<BulkServer>(new BulkServer(std::move(impl)));
}

BulkServer::BulkServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
BulkServer::~BulkServer() { impl_->StopAndRelease(); }
uint16_t BulkServer::port() const { return impl_->port(); }
void BulkServer::AddKey(const BulkKey& key) { impl_->AddKey(key); }
void BulkServer::RemoveKey(uint64_t id) { impl_->RemoveKey(id); }

}  // namespace shoal::bulk
