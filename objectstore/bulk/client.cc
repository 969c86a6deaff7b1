#include "objectstore/bulk/client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "objectstore/bulk/tcp.h"
#include "objectstore/bulk/wire.h"
#include "runtime/io/clock.h"
#include "runtime/io/event_loop.h"

namespace shoal::bulk {
namespace {

using io::MonotonicNow;

constexpr size_t kMaxIdleConnections = 64;
// One readiness event reads at most this much, so that all transfers get their turn.
constexpr size_t kReadBudget = 4 * kBlockBytes;

}  // namespace

// What is not constant belongs to the transfer thread.
class BulkClient::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Arena* arena, Post post, const BulkClientOptions& options,
       std::unique_ptr<io::EventLoop> loop)
      : arena_(arena), post_(std::move(post)), options_(options), loop_(std::move(loop)) {}

  void Start();
  void Stop();
  BulkFetchId Fetch(BulkFetch fetch, Done done);
  void Cancel(BulkFetchId id);

 private:
  // What an idle connection keeps for the next transfer.
  struct Session {
    io::UniqueFd fd;
    CipherPair ciphers;
    uint32_t transfers = 0;
  };
  struct Endpoint {
    std::string host;
    uint16_t port = 0;
    BulkKey key;
    friend bool operator<(const Endpoint& a, const Endpoint& b) {
      return std::tie(a.host, a.port, a.key.id, a.key.secret) <
             std::tie(b.host, b.port, b.key.id, b.key.secret);
    }
  };
  enum class State { kWaiting, kPausing, kConnecting, kHello, kHeader, kBody, kTag };
  struct Transfer {
    BulkFetchId id = 0;
    BulkFetch fetch;
    Done done;
    State state = State::kWaiting;
    Session session;
    bool reused = false;  // the connection is an old one, which may have died of age
    int attempts = 0;     // since the last new block
    TimePoint deadline;
    absl::Status last_error;
    uint64_t next_block = 0;
    uint64_t uncredited = 0;  // blocks received since the last credit
    uint64_t control_sent = 0;
    bool found = false;  // this connection has told us about the object
    std::optional<uint64_t> identity;
    Checksummer checksummer;  // of the blocks before next_block
    uint8_t random[kRandomBytes];
    // The part of a frame that is being read: header, then body to `body`, then tag.
    FrameHeader header;
    char small[kMaxControlBytes];
    char tag[kTagBytes];
    char* body = nullptr;
    size_t filled = 0;
    std::string out;
  };

  void Add(BulkFetchId id, BulkFetch fetch, Done done);
  void StartWaiting();
  void Begin(Transfer& t);
  bool TakeIdle(Transfer& t);
  void Connect(Transfer& t);
  void OnReady(BulkFetchId id, uint32_t events);
  void SendHello(Transfer& t);
  bool SendFetch(Transfer& t);
  bool Flush(Transfer& t);
  bool ReadSome(Transfer& t, char* to, size_t size, size_t* budget);
  void Read(Transfer& t);
  bool BeginBody(Transfer& t);
  bool EndFrame(Transfer& t);
  bool OnFrame(Transfer& t);
  bool OnFound(Transfer& t);
  bool OnBlock(Transfer& t);
  void Complete(Transfer& t);
  void Lost(Transfer& t, absl::Status why);
  void Drop(Transfer& t);
  void Keep(Transfer& t);
  void Finish(Transfer& t, absl::Status status);
  std::optional<TimePoint> NextDeadline() const;
  void OnTick();
  bool Watch(Transfer& t, uint32_t events);
  static Endpoint EndpointOf(const BulkFetch& f) { return {f.host, f.port, f.key}; }
  static std::string Where(const Transfer& t) {
    return absl::StrCat(t.fetch.host, " port ", t.fetch.port);
  }

  const Arena* const arena_;
  const Post post_;
  const BulkClientOptions options_;
  std::unique_ptr<io::EventLoop> loop_;
  std::thread thread_;
  std::atomic<BulkFetchId> last_id_ = 0;

  std::map<BulkFetchId, std::unique_ptr<Transfer>> transfers_;  // not ended
  std::deque<BulkFetchId> waiting_;                             // some may have been cancelled
  size_t active_ = 0;
  std::multimap<Endpoint, Session> idle_;
};

void BulkClient::Impl::Start() {
  loop_->SetTimer([this] { return NextDeadline(); }, [this] { OnTick(); });
  loop_->SetAfter([this] { StartWaiting(); });
  thread_ = std::thread([this] {
    BlockSignals();
    loop_->Run();
  });
}

void BulkClient::Impl::Stop() {
  loop_->Stop();
  if (thread_.joinable()) thread_.join();
  transfers_.clear();
  idle_.clear();
}

BulkFetchId BulkClient::Impl::Fetch(BulkFetch fetch, Done done) {
  const BulkFetchId id = ++last_id_;
  loop_->Post([this, id, fetch = std::move(fetch), done = std::move(done)]() mutable {
    Add(id, std::move(fetch), std::move(done));
  });
  return id;
}

void BulkClient::Impl::Cancel(BulkFetchId id) {
  loop_->Post([this, id] {
    const auto it = transfers_.find(id);
    if (it != transfers_.end())
      Finish(*it->second, absl::CancelledError("the transfer was cancelled"));
  });
}

void BulkClient::Impl::Add(BulkFetchId id, BulkFetch fetch, Done done) {
  auto owned = std::make_unique<Transfer>();
  Transfer& t = *owned;
  t.id = id;
  t.fetch = std::move(fetch);
  t.done = std::move(done);
  transfers_[id] = std::move(owned);
  if (t.fetch.offset > arena_->size() || t.fetch.size > arena_->size() - t.fetch.offset) {
    Finish(t,
           absl::InvalidArgumentError("the destination of a transfer is outside the object store"));
  } else if (transfers_.size() - active_ > options_.max_waiting) {
    Finish(t, absl::ResourceExhaustedError("too many transfers wait on this node"));
  } else {
    waiting_.push_back(id);
  }
}

void BulkClient::Impl::StartWaiting() {
  while (active_ < options_.max_active && !waiting_.empty()) {
    const auto it = transfers_.find(waiting_.front());
    waiting_.pop_front();
    if (it == transfers_.end()) continue;
    Transfer& t = *it->second;
    ++active_;
    t.state = State::kPausing;
    const absl::Status backed = arena_->EnsureBacked(t.fetch.offset, t.fetch.size);
    if (backed.ok()) {
      Begin(t);
    } else {
      Finish(t, backed);
    }
  }
}

// A new attempt, from the first block that is missing.
void BulkClient::Impl::Begin(Transfer& t) {
  t.uncredited = t.control_sent = 0;
  t.filled = 0;
  t.found = false;
  t.out.clear();
  if (!TakeIdle(t)) Connect(t);
}

bool BulkClient::Impl::TakeIdle(Transfer& t) {
  const auto it = idle_.find(EndpointOf(t.fetch));
  if (it == idle_.end()) return false;
  t.session = std::move(it->second);
  idle_.erase(it);
  t.reused = true;
  if (!Watch(t, EPOLLIN)) return false;
  SendFetch(t);
  return true;
}

void BulkClient::Impl::Connect(Transfer& t) {
  t.reused = false;
  ++t.attempts;
  t.session = Session();
  absl::StatusOr<io::UniqueFd> fd = StartConnect(t.fetch.host, t.fetch.port);
  if (!fd.ok()) {
    if (absl::IsInvalidArgument(fd.status())) return Finish(t, fd.status());
    return Lost(t, fd.status());
  }
  t.session.fd = *std::move(fd);
  t.state = State::kConnecting;
  t.deadline = MonotonicNow() + options_.connect_timeout;
  if (!Watch(t, EPOLLOUT)) Lost(t, absl::UnavailableError("no descriptor is left"));
}

bool BulkClient::Impl::Watch(Transfer& t, uint32_t events) {
  const auto ready = [this, id = t.id](uint32_t seen) { OnReady(id, seen); };
  return loop_->AddFd(t.session.fd.get(), events, ready).ok();
}

void BulkClient::Impl::OnReady(BulkFetchId id, uint32_t) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end()) return;
  Transfer& t = *it->second;
  if (t.state == State::kConnecting) {
    const absl::Status connected = ConnectResult(t.session.fd.get());
    if (!connected.ok()) return Lost(t, connected);
    SendHello(t);
    return;
  }
  if (!Flush(t)) return Lost(t, absl::UnavailableError("the peer closed the connection"));
  Read(t);
}

void BulkClient::Impl::SendHello(Transfer& t) {
  ClientHello hello;
  hello.key_id = t.fetch.key.id;
  FillRandom(t.random, sizeof(t.random));
  std::memcpy(hello.random, t.random, sizeof(t.random));
  t.out.assign(reinterpret_cast<const char*>(&hello), sizeof(hello));
  t.state = State::kHello;
  if (!Flush(t)) Lost(t, absl::UnavailableError("the peer closed the connection"));
}

// False if the transfer did not survive it: do not touch `t` then.
bool BulkClient::Impl::SendFetch(Transfer& t) {
  const FetchBody body{t.fetch.object.owner.value, t.fetch.object.index, t.next_block,
                       kCreditBlocks};
  ++t.session.transfers;
  t.out += SealBody(t.session.ciphers.to_server, t.session.transfers,
                    Cipher::kControl + t.control_sent++, FrameKind::kFetch, body);
  t.state = State::kHeader;
  t.filled = 0;
  t.deadline = MonotonicNow() + options_.stall_timeout;
  if (Flush(t)) return true;
  Lost(t, absl::UnavailableError("the peer closed the connection"));
  return false;
}

// False if the connection is gone.
bool BulkClient::Impl::Flush(Transfer& t) {
  while (!t.out.empty()) {
    const ssize_t size =
        send(t.session.fd.get(), t.out.data(), t.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size >= 0) {
      t.out.erase(0, static_cast<size_t>(size));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      return false;
    }
  }
  loop_->ChangeFd(t.session.fd.get(), t.out.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  return true;
}

// True once `size` bytes are at `to`. False if they are not all here yet, or the transfer was lost,
// or the budget is used up.
bool BulkClient::Impl::ReadSome(Transfer& t, char* to, size_t size, size_t* budget) {
  while (t.filled < size) {
    if (*budget == 0) return false;
    const ssize_t got = recv(t.session.fd.get(), to + t.filled, size - t.filled, MSG_DONTWAIT);
    if (got > 0) {
      t.filled += static_cast<size_t>(got);
      *budget -= std::min(*budget, static_cast<size_t>(got));
      // Also in the middle of a block, which a thin link needs long for.
      if (t.found) t.deadline = MonotonicNow() + options_.stall_timeout;
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return false;
    } else {
      Lost(t, absl::UnavailableError(t.state == State::kHello || !t.found
                                         ? "the peer closed the connection, perhaps for a wrong key"
                                         : "the peer closed the connection"));
      return false;
    }
  }
  t.filled = 0;
  return true;
}

// Each step returns with `t` possibly ended, and then reports that nothing more is to be read.
void BulkClient::Impl::Read(Transfer& t) {
  size_t budget = kReadBudget;
  while (true) {
    switch (t.state) {
      case State::kHello: {
        uint8_t* const server_random = reinterpret_cast<uint8_t*>(t.small);
        if (!ReadSome(t, t.small, kRandomBytes, &budget)) return;
        DeriveKeys(t.fetch.key, t.random, server_random, &t.session.ciphers);
        if (!SendFetch(t)) return;
        break;
      }
      case State::kHeader:
        if (!ReadSome(t, reinterpret_cast<char*>(&t.header), sizeof(t.header), &budget)) return;
        if (!BeginBody(t)) return;
        break;
      case State::kBody:
        if (!ReadSome(t, t.body, t.header.length, &budget)) return;
        t.state = State::kTag;
        break;
      case State::kTag:
        if (!ReadSome(t, t.tag, kTagBytes, &budget) || !EndFrame(t)) return;
        break;
      case State::kWaiting:
      case State::kPausing:
      case State::kConnecting:
        return;
    }
  }
}

// Decides where the body goes. The header is not authenticated yet, so it may only choose between
// places where a body of exactly that length is expected.
bool BulkClient::Impl::BeginBody(Transfer& t) {
  const FrameHeader& h = t.header;
  t.body = nullptr;
  if (!t.found) {
    if (h.kind == FrameKind::kFound && h.length == sizeof(FoundBody)) t.body = t.small;
    if (h.kind == FrameKind::kAbsent && h.length == 0) t.body = t.small;
  } else if (h.kind == FrameKind::kBlock && t.next_block < BlockCount(t.fetch.size) &&
             h.length == BlockSize(t.fetch.size, t.next_block)) {
    t.body = arena_->data() + t.fetch.offset + t.next_block * kBlockBytes;
  }
  if (t.body == nullptr) {
    Finish(t, absl::DataLossError(absl::StrCat(Where(t), " sent what nobody asked for")));
    return false;
  }
  t.state = State::kBody;
  return true;
}

bool BulkClient::Impl::EndFrame(Transfer& t) {
  const uint64_t number = t.header.kind == FrameKind::kBlock ? t.next_block : Cipher::kControl;
  if (!t.session.ciphers.to_client.Open(t.session.transfers, number, t.header, t.body, t.tag)) {
    // With a wrong secret the very first frame fails; later it is corruption or forgery.
    Finish(t, absl::DataLossError(absl::StrCat("bytes from ", Where(t), " fail authentication")));
    return false;
  }
  t.state = State::kHeader;
  t.deadline = MonotonicNow() + options_.stall_timeout;
  return OnFrame(t);
}

bool BulkClient::Impl::OnFrame(Transfer& t) {
  if (t.header.kind == FrameKind::kBlock) return OnBlock(t);
  if (t.header.kind == FrameKind::kFound) return OnFound(t);
  Keep(t);
  Finish(t, absl::NotFoundError(
                absl::StrCat(Where(t), " does not have the object ", t.fetch.object.Hex())));
  return false;
}

bool BulkClient::Impl::OnFound(Transfer& t) {
  const FoundBody found = *ReadBody<FoundBody>({t.small, sizeof(FoundBody)});
  if (found.size != t.fetch.size) {
    Finish(t, absl::DataLossError(absl::StrCat("the object ", t.fetch.object.Hex(), " has ",
                                               found.size, " bytes at ", Where(t), ", not ",
                                               t.fetch.size)));
    return false;
  }
  if (found.checksum != 0 && t.fetch.checksum != 0 && found.checksum != t.fetch.checksum) {
    Finish(t, absl::NotFoundError(
                  absl::StrCat(Where(t), " has other bytes of the object ", t.fetch.object.Hex())));
    return false;
  }
  if (t.identity && *t.identity != found.identity) {
    // Half of one value and half of another would be neither: from the start.
    t.identity.reset();
    t.checksummer = Checksummer();
    t.next_block = 0;
    Lost(t, absl::NotFoundError(absl::StrCat(Where(t), " has the object anew")));
    return false;
  }
  t.identity = found.identity;
  if (t.fetch.checksum == 0) t.fetch.checksum = found.checksum;
  t.found = true;
  if (t.next_block < BlockCount(t.fetch.size)) return true;
  Complete(t);
  return false;
}

bool BulkClient::Impl::OnBlock(Transfer& t) {
  t.attempts = 0;
  const uint64_t count = BlockCount(t.fetch.size);
  if (t.fetch.checksum != 0)
    t.checksummer.Add(t.body, t.header.length);  // while it is in the cache
  if (++t.next_block == count) {
    Complete(t);
    return false;
  }
  // In halves, so that the server need not stop; none for blocks that will not come.
  if (++t.uncredited < kCreditBlocks / 2 || count - t.next_block <= kCreditBlocks - t.uncredited) {
    return true;
  }
  const CreditBody credit{std::exchange(t.uncredited, 0)};
  t.out += SealBody(t.session.ciphers.to_server, t.session.transfers,
                    Cipher::kControl + t.control_sent++, FrameKind::kCredit, credit);
  if (Flush(t)) return true;
  Lost(t, absl::UnavailableError("the peer closed the connection"));
  return false;
}

void BulkClient::Impl::Complete(Transfer& t) {
  if (t.fetch.checksum != 0 && t.checksummer.Finish() != t.fetch.checksum) {
    return Finish(t, absl::DataLossError(absl::StrCat("the object ", t.fetch.object.Hex(), " from ",
                                                      Where(t), " has a wrong checksum")));
  }
  Keep(t);
  Finish(t, absl::OkStatus());
}

// The connection is no use; try again unless that was enough.
void BulkClient::Impl::Lost(Transfer& t, absl::Status why) {
  Drop(t);
  t.last_error = std::move(why);
  if (t.reused) return Connect(t);  // it had died of age, or is dying: not the fault of the peer
  if (t.attempts >= options_.max_attempts) {
    if (absl::IsDeadlineExceeded(t.last_error) || absl::IsNotFound(t.last_error)) {
      return Finish(t, t.last_error);
    }
    return Finish(
        t, absl::UnavailableError(absl::StrCat("no transfer from ", Where(t), " in ", t.attempts,
                                               " attempts: ", t.last_error.message())));
  }
  t.state = State::kPausing;
  t.deadline = MonotonicNow() + options_.retry_pause * t.attempts;
}

void BulkClient::Impl::Drop(Transfer& t) {
  if (t.session.fd.valid()) loop_->RemoveFd(t.session.fd.get());
  t.session = Session();
}

// The transfer is over and all its bytes are read: the next one may use the connection.
void BulkClient::Impl::Keep(Transfer& t) {
  loop_->RemoveFd(t.session.fd.get());
  if (idle_.size() < kMaxIdleConnections && t.out.empty() && t.session.transfers < UINT32_MAX) {
    idle_.emplace(EndpointOf(t.fetch), std::move(t.session));
  }
  t.session = Session();
}

void BulkClient::Impl::Finish(Transfer& t, absl::Status status) {
  Drop(t);
  if (t.state != State::kWaiting) --active_;
  post_([done = std::move(t.done), weak = weak_from_this(), status = std::move(status)] {
    if (weak.lock() != nullptr) done(status);
  });
  transfers_.erase(t.id);
}

std::optional<TimePoint> BulkClient::Impl::NextDeadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, t] : transfers_) {
    if (t->state != State::kWaiting) next = std::min(next.value_or(t->deadline), t->deadline);
  }
  return next;
}

void BulkClient::Impl::OnTick() {
  const TimePoint now = MonotonicNow();
  std::vector<BulkFetchId> late;
  for (const auto& [id, t] : transfers_) {
    if (t->state != State::kWaiting && t->deadline <= now) late.push_back(id);
  }
  for (const BulkFetchId id : late) {
    const auto it = transfers_.find(id);
    if (it == transfers_.end()) continue;
    Transfer& t = *it->second;
    if (t.state == State::kPausing) {
      Begin(t);
    } else if (t.state == State::kConnecting || t.state == State::kHello) {
      Lost(t, absl::UnavailableError("the peer does not answer"));
    } else {
      Finish(t, absl::DeadlineExceededError(absl::StrCat("nothing came from ", Where(t), " for ",
                                                         options_.stall_timeout / 1ms, " ms")));
    }
  }
}

absl::StatusOr<std::unique_ptr<BulkClient>> BulkClient::Start(const Arena* arena, Post post,
                                                              const BulkClientOptions& options) {
  absl::StatusOr<std::unique_ptr<io::EventLoop>> loop = io::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  auto impl = std::make_shared<Impl>(arena, std::move(post), options, *std::move(loop));
  impl->Start();
  return std::unique_ptr<BulkClient>(new BulkClient(std::move(impl)));
}

BulkClient::BulkClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
BulkClient::~BulkClient() { impl_->Stop(); }
BulkFetchId BulkClient::Fetch(BulkFetch fetch, Done done) {
  return impl_->Fetch(std::move(fetch), std::move(done));
}
void BulkClient::Cancel(BulkFetchId id) { impl_->Cancel(id); }

}  // namespace shoal::bulk
