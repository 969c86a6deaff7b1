#include "runtime/io/local_hub.h"

#include <sys/epoll.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "schema/codec.h"

namespace shoal::io {
namespace {

constexpr int kFramesPerTurn = 1024;  // then others get their turn

}  // namespace

absl::StatusOr<std::unique_ptr<LocalHub>> LocalHub::Listen(const std::string& path, NodeId node, DaemonLoop* loop,
                                                           LocalHubHandlers handlers) {
  absl::StatusOr<LocalListener> listener = LocalListener::Listen(path);
  if (!listener.ok()) return listener.status();
  std::unique_ptr<LocalHub> hub(new LocalHub(*std::move(listener), node, loop, std::move(handlers)));
  LocalHub* const self = hub.get();
  const absl::Status added = loop->events().AddFd(hub->listener_.fd(), EPOLLIN, [self](uint32_t) { self->AcceptAll(); });
  if (!added.ok()) return added;
  return hub;
}

LocalHub::~LocalHub() {
  loop_->events().RemoveFd(listener_.fd());
  for (auto& [fd, connection] : connections_) {
    connection->closed = true;
    loop_->events().RemoveFd(fd);
  }
}

void LocalHub::AcceptAll() {
  while (true) {
    absl::StatusOr<LocalSocket> socket = listener_.Accept();
    if (absl::IsPermissionDenied(socket.status())) continue;
    if (!socket.ok()) return;
    if (connections_.size() >= kMaxConnections) continue;  // closed by going out of scope
    const auto peer = socket->PeerPidAndUid();
    auto connection = std::make_shared<Connection>(*std::move(socket));
    if (peer.ok()) connection->pid = peer->first;
    const int fd = connection->socket.fd();
    const absl::Status added = loop_->events().AddFd(
        fd, EPOLLIN, [this, connection](uint32_t events) { OnReady(connection, events); });
    if (added.ok()) connections_[fd] = std::move(connection);
  }
}

void LocalHub::OnReady(const ConnectionPtr& connection, uint32_t events) {
  if ((events & EPOLLOUT) != 0 && !connection->socket.FlushWrites() && connection->wants_write) {
    connection->wants_write = false;
    loop_->events().ChangeFd(connection->socket.fd(), EPOLLIN);
  }
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) ReadFrames(connection);
}

void LocalHub::ReadFrames(const ConnectionPtr& connection) {
  const std::weak_ptr<int> alive = alive_;
  for (int i = 0; i < kFramesPerTurn; ++i) {
    if (alive.expired() || connection->closed) return;
    LocalFrame frame;
    std::vector<UniqueFd> fds;
    const absl::StatusOr<bool> received = connection->socket.Receive(&frame, &fds);
    if (!received.ok()) return Lose(connection, std::string(received.status().message()));
    if (!*received) return;
    if (!OnFrame(connection, std::move(frame), std::move(fds))) return;
  }
  // Frames that the socket has read already are not announced by epoll again.
  loop_->events().Post([this, alive, connection] {
    if (!alive.expired() && !connection->closed) ReadFrames(connection);
  });
}

// False if the connection is no more.
bool LocalHub::OnFrame(const ConnectionPtr& connection, LocalFrame&& frame, std::vector<UniqueFd> fds) {
  using Kind = LocalFrame::Kind;
  if (!connection->worker) {
    if (frame.kind == Kind::kDoorbell && fds.size() == 2 && connection->doorbell.empty()) {
      connection->doorbell = std::move(fds);
      return true;
    }
    if (frame.kind == Kind::kMessage && Register(connection, frame.bytes)) return true;
    Remove(connection);
    return false;
  }
  if (frame.kind == Kind::kMessage) {
    handlers_.receive(connection->worker, frame.to, std::move(frame.bytes));
  } else if (frame.kind == Kind::kConnectRing && fds.size() == 1 && frame.to.node == node_) {
    ConnectRing(connection, frame.to.worker, fds[0]);
  }
  return !connection->closed;
}

bool LocalHub::Register(const ConnectionPtr& connection, const std::string& bytes) {
  absl::StatusOr<Message> message = DecodeMessage(bytes);
  if (!message.ok()) return false;
  const auto* hello = std::get_if<RegisterWorker>(&*message);
  if (hello == nullptr || !hello->worker || by_worker_.contains(hello->worker)) return false;
  connection->worker = hello->worker;
  by_worker_[hello->worker] = connection;
  if (handlers_.admit(*hello, connection->pid).ok()) return true;
  by_worker_.erase(connection->worker);
  connection->worker = {};
  return false;
}

void LocalHub::ConnectRing(const ConnectionPtr& asker, WorkerId peer_id, const UniqueFd& ring) {
  const ConnectionPtr peer = Find(peer_id);
  const Address peer_address{node_, peer_id};
  if (peer == nullptr || peer->doorbell.size() != 2 || asker->doorbell.size() != 2) {
    SendFrame(asker, {.kind = LocalFrame::Kind::kRingRefused, .from = peer_address}, {});
    if (peer == nullptr) handlers_.unreachable(asker->worker, peer_id);
    return;
  }
  SendFrame(peer, {.kind = LocalFrame::Kind::kConnectRing, .from = {node_, asker->worker}},
            {ring.get(), asker->doorbell[0].get(), asker->doorbell[1].get()});
  SendFrame(asker, {.kind = LocalFrame::Kind::kRingConnected, .from = peer_address},
            {peer->doorbell[0].get(), peer->doorbell[1].get()});
}

bool LocalHub::Send(WorkerId to, const Address& from, std::string bytes) {
  const ConnectionPtr connection = Find(to);
  if (connection == nullptr) return false;
  LocalFrame frame{.kind = LocalFrame::Kind::kMessage, .to = {node_, to}, .from = from};
  frame.bytes = std::move(bytes);
  return SendFrame(connection, frame, {});
}

bool LocalHub::SendArena(WorkerId to, int arena_fd) {
  const ConnectionPtr connection = Find(to);
  return connection != nullptr && SendFrame(connection, {.kind = LocalFrame::Kind::kArena}, {arena_fd});
}

bool LocalHub::SendFrame(const ConnectionPtr& connection, const LocalFrame& frame, std::initializer_list<int> fds) {
  const absl::Status sent = connection->socket.Send(frame, absl::MakeConstSpan(fds.begin(), fds.size()));
  if (absl::IsInvalidArgument(sent)) return true;  // too large for a frame: that one message is lost, the peer is well
  if (!sent.ok() && absl::IsResourceExhausted(sent)) {
    // Not from here: the caller may be in the middle of something that the report would change.
    const std::weak_ptr<int> alive = alive_;
    loop_->events().Post([this, alive, connection, why = std::string(sent.message())] {
      if (!alive.expired() && !connection->closed) Lose(connection, why);
    });
  }
  // A broken one is found by reading, after what it still said.
  if (!connection->wants_write && connection->socket.unsent_bytes() > 0) {
    connection->wants_write = true;
    loop_->events().ChangeFd(connection->socket.fd(), EPOLLIN | EPOLLOUT);
  }
  return true;
}

size_t LocalHub::UnsentBytes(WorkerId worker) const {
  const ConnectionPtr connection = Find(worker);
  return connection == nullptr ? 0 : connection->socket.unsent_bytes();
}

void LocalHub::Drain(WorkerId worker) {
  const ConnectionPtr connection = Find(worker);
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  while (connection != nullptr && !connection->closed) {
    const absl::StatusOr<bool> received = connection->socket.Receive(&frame, &fds);
    if (!received.ok() || !*received) return;
    if (!OnFrame(connection, std::move(frame), std::move(fds))) return;
  }
}

void LocalHub::Close(WorkerId worker) {
  if (const ConnectionPtr connection = Find(worker)) Remove(connection);
}

void LocalHub::Lose(const ConnectionPtr& connection, const std::string& why) {
  const WorkerId worker = connection->worker;
  Remove(connection);
  if (worker) handlers_.gone(worker, why);
}

void LocalHub::Remove(const ConnectionPtr& connection) {
  if (connection->closed) return;
  connection->closed = true;
  const int fd = connection->socket.fd();
  loop_->events().RemoveFd(fd);
  if (connection->worker) by_worker_.erase(connection->worker);
  connections_.erase(fd);
  connection->socket.Close();
}

LocalHub::ConnectionPtr LocalHub::Find(WorkerId worker) const {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? nullptr : it->second;
}

}  // namespace shoal::io
