// The daemon's end of all local connections: core workers and the command line at a unix socket. Registers them, carries frames
// by worker id without looking inside, and brokers rings between them.
//
//   auto hub = LocalHub::Listen(dir + "/raylet.sock", node, &loop, {
//       .admit = [&](const RegisterWorker& hello, uint32_t pid) { ... return absl::OkStatus(); },
//       .receive = [&](WorkerId from, const Address& to, std::string bytes) { Route(...); },
//       .gone = [&](WorkerId worker, const std::string& why) { ... },
//       .unreachable = [&](WorkerId asker, WorkerId peer) { ... }});
//   (*hub)->Send(worker, from, bytes);
//
// A connection begins with an optional kDoorbell and a kMessage that holds RegisterWorker; whatever else comes before that, or a second
// connection for the same worker, is closed. A peer that does not read is treated as gone. All in the loop's thread; handlers
// may call back in, and connections are destroyed after them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/local_socket.h"
#include "schema/messages.h"

namespace shoal::io {

struct LocalHubHandlers {
  // A process says who it is. An error closes the connection; nothing about it is reported after that.
  std::function<absl::Status(const RegisterWorker& hello, uint32_t pid)> admit;
  // Any later message; `bytes` are schema/codec.h's.
  std::function<void(WorkerId from, const Address& to, std::string bytes)> receive;
  // Its connection ended; once per admitted connection, unless Close was called.
  std::function<void(WorkerId worker, const std::string& why)> gone;
  // `asker` wanted a ring to `peer`, which is not connected.
  std::function<void(WorkerId asker, WorkerId peer)> unreachable;
};

class LocalHub {
 public:
  static constexpr size_t kMaxConnections = 16'384;

  // Errors as LocalListener::Listen.
  static absl::StatusOr<std::unique_ptr<LocalHub>> Listen(const std::string& path, NodeId node, DaemonLoop* loop,
                                                          LocalHubHandlers handlers);
  ~LocalHub();
  LocalHub(const LocalHub&) = delete;
  LocalHub& operator=(const LocalHub&) = delete;

  bool Has(WorkerId worker) const { return by_worker_.contains(worker); }
  // False if that worker is not connected. One that does not read is reported gone, later, and counts as connected until then.
  bool Send(WorkerId to, const Address& from, std::string bytes);
  // Passes the arena's memory; false as above.
  bool SendArena(WorkerId to, int arena_fd);
  // Bytes that wait for that worker to read.
  size_t UnsentBytes(WorkerId worker) const;
  // Takes in what the worker has said so far, before its death is acted upon.
  void Drain(WorkerId worker);
  // Ends the connection without a report.
  void Close(WorkerId worker);
  size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    explicit Connection(LocalSocket s) : socket(std::move(s)) {}
    LocalSocket socket;
    WorkerId worker;
    uint32_t pid = 0;
    std::vector<UniqueFd> doorbell;  // memory, event
    bool wants_write = false;
    bool closed = false;
  };
  using ConnectionPtr = std::shared_ptr<Connection>;

  LocalHub(LocalListener listener, NodeId node, DaemonLoop* loop, LocalHubHandlers handlers)
      : listener_(std::move(listener)), node_(node), loop_(loop), handlers_(std::move(handlers)) {}
  void AcceptAll();
  void OnReady(const ConnectionPtr& connection, uint32_t events);
  void ReadFrames(const ConnectionPtr& connection);
  bool OnFrame(const ConnectionPtr& connection, LocalFrame&& frame, std::vector<UniqueFd> fds);
  bool Register(const ConnectionPtr& connection, const std::string& bytes);
  void ConnectRing(const ConnectionPtr& asker, WorkerId peer, const UniqueFd& ring);
  bool SendFrame(const ConnectionPtr& connection, const LocalFrame& frame, std::initializer_list<int> fds);
  void Lose(const ConnectionPtr& connection, const std::string& why);
  void Remove(const ConnectionPtr& connection);
  ConnectionPtr Find(WorkerId worker) const;

  LocalListener listener_;
  const NodeId node_;
  DaemonLoop* const loop_;
  const LocalHubHandlers handlers_;
  std::map<int, ConnectionPtr> connections_;  // by descriptor
  std::map<WorkerId, ConnectionPtr> by_worker_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // posted work looks whether the hub still is
};

}  // namespace shoal::io
