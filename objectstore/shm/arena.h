// The node's object memory: one memfd, mapped once by every process of the node, never a file that could be left behind. Only
// offsets travel between processes.
//
// Pages are reserved (fallocate) before somebody writes, so that a full memory is an error in EnsureBacked and never a SIGBUS later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shoal {

class Arena {
 public:
  // `bytes` of address space; memory is taken as EnsureBacked asks for it.
  static absl::StatusOr<std::unique_ptr<Arena>> Create(uint64_t bytes);
  // Maps an arena that another process made; takes over `fd`. Readers pass writable = false and fault on writes.
  static absl::StatusOr<std::unique_ptr<Arena>> Attach(int fd, bool writable);
  ~Arena();
  Arena(const Arena&) = delete;

  char* data() const { return data_; }
  uint64_t size() const { return size_; }
  int fd() const { return fd_; }
  // Reserves the pages of a range. ResourceExhausted if the machine has no memory for them; OutOfRange outside the arena.
  absl::Status EnsureBacked(uint64_t offset, uint64_t size) const;

 private:
  Arena(int fd, char* data, uint64_t size) : fd_(fd), data_(data), size_(size) {}

  const int fd_;
  char* const data_;
  const uint64_t size_;
};

}  // namespace shoal
