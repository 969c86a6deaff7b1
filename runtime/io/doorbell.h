// Wakes a process that sleeps. Each process has one doorbell for all its rings: a flag in shared
// memory that says "asleep", and an eventfd that its epoll waits for. Writing to a process that is
// awake costs a fence and a load; one that sleeps is woken by one system call, whoever comes first.
//
//   receiver                                   sender
//   bell.PrepareSleep();                       write to a ring
//   if (rings are empty) epoll_wait(...);      handle.Ring();
//   bell.Wake();
//
// No wake-up is lost: the receiver raises the flag before its last look at the rings, the sender
// writes before its look at the flag, each with a full fence between, so at least one of them sees
// the other (Dekker's argument).
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/io/fd.h"

namespace shoal::io {

// The bell of this process. Sleep and wake from one thread at a time.
class Doorbell {
 public:
  // ResourceExhausted if no file descriptor is left.
  static absl::StatusOr<Doorbell> Create();
  Doorbell(Doorbell&& other) noexcept;
  Doorbell& operator=(Doorbell&&) = delete;
  ~Doorbell();

  // Raises the flag. The caller then looks at its rings once more and sleeps only if they are
  // empty.
  void PrepareSleep();
  // Awake again, whether it slept or not: lowers the flag and clears the event.
  void Wake();

  // Readable when somebody rang; for epoll, and to hand to peers together with memory_fd().
  int event_fd() const { return event_.get(); }
  int memory_fd() const { return memory_.get(); }

 private:
  Doorbell(UniqueFd memory, UniqueFd event, std::atomic<uint32_t>* sleeping);

  UniqueFd memory_, event_;
  std::atomic<uint32_t>* sleeping_;
};

// The doorbell of another process, from the two descriptors that it gave.
class DoorbellHandle {
 public:
  // Descriptors that are not a sealed memory and a non-blocking eventfd leave the handle unusable:
  // a broken peer cannot make Ring block, fault or raise a signal here.
  DoorbellHandle(UniqueFd memory, UniqueFd event);
  DoorbellHandle(DoorbellHandle&& other) noexcept;
  DoorbellHandle& operator=(DoorbellHandle&&) = delete;
  ~DoorbellHandle();

  // Wakes the process if it sleeps. Does nothing on an unusable handle.
  void Ring();
  bool usable() const { return sleeping_ != nullptr; }

 private:
  UniqueFd event_;
  std::atomic<uint32_t>* sleeping_ = nullptr;
};

}  // namespace shoal::io
