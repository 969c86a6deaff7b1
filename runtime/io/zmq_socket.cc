#include "runtime/io/zmq_socket.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace shoal::io {
namespace {

#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93  // zmq.h shows it to users of the draft API only, every 4.3 library has it
#endif

constexpr int kMaxSockets = 60'000;
// A full window of a session is 512 frames; what does not fit is sent again.
constexpr int kSendHighWater = 1024;
constexpr int kReceiveHighWater = 128;

std::string TcpAddress(const std::string& host, const std::string& port) {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("tcp://[", host, "]:", port) : absl::StrCat("tcp://", host, ":", port);
}

}  // namespace

ZmqContext ZmqContext::Create() {
  void* context = zmq_ctx_new();
  SHOAL_CHECK(context != nullptr);
  SHOAL_CHECK(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, kMaxSockets) == 0);
  SHOAL_CHECK(zmq_ctx_set(context, ZMQ_IO_THREADS, 1) == 0);
  return ZmqContext(context);
}

ZmqContext::~ZmqContext() {
  if (context_ != nullptr) zmq_ctx_term(context_);
}

std::string ZmqPart::user_id() const {
  const char* id = zmq_msg_gets(&message_, "User-Id");
  return id == nullptr ? "" : id;
}

absl::StatusOr<ZmqSocket> ZmqSocket::Create(const ZmqContext& context, int type) {
  void* raw = zmq_socket(context.get(), type);
  if (raw == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("a network socket could not be made: ", zmq_strerror(zmq_errno()),
                                                     "; raise the limit (ulimit -n)"));
  }
  ZmqSocket socket(raw);
  SHOAL_CHECK(zmq_setsockopt(raw, ZMQ_MAXMSGSIZE, &kMaxZmqFrameBytes, sizeof(kMaxZmqFrameBytes)) == 0);
  socket.Set(ZMQ_LINGER, 0);
  socket.Set(ZMQ_SNDHWM, kSendHighWater);
  socket.Set(ZMQ_RCVHWM, kReceiveHighWater);
  socket.Set(ZMQ_IPV6, 1);
  socket.Set(ZMQ_IMMEDIATE, 1);
  socket.Set(ZMQ_BACKLOG, 4096);
  socket.Set(ZMQ_HANDSHAKE_IVL, 2000);
  socket.Set(ZMQ_HEARTBEAT_IVL, 2000);
  socket.Set(ZMQ_HEARTBEAT_TIMEOUT, 6000);
  socket.Set(ZMQ_HEARTBEAT_TTL, 6000);
  socket.Set(ZMQ_RECONNECT_IVL, 100);  // plus up to as much again, by chance
  socket.Set(ZMQ_RECONNECT_IVL_MAX, 2000);
  if (type == ZMQ_ROUTER) socket.Set(ZMQ_ROUTER_MANDATORY, 1);
  return socket;
}

ZmqSocket& ZmqSocket::operator=(ZmqSocket&& other) noexcept {
  if (this != &other) {
    Close();
    socket_ = std::exchange(other.socket_, nullptr);
  }
  return *this;
}

void ZmqSocket::Close() {
  if (socket_ != nullptr) zmq_close(std::exchange(socket_, nullptr));
}

void ZmqSocket::Set(int option, int value) {
  SHOAL_CHECK(zmq_setsockopt(socket_, option, &value, sizeof(value)) == 0) << "ZeroMQ option " << option;
}

void ZmqSocket::Set(int option, const std::string& value) {
  SHOAL_CHECK(zmq_setsockopt(socket_, option, value.data(), value.size()) == 0) << "ZeroMQ option " << option;
}

void ZmqSocket::UseCurveServer(const KeyPair& keys) {
  Set(ZMQ_CURVE_SERVER, 1);
  Set(ZMQ_CURVE_SECRETKEY, keys.secret_key);
  Set(ZMQ_ZAP_DOMAIN, std::string("shoal"));
  Set(ZMQ_ZAP_ENFORCE_DOMAIN, 1);  // without it a missing handler lets everybody in
}

void ZmqSocket::UseCurveClient(const KeyPair& keys, const std::string& server_public_key) {
  Set(ZMQ_CURVE_SERVERKEY, server_public_key);
  Set(ZMQ_CURVE_PUBLICKEY, keys.public_key);
  Set(ZMQ_CURVE_SECRETKEY, keys.secret_key);
}

absl::Status ZmqSocket::Connect(const std::string& endpoint) {
  const auto parts = SplitEndpoint(endpoint);
  if (!parts.ok()) return parts.status();
  if (zmq_connect(socket_, TcpAddress(parts->first, absl::StrCat(parts->second)).c_str()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("'", endpoint, "' cannot be dialled: ", zmq_strerror(zmq_errno())));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint16_t> ZmqSocket::Bind(const std::string& host, uint16_t port) {
  const std::string wanted = port == 0 ? std::string("*") : absl::StrCat(port);
  if (zmq_bind(socket_, TcpAddress(host, wanted).c_str()) != 0) {
    const int error = zmq_errno();
    return absl::UnavailableError(
        absl::StrCat("cannot listen at ", host, ":", port, ": ", zmq_strerror(error),
                     error == EADDRINUSE ? "; another program has that port, choose one with --port" : ""));
  }
  char bound[256];
  size_t size = sizeof(bound);
  SHOAL_CHECK(zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, bound, &size) == 0);
  const std::string_view text(bound, size - 1);
  uint32_t number = 0;
  SHOAL_CHECK(absl::SimpleAtoi(std::string(text.substr(text.rfind(':') + 1)), &number));
  return static_cast<uint16_t>(number);
}

absl::Status ZmqSocket::BindInproc(const std::string& address) {
  if (zmq_bind(socket_, address.c_str()) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(address, ": ", zmq_strerror(zmq_errno())));
}

absl::Status ZmqSocket::ConnectInproc(const std::string& address) {
  if (zmq_connect(socket_, address.c_str()) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(address, ": ", zmq_strerror(zmq_errno())));
}

ZmqSocket::Sent ZmqSocket::Send(std::string&& bytes, bool more) {
  if (bytes.size() < 4096) return SendView(bytes, more);
  auto owned = std::make_unique<std::string>(std::move(bytes));
  zmq_msg_t message;
  const auto release = [](void*, void* hint) { delete static_cast<std::string*>(hint); };
  SHOAL_CHECK(zmq_msg_init_data(&message, owned->data(), owned->size(), release, owned.get()) == 0);
  if (zmq_msg_send(&message, socket_, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0) {
    owned.release();  // ZeroMQ's now
    return Sent::kYes;
  }
  const int error = zmq_errno();
  bytes = std::move(*owned);  // so that the caller still has it
  owned.release();            // closing the message deletes the holder
  zmq_msg_close(&message);
  return error == EAGAIN ? Sent::kFull : Sent::kUnreachable;
}

ZmqSocket::Sent ZmqSocket::SendView(std::string_view bytes, bool more) {
  if (zmq_send(socket_, bytes.data(), bytes.size(), ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0) return Sent::kYes;
  return zmq_errno() == EAGAIN ? Sent::kFull : Sent::kUnreachable;
}

bool ZmqSocket::Receive(ZmqPart* part) {
  while (zmq_msg_recv(&part->message_, socket_, ZMQ_DONTWAIT) < 0) {
    if (zmq_errno() != EINTR) return false;
  }
  return true;
}

void ZmqSocket::SkipRest(const ZmqPart& part) {
  bool more = part.more();
  while (more) {
    ZmqPart rest;
    more = Receive(&rest) && rest.more();
  }
}

int ZmqSocket::Events() const {
  int events = 0;
  size_t size = sizeof(events);
  while (zmq_getsockopt(socket_, ZMQ_EVENTS, &events, &size) != 0) {
    SHOAL_CHECK(zmq_errno() == EINTR) << zmq_strerror(zmq_errno());
  }
  return events;
}

bool ZmqSocket::Readable() const { return (Events() & ZMQ_POLLIN) != 0; }
bool ZmqSocket::Writable() const { return (Events() & ZMQ_POLLOUT) != 0; }

int ZmqSocket::fd() const {
  int fd = -1;
  size_t size = sizeof(fd);
  SHOAL_CHECK(zmq_getsockopt(socket_, ZMQ_FD, &fd, &size) == 0);
  return fd;
}

bool IsCurveKey(const std::string& z85) {
  uint8_t raw[32];
  return z85.size() == 40 && zmq_z85_decode(raw, z85.c_str()) != nullptr;
}

absl::StatusOr<std::pair<std::string, uint16_t>> SplitEndpoint(const std::string& endpoint) {
  const size_t colon = endpoint.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(endpoint.substr(colon + 1), &port) || port == 0 ||
      port > UINT16_MAX) {
    return absl::InvalidArgumentError(absl::StrCat("'", endpoint, "' is not an address of the form host:port"));
  }
  std::string host = endpoint.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::make_pair(std::move(host), static_cast<uint16_t>(port));
}

}  // namespace shoal::io
