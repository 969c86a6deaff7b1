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
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "runtime/io/clock.h"

namespace shoal::io {
namespace {

constexpr int kEventsPerBatch = 64;

// A token is a generation and a descriptor: an event of a watch that was removed in the same batch
// is told from one of a new watch that got the same number.
uint64_t MakeToken(uint32_t generation, int fd) {
  return (uint64_t{generation} << 32) | static_cast<uint32_t>(fd);
}
int FdOf(uint64_t token) { return static_cast<int>(token & 0xffffffff); }

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll.valid() || !wake.valid()) {
    return absl::ResourceExhaustedError(
        "no file descriptor is left for the event loop; raise the limit (ulimit -n)");
  }
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  EventLoop* const self = loop.get();
  const absl::Status added =
      loop->AddFd(loop->wake_.get(), EPOLLIN, [self](uint32_t) { self->RunPosted(); });
  if (!added.ok()) return added;
  return loop;
}

EventLoop::~EventLoop() = default;

absl::Status EventLoop::AddFd(int fd, uint32_t events, std::function<void(uint32_t)> ready) {
  const uint64_t token = MakeToken(++generation_, fd);
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    const std::string text =
        absl::StrCat("epoll does not take file ", fd, ": ", std::strerror(errno));
    if (errno == EEXIST) return absl::AlreadyExistsError(text);
    if (errno == EBADF || errno == EPERM) return absl::InvalidArgumentError(text);
    return absl::ResourceExhaustedError(text);
  }
  watches_[fd] = std::make_shared<Watch>(Watch{token, std::move(ready)});
  return absl::OkStatus();
}

void EventLoop::ChangeFd(int fd, uint32_t events) {
  const auto it = watches_.find(fd);
  if (it == watches_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = it->second->token;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::RemoveFd(int fd) {
  if (watches_.erase(fd) > 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

absl::Status EventLoop::WatchProcess(int pid, std::function<void(int)> exited) {
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) {
    const std::string text =
        absl::StrCat("process ", pid, " cannot be watched: ", std::strerror(errno));
    if (errno == ESRCH || errno == EINVAL) return absl::NotFoundError(text);
    return absl::ResourceExhaustedError(text);
  }
  const int pidfd = fd.get();
  const absl::Status added =
      AddFd(pidfd, EPOLLIN, [this, pidfd](uint32_t) { OnProcessReady(pidfd); });
  if (!added.ok()) return added;
  processes_[pidfd] = Process{std::move(fd), std::move(exited)};
  return absl::OkStatus();
}

void EventLoop::OnProcessReady(int pidfd) {
  siginfo_t info{};
  int status = kUnknownExitStatus;
  // By pidfd, so that a process that got the same number meanwhile cannot be meant.
  if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) ==
      0) {
    if (info.si_pid == 0) return;  // not yet
    status =
        info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
    if (info.si_code == CLD_DUMPED) status |= WCOREFLAG;
  }
  const auto it = processes_.find(pidfd);
  if (it == processes_.end()) return;
  const std::function<void(int)> exited = std::move(it->second.exited);
  RemoveFd(pidfd);
  processes_.erase(it);
  exited(status);
}

absl::Status EventLoop::WatchSignals(std::initializer_list<int> signals,
                                     std::function<void(int)> received) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("signals cannot be received: ", std::strerror(errno)));
  }
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  SHOAL_CHECK(!signals_.valid()) << "signals are watched once per loop";
  signals_ = std::move(fd);
  return AddFd(signals_.get(), EPOLLIN, [this, received = std::move(received)](uint32_t) {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      received(static_cast<int>(info.ssi_signo));
    }
  });
}

void EventLoop::SetTimer(std::function<std::optional<TimePoint>()> next,
                         std::function<void()> tick) {
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

void EventLoop::RunPosted() {
  uint64_t value;
  static_cast<void>(!read(wake_.get(), &value, sizeof(value)));
  std::vector<std::function<void()>> posted;
  {
    std::lock_guard<std::mutex> lock(posted_mutex_);
    posted.swap(posted_);
  }
  for (const std::function<void()>& work : posted) {
    if (stopped_) return;
    work();
  }
}

int WaitEpoll(int epoll, epoll_event* events, int count, std::optional<TimePoint> until) {
  timespec timeout{};
  int64_t ns = 0;
  if (until) {
    ns = std::max<int64_t>((*until - MonotonicNow()).count(), 0);
    timeout = {ns / 1'000'000'000, ns % 1'000'000'000};
  }
  const int ready = epoll_pwait2(epoll, events, count, until ? &timeout : nullptr, nullptr);
  if (ready >= 0 || errno != ENOSYS) return ready;
  const int64_t ms = std::min<int64_t>((ns + 999'999) / 1'000'000, 60'000);
  return epoll_wait(epoll, events, count, until ? static_cast<int>(ms) : -1);
}

int EventLoop::Wait(epoll_event* events, int count, std::optional<TimePoint> until) {
  const int ready = WaitEpoll(epoll_.get(), events, count, until);
  SHOAL_CHECK(ready >= 0 || errno == EINTR) << "epoll: " << std::strerror(errno);
  return std::max(ready, 0);
}

void EventLoop::Run() {
  epoll_event events[kEventsPerBatch];
  while (!stopped_) {
    if (after_) after_();
    const std::optional<TimePoint> next = next_ ? next_() : std::nullopt;
    if (stopped_) return;
    const int count = Wait(events, kEventsPerBatch, next);
    for (int i = 0; i < count && !stopped_; ++i) {
      const uint64_t token = events[i].data.u64;
      const auto it = watches_.find(FdOf(token));
      if (it == watches_.end() || it->second->token != token) continue;  // removed in this batch
      const std::shared_ptr<Watch> watch = it->second;                   // it may remove itself
      watch->ready(events[i].events);
    }
    if (!stopped_ && next && tick_ && MonotonicNow() >= *next) tick_();
  }
}

void EventLoop::Stop() {
  stopped_ = true;
  const uint64_t one = 1;
  static_cast<void>(!write(wake_.get(), &one, sizeof(one)));
}

}  // namespace shoal::io
