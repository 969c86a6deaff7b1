#include "runtime/io/event_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"

namespace shoal::io {

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !wake.valid()) {
    return absl::ResourceExhaustedError("no file descriptor is left for the event loop; raise the limit (ulimit -n)");
  }
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  EventLoop* const self = loop.get();
  const absl::Status added = loop->Add(loop->wake_.get(), EPOLLIN, [self](uint32_t) {
    uint64_t value;
    static_cast<void>(!read(self->wake_.get(), &value, sizeof(value)));
    std::vector<std::function<void()>> posted;
    {
      std::lock_guard<std::mutex> lock(self->posted_mutex_);
      posted.swap(self->posted_);
    }
    for (const std::function<void()>& work : posted) work();
  });
  if (!added.ok()) return added;
  return loop;
}

EventLoop::~EventLoop() = default;

absl::Status EventLoop::Add(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("epoll does not take another file: ", std::strerror(errno)));
  }
  ready_[fd] = std::make_shared<std::function<void(uint32_t)>>(std::move(ready));
  return absl::OkStatus();
}

void EventLoop::Change(int fd, uint32_t events) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Remove(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  ready_.erase(fd);
}

absl::Status EventLoop::WatchProcess(int pid, std::function<void(int)> exited) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return absl::NotFoundError(absl::StrCat("there is no process ", pid, ": ", std::strerror(errno)));
  const int raw = fd.get();
  const absl::Status added = Add(raw, EPOLLIN, [this, raw, pid, exited = std::move(exited)](uint32_t) {
    int status = 0;
    // A process that is not our child (a driver) has no status for us.
    if (waitpid(pid, &status, WNOHANG) == 0) return;
    const std::function<void(int)> call = exited;
    Remove(raw);
    processes_.erase(raw);
    call(status);
  });
  if (!added.ok()) return added;
  processes_[raw] = std::move(fd);
  return absl::OkStatus();
}

absl::Status EventLoop::WatchSignals(std::initializer_list<int> signals, std::function<void(int)> received) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return absl::ResourceExhaustedError(absl::StrCat("signalfd: ", std::strerror(errno)));
  return Add(signals_.get(), EPOLLIN, [this, received = std::move(received)](uint32_t) {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) received(static_cast<int>(info.ssi_signo));
  });
}

void EventLoop::SetTimer(std::function<std::optional<TimePoint>()> next, std::function<void()> tick) {
  next_ = std::move(next);
  tick_ = std::move(tick);
}

void EventLoop::Post(std::function<void()> work) {
  bool first = false;
  {
    std::lock_guard<std::mutex> lock(posted_mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  if (first) static_cast<void>(!write(wake_.get(), &one, sizeof(one)));
}

void EventLoop::Run() {
  running_ = true;
  epoll_event events[64];
  while (running_) {
    if (after_) after_();
    timespec timeout{};
    const std::optional<TimePoint> next = next_ ? next_() : std::nullopt;
    if (next) {
      const int64_t ns = std::max<int64_t>((*next - MonotonicNow()).count(), 0);
      timeout = {ns / 1'000'000'000, ns % 1'000'000'000};
    }
    const int count = epoll_pwait2(epoll_.get(), events, 64, next ? &timeout : nullptr, nullptr);
    for (int i = 0; i < count && running_; ++i) {
      const auto it = ready_.find(events[i].data.fd);
      if (it == ready_.end()) continue;  // removed by an earlier callback of this batch
      const std::shared_ptr<std::function<void(uint32_t)>> ready = it->second;
      (*ready)(events[i].events);
    }
    if (next && tick_ && MonotonicNow() >= *next) tick_();
  }
}

}  // namespace shoal::io
