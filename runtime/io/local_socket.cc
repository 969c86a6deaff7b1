#include "runtime/io/local_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/fields.h"

namespace shoal::io {
namespace {

constexpr size_t kMaxFdsWaiting = 64;
constexpr size_t kFdsPerRead = 32;
constexpr size_t kReadBytes = size_t{64} << 10;
constexpr size_t kKeepBytes = size_t{1} << 20;  // a larger buffer is given back once it is empty
constexpr time_t kConnectSeconds = 5;

// length of the rest | number of descriptors | LocalFrame
struct Prefix {
  uint32_t length;
  uint32_t fds;
};

absl::Status ErrnoStatus(const std::string& what) {
  const int error = errno;
  const std::string text = absl::StrCat(what, ": ", std::strerror(error));
  switch (error) {
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(text);
    case ENOENT:
    case ECONNREFUSED:
    case EAGAIN:
      return absl::UnavailableError(text);
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::InternalError(text);
  }
}

absl::StatusOr<sockaddr_un> SocketAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("the socket path '", path, "' is not absolute"));
  }
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the socket path ", path, " is longer than ",
                                                   sizeof(address.sun_path) - 1,
                                                   " bytes; use a shorter runtime directory"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Connects a blocking socket; errno says why not.
bool ConnectTo(int fd, const sockaddr_un& address) {
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

}  // namespace

absl::StatusOr<LocalSocket> LocalSocket::Connect(const std::string& path) {
  absl::StatusOr<sockaddr_un> address = SocketAddress(path);
  if (!address.ok()) return address.status();
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus("a socket could not be made");
  const timeval patience{.tv_sec = kConnectSeconds, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (!ConnectTo(fd.get(), *address))
    return ErrnoStatus(absl::StrCat("no raylet answers at ", path, "; start a runtime with `shoal start --head`"));
  fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  LocalSocket connected(std::move(fd));
  const auto peer = connected.PeerPidAndUid();
  if (!peer.ok()) return peer.status();
  if (peer->second != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("the process that listens at ", path, " belongs to another user"));
  }
  return connected;
}

// Keeps the descriptor open, so that its number means this connection until the owner closes it.
absl::Status LocalSocket::Break(const std::string& why) {
  if (broken_.empty()) {
    broken_ = why;
    if (fd_.valid()) shutdown(fd_.get(), SHUT_RDWR);
    outgoing_.clear();
    unsent_bytes_ = 0;
    incoming_fds_.clear();
    incoming_begin_ = incoming_end_ = 0;
  }
  return absl::UnavailableError(broken_);
}

absl::Status LocalSocket::Send(const LocalFrame& frame, absl::Span<const int> fds) {
  if (!fd_.valid()) return absl::UnavailableError("the connection is closed");
  if (!broken_.empty()) return absl::UnavailableError(broken_);
  if (!unwritable_.empty()) return absl::UnavailableError(unwritable_);
  const size_t length = EncodedSize(frame);
  if (length > kMaxFrameBytes || fds.size() > kMaxFrameFds) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a message of ", length, " bytes and ", fds.size(), " files is over the limit of ",
        kMaxFrameBytes, " and ", kMaxFrameFds, "; put large values into the object store"));
  }
  if (unsent_bytes_ + length > kMaxUnsentBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the peer does not read its socket, ", unsent_bytes_, " bytes wait for it"));
  }
  Outgoing out;
  for (const int fd : fds) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a file descriptor could not be passed on: ", std::strerror(errno)));
    }
    out.fds.push_back(std::move(copy));
  }
  out.bytes.resize(sizeof(Prefix) + length);
  const Prefix prefix{static_cast<uint32_t>(length), static_cast<uint32_t>(fds.size())};
  std::memcpy(out.bytes.data(), &prefix, sizeof(prefix));
  EncodeTo(frame, out.bytes.data() + sizeof(prefix));
  unsent_bytes_ += out.bytes.size();
  outgoing_.push_back(std::move(out));
  // Behind others it waits for its turn; trying again before epoll says so would be a call for
  // nothing.
  if (outgoing_.size() == 1) FlushWrites();
  return unwritable_.empty() ? absl::OkStatus() : absl::UnavailableError(unwritable_);
}

bool LocalSocket::FlushWrites() {
  while (broken_.empty() && !outgoing_.empty()) {
    Outgoing& out = outgoing_.front();
    iovec part{out.bytes.data() + out.written, out.bytes.size() - out.written};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFrameFds)] = {};
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
      // ETOOMANYREFS: too many descriptors are in flight; they are taken out as peers read.
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS) return true;
      // What the peer said before it went can still be received; Receive then finds the end.
      unwritable_ = absl::StrCat("the peer closed the connection: ", std::strerror(errno));
      outgoing_.clear();
      unsent_bytes_ = 0;
      return false;
    }
    out.fds.clear();  // they went with the first byte
    out.written += static_cast<size_t>(written);
    unsent_bytes_ -= static_cast<size_t>(written);
    if (out.written == out.bytes.size()) outgoing_.pop_front();
  }
  return false;
}

bool LocalSocket::HasWholeFrame() const {
  Prefix prefix{};
  if (incoming_end_ - incoming_begin_ < sizeof(prefix)) return false;
  std::memcpy(&prefix, incoming_.data() + incoming_begin_, sizeof(prefix));
  return incoming_end_ - incoming_begin_ >= sizeof(prefix) + prefix.length;
}

bool LocalSocket::Readable() const {
  if (!fd_.valid() || !broken_.empty() || HasWholeFrame()) return true;
  pollfd poll_fd{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&poll_fd, 1, 0) > 0;
}

absl::StatusOr<bool> LocalSocket::Receive(LocalFrame* frame, std::vector<UniqueFd>* fds) {
  fds->clear();
  while (true) {
    if (!broken_.empty() || !fd_.valid()) {
      return absl::UnavailableError(broken_.empty() ? "the connection is closed" : broken_);
    }
    const absl::StatusOr<bool> taken = TakeFrame(frame, fds);
    if (!taken.ok() || *taken) return taken;
    const absl::StatusOr<bool> filled = Fill();
    if (!filled.ok() || !*filled) return filled;
  }
}

// A frame out of what was read before, if it is whole.
absl::StatusOr<bool> LocalSocket::TakeFrame(LocalFrame* frame, std::vector<UniqueFd>* fds) {
  const std::string_view have(incoming_.data() + incoming_begin_, incoming_end_ - incoming_begin_);
  Prefix prefix{};
  if (have.size() < sizeof(prefix)) return false;
  std::memcpy(&prefix, have.data(), sizeof(prefix));
  if (prefix.length > kMaxFrameBytes || prefix.fds > kMaxFrameFds) {
    return Break("the peer sent a frame that is not one of ours");
  }
  if (have.size() < sizeof(prefix) + prefix.length) return false;
  // Descriptors come with the first byte of their frame, so they are here if they exist.
  if (incoming_fds_.size() < prefix.fds ||
      !Decode(have.substr(sizeof(prefix), prefix.length), frame) ||
      frame->kind > LocalFrame::Kind::kArena) {
    return Break("the peer sent a frame that cannot be read");
  }
  for (uint32_t i = 0; i < prefix.fds; ++i) {
    fds->push_back(std::move(incoming_fds_.front()));
    incoming_fds_.pop_front();
  }
  incoming_begin_ += sizeof(prefix) + prefix.length;
  if (incoming_begin_ == incoming_end_) {
    incoming_begin_ = incoming_end_ = 0;
    if (incoming_.size() > kKeepBytes) incoming_ = std::vector<char>();
  }
  return true;
}

// Room behind what waits for at least kReadBytes, or for the rest of a large frame.
void LocalSocket::MakeRoom() {
  const size_t waiting = incoming_end_ - incoming_begin_;
  if (incoming_begin_ > 0 && waiting > 0) {
    std::memmove(incoming_.data(), incoming_.data() + incoming_begin_, waiting);
  }
  incoming_begin_ = 0;
  incoming_end_ = waiting;
  size_t needed = waiting + kReadBytes;
  Prefix prefix{};
  if (waiting >= sizeof(prefix)) {
    std::memcpy(&prefix, incoming_.data(), sizeof(prefix));
    needed = std::max(needed, sizeof(prefix) + std::min<size_t>(prefix.length, kMaxFrameBytes));
  }
  if (incoming_.size() < needed) incoming_.resize(needed);
}

// Reads once; false if there is nothing to read now.
absl::StatusOr<bool> LocalSocket::Fill() {
  MakeRoom();
  iovec part{incoming_.data() + incoming_end_, incoming_.size() - incoming_end_};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsPerRead)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0) {
    if (errno == EINTR) return true;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return Break(absl::StrCat("the connection broke: ", std::strerror(errno)));
  }
  for (cmsghdr* message = CMSG_FIRSTHDR(&header); message != nullptr;
       message = CMSG_NXTHDR(&header, message)) {
    if (message->cmsg_level != SOL_SOCKET || message->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (message->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(message) + i * sizeof(int), sizeof(int));
      incoming_fds_.emplace_back(fd);
    }
  }
  if (size == 0) return Break("the peer closed the connection");
  if ((header.msg_flags & MSG_CTRUNC) != 0 || incoming_fds_.size() > kMaxFdsWaiting) {
    return Break("files that the peer passed were lost; raise the limit of open files (ulimit -n)");
  }
  incoming_end_ += static_cast<size_t>(size);
  return true;
}

absl::StatusOr<std::pair<uint32_t, uint32_t>> LocalSocket::PeerPidAndUid() const {
  ucred credentials{};
  socklen_t size = sizeof(credentials);
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoStatus("the peer of a local socket is unknown");
  }
  return std::make_pair(static_cast<uint32_t>(credentials.pid),
                        static_cast<uint32_t>(credentials.uid));
}

namespace {

// Opens a directory that is ours alone.
absl::StatusOr<UniqueFd> OpenPrivateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus(absl::StrCat("cannot make the directory ", path));
  }
  UniqueFd fd(open(path.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    if (errno == ENOTDIR || errno == ELOOP) {
      return absl::PermissionDeniedError(absl::StrCat(
          path,
          " is a link or a file, not a directory; remove it or choose another --runtime-dir"));
    }
    return ErrnoStatus(absl::StrCat(path, " cannot be opened as a directory"));
  }
  if (info.st_uid != geteuid() || (info.st_mode & 0777) != 0700) {
    return absl::PermissionDeniedError(absl::StrCat(
        path,
        " must belong to this user with mode 0700; `chmod 700` it if it is yours, or choose another --runtime-dir"));
  }
  return fd;
}

}  // namespace

absl::Status MakePrivateDirectory(const std::string& path) {
  return OpenPrivateDirectory(path).status();
}

absl::StatusOr<LocalListener> LocalListener::Listen(const std::string& path) {
  absl::StatusOr<sockaddr_un> address = SocketAddress(path);
  if (!address.ok()) return address.status();
  const std::string directory_path = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
  absl::StatusOr<UniqueFd> directory = OpenPrivateDirectory(directory_path);
  if (!directory.ok()) return directory.status();
  // Two processes that find the same stale socket must not remove each other's; released on return.
  if (flock(directory->get(), LOCK_EX) != 0)
    return ErrnoStatus(absl::StrCat("cannot lock ", directory_path));

  struct stat found {};
  if (lstat(path.c_str(), &found) == 0) {
    if (!S_ISSOCK(found.st_mode)) {
      return absl::AlreadyExistsError(
          absl::StrCat(path, " is there and is not a socket; remove it"));
    }
    UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe.valid()) return ErrnoStatus("a socket could not be made");
    if (ConnectTo(probe.get(), *address) || (errno != ECONNREFUSED && errno != ENOENT)) {
      return absl::AlreadyExistsError(
          absl::StrCat("another process listens at ", path, "; stop it first (shoal stop)"));
    }
    unlink(path.c_str());
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid() ||
      bind(fd.get(), reinterpret_cast<sockaddr*>(&*address), sizeof(*address)) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(fd.get(), 4096) != 0 ||
      lstat(path.c_str(), &found) != 0) {
    return ErrnoStatus(absl::StrCat("cannot listen at ", path));
  }
  return LocalListener(std::move(fd), path, found.st_ino);
}

UniqueFd LocalListener::OpenSpare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

void LocalListener::RemoveSocket() {
  struct stat found {};
  if (fd_.valid() && lstat(path_.c_str(), &found) == 0 && found.st_ino == inode_)
    unlink(path_.c_str());
}

LocalListener::~LocalListener() { RemoveSocket(); }

LocalListener& LocalListener::operator=(LocalListener&& other) noexcept {
  if (this != &other) {
    RemoveSocket();
    fd_ = std::move(other.fd_);
    spare_ = std::move(other.spare_);
    path_ = std::move(other.path_);
    inode_ = other.inode_;
  }
  return *this;
}

absl::StatusOr<LocalSocket> LocalListener::Accept() {
  UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED || errno == EINTR) {
      return absl::NotFoundError("nobody waits");
    }
    const int error = errno;
    if (error == EMFILE || error == ENFILE) {
      spare_.Reset();
      UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)).Reset();
      spare_ = OpenSpare();
    }
    return absl::ResourceExhaustedError(absl::StrCat(
        "a connection was not accepted: ", std::strerror(error), "; raise the limit (ulimit -n)"));
  }
  LocalSocket accepted(std::move(fd));
  const auto peer = accepted.PeerPidAndUid();
  if (!peer.ok()) return peer.status();
  if (peer->second != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("process ", peer->first, " belongs to another user and was refused"));
  }
  return accepted;
}

}  // namespace shoal::io
