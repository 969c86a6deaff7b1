// What a process of this node may write into its unix socket. The first byte says how many descriptors it passes along, the second
// where its bytes are cut into two writes.
#include <fcntl.h>
#include <sys/socket.h>

#include <utility>

#include "base/check.h"
#include "base/fields.h"
#include "runtime/io/local_socket.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

constexpr size_t kMostBytes = 64 << 10;  // fits into the socket's buffer

void Write(int fd, std::string_view bytes, int descriptors) {
  if (bytes.empty()) return;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (descriptors > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * static_cast<size_t>(descriptors));
    cmsghdr* message = CMSG_FIRSTHDR(&header);
    message->cmsg_level = SOL_SOCKET;
    message->cmsg_type = SCM_RIGHTS;
    message->cmsg_len = CMSG_LEN(sizeof(int) * static_cast<size_t>(descriptors));
    for (int i = 0; i < descriptors; ++i) std::memcpy(CMSG_DATA(message) + sizeof(int) * static_cast<size_t>(i), &fd, sizeof(int));
  }
  SHOAL_CHECK(sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes.size()));
}

// Every frame there is; false once the connection is broken.
bool Drain(io::LocalSocket* socket) {
  while (true) {
    io::LocalFrame frame;
    std::vector<io::UniqueFd> fds;
    const absl::StatusOr<bool> got = socket->Receive(&frame, &fds);
    if (!got.ok()) return false;
    if (!*got) return true;
    SHOAL_CHECK(fds.size() <= io::kMaxFrameFds);
    io::LocalFrame again;
    SHOAL_CHECK(Decode(Encode(frame), &again) && Encode(again) == Encode(frame));
  }
}

void Run(std::string_view bytes) {
  Input input(bytes.substr(0, kMostBytes));
  const int descriptors = input.Take<uint8_t>() % 8;
  const size_t cut = input.Take<uint8_t>();
  int ends[2];
  SHOAL_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  const io::UniqueFd peer(ends[0]);
  io::LocalSocket socket{io::UniqueFd(ends[1])};
  Write(peer.get(), input.TakeBytes(cut), descriptors);
  if (!Drain(&socket)) return;
  Write(peer.get(), input.TakeBytes(kMostBytes), 0);
  if (!Drain(&socket)) return;
  shutdown(peer.get(), SHUT_WR);
  SHOAL_CHECK(!Drain(&socket)) << "the end was not noticed";
}

std::string Framed(const io::LocalFrame& frame, uint32_t descriptors) {
  const std::string body = Encode(frame);
  const uint32_t prefix[] = {static_cast<uint32_t>(body.size()), descriptors};
  return std::string(reinterpret_cast<const char*>(prefix), sizeof(prefix)) + body;
}

std::vector<std::string> Seeds() {
  using Kind = io::LocalFrame::Kind;
  const Address a{NodeId{1}, WorkerId{2}}, b{NodeId{1}, WorkerId{3}};
  const std::string message = Framed({.kind = Kind::kMessage, .to = a, .from = b, .bytes = "a message"}, 0);
  return {std::string("\0\xff", 2) + message,
          std::string("\0\x05", 2) + message + message + message,
          std::string("\3\xff", 2) + Framed({.kind = Kind::kConnectRing, .to = a, .from = b}, 3),
          std::string("\2\xff", 2) + Framed({.kind = Kind::kDoorbell, .from = b}, 2) + message,
          std::string("\1\x09", 2) + Framed({.kind = Kind::kArena, .to = b}, 1)};
}

}  // namespace

const Target kLocalFrame{"local_frame", Run, Seeds};

}  // namespace shoal::fuzz
