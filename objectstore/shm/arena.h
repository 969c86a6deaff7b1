// The node's object memory: one memfd, mapped once by every process of the node, never a file that
// could be left behind. Only offsets travel between processes; which of them are free is the
// business of objectstore/core, this class hands out bytes.
//
//   auto arena = Arena::Create(bytes);                          // the raylet
//   auto mine = Arena::Attach(fd, /*writable=*/true);           // a worker, from a kArena frame
//   if (!(*mine)->EnsureBacked(offset, size).ok()) ...          // before the first write
//   CopyInto((*mine)->data() + offset, from, size);
//
// Pages are reserved (fallocate) before somebody writes, and only while the machine and its cgroup
// have memory to spare, so that a full machine is an error of EnsureBacked, never a SIGBUS or a
// killed process. Pages stay reserved until the last process unmaps the arena: freed blocks are
// reused warm, since a fresh page costs several times its copy. The memfd can neither shrink nor
// grow (seals), so no process can pull pages away from under another.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "objectstore/shm/memory_headroom.h"

namespace shoal {

// Thread-safe except for construction, destruction, StartPrefault and StopPrefault.
class Arena {
 public:
  // Says how many bytes more may be taken; another one than MemoryHeadroom is for tests.
  using Headroom = uint64_t (*)();
  // Left to the rest of the machine.
  static constexpr uint64_t kKeepFreeBytes = uint64_t{64} << 20;

  // `bytes` of address space, rounded up to pages; memory is taken as EnsureBacked asks for it.
  // InvalidArgument for 0, ResourceExhausted if the machine refuses.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(uint64_t bytes,
                                                       Headroom headroom = &MemoryHeadroom);
  // Maps an arena that another process made; takes over `fd`, also when it fails. Readers pass
  // writable = false and fault on writes. InvalidArgument if it is not an arena, PermissionDenied
  // if a read-only descriptor is to be mapped writable.
  static absl::StatusOr<std::unique_ptr<Arena>> Attach(int fd, bool writable,
                                                       Headroom headroom = &MemoryHeadroom);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  char* data() const { return data_; }
  uint64_t size() const { return size_; }
  // Still owned by the arena; pass it to processes that may write.
  int fd() const { return fd_; }
  // A new descriptor, the caller's to close, that cannot be mapped writable. It guards against
  // mistakes of readers, not against malice: they run as the same user.
  absl::StatusOr<int> OpenReadOnly() const;

  // Reserves the pages of a range; call it before the first write. A range that this process has
  // asked for before costs a few loads. OutOfRange outside the arena; ResourceExhausted if the
  // machine has no memory; FailedPrecondition on an arena mapped read-only.
  absl::Status EnsureBacked(uint64_t offset, uint64_t size) const;

  // Touches the first `bytes` in a background thread of lowest priority, so that puts find warm
  // pages. Ends early, quietly, when the machine runs out of memory or cannot populate. Call at
  // most once.
  void StartPrefault(uint64_t bytes);
  // Stops and joins that thread; the destructor does it too.
  void StopPrefault();
  uint64_t prefaulted_bytes() const { return prefaulted_.load(std::memory_order_relaxed); }

 private:
  Arena(int fd, char* data, uint64_t size, bool writable, Headroom headroom);
  bool Afford(uint64_t bytes) const;
  uint64_t MissingBytes(uint64_t begin, uint64_t end) const;
  absl::Status Reserve(uint64_t begin, uint64_t end) const;
  void Prefault(uint64_t bytes);

  const int fd_;
  char* const data_;
  const uint64_t size_;
  const bool writable_;
  const Headroom headroom_;
  mutable std::atomic<uint64_t> budget_ =
      0;  // bytes that may be taken before headroom_ is asked again
  // One bit per granule that this process knows to be reserved. Never cleared: pages are not given
  // back.
  const std::unique_ptr<std::atomic<uint64_t>[]> backed_;
  std::atomic<uint64_t> prefaulted_ = 0;
  std::atomic<bool> stop_prefault_ = false;
  std::thread prefault_;
};

// As memcpy. Copies that outgrow the second-level cache bypass it (non-temporal stores), so that a
// large put does not evict everything else; they are visible to other threads once this returns.
void CopyInto(char* to, const char* from, size_t size);

}  // namespace shoal
