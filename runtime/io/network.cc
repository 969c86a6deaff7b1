#include "runtime/io/network.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"
#include "runtime/io/clock.h"
#include "runtime/io/enrolment.h"
#include "runtime/io/fd.h"
#include "runtime/io/zmq_transport.h"
#include "runtime/session/session.h"

namespace shoal::io {
namespace {

using session::Session;
using session::SessionActions;

// What precedes each piece of a message inside a session: who says it to whom, and how much follows after this piece.
struct Envelope {
  uint64_t from_node, from_worker, to_node, to_worker;
  uint64_t rest;
};
static_assert(sizeof(Envelope) == 40);
// A large message travels in pieces, so that on a slow link acknowledgements and heartbeats come through in between.
constexpr size_t kPieceBytes = 60 * 1024;

constexpr uint64_t kMaxQueuedBytes = uint64_t{256} << 20;  // per peer
// A line whose peer does not answer is dialled anew: ZeroMQ itself never tries again after some failures of a
// handshake.
constexpr Duration kRedialAfter = 3s;
constexpr int kMaxRedialDoublings = 3;
// A peer that does not know our key may be about to hear of it: of a new node, or of all of them after its start.
constexpr Duration kRedialRefusedAfter = 200ms;
constexpr int kMaxRefusedDoublings = 5;
constexpr int kRefusalsToTell = 3;
// Who should dial us and does not is dialled by us.
constexpr Duration kDialAnywayAfter = 3s;
constexpr Duration kRefusalEvery = 1s;

std::string NameOf(NodeId node) { return node ? absl::StrCat("node ", node.Hex()) : std::string("the head"); }

// The session with one peer, and the connections that carry it.
struct Link {
  Link(Peer p, session::SessionOptions options, Rng rng) : peer(std::move(p)), session(std::move(options), rng) {}

  Peer peer;
  Session session;
  SessionActions actions;
  uint64_t line = 0;                // that we dialled; 0: none
  std::string route, former_route;  // over which the peer dialled us last, and before
  std::string unsent;               // the newest frame that no connection took
  std::optional<TimePoint> dial_at;
  int redials = 0;
  int failed_handshakes = 0;  // since the last dial
  int key_refusals = 0;       // since it was reachable
  bool told_of_failure = false;
  bool told_of_forgery = false;
  bool connected = false;          // the line, as far as ZeroMQ knows
  std::string pieces;              // of a message whose rest has not come yet
  bool closed = false;
  bool wants_flush = false;
  uint64_t resets = 0;
  std::optional<TimePoint> armed;  // in Impl::deadlines_
};

}  // namespace

class Network::Impl {
 public:
  Impl(NetworkOptions options, EventLoop* loop, NetworkHandlers handlers)
      : options_(std::move(options)), loop_(loop), handlers_(std::move(handlers)), rng_(RandomSeed()) {}
  ~Impl();

  absl::Status Start();
  uint16_t port() const { return transport_->port(); }
  void SetPeers(std::vector<Peer> peers);
  void SetTokens(std::vector<TokenKey> tokens);
  absl::Status Send(NodeId peer, const Address& from, const Address& to, const std::string& message);
  void Reset(NodeId peer);

 private:
  using LinkPtr = std::shared_ptr<Link>;

  // Peers.
  void Add(Peer peer);
  void Remove(NodeId node);
  bool ShouldDial(const Link& link) const;
  void Dial(Link& link);
  void HangUp(Link& link);
  Duration Jittered(Duration pause);
  LinkPtr LinkOf(NodeId node) const;
  LinkPtr LinkOfKey(const std::string& public_key) const;
  LinkPtr LinkOfLine(uint64_t line) const;

  // From the transport.
  void OnAccepted(const std::string& public_key, const std::string& route, std::string_view frame);
  void OnDialled(uint64_t line, std::string_view frame);
  void OnDialEvent(uint64_t line, DialEvent event);
  void OnFrame(const LinkPtr& link, std::string_view frame);
  void RefuseStranger(const std::string& public_key, const std::string& route, std::string_view frame);
  bool OnEnrol(const TokenKey& token, const std::string& route, std::string_view bytes);
  absl::StatusOr<Enrolment> Admit(const TokenKey& token, const EnrolRequest& request);

  // What a session wishes.
  void Carry(const LinkPtr& link);
  void SendFrame(Link& link, std::string&& frame);
  bool TrySend(Link& link, std::string& frame);
  void RetryUnsent(Link& link);
  void Deliver(Link& link, std::string&& payload);
  void Refused(const Link& link, const std::string& why) {
    if (handlers_.refused) handlers_.refused(link.peer.node, why);
  }

  // Time.
  void FlushSoon(const LinkPtr& link);
  void FlushAll();
  void Arm(const LinkPtr& link);
  void Disarm(Link& link);
  void OnTimer();
  void SetTimer();

  const NetworkOptions options_;
  EventLoop* const loop_;
  const NetworkHandlers handlers_;
  Rng rng_;
  std::unique_ptr<ZmqTransport> transport_;
  UniqueFd timer_;
  std::optional<TimePoint> timer_set_;
  absl::btree_map<NodeId, LinkPtr> links_;
  absl::btree_map<std::string, NodeId> nodes_by_key_;
  absl::btree_map<uint64_t, NodeId> nodes_by_line_;
  absl::btree_map<std::string, TokenKey> tokens_;
  absl::btree_set<std::pair<TimePoint, NodeId>> deadlines_;
  std::vector<LinkPtr> to_flush_;
  bool flush_posted_ = false;
  TimePoint last_refusal_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // posted work outlives us
};

absl::Status Network::Impl::Start() {
  timer_ = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.valid())
    return absl::ResourceExhaustedError("no file descriptor is left for a timer; raise the limit (ulimit -n)");
  ZmqTransport::Handlers handlers;
  handlers.admit = [this](const std::string& key) { return nodes_by_key_.contains(key) || tokens_.contains(key); };
  handlers.accepted = [this](const std::string& key, const std::string& route, std::string_view frame) {
    OnAccepted(key, route, frame);
  };
  handlers.dialled = [this](uint64_t line, std::string_view frame) { OnDialled(line, frame); };
  handlers.dial_event = [this](uint64_t line, DialEvent event) { OnDialEvent(line, event); };
  handlers.writable = [this](uint64_t line) {
    if (const LinkPtr link = LinkOfLine(line)) RetryUnsent(*link);
  };
  handlers.after = [this] { FlushAll(); };
  auto transport =
      ZmqTransport::Start({options_.keys, options_.listen_host, options_.port, options_.context}, loop_, std::move(handlers));
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);
  return loop_->AddFd(timer_.get(), EPOLLIN, [this](uint32_t) { OnTimer(); });
}

Network::Impl::~Impl() {
  *alive_ = false;
  if (timer_.valid()) loop_->RemoveFd(timer_.get());
}

// ---- peers

void Network::Impl::SetPeers(std::vector<Peer> peers) {
  absl::btree_map<NodeId, Peer> wanted;
  for (Peer& peer : peers) {
    const NodeId node = peer.node;
    if (node != options_.self || options_.role != (node ? Role::kRaylet : Role::kHead)) wanted[node] = std::move(peer);
  }
  std::vector<NodeId> gone;
  for (const auto& [node, link] : links_) {
    const auto it = wanted.find(node);
    if (it == wanted.end() || it->second.public_key != link->peer.public_key) gone.push_back(node);
  }
  for (const NodeId node : gone) Remove(node);
  for (auto& [node, peer] : wanted) {
    const LinkPtr link = LinkOf(node);
    if (link == nullptr) {
      Add(std::move(peer));
    } else if (link->peer.endpoint != peer.endpoint) {
      link->peer.endpoint = std::move(peer.endpoint);
      HangUp(*link);
      link->dial_at = MonotonicNow();
      Arm(link);
    }
  }
}

void Network::Impl::Add(Peer peer) {
  const NodeId node = peer.node;
  session::SessionOptions options{.cluster_id = options_.cluster_id,
                                  .role = options_.role,
                                  .self = options_.self,
                                  .incarnation = options_.incarnation,
                                  .peer = node,
                                  .protocol_version = options_.protocol_version,
                                  .max_queued_bytes = kMaxQueuedBytes};
  auto link = std::make_shared<Link>(std::move(peer), std::move(options), rng_.Fork());
  links_[node] = link;
  nodes_by_key_[link->peer.public_key] = node;
  const TimePoint now = MonotonicNow();
  if (ShouldDial(*link)) {
    Dial(*link);
  } else if (!link->peer.endpoint.empty() && options_.role != Role::kHead) {
    link->dial_at = now + kDialAnywayAfter;
  }
  link->session.Start(now, &link->actions);
  Carry(link);
}

void Network::Impl::Remove(NodeId node) {
  const LinkPtr link = LinkOf(node);
  HangUp(*link);
  link->closed = true;
  Disarm(*link);
  nodes_by_key_.erase(link->peer.public_key);
  links_.erase(node);
}

// One connection per pair is enough, so one side waits: the head always, else whoever can be dialled and has the
// larger id.
bool Network::Impl::ShouldDial(const Link& link) const {
  if (link.peer.endpoint.empty() || options_.role == Role::kHead) return false;
  return !link.peer.node || transport_->port() == 0 || options_.self < link.peer.node;
}

void Network::Impl::Dial(Link& link) {
  HangUp(link);
  const auto line = transport_->Dial(link.peer.endpoint, link.peer.public_key);
  if (line.ok()) {
    link.line = *line;
    nodes_by_line_[link.line] = link.peer.node;
  } else if (!std::exchange(link.told_of_failure, true)) {
    Refused(link, std::string(line.status().message()));
  }
  link.failed_handshakes = 0;
  link.dial_at = MonotonicNow() + Jittered(kRedialAfter * (1 << std::min(link.redials++, kMaxRedialDoublings)));
}

// So that many who lost the same peer do not come back in the same moment.
Duration Network::Impl::Jittered(Duration pause) {
  return pause + Duration(static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(pause.count()))));
}

void Network::Impl::HangUp(Link& link) {
  link.connected = false;
  if (link.line == 0) return;
  nodes_by_line_.erase(link.line);
  transport_->HangUp(std::exchange(link.line, 0));
}

Network::Impl::LinkPtr Network::Impl::LinkOf(NodeId node) const {
  const auto it = links_.find(node);
  return it == links_.end() ? nullptr : it->second;
}

Network::Impl::LinkPtr Network::Impl::LinkOfKey(const std::string& public_key) const {
  const auto it = nodes_by_key_.find(public_key);
  return it == nodes_by_key_.end() ? nullptr : LinkOf(it->second);
}

Network::Impl::LinkPtr Network::Impl::LinkOfLine(uint64_t line) const {
  const auto it = nodes_by_line_.find(line);
  return it == nodes_by_line_.end() ? nullptr : LinkOf(it->second);
}

// ---- from the transport

// The key is asked for with every frame, because ZeroMQ cannot close the connection of a peer that was revoked.
void Network::Impl::OnAccepted(const std::string& public_key, const std::string& route, std::string_view frame) {
  if (const LinkPtr link = LinkOfKey(public_key)) {
    // Frames of an older connection may still come; answering over it would lose them.
    if (route != link->route && route != link->former_route) {
      link->former_route = std::exchange(link->route, route);
      RetryUnsent(*link);
    }
    return OnFrame(link, frame);
  }
  const auto token = tokens_.find(public_key);
  if (token != tokens_.end() && OnEnrol(TokenKey(token->second), route, frame)) return;
  RefuseStranger(public_key, route, frame);
}

void Network::Impl::RefuseStranger(const std::string& public_key, const std::string& route, std::string_view frame) {
  const TimePoint now = MonotonicNow();
  if (public_key.empty() || now - last_refusal_ < kRefusalEvery) return;
  last_refusal_ = now;
  std::string refusal = session::RefusalOf(frame, "the key of this machine is not, or no longer, one of the cluster's");
  if (!refusal.empty()) transport_->Answer(route, refusal);
}

void Network::Impl::OnDialled(uint64_t line, std::string_view frame) {
  if (const LinkPtr link = LinkOfLine(line)) OnFrame(link, frame);
}

void Network::Impl::OnDialEvent(uint64_t line, DialEvent event) {
  const LinkPtr link = LinkOfLine(line);
  if (link == nullptr) return;
  const std::string who = NameOf(link->peer.node), where = link->peer.endpoint;
  std::string why;
  link->connected = event == DialEvent::kConnected;
  if (event == DialEvent::kKeyRefused) {
    link->dial_at =
        MonotonicNow() + Jittered(kRedialRefusedAfter * (1 << std::min(link->key_refusals, kMaxRefusedDoublings)));
    Arm(link);
    if (++link->key_refusals < kRefusalsToTell) return;
    why = absl::StrCat(who, " at ", where, " does not know the key of this machine: it was revoked, or has not joined");
  } else if (event == DialEvent::kHandshakeFailed) {
    if (++link->failed_handshakes < kRefusalsToTell) return;  // once may be a peer that is just leaving
    why = absl::StrCat("who answers at ", where, " does not hold the key of ", who);
  } else {
    return;
  }
  if (!std::exchange(link->told_of_failure, true)) Refused(*link, why);
}

void Network::Impl::OnFrame(const LinkPtr& link, std::string_view frame) {
  link->session.OnFrame(MonotonicNow(), frame, &link->actions);
  Carry(link);
}

// False if this asks for something else, for which a token is not good.
bool Network::Impl::OnEnrol(const TokenKey& token, const std::string& route, std::string_view bytes) {
  const std::optional<EnrolRequest> request = DecodeEnrolRequest(bytes);
  if (!request) return false;
  std::string reply = EncodeEnrolReply(Admit(token, *request));
  transport_->Answer(route, reply);
  return true;
}

absl::StatusOr<Enrolment> Network::Impl::Admit(const TokenKey& token, const EnrolRequest& request) {
  if (request.version != options_.protocol_version) {
    return absl::FailedPreconditionError(absl::StrCat("this machine speaks protocol version ", request.version,
                                                      " and the head version ", options_.protocol_version,
                                                      "; install the same release on both"));
  }
  if (request.cluster_id != options_.cluster_id)
    return absl::UnavailableError("the token is of another cluster than this head's");
  if (!token.refusal.empty()) return absl::PermissionDeniedError(token.refusal);
  if (!IsCurveKey(request.node_public_key))
    return absl::InvalidArgumentError("the machine's own public key is not a key");
  if (!handlers_.enrol) return absl::PermissionDeniedError("this process does not let machines join");
  const absl::StatusOr<NodeId> node = handlers_.enrol(token.public_key, request.node_public_key);
  if (!node.ok()) return node.status();
  return Enrolment{.node = *node, .cluster_id = options_.cluster_id};
}

void Network::Impl::SetTokens(std::vector<TokenKey> tokens) {
  tokens_.clear();
  for (TokenKey& token : tokens) {
    const std::string key = token.public_key;
    tokens_[key] = std::move(token);
  }
}

// ---- what a session wishes

void Network::Impl::Carry(const LinkPtr& link) {
  // Handlers may call us again, for this link too: they find its actions empty.
  SessionActions actions;
  std::swap(actions, link->actions);
  for (std::string& frame : actions.frames) SendFrame(*link, std::move(frame));
  if (actions.reachable) {
    if (*actions.reachable) {
      link->redials = link->key_refusals = 0;
      link->dial_at.reset();
      link->told_of_failure = false;
    } else if (!link->peer.endpoint.empty() && options_.role != Role::kHead) {
      link->dial_at = MonotonicNow() + kRedialAfter;
    }
  }
  Arm(link);
  const std::shared_ptr<bool> alive = alive_;
  const auto over = [&] { return !*alive || link->closed; };
  if (actions.reset) {
    ++link->resets;
    link->pieces.clear();
    if (handlers_.peer_reset) handlers_.peer_reset(link->peer.node);
  }
  if (!over() && actions.reachable && handlers_.peer_reachable) {
    handlers_.peer_reachable(link->peer.node, *actions.reachable);
  }
  if (!over() && !actions.refused.empty()) Refused(*link, actions.refused);
  // A handler that resets the link gets nothing more of the old one.
  const uint64_t resets = link->resets;
  for (std::string& payload : actions.delivered) {
    if (over() || link->resets != resets) return;
    Deliver(*link, std::move(payload));
  }
}

void Network::Impl::Deliver(Link& link, std::string&& payload) {
  Envelope envelope;
  if (payload.size() < sizeof(envelope)) return;
  std::memcpy(&envelope, payload.data(), sizeof(envelope));
  const Address from{NodeId{envelope.from_node}, WorkerId{envelope.from_worker}};
  const Address to{NodeId{envelope.to_node}, WorkerId{envelope.to_worker}};
  if (from.node != link.peer.node) {
    if (!std::exchange(link.told_of_forgery, true)) {
      Refused(link, absl::StrCat(NameOf(link.peer.node), " speaks in the name of ", from.ToString(),
                                 "; such messages are dropped"));
    }
    return;
  }
  if (!handlers_.deliver) return;
  payload.erase(0, sizeof(envelope));
  if (link.pieces.empty() && envelope.rest == 0) return handlers_.deliver(from, to, std::move(payload));
  if (envelope.rest > kMostMessageBytes || link.pieces.size() + payload.size() + envelope.rest > kMostMessageBytes) {
    link.pieces.clear();
    return;  // not a peer of ours, to whom such a message would not have been taken
  }
  link.pieces.append(payload);
  if (envelope.rest == 0) handlers_.deliver(from, to, std::exchange(link.pieces, {}));
}

void Network::Impl::SendFrame(Link& link, std::string&& frame) {
  if (SHOAL_BUGGIFY("network.lose_frame") || TrySend(link, frame)) return;
  // Sessions repeat themselves, but not at once: this one goes as soon as there is a connection.
  link.unsent = std::move(frame);
}

bool Network::Impl::TrySend(Link& link, std::string& frame) {
  if (link.line != 0 && transport_->SendTo(link.line, frame) == ZmqSocket::Sent::kYes) return true;
  if (link.route.empty()) return false;
  const ZmqSocket::Sent sent = transport_->Answer(link.route, frame);
  if (sent == ZmqSocket::Sent::kUnreachable) {
    link.route.clear();
    link.former_route.clear();
  }
  return sent == ZmqSocket::Sent::kYes;
}

void Network::Impl::RetryUnsent(Link& link) {
  if (link.unsent.empty()) return;
  std::string frame = std::exchange(link.unsent, {});
  if (!TrySend(link, frame)) link.unsent = std::move(frame);
}

absl::Status Network::Impl::Send(NodeId peer, const Address& from, const Address& to, const std::string& message) {
  const LinkPtr link = LinkOf(peer);
  if (link == nullptr) return absl::NotFoundError(absl::StrCat(NameOf(peer), " is not a peer of this process"));
  if (message.size() > kMostMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a message of ", message.size(), " bytes is over the limit of ",
                                                   kMostMessageBytes, "; put large values into the object store"));
  }
  const auto full = [&] {
    return absl::ResourceExhaustedError(absl::StrCat(NameOf(peer), " does not take messages as fast as they come: ",
                                                     link->session.queued_bytes(), " bytes wait for it"));
  };
  // A session takes whatever begins below its limit; of a message in pieces it must take all or none.
  if (message.size() > kPieceBytes && link->session.queued_bytes() + 2 * message.size() > kMaxQueuedBytes) return full();
  const TimePoint now = MonotonicNow();
  std::string_view rest = message;
  do {
    const std::string_view piece = rest.substr(0, kPieceBytes);
    rest.remove_prefix(piece.size());
    const Envelope envelope{from.node.value, from.worker.value, to.node.value, to.worker.value, rest.size()};
    std::string payload;
    payload.reserve(sizeof(envelope) + piece.size());
    payload.append(reinterpret_cast<const char*>(&envelope), sizeof(envelope));
    payload.append(piece);
    if (!link->session.Send(now, std::move(payload), &link->actions)) {
      SHOAL_CHECK(rest.size() + piece.size() == message.size()) << "a message was taken in part";
      return full();
    }
  } while (!rest.empty());
  FlushSoon(link);
  return absl::OkStatus();
}

void Network::Impl::Reset(NodeId peer) {
  const LinkPtr link = LinkOf(peer);
  if (link == nullptr) return;
  link->session.Reset(MonotonicNow(), &link->actions);
  link->unsent.clear();
  Carry(link);
}

// ---- time

// Messages of one turn of the loop share frames.
void Network::Impl::FlushSoon(const LinkPtr& link) {
  if (!std::exchange(link->wants_flush, true)) to_flush_.push_back(link);
  if (std::exchange(flush_posted_, true)) return;
  loop_->Post([this, alive = alive_] {
    if (!*alive) return;
    flush_posted_ = false;
    FlushAll();
  });
}

void Network::Impl::FlushAll() {
  const std::shared_ptr<bool> alive = alive_;
  std::vector<LinkPtr> links;
  links.swap(to_flush_);
  const TimePoint now = MonotonicNow();
  for (const LinkPtr& link : links) {
    link->wants_flush = false;
    if (link->closed) continue;
    link->session.Flush(now, &link->actions);
    Carry(link);
    if (!*alive) return;
  }
}

void Network::Impl::Arm(const LinkPtr& link) {
  if (link->closed) return;
  std::optional<TimePoint> next = link->session.NextDeadline();
  if (link->dial_at) next = next ? std::min(*next, *link->dial_at) : *link->dial_at;
  if (next == link->armed) return;
  Disarm(*link);
  link->armed = next;
  if (next) deadlines_.emplace(*next, link->peer.node);
  SetTimer();
}

void Network::Impl::Disarm(Link& link) {
  if (link.armed) deadlines_.erase({*link.armed, link.peer.node});
  link.armed.reset();
}

// A timer that fires too early costs one turn, one that is set anew with every frame costs a system call each.
void Network::Impl::SetTimer() {
  if (deadlines_.empty() || (timer_set_ && *timer_set_ <= deadlines_.begin()->first)) return;
  timer_set_ = deadlines_.begin()->first;
  const int64_t ns = std::max<int64_t>(ToNanoseconds(*timer_set_), 1);  // 0 would switch it off
  itimerspec spec{};
  spec.it_value = {ns / 1'000'000'000, ns % 1'000'000'000};
  SHOAL_CHECK(timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0);
}

void Network::Impl::OnTimer() {
  uint64_t expirations;
  static_cast<void>(!read(timer_.get(), &expirations, sizeof(expirations)));
  timer_set_.reset();
  const std::shared_ptr<bool> alive = alive_;
  const TimePoint now = MonotonicNow();
  std::vector<NodeId> due;
  for (const auto& [deadline, node] : deadlines_) {
    if (deadline > now) break;
    due.push_back(node);
  }
  for (const NodeId node : due) {
    const LinkPtr link = LinkOf(node);
    if (link == nullptr) continue;
    if (link->dial_at && *link->dial_at <= now) {
      link->dial_at.reset();
      if (link->connected) {
        link->dial_at = now + kRedialAfter;  // a slow one, or ZeroMQ's own heartbeats find out soon
      } else if (!link->session.reachable() && !link->peer.endpoint.empty()) {
        Dial(*link);
      }
    }
    link->session.OnTick(now, &link->actions);
    Carry(link);
    if (!*alive) return;
  }
  SetTimer();
}

// ---- Network

Network::Network(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Network::~Network() = default;

absl::StatusOr<std::unique_ptr<Network>> Network::Start(NetworkOptions options, EventLoop* loop,
                                                        NetworkHandlers handlers) {
  if (!IsCurveKey(options.keys.public_key) || !IsCurveKey(options.keys.secret_key)) {
    return absl::InvalidArgumentError("this process has no key pair of its own");
  }
  auto impl = std::make_unique<Impl>(std::move(options), loop, std::move(handlers));
  const absl::Status started = impl->Start();
  if (!started.ok()) return started;
  return std::unique_ptr<Network>(new Network(std::move(impl)));
}

uint16_t Network::port() const { return impl_->port(); }
void Network::SetPeers(std::vector<Peer> peers) { impl_->SetPeers(std::move(peers)); }
void Network::SetTokens(std::vector<TokenKey> tokens) { impl_->SetTokens(std::move(tokens)); }
absl::Status Network::Send(NodeId peer, const Address& from, const Address& to, std::string message) {
  return impl_->Send(peer, from, to, message);
}
void Network::Reset(NodeId peer) { impl_->Reset(peer); }

}  // namespace shoal::io
