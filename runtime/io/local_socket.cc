#include "runtime/io/local_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/fields.h"

namespace shoal::io {
namespace {

constexpr size_t kMaxOutgoingBytes = size_t{64} << 20;
constexpr size_t kMaxFdsPerFrame = 4;
constexpr size_t kMaxFdsWaiting = 64;
constexpr size_t kReadBytes = size_t{256} << 10;

// length of the rest | number of descriptors | LocalFrame
struct Prefix {
  uint32_t length;
  uint32_t fds;
};

absl::Status ErrnoStatus(const std::string& what) {
  const std::string text = absl::StrCat(what, ": ", std::strerror(errno));
  switch (errno) {
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    case ENOENT:
    case ECONNREFUSED:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<sockaddr_un> SocketAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the socket path ", path, " is longer than ", sizeof(address.sun_path) - 1,
                     " bytes; use a shorter runtime directory"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

absl::StatusOr<LocalSocket> LocalSocket::Connect(const std::string& path) {
  absl::StatusOr<sockaddr_un> address = SocketAddress(path);
  if (!address.ok()) return address.status();
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof(*address)) != 0) {
    const absl::Status status = ErrnoStatus(absl::StrCat("no raylet answers at ", path));
    return status;
  }
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return LocalSocket(std::move(fd));
}

absl::Status LocalSocket::Send(const LocalFrame& frame, absl::Span<const int> fds) {
  if (!fd_.valid()) return absl::UnavailableError("the connection is closed");
  const size_t length = EncodedSize(frame);
  if (length > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a message of ", length, " bytes is over the limit of ", kMaxFrameBytes));
  }
  if (outgoing_bytes_ + length > kMaxOutgoingBytes) {
    return absl::ResourceExhaustedError("the peer does not read its socket");
  }
  Outgoing out;
  out.bytes.resize(sizeof(Prefix) + length);
  const Prefix prefix{static_cast<uint32_t>(length), static_cast<uint32_t>(fds.size())};
  std::memcpy(out.bytes.data(), &prefix, sizeof(prefix));
  EncodeTo(frame, out.bytes.data() + sizeof(prefix));
  for (const int fd : fds) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return ErrnoStatus("a file descriptor could not be passed on");
    out.fds.push_back(std::move(copy));
  }
  outgoing_bytes_ += out.bytes.size();
  outgoing_.push_back(std::move(out));
  FlushWrites();
  if (!fd_.valid()) return absl::UnavailableError("the peer closed the connection");
  return absl::OkStatus();
}

bool LocalSocket::FlushWrites() {
  while (fd_.valid() && !outgoing_.empty()) {
    Outgoing& out = outgoing_.front();
    iovec part{out.bytes.data() + out.written, out.bytes.size() - out.written};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFdsPerFrame)] = {};
    if (!out.fds.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(sizeof(int) * out.fds.size());
      cmsghdr* message = CMSG_FIRSTHDR(&header);
      message->cmsg_level = SOL_SOCKET;
      message->cmsg_type = SCM_RIGHTS;
      message->cmsg_len = CMSG_LEN(sizeof(int) * out.fds.size());
      for (size_t i = 0; i < out.fds.size(); ++i) {
        const int fd = out.fds[i].get();
        std::memcpy(CMSG_DATA(message) + i * sizeof(int), &fd, sizeof(int));
      }
    }
    const ssize_t written = sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      fd_.Reset();
      return false;
    }
    out.fds.clear();  // they went with the first byte
    out.written += static_cast<size_t>(written);
    if (out.written == out.bytes.size()) {
      outgoing_bytes_ -= out.bytes.size();
      outgoing_.pop_front();
    }
  }
  return false;
}

bool LocalSocket::Readable() const {
  pollfd poll_fd{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, 0) > 0;
}

absl::StatusOr<bool> LocalSocket::Receive(LocalFrame* frame, std::vector<UniqueFd>* fds) {
  while (true) {
    const std::string_view have = std::string_view(incoming_).substr(incoming_begin_);
    Prefix prefix{};
    if (have.size() >= sizeof(prefix)) {
      std::memcpy(&prefix, have.data(), sizeof(prefix));
      if (prefix.length > kMaxFrameBytes || prefix.fds > kMaxFdsPerFrame) {
        fd_.Reset();
        return absl::UnavailableError("the peer sent a frame that is not one of ours");
      }
      if (have.size() >= sizeof(prefix) + prefix.length && incoming_fds_.size() >= prefix.fds) {
        if (!Decode(have.substr(sizeof(prefix), prefix.length), frame)) {
          fd_.Reset();
          return absl::UnavailableError("the peer sent a frame that cannot be read");
        }
        fds->clear();
        for (uint32_t i = 0; i < prefix.fds; ++i) {
          fds->push_back(std::move(incoming_fds_.front()));
          incoming_fds_.pop_front();
        }
        incoming_begin_ += sizeof(prefix) + prefix.length;
        if (incoming_begin_ == incoming_.size()) {
          incoming_.clear();
          incoming_begin_ = 0;
        }
        return true;
      }
    }
    if (!fd_.valid()) return absl::UnavailableError("the connection is closed");
    if (incoming_begin_ > 0) {
      incoming_.erase(0, incoming_begin_);
      incoming_begin_ = 0;
    }
    const size_t old_size = incoming_.size();
    incoming_.resize(old_size + kReadBytes);
    iovec part{incoming_.data() + old_size, kReadBytes};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFdsPerFrame * 8)];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t size = recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    incoming_.resize(old_size + (size > 0 ? static_cast<size_t>(size) : 0));
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
      return absl::UnavailableError(absl::StrCat("the connection broke: ", std::strerror(errno)));
    }
    for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr; message = CMSG_NXTHDR(&header, message)) {
      if (message->cmsg_level != SOL_SOCKET || message->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (message->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(message) + i * sizeof(int), sizeof(int));
        incoming_fds_.emplace_back(fd);
      }
    }
    if (size == 0 || (header.msg_flags & MSG_CTRUNC) != 0 || incoming_fds_.size() > kMaxFdsWaiting) {
      fd_.Reset();
      return absl::UnavailableError(size == 0 ? "the peer closed the connection" : "the peer passed too many files");
    }
  }
}

absl::StatusOr<std::pair<uint32_t, uint32_t>> LocalSocket::PeerPidAndUid() const {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return ErrnoStatus("SO_PEERCRED");
  return std::make_pair(static_cast<uint32_t>(credentials.pid), static_cast<uint32_t>(credentials.uid));
}

absl::Status MakePrivateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(absl::StrCat("cannot make ", path));
  UniqueFd fd(open(path.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) return ErrnoStatus(absl::StrCat(path, " cannot be opened as a directory"));
  if (info.st_uid != geteuid() || (info.st_mode & 0077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " must belong to this user with mode 0700; remove it or choose another --runtime-dir"));
  }
  return absl::OkStatus();
}

absl::StatusOr<LocalListener> LocalListener::Listen(const std::string& path) {
  absl::StatusOr<sockaddr_un> address = SocketAddress(path);
  if (!address.ok()) return address.status();
  const absl::Status directory = MakePrivateDirectory(path.substr(0, path.rfind('/')));
  if (!directory.ok()) return directory;
  if (LocalSocket::Connect(path).ok()) {
    return absl::AlreadyExistsError(absl::StrCat("another process listens at ", path, "; stop it first (shoal stop)"));
  }
  unlink(path.c_str());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof(*address)) != 0 ||
      listen(fd.get(), 4096) != 0) {
    return ErrnoStatus(absl::StrCat("cannot listen at ", path));
  }
  return LocalListener(std::move(fd), path);
}

LocalListener::~LocalListener() {
  if (fd_.valid()) unlink(path_.c_str());
}

absl::StatusOr<LocalSocket> LocalListener::Accept() {
  UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED) return absl::NotFoundError("nobody waits");
    return absl::ResourceExhaustedError(absl::StrCat("a connection was not accepted: ", std::strerror(errno)));
  }
  LocalSocket socket(std::move(fd));
  const auto peer = socket.PeerPidAndUid();
  if (!peer.ok()) return peer.status();
  if (peer->second != geteuid()) {
    return absl::PermissionDeniedError(absl::StrCat("process ", peer->first, " belongs to another user"));
  }
  return socket;
}

}  // namespace shoal::io
