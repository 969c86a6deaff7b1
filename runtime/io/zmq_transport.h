// Frames to and from other machines over ZeroMQ with CURVE: one listening socket, one dialling socket per peer that
// is dialled. Knows keys, connections and frames; who they belong to and what frames say is network.cc's.
//
//   auto transport = ZmqTransport::Start({.keys = keys, .listen_host = "0.0.0.0"}, loop, handlers);
//   uint64_t line = *(*transport)->Dial("10.0.0.7:6380", server_key);
//   (*transport)->SendTo(line, frame);             // what the peer says back comes to handlers.dialled
//   (*transport)->Answer(route, frame);            // over a connection to us, see handlers.accepted
//
// Frames may be lost at any time without a word. Runs in the loop's thread; handlers are called from the loop only,
// never from within these functions, and may call them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/status/statusor.h"
#include "runtime/io/event_loop.h"
#include "runtime/io/zap.h"
#include "runtime/io/zmq_socket.h"

namespace shoal::io {

// What happened to a connection that we dialled.
enum class DialEvent { kConnected, kDisconnected, kKeyRefused, kHandshakeFailed };

// The state of a dialling socket as its monitor tells it. Reads one event; false if there is none.
bool ReadDialEvent(ZmqSocket* monitor, std::optional<DialEvent>* event);
// Has `socket` tell `monitor`, a fresh PAIR, what happens to it.
absl::Status MonitorDial(const ZmqSocket& socket, ZmqSocket* monitor);

class ZmqTransport {
 public:
  struct Options {
    KeyPair keys;
    std::string listen_host;  // "": dial only
    uint16_t port = 0;
    std::shared_ptr<const ZmqContext> context;  // null: one of its own; at most one of those that share it listens
  };
  struct Handlers {
    ZapHandler::Admit admit;
    // A frame over a connection that the owner of `public_key` made to us.
    std::function<void(const std::string& public_key, const std::string& route, std::string_view frame)> accepted;
    // A frame over a line that we dialled, whose other end holds the key that was dialled.
    std::function<void(uint64_t line, std::string_view frame)> dialled;
    std::function<void(uint64_t line, DialEvent event)> dial_event;
    // A line that had refused a frame takes frames again.
    std::function<void(uint64_t line)> writable;
    // Every batch of the above has ended.
    std::function<void()> after;
  };

  static absl::StatusOr<std::unique_ptr<ZmqTransport>> Start(const Options& options, EventLoop* loop,
                                                             Handlers handlers);
  ~ZmqTransport();
  ZmqTransport(const ZmqTransport&) = delete;
  ZmqTransport& operator=(const ZmqTransport&) = delete;

  uint16_t port() const { return port_; }
  // Keeps trying until HangUp. InvalidArgument for what is no address or key, ResourceExhausted without descriptors.
  absl::StatusOr<uint64_t> Dial(const std::string& endpoint, const std::string& server_public_key);
  void HangUp(uint64_t line);

  // Anything but kYes: the frame did not go, and is still the caller's.
  ZmqSocket::Sent SendTo(uint64_t line, std::string& frame);
  ZmqSocket::Sent Answer(const std::string& route, std::string& frame);

 private:
  struct Line {
    ZmqSocket socket, monitor;
    bool refused_frame = false;
  };

  ZmqTransport(std::shared_ptr<const ZmqContext> context, EventLoop* loop, Handlers handlers)
      : context_(std::move(context)), loop_(loop), handlers_(std::move(handlers)) {}
  absl::Status Listen(const Options& options);
  absl::Status Watch(const ZmqSocket& socket, uint64_t line);
  void Touch(uint64_t line);
  void Serve();
  bool ServeListener();
  bool ServeLine(uint64_t id);
  void ServeMonitor(uint64_t id);

  const std::shared_ptr<const ZmqContext> context_;
  EventLoop* const loop_;
  const Handlers handlers_;
  KeyPair keys_;
  uint16_t port_ = 0;
  std::unique_ptr<ZapHandler> zap_;
  ZmqSocket listener_;
  absl::btree_map<uint64_t, std::shared_ptr<Line>> lines_;
  uint64_t last_line_ = 0;
  // Sockets that may have something: line ids, kListener. Served from the loop.
  absl::btree_set<uint64_t> touched_;
  bool serving_ = false, serve_posted_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // posted work outlives us
};

}  // namespace shoal::io
