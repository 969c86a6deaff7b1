// The loop of a daemon: one EventLoop shared by parts (a head host, a raylet host, a nanny) and any number of timers.
//
//   auto loop = *DaemonLoop::Create();
//   loop->Add(&raylet_host);                                 // carried after every batch of events, ticked at its deadline
//   loop->timers().After(100ms, [&] { Restart(); });
//   return loop->Run();                                      // the exit code given to Stop
//
// Parts hand each other work by queues that Carry empties, never by calling into each other's machine: no re-entrance.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/time.h"
#include "runtime/io/event_loop.h"

namespace shoal::io {

class LoopPart {
 public:
  virtual ~LoopPart() = default;
  // Carries out what the part's machine wished for; true if there was anything.
  virtual bool Carry() = 0;
  virtual std::optional<TimePoint> NextDeadline() const = 0;
  virtual void OnTick(TimePoint now) = 0;
};

// One-shot timers, in order of time.
class Timers {
 public:
  using Id = uint64_t;  // never 0
  Id At(TimePoint when, std::function<void()> work);
  Id After(Duration delay, std::function<void()> work);
  void Cancel(Id id);
  std::optional<TimePoint> Next() const;
  void RunDue(TimePoint now);

 private:
  Id next_id_ = 0;
  std::map<std::pair<TimePoint, Id>, std::function<void()>> pending_;
  std::map<Id, TimePoint> when_;
};

class DaemonLoop {
 public:
  static absl::StatusOr<std::unique_ptr<DaemonLoop>> Create();

  EventLoop& events() { return *events_; }
  Timers& timers() { return timers_; }
  // Parts outlive Run.
  void Add(LoopPart* part) { parts_.push_back(part); }
  // Stops with this code when the descriptor is at its end: the process at its other end is gone. Takes the descriptor.
  absl::Status StopWithOwner(int life_fd, int exit_code);
  int Run();
  void Stop(int exit_code);

 private:
  explicit DaemonLoop(std::unique_ptr<EventLoop> events) : events_(std::move(events)) {}
  void CarryAll();
  std::optional<TimePoint> NextDeadline() const;
  void Tick();

  const std::unique_ptr<EventLoop> events_;
  Timers timers_;
  std::vector<LoopPart*> parts_;
  UniqueFd life_fd_;
  int exit_code_ = 0;
};

}  // namespace shoal::io
