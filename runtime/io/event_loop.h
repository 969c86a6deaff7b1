// A single-threaded epoll loop for the head, the raylet, the nanny and the transfer threads: file
// descriptors, child processes, signals, one timer, and work posted by other threads. Nothing in it
// polls.
//
//   auto loop = EventLoop::Create();
//   (*loop)->AddFd(listener.fd(), EPOLLIN, [&](uint32_t) { AcceptAll(); });
//   (*loop)->SetTimer([&] { return machine.NextDeadline(); }, [&] { machine.OnTick(MonotonicNow(),
//   &actions); });
//   (*loop)->WatchSignals({SIGTERM, SIGINT}, [&](int) { (*loop)->Stop(); });
//   (*loop)->Run();
//
// All callbacks run in the thread that called Run. Only Post and Stop may be called from other
// threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/time.h"
#include "runtime/io/fd.h"

struct epoll_event;

namespace shoal::io {

// epoll_pwait2, or on Linux before 5.11 epoll_wait in whole milliseconds, rounded up. nullopt: for ever.
int WaitEpoll(int epoll, epoll_event* events, int count, std::optional<TimePoint> until);

// Given to WatchProcess's callback for a process whose status is not ours to know (not a child).
// Never a value of waitpid.
inline constexpr int kUnknownExitStatus = -1;

class EventLoop {
 public:
  // ResourceExhausted if no file descriptor is left.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Level-triggered; `events` as for epoll (EPOLLIN, EPOLLOUT). `ready(events)` may add and remove
  // any descriptor, its own too; after RemoveFd it is not called again, even for events that the
  // kernel already reported. Call RemoveFd before closing the descriptor. AlreadyExists if it is
  // being watched.
  absl::Status AddFd(int fd, uint32_t events, std::function<void(uint32_t events)> ready);
  // Waits for other events from now on. Does nothing for a descriptor that is not watched.
  void ChangeFd(int fd, uint32_t events);
  void RemoveFd(int fd);

  // Calls `exited` once, with waitpid's status, when this process has died, and reaps it if it is a
  // child (kUnknownExitStatus if not). Race-free for children that nobody else waits for. NotFound
  // if there is no such process.
  absl::Status WatchProcess(int pid, std::function<void(int status)> exited);
  // Blocks these signals in this thread and the threads it starts later, and delivers them here.
  // Call once, before other threads start. Children inherit the mask: unblock before exec.
  absl::Status WatchSignals(std::initializer_list<int> signals,
                            std::function<void(int signal)> received);

  // `next` is asked before each sleep for the time at which `tick` is to be called; nullopt: never.
  void SetTimer(std::function<std::optional<TimePoint>()> next, std::function<void()> tick);
  // Called after every batch of callbacks, before the loop sleeps: the place to carry out what they
  // wished.
  void SetAfter(std::function<void()> after) { after_ = std::move(after); }

  // Runs `work` in the loop's thread, in order of posting. From any thread. Work that has not run
  // when the loop is destroyed is destroyed unrun. The queue is as long as the posters let it
  // become.
  void Post(std::function<void()> work);

  // Until Stop, which may also have come before. Only once per loop.
  void Run();
  // From any thread and from callbacks: Run returns after the current callback.
  void Stop();

 private:
  struct Watch {
    uint64_t token;  // tells this watch from an earlier one of the same descriptor
    std::function<void(uint32_t)> ready;
  };
  struct Process {
    UniqueFd pidfd;
    std::function<void(int)> exited;
  };

  EventLoop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  int Wait(epoll_event* events, int count, std::optional<TimePoint> until);
  void RunPosted();
  void OnProcessReady(int pidfd);

  UniqueFd epoll_, wake_, signals_;
  std::map<int, std::shared_ptr<Watch>> watches_;  // by descriptor
  std::map<int, Process> processes_;               // by pidfd
  uint32_t generation_ = 0;
  std::function<std::optional<TimePoint>()> next_;
  std::function<void()> tick_, after_;
  std::atomic<bool> stopped_ = false;
  std::mutex posted_mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by posted_mutex_
};

}  // namespace shoal::io
