#include "runtime/io/zap.h"

#include <utility>

namespace shoal::io {
namespace {

constexpr size_t kRequestParts = 7;  // version, request id, domain, address, identity, mechanism, key
constexpr size_t kCurveKeyBytes = 32;

}  // namespace

std::string KeyOfZapRequest(const std::vector<std::string>& parts) {
  if (parts.size() != kRequestParts || parts[0] != "1.0" || parts[5] != "CURVE") return "";
  if (parts[6].size() != kCurveKeyBytes) return "";
  char z85[41];
  return zmq_z85_encode(z85, reinterpret_cast<const uint8_t*>(parts[6].data()), kCurveKeyBytes) == nullptr ? "" : z85;
}

absl::StatusOr<std::unique_ptr<ZapHandler>> ZapHandler::Start(const ZmqContext& context, Admit admit) {
  absl::StatusOr<ZmqSocket> socket = ZmqSocket::Create(context, ZMQ_REP);
  if (!socket.ok()) return socket.status();
  const absl::Status bound = socket->BindInproc("inproc://zeromq.zap.01");
  if (!bound.ok()) return bound;
  return std::unique_ptr<ZapHandler>(new ZapHandler(*std::move(socket), std::move(admit)));
}

void ZapHandler::Serve() {
  ZmqPart part;
  while (socket_.Receive(&part)) {
    std::vector<std::string> parts = {std::string(part.view())};
    while (part.more() && socket_.Receive(&part)) parts.emplace_back(part.view());
    Answer(parts.size() > 1 ? parts[1] : "", KeyOfZapRequest(parts));
  }
}

void ZapHandler::Answer(const std::string& request_id, const std::string& key) {
  const bool admitted = !key.empty() && admit_(key);
  // version, request id, status, text, User-Id, metadata
  socket_.SendView("1.0", true);
  socket_.SendView(request_id, true);
  socket_.SendView(admitted ? "200" : "400", true);
  socket_.SendView(admitted ? "" : "unknown key", true);
  socket_.SendView(admitted ? key : "", true);
  socket_.SendView("", false);
}

}  // namespace shoal::io
