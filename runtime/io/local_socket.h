// Unix stream sockets between a raylet and the processes of its node: frames with file descriptors attached. Only processes of the
// same user get through (SO_PEERCRED), in a directory that only that user can enter.
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

inline constexpr size_t kMaxFrameBytes = size_t{16} << 20;

// What a frame says. `bytes` of kMessage are schema/codec.h's; the raylet stamps `from` and does not look inside.
struct LocalFrame {
  enum class Kind : uint8_t {
    kMessage,        // for `to`, from `from`
    kConnectRing,    // fds: ring; forwarded to the peer with the asker's doorbell: ring, memory, event
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

// One end of a connection. Never blocks; what the kernel does not take waits here, up to 64 MiB.
class LocalSocket {
 public:
  // Errors name the path: nobody listens there, no permission, ...
  static absl::StatusOr<LocalSocket> Connect(const std::string& path);
  explicit LocalSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  // Passes duplicates of `fds`. Unavailable: the peer is gone. ResourceExhausted: it does not read.
  absl::Status Send(const LocalFrame& frame, absl::Span<const int> fds);
  // True and a frame, or false when there is no whole frame yet. Unavailable: the peer is gone, or sent garbage.
  absl::StatusOr<bool> Receive(LocalFrame* frame, std::vector<UniqueFd>* fds);
  // True if the kernel has something to read, without reading it.
  bool Readable() const;
  // Tries to write what waits; true while something still does.
  bool FlushWrites();
  void Close() { fd_.Reset(); }
  // Process and user of the peer.
  absl::StatusOr<std::pair<uint32_t, uint32_t>> PeerPidAndUid() const;

 private:
  struct Outgoing {
    std::string bytes;
    size_t written = 0;
    std::vector<UniqueFd> fds;
  };

  UniqueFd fd_;
  std::deque<Outgoing> outgoing_;
  size_t outgoing_bytes_ = 0;
  std::string incoming_;
  size_t incoming_begin_ = 0;
  std::deque<UniqueFd> incoming_fds_;
};

// Listens at a path. The directory must be ours alone (mode 0700, no symlink).
class LocalListener {
 public:
  static absl::StatusOr<LocalListener> Listen(const std::string& path);
  LocalListener(LocalListener&&) = default;
  LocalListener& operator=(LocalListener&&) = default;
  ~LocalListener();

  int fd() const { return fd_.get(); }
  // A connection of a process of this user; NotFound when nobody waits, PermissionDenied for another user.
  absl::StatusOr<LocalSocket> Accept();

 private:
  LocalListener(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
};

// Makes `path` a directory of mode 0700 that belongs to this user, or says why it is not one.
absl::Status MakePrivateDirectory(const std::string& path);

}  // namespace shoal::io
