#include "runtime/io/enrolment.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/zmq_socket.h"
#include "runtime/io/zmq_transport.h"

namespace shoal::io {
namespace {

constexpr uint32_t kRequestMagic = 0x514e4553;  // "SENQ"
constexpr uint32_t kReplyMagic = 0x414e4553;    // "SENA"
constexpr size_t kMaxSentenceBytes = 512;
constexpr int kMaxFailedHandshakes = 3;  // fewer may be a head that is just starting

struct RequestLayout {
  uint32_t magic = kRequestMagic;
  uint32_t version = 0;
  uint64_t cluster_id = 0;
  char node_public_key[40] = {};
};
static_assert(sizeof(RequestLayout) == 56);

struct ReplyLayout {
  uint32_t magic = kReplyMagic;
  uint32_t code = 0;  // of absl::StatusCode
  uint64_t node = 0;
  uint64_t cluster_id = 0;
};
static_assert(sizeof(ReplyLayout) == 24);

// Statuses that a head may answer with; anything else that it says is its own fault.
absl::StatusCode KnownCode(uint32_t code) {
  const auto known = static_cast<absl::StatusCode>(code);
  switch (known) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAlreadyExists:
      return known;
    default:
      return absl::StatusCode::kInternal;
  }
}

// One attempt to join.
class Enroller {
 public:
  Enroller(std::string endpoint, const JoinToken& token, const std::string& node_public_key)
      : endpoint_(std::move(endpoint)), token_(token), node_public_key_(node_public_key) {}

  absl::StatusOr<Enrolment> Run(TimePoint until);

 private:
  absl::Status Dial();
  absl::Status Look();  // takes what came
  absl::Status WhyNot() const;

  const std::string endpoint_;
  const JoinToken& token_;
  const std::string& node_public_key_;
  ZmqContext context_ = ZmqContext::Create();
  ZmqSocket dealer_, monitor_;
  bool sent_ = false, connected_ = false;
  int failed_handshakes_ = 0;
  std::optional<absl::StatusOr<Enrolment>> reply_;
};

absl::Status Enroller::Dial() {
  auto dealer = ZmqSocket::Create(context_, ZMQ_DEALER);
  auto monitor = ZmqSocket::Create(context_, ZMQ_PAIR);
  if (!dealer.ok()) return dealer.status();
  if (!monitor.ok()) return monitor.status();
  dealer_ = *std::move(dealer);
  monitor_ = *std::move(monitor);
  dealer_.UseCurveClient(token_.keys, token_.head_public_key);
  const absl::Status watched = MonitorDial(dealer_, &monitor_);
  return watched.ok() ? dealer_.Connect(endpoint_) : watched;
}

absl::Status Enroller::Look() {
  std::optional<DialEvent> event;
  while (ReadDialEvent(&monitor_, &event)) {
    if (event == DialEvent::kConnected) connected_ = true;
    if (event == DialEvent::kHandshakeFailed) ++failed_handshakes_;
    if (event == DialEvent::kKeyRefused) {
      return absl::PermissionDeniedError(
          absl::StrCat("the head at ", endpoint_,
                       " does not know this token (unknown token, or removed by its owner); make "
                       "another one with `shoal token create` there"));
    }
  }
  // The first moment at which a frame is taken is the end of the handshake.
  if (!sent_ && dealer_.Writable()) {
    const EnrolRequest request{kProtocolVersion, token_.cluster_id, node_public_key_};
    sent_ = dealer_.Send(EncodeEnrolRequest(request)) == ZmqSocket::Sent::kYes;
  }
  ZmqPart part;
  if (dealer_.Receive(&part)) {
    reply_ = DecodeEnrolReply(part.view());
    dealer_.SkipRest(part);
  }
  return absl::OkStatus();
}

absl::Status Enroller::WhyNot() const {
  if (sent_)
    return absl::UnavailableError(
        absl::StrCat("the head at ", endpoint_, " took the token and does not answer; try again"));
  if (connected_ || failed_handshakes_ > 0) {
    return absl::UnavailableError(
        absl::StrCat("something answers at ", endpoint_,
                     ", but it is not the head that made this token; check the address and that the token is "
                     "of this cluster"));
  }
  return absl::UnavailableError(absl::StrCat("nobody answers at ", endpoint_,
                                             "; check the address, that the head runs, and firewalls in between"));
}

absl::StatusOr<Enrolment> Enroller::Run(TimePoint until) {
  const absl::Status dialled = Dial();
  if (!dialled.ok()) return dialled;
  while (true) {
    const absl::Status looked = Look();
    if (!looked.ok()) return looked;
    if (reply_) return *reply_;
    const Duration left = until - MonotonicNow();
    if (left <= Duration() || failed_handshakes_ >= kMaxFailedHandshakes) return WhyNot();
    if (dealer_.Readable() || monitor_.Readable() || (!sent_ && dealer_.Writable())) continue;
    pollfd fds[] = {{.fd = dealer_.fd(), .events = POLLIN, .revents = 0},
                    {.fd = monitor_.fd(), .events = POLLIN, .revents = 0}};
    poll(fds, 2, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count()));
  }
}

}  // namespace

std::string EncodeEnrolRequest(const EnrolRequest& request) {
  RequestLayout layout;
  layout.version = request.version;
  layout.cluster_id = request.cluster_id;
  std::memcpy(layout.node_public_key, request.node_public_key.data(),
              std::min(request.node_public_key.size(), sizeof(layout.node_public_key)));
  return std::string(reinterpret_cast<const char*>(&layout), sizeof(layout));
}

std::optional<EnrolRequest> DecodeEnrolRequest(std::string_view bytes) {
  RequestLayout layout;
  if (bytes.size() < sizeof(layout)) return std::nullopt;
  std::memcpy(&layout, bytes.data(), sizeof(layout));
  if (layout.magic != kRequestMagic) return std::nullopt;
  return EnrolRequest{layout.version, layout.cluster_id,
                      std::string(layout.node_public_key, sizeof(layout.node_public_key))};
}

std::string EncodeEnrolReply(const absl::StatusOr<Enrolment>& reply) {
  ReplyLayout layout;
  layout.code = static_cast<uint32_t>(reply.status().code());
  if (reply.ok()) {
    layout.node = reply->node.value;
    layout.cluster_id = reply->cluster_id;
  }
  std::string bytes(reinterpret_cast<const char*>(&layout), sizeof(layout));
  bytes.append(std::string(reply.status().message()), 0, kMaxSentenceBytes);
  return bytes;
}

absl::StatusOr<Enrolment> DecodeEnrolReply(std::string_view bytes) {
  ReplyLayout layout;
  if (bytes.size() >= sizeof(layout)) std::memcpy(&layout, bytes.data(), sizeof(layout));
  if (bytes.size() < sizeof(layout) || layout.magic != kReplyMagic) {
    return absl::InternalError(
        "the head's answer to the token cannot be read; install the same release on both machines");
  }
  if (layout.code == 0) return Enrolment{.node = NodeId{layout.node}, .cluster_id = layout.cluster_id};
  std::string sentence(bytes.substr(sizeof(layout), kMaxSentenceBytes));
  for (char& c : sentence) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return absl::Status(KnownCode(layout.code), sentence);
}

absl::StatusOr<Enrolment> Enrol(const std::string& endpoint, const JoinToken& token, const std::string& node_public_key,
                                Duration timeout) {
  const TimePoint until = MonotonicNow() + timeout;
  return Enroller(endpoint, token, node_public_key).Run(until);
}

}  // namespace shoal::io
