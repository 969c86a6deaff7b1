#include "runtime/io/doorbell.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::io {
namespace {

constexpr size_t kPage = 4096;

std::atomic<uint32_t>* Map(int fd) {
  void* mapping = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return mapping == MAP_FAILED ? nullptr : static_cast<std::atomic<uint32_t>*>(mapping);
}

// A write to anything else could block, or raise SIGPIPE.
bool IsNonBlockingEventFd(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) == 0) return false;
  char target[64];
  const ssize_t size = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), target, sizeof(target));
  return size > 0 && std::string_view(target, static_cast<size_t>(size)) == "anon_inode:[eventfd]";
}

}  // namespace

absl::StatusOr<Doorbell> Doorbell::Create() {
  UniqueFd memory(memfd_create("shoal-doorbell", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!memory.valid() || !event.valid() || ftruncate(memory.get(), kPage) != 0 ||
      fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a doorbell could not be made: ", std::strerror(errno), "; raise the limit of open files (ulimit -n)"));
  }
  std::atomic<uint32_t>* sleeping = Map(memory.get());
  if (sleeping == nullptr) return absl::ResourceExhaustedError("a doorbell could not be mapped");
  return Doorbell(std::move(memory), std::move(event), sleeping);
}

Doorbell::Doorbell(UniqueFd memory, UniqueFd event, std::atomic<uint32_t>* sleeping)
    : memory_(std::move(memory)), event_(std::move(event)), sleeping_(sleeping) {}

Doorbell::Doorbell(Doorbell&& other) noexcept
    : memory_(std::move(other.memory_)),
      event_(std::move(other.event_)),
      sleeping_(std::exchange(other.sleeping_, nullptr)) {}

Doorbell::~Doorbell() {
  if (sleeping_ != nullptr) munmap(sleeping_, kPage);
}

void Doorbell::PrepareSleep() {
  sleeping_->store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Doorbell::Wake() {
  sleeping_->store(0, std::memory_order_relaxed);
  // Always, not only if a sender took the flag down: one that took it down in an earlier round may
  // have written only now, and an event that stays set would make every later sleep return at once.
  uint64_t value;
  static_cast<void>(!read(event_.get(), &value, sizeof(value)));
}

DoorbellHandle::DoorbellHandle(UniqueFd memory, UniqueFd event) : event_(std::move(event)) {
  struct stat info {};
  const int seals = memory.valid() ? fcntl(memory.get(), F_GET_SEALS) : -1;
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(memory.get(), &info) == 0 &&
      static_cast<size_t>(info.st_size) >= kPage && IsNonBlockingEventFd(event_.get())) {
    sleeping_ = Map(memory.get());
  }
}

DoorbellHandle::DoorbellHandle(DoorbellHandle&& other) noexcept
    : event_(std::move(other.event_)), sleeping_(std::exchange(other.sleeping_, nullptr)) {}

DoorbellHandle::~DoorbellHandle() {
  if (sleeping_ != nullptr) munmap(sleeping_, kPage);
}

void DoorbellHandle::Ring() {
  if (sleeping_ == nullptr) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sleeping_->load(std::memory_order_relaxed) == 0) return;
  // Of several senders one makes the system call.
  if (sleeping_->exchange(0, std::memory_order_acq_rel) == 0) return;
  const uint64_t one = 1;
  static_cast<void>(!write(event_.get(), &one, sizeof(one)));
}

}  // namespace shoal::io
