#include "runtime/io/daemon_loop.h"

#include <sys/epoll.h>

#include "runtime/io/clock.h"

namespace shoal::io {

Timers::Id Timers::At(TimePoint when, std::function<void()> work) {
  const Id id = ++next_id_;
  pending_.emplace(std::make_pair(when, id), std::move(work));
  when_.emplace(id, when);
  return id;
}

Timers::Id Timers::After(Duration delay, std::function<void()> work) { return At(MonotonicNow() + delay, std::move(work)); }

void Timers::Cancel(Id id) {
  const auto it = when_.find(id);
  if (it == when_.end()) return;
  pending_.erase({it->second, id});
  when_.erase(it);
}

std::optional<TimePoint> Timers::Next() const {
  if (pending_.empty()) return std::nullopt;
  return pending_.begin()->first.first;
}

void Timers::RunDue(TimePoint now) {
  // A timer set by one that runs waits for the next round, so that a chain of short ones cannot hold the loop.
  const Id newest = next_id_;
  for (auto it = pending_.begin(); it != pending_.end() && it->first.first <= now;) {
    if (it->first.second > newest) {
      ++it;
      continue;
    }
    const std::function<void()> work = std::move(it->second);
    when_.erase(it->first.second);
    pending_.erase(it);
    work();
    it = pending_.begin();  // it may have changed anything
  }
}

absl::StatusOr<std::unique_ptr<DaemonLoop>> DaemonLoop::Create() {
  absl::StatusOr<std::unique_ptr<EventLoop>> events = EventLoop::Create();
  if (!events.ok()) return events.status();
  std::unique_ptr<DaemonLoop> loop(new DaemonLoop(*std::move(events)));
  DaemonLoop* const self = loop.get();
  loop->events_->SetAfter([self] { self->CarryAll(); });
  loop->events_->SetTimer([self] { return self->NextDeadline(); }, [self] { self->Tick(); });
  return loop;
}

absl::Status DaemonLoop::StopWithOwner(int life_fd, int exit_code) {
  life_fd_ = UniqueFd(life_fd);
  return events_->AddFd(life_fd, EPOLLIN, [this, exit_code](uint32_t events) {
    char byte;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0 || read(life_fd_.get(), &byte, 1) == 0) Stop(exit_code);
  });
}

int DaemonLoop::Run() {
  events_->Run();
  return exit_code_;
}

void DaemonLoop::Stop(int exit_code) {
  exit_code_ = exit_code;
  events_->Stop();
}

void DaemonLoop::CarryAll() {
  for (bool any = true; any;) {
    any = false;
    for (LoopPart* part : parts_) any = part->Carry() || any;
  }
}

std::optional<TimePoint> DaemonLoop::NextDeadline() const {
  std::optional<TimePoint> next = timers_.Next();
  for (const LoopPart* part : parts_) {
    const std::optional<TimePoint> due = part->NextDeadline();
    if (due && (!next || *due < *next)) next = due;
  }
  return next;
}

void DaemonLoop::Tick() {
  const TimePoint now = MonotonicNow();
  timers_.RunDue(now);
  for (LoopPart* part : parts_) {
    const std::optional<TimePoint> due = part->NextDeadline();
    if (due && *due <= now) part->OnTick(now);
  }
}

}  // namespace shoal::io
