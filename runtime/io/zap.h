// Who may connect: answers ZeroMQ's question (ZAP, rfc.zeromq.org/spec/27) for each CURVE handshake of a context.
// What it lets in carries its public key as User-Id on every message from then on.
//
//   auto zap = ZapHandler::Start(context, [&](const std::string& public_key) { return known.contains(public_key); });
//   // whenever zap->fd() is readable:
//   zap->Serve();
//
// Nothing is let in while nobody serves: the sockets enforce the domain.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/io/zmq_socket.h"

namespace shoal::io {

// The public key in Z85 that a request of ZAP shows; "" for a request that is not CURVE's or not one of ZAP.
std::string KeyOfZapRequest(const std::vector<std::string>& parts);

class ZapHandler {
 public:
  using Admit = std::function<bool(const std::string& public_key)>;
  // Once per context, before sockets of it listen.
  static absl::StatusOr<std::unique_ptr<ZapHandler>> Start(const ZmqContext& context, Admit admit);

  int fd() const { return socket_.fd(); }
  // Answers all who wait.
  void Serve();

 private:
  ZapHandler(ZmqSocket socket, Admit admit) : socket_(std::move(socket)), admit_(std::move(admit)) {}
  void Answer(const std::string& request_id, const std::string& key);

  ZmqSocket socket_;
  Admit admit_;
};

}  // namespace shoal::io
