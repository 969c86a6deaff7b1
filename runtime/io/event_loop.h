// A single-threaded epoll loop for the head, the raylet and the nanny: file descriptors, child processes, signals, one timer, and
// work posted by other threads. Nothing in it polls.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/time.h"
#include "runtime/io/fd.h"

namespace shoal::io {

class EventLoop {
 public:
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();

  // `events` as for epoll (EPOLLIN, EPOLLOUT); `ready(events)` may add and remove any descriptor, its own too.
  absl::Status Add(int fd, uint32_t events, std::function<void(uint32_t)> ready);
  void Change(int fd, uint32_t events);
  void Remove(int fd);

  // Calls `exited(status)` with waitpid's status once this child has died, after reaping it. NotFound if there is no such child.
  absl::Status WatchProcess(int pid, std::function<void(int status)> exited);
  // Blocks these signals for the process's threads and delivers them here.
  absl::Status WatchSignals(std::initializer_list<int> signals, std::function<void(int signal)> received);

  // Asked before each sleep for the next time at which `tick` is to be called.
  void SetTimer(std::function<std::optional<TimePoint>()> next, std::function<void()> tick);
  // Called after every batch of events, before the loop sleeps.
  void SetAfter(std::function<void()> after) { after_ = std::move(after); }
  // Runs `work` in the loop's thread; callable from any thread.
  void Post(std::function<void()> work);

  void Run();
  void Stop() { running_ = false; }

 private:
  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

  UniqueFd epoll_, wake_, signals_;
  std::map<int, std::shared_ptr<std::function<void(uint32_t)>>> ready_;
  std::map<int, UniqueFd> processes_;  // pidfds
  std::function<std::optional<TimePoint>()> next_;
  std::function<void()> tick_, after_;
  std::atomic<bool> running_ = false;
  std::mutex posted_mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
};

}  // namespace shoal::io
