// Unix stream sockets between a raylet and the processes of its node: frames with file descriptors
// attached. Only processes of the same user get through (SO_PEERCRED, on both ends), in a directory
// that only that user can enter.
//
//   auto listener = LocalListener::Listen("/run/user/1000/shoal/s1/raylet.sock");
//   auto connection = listener->Accept();                                            // raylet
//   auto socket = LocalSocket::Connect(path);                                        // worker
//   socket->Send({.kind = LocalFrame::Kind::kDoorbell}, {bell.memory_fd(), bell.event_fd()});
//
// On the wire: u32 length, u32 number of descriptors, then the LocalFrame in the form of
// base/fields.h. Both ends run the same build, so there is no version; whatever is not such a frame
// breaks the connection.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/ids.h"
#include "runtime/io/fd.h"

namespace shoal::io {

// Limits of one frame (a message and a little more), and of what one end keeps for a peer that does not read.
inline constexpr size_t kMaxFrameBytes = size_t{33} << 20;
inline constexpr size_t kMaxFrameFds = 4;
inline constexpr size_t kMaxUnsentBytes = 4 * kMaxFrameBytes;

// What a frame says. `bytes` of kMessage are schema/codec.h's; the raylet stamps `from` and does
// not look inside.
struct LocalFrame {
  enum class Kind : uint8_t {
    kMessage,        // for `to`, from `from`
    kConnectRing,    // fds: ring; forwarded to the peer with the asker's doorbell: ring, memory,
                     // event
    kRingConnected,  // from the raylet: the peer's doorbell: memory, event
    kRingRefused,    // from the raylet: there is no such process
    kDoorbell,       // first frame of a process: its doorbell: memory, event
    kArena,          // from the raylet: the arena's memory
  };
  Kind kind = Kind::kMessage;
  Address to;
  Address from;
  std::string bytes;
  template <class V>
  void Fields(V& v) {
    v(kind, to, from, bytes);
  }
};

// One end of a connection. Never blocks. Used by one thread at a time.
class LocalSocket {
 public:
  // Waits for a place in the listener's queue, 5 s at most. Errors name the path: Unavailable
  // (nobody listens there), PermissionDenied (not ours), InvalidArgument (path too long).
  static absl::StatusOr<LocalSocket> Connect(const std::string& path);
  // Takes over a connected, non-blocking stream socket.
  explicit LocalSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  // For epoll. The same until Close, also when the connection has broken.
  int fd() const { return fd_.get(); }

  // Sends, or keeps what the kernel does not take; then FlushWrites must be called when the socket
  // becomes writable. Passes duplicates of `fds`. Nothing is sent unless the result is OK:
  // InvalidArgument (frame or number of descriptors over the limit), ResourceExhausted (the peer
  // does not read: kMaxUnsentBytes wait here, or no descriptor is left), Unavailable (the peer is
  // gone; it stays so).
  absl::Status Send(const LocalFrame& frame, absl::Span<const int> fds);
  // Tries to write what waits; true while something still does.
  bool FlushWrites();
  size_t unsent_bytes() const { return unsent_bytes_; }

  // True and a frame, or false when there is no whole frame yet; `fds` is replaced. Call until
  // false. Unavailable: the peer is gone or sent garbage; it stays so.
  absl::StatusOr<bool> Receive(LocalFrame* frame, std::vector<UniqueFd>* fds);
  // True if Receive has something to do: bytes in the kernel, or a whole frame read earlier.
  bool Readable() const;

  // Remove fd() from the event loop first.
  void Close() { fd_.Reset(); }
  // Process and user of the peer, as the kernel noted them when it connected.
  absl::StatusOr<std::pair<uint32_t, uint32_t>> PeerPidAndUid() const;

 private:
  struct Outgoing {
    std::string bytes;
    size_t written = 0;
    std::vector<UniqueFd> fds;
  };

  absl::Status Break(const std::string& why);
  absl::StatusOr<bool> TakeFrame(LocalFrame* frame, std::vector<UniqueFd>* fds);
  absl::StatusOr<bool> Fill();
  void MakeRoom();
  bool HasWholeFrame() const;

  UniqueFd fd_;
  std::string broken_;      // why the connection is no use any more
  std::string unwritable_;  // why nothing can be sent, though something may still be received
  std::deque<Outgoing> outgoing_;
  size_t unsent_bytes_ = 0;
  std::vector<char> incoming_;  // bytes [incoming_begin_, incoming_end_) wait to be taken
  size_t incoming_begin_ = 0;
  size_t incoming_end_ = 0;
  std::deque<UniqueFd> incoming_fds_;
};

// Listens at a path until destroyed, which removes the socket.
class LocalListener {
 public:
  // `path` is absolute and at most 107 bytes; its directory is made if it is missing.
  // PermissionDenied unless the directory is ours alone (owner, mode 0700, no symlink);
  // AlreadyExists if somebody listens there. A socket that nobody listens at is replaced; a file
  // that is not a socket is an error.
  static absl::StatusOr<LocalListener> Listen(const std::string& path);
  LocalListener(LocalListener&&) = default;
  LocalListener& operator=(LocalListener&& other) noexcept;
  ~LocalListener();

  int fd() const { return fd_.get(); }
  // A connection of a process of this user; NotFound when nobody waits, PermissionDenied for
  // another user (that connection is closed; others may wait), ResourceExhausted if no descriptor
  // is left (it is closed, too, so that an event loop is not told of it for ever).
  absl::StatusOr<LocalSocket> Accept();

 private:
  LocalListener(UniqueFd fd, std::string path, uint64_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), inode_(inode) {}
  static UniqueFd OpenSpare();
  void RemoveSocket();

  UniqueFd fd_;
  UniqueFd spare_ = OpenSpare();  // given up for a moment to turn somebody away
  std::string path_;
  uint64_t inode_;  // what we made at path_, so that a successor's socket is left alone
};

// Makes `path` a directory of mode 0700 that belongs to this user, or says why it is not one.
absl::Status MakePrivateDirectory(const std::string& path);

}  // namespace shoal::io
