#include "runtime/io/zmq_transport.h"

#include <sys/epoll.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace shoal::io {
namespace {

constexpr uint64_t kListener = 0;
// Frames taken from one socket before the others have their turn.
constexpr int kFramesPerTurn = 64;
constexpr int kRoundsPerTurn = 4;
constexpr int kDialEvents = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                            ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

}  // namespace

absl::Status MonitorDial(const ZmqSocket& socket, ZmqSocket* monitor) {
  // The name is of this context, which others may share.
  const std::string address = absl::StrCat("inproc://monitor-", absl::Hex(reinterpret_cast<uintptr_t>(socket.get())));
  if (zmq_socket_monitor(socket.get(), address.c_str(), kDialEvents) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("a connection cannot be watched: ", zmq_strerror(zmq_errno())));
  }
  return monitor->ConnectInproc(address);
}

bool ReadDialEvent(ZmqSocket* monitor, std::optional<DialEvent>* event) {
  ZmqPart part;
  event->reset();
  if (!monitor->Receive(&part)) return false;
  uint16_t kind = 0;
  if (part.view().size() >= sizeof(kind)) std::memcpy(&kind, part.view().data(), sizeof(kind));
  monitor->SkipRest(part);
  if (kind == ZMQ_EVENT_CONNECTED) *event = DialEvent::kConnected;
  if (kind == ZMQ_EVENT_DISCONNECTED) *event = DialEvent::kDisconnected;
  if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) *event = DialEvent::kKeyRefused;
  if (kind == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || kind == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
    *event = DialEvent::kHandshakeFailed;
  }
  return true;
}

absl::StatusOr<std::unique_ptr<ZmqTransport>> ZmqTransport::Start(const Options& options, EventLoop* loop,
                                                                  Handlers handlers) {
  auto context = options.context != nullptr ? options.context : std::make_shared<const ZmqContext>(ZmqContext::Create());
  std::unique_ptr<ZmqTransport> transport(new ZmqTransport(std::move(context), loop, std::move(handlers)));
  transport->keys_ = options.keys;
  if (!options.listen_host.empty()) {
    const absl::Status listening = transport->Listen(options);
    if (!listening.ok()) return listening;
  }
  return transport;
}

absl::Status ZmqTransport::Listen(const Options& options) {
  auto zap = ZapHandler::Start(*context_, handlers_.admit);
  if (!zap.ok()) return zap.status();
  zap_ = *std::move(zap);
  auto listener = ZmqSocket::Create(*context_, ZMQ_ROUTER);
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  listener_.UseCurveServer(options.keys);
  const absl::StatusOr<uint16_t> port = listener_.Bind(options.listen_host, options.port);
  if (!port.ok()) return port.status();
  port_ = *port;
  const absl::Status watched = loop_->AddFd(zap_->fd(), EPOLLIN, [this](uint32_t) { zap_->Serve(); });
  return watched.ok() ? Watch(listener_, kListener) : watched;
}

ZmqTransport::~ZmqTransport() {
  *alive_ = false;
  while (!lines_.empty()) HangUp(lines_.begin()->first);
  if (zap_ != nullptr) loop_->RemoveFd(zap_->fd());
  if (listener_.get() != nullptr) loop_->RemoveFd(listener_.fd());
}

absl::Status ZmqTransport::Watch(const ZmqSocket& socket, uint64_t line) {
  return loop_->AddFd(socket.fd(), EPOLLIN, [this, line](uint32_t) {
    touched_.insert(line);
    Serve();
  });
}

absl::StatusOr<uint64_t> ZmqTransport::Dial(const std::string& endpoint, const std::string& server_public_key) {
  if (!IsCurveKey(server_public_key)) {
    return absl::InvalidArgumentError(absl::StrCat("the public key of ", endpoint, " is not a CURVE key"));
  }
  auto socket = ZmqSocket::Create(*context_, ZMQ_DEALER);
  auto monitor = ZmqSocket::Create(*context_, ZMQ_PAIR);
  if (!socket.ok()) return socket.status();
  if (!monitor.ok()) return monitor.status();
  const uint64_t id = ++last_line_;
  socket->UseCurveClient(keys_, server_public_key);
  absl::Status status = MonitorDial(*socket, &*monitor);
  if (status.ok()) status = socket->Connect(endpoint);
  if (!status.ok()) return status;
  auto line = std::make_shared<Line>();
  line->socket = *std::move(socket);
  line->monitor = *std::move(monitor);
  status = Watch(line->socket, id);
  if (status.ok()) status = Watch(line->monitor, id);
  lines_[id] = std::move(line);
  if (!status.ok()) {
    HangUp(id);
    return status;
  }
  Touch(id);
  return id;
}

void ZmqTransport::HangUp(uint64_t id) {
  const auto it = lines_.find(id);
  if (it == lines_.end()) return;
  const std::shared_ptr<Line> line = it->second;
  lines_.erase(it);
  loop_->RemoveFd(line->socket.fd());
  loop_->RemoveFd(line->monitor.fd());
  zmq_socket_monitor(line->socket.get(), nullptr, 0);
  line->socket.Close();
  line->monitor.Close();
}

ZmqSocket::Sent ZmqTransport::SendTo(uint64_t id, std::string& frame) {
  const auto it = lines_.find(id);
  if (it == lines_.end()) return ZmqSocket::Sent::kUnreachable;
  Touch(id);
  const ZmqSocket::Sent sent = it->second->socket.Send(std::move(frame));
  if (sent != ZmqSocket::Sent::kYes) it->second->refused_frame = true;
  return sent;
}

ZmqSocket::Sent ZmqTransport::Answer(const std::string& route, std::string& frame) {
  if (listener_.get() == nullptr) return ZmqSocket::Sent::kUnreachable;
  Touch(kListener);
  const ZmqSocket::Sent sent = listener_.SendView(route, /*more=*/true);
  return sent == ZmqSocket::Sent::kYes ? listener_.Send(std::move(frame)) : sent;
}

// Whatever we did to a socket may have swallowed the sign that it is readable: look again, but not from within the
// caller.
void ZmqTransport::Touch(uint64_t line) {
  touched_.insert(line);
  if (serving_ || serve_posted_) return;
  serve_posted_ = true;
  loop_->Post([this, alive = alive_] {
    if (!*alive) return;
    serve_posted_ = false;
    Serve();
  });
}

void ZmqTransport::Serve() {
  const std::shared_ptr<bool> alive = alive_;
  serving_ = true;
  // What the handlers send touches sockets again, so that a second round is usual and a third one is not.
  for (int round = 0; round < kRoundsPerTurn && !touched_.empty(); ++round) {
    absl::btree_set<uint64_t> turn;
    turn.swap(touched_);
    for (const uint64_t id : turn) {
      if (id == kListener ? ServeListener() : ServeLine(id)) touched_.insert(id);
    }
    handlers_.after();
    if (!*alive) return;
  }
  serving_ = false;
  if (!touched_.empty()) Touch(*touched_.begin());
}

// True if there may be more.
bool ZmqTransport::ServeListener() {
  if (listener_.get() == nullptr) return false;
  for (int i = 0; i < kFramesPerTurn; ++i) {
    ZmqPart route, frame;
    if (!listener_.Receive(&route)) return false;
    if (!route.more() || !listener_.Receive(&frame)) continue;
    if (frame.more()) {
      listener_.SkipRest(frame);  // ours have one part
      continue;
    }
    handlers_.accepted(frame.user_id(), std::string(route.view()), frame.view());
  }
  return true;
}

bool ZmqTransport::ServeLine(uint64_t id) {
  ServeMonitor(id);
  for (int i = 0; i < kFramesPerTurn; ++i) {
    const auto it = lines_.find(id);
    if (it == lines_.end()) return false;
    const std::shared_ptr<Line> line = it->second;  // the handler may hang up
    ZmqPart frame;
    if (!line->socket.Receive(&frame)) {
      if (line->refused_frame && line->socket.Writable()) {
        line->refused_frame = false;
        handlers_.writable(id);
      }
      return false;
    }
    if (frame.more()) {
      line->socket.SkipRest(frame);
      continue;
    }
    handlers_.dialled(id, frame.view());
  }
  return true;
}

void ZmqTransport::ServeMonitor(uint64_t id) {
  while (true) {
    const auto it = lines_.find(id);
    std::optional<DialEvent> event;
    if (it == lines_.end() || !ReadDialEvent(&it->second->monitor, &event)) return;
    if (event) handlers_.dial_event(id, *event);
  }
}

}  // namespace shoal::io
