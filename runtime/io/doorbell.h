// Wakes a process that sleeps. Each process has one doorbell for all its rings: a flag in shared memory that says "asleep", and an
// eventfd that epoll waits for. Writing to a process that is awake costs one load.
//
//   receiver                                  sender
//   bell.PrepareSleep();                      write to a ring
//   if (rings are empty) epoll_wait(...);     handle.Ring();
//   bell.Wake();
//
// No wake-up is lost: the receiver sets the flag before its last look at the rings, the sender writes before its look at the flag,
// each with a full fence between.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/io/fd.h"

namespace shoal::io {

class Doorbell {
 public:
  static absl::StatusOr<Doorbell> Create();
  Doorbell(Doorbell&& other) noexcept;
  Doorbell& operator=(Doorbell&&) = delete;
  ~Doorbell();

  void PrepareSleep();
  // Awake again: clears the flag and the event.
  void Wake();
  int event_fd() const { return event_.get(); }
  int memory_fd() const { return memory_.get(); }

 private:
  Doorbell(UniqueFd memory, UniqueFd event, std::atomic<uint32_t>* sleeping);

  UniqueFd memory_, event_;
  std::atomic<uint32_t>* sleeping_;
};

// The doorbell of another process.
class DoorbellHandle {
 public:
  DoorbellHandle(UniqueFd memory, UniqueFd event);
  DoorbellHandle(DoorbellHandle&& other) noexcept;
  DoorbellHandle& operator=(DoorbellHandle&&) = delete;
  ~DoorbellHandle();

  // Wakes the process if it sleeps. Does nothing if the other side did not give a usable doorbell.
  void Ring();

 private:
  UniqueFd event_;
  std::atomic<uint32_t>* sleeping_ = nullptr;
};

}  // namespace shoal::io
