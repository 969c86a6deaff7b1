// A ZeroMQ socket with one owner, and the options that every socket of Shoal has. ZeroMQ's defaults suit a lab:
// unlimited frames before authentication, half-open peers kept for 30 s, messages sent into nowhere, exits that wait
// for ever.
//
//   ZmqContext context = ZmqContext::Create();
//   absl::StatusOr<ZmqSocket> dealer = ZmqSocket::Create(context, ZMQ_DEALER);
//   dealer->UseCurveClient(keys, server_public_key);
//   dealer->Connect("10.0.0.7:6380");
//
// The descriptor of a socket (fd) is edge-triggered in disguise: it says that something may have changed, and any
// call may have taken that in. So after each send or receive ask Readable() again before waiting for it.
#pragma once

#include <zmq.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/io/keys.h"

namespace shoal::io {

// The largest frame that a peer may send; whoever sends more is cut off.
inline constexpr int64_t kMaxZmqFrameBytes = int64_t{16} << 20;

class ZmqContext {
 public:
  static ZmqContext Create();
  ZmqContext(ZmqContext&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
  // All its sockets must be closed.
  ~ZmqContext();
  void* get() const { return context_; }

 private:
  explicit ZmqContext(void* context) : context_(context) {}
  void* context_;
};

// One part of a message.
class ZmqPart {
 public:
  ZmqPart() { zmq_msg_init(&message_); }
  ~ZmqPart() { zmq_msg_close(&message_); }
  ZmqPart(const ZmqPart&) = delete;
  ZmqPart& operator=(const ZmqPart&) = delete;

  std::string_view view() const {
    zmq_msg_t* message = const_cast<zmq_msg_t*>(&message_);
    return {static_cast<const char*>(zmq_msg_data(message)), zmq_msg_size(message)};
  }
  bool more() const { return zmq_msg_more(&message_) != 0; }
  // What the ZAP handler said about the connection that it came over; "" if there was none.
  std::string user_id() const;

 private:
  friend class ZmqSocket;
  zmq_msg_t message_;
};

class ZmqSocket {
 public:
  enum class Sent { kYes, kFull, kUnreachable };  // kFull: no connection yet, or its queue is full

  ZmqSocket() = default;
  // ResourceExhausted if there are no descriptors left.
  static absl::StatusOr<ZmqSocket> Create(const ZmqContext& context, int type);
  ZmqSocket(ZmqSocket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  ZmqSocket& operator=(ZmqSocket&& other) noexcept;
  ~ZmqSocket() { Close(); }
  void Close();

  void UseCurveServer(const KeyPair& keys);  // and asks the ZAP handler, without which nobody is let in
  void UseCurveClient(const KeyPair& keys, const std::string& server_public_key);
  // "host:port". InvalidArgument for what is no address.
  absl::Status Connect(const std::string& endpoint);
  // Port 0: any. The port; Unavailable names it if it cannot be had.
  absl::StatusOr<uint16_t> Bind(const std::string& host, uint16_t port);
  absl::Status BindInproc(const std::string& address);
  absl::Status ConnectInproc(const std::string& address);

  // Never block.
  Sent Send(std::string&& bytes, bool more = false);
  Sent SendView(std::string_view bytes, bool more);
  bool Receive(ZmqPart* part);
  // Drops what is left of the message that `part` began.
  void SkipRest(const ZmqPart& part);
  bool Readable() const;
  bool Writable() const;
  int fd() const;

  void* get() const { return socket_; }

 private:
  explicit ZmqSocket(void* socket) : socket_(socket) {}
  void Set(int option, int value);
  void Set(int option, const std::string& value);
  int Events() const;

  void* socket_ = nullptr;
};

// Whether this is a key in Z85. Anything else makes the CURVE options fail.
bool IsCurveKey(const std::string& z85);

// Host and port of "host:port" or "[v6]:port"; InvalidArgument names the text.
absl::StatusOr<std::pair<std::string, uint16_t>> SplitEndpoint(const std::string& endpoint);

}  // namespace shoal::io
