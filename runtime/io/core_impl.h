// The inside of CoreProcess: one mutex, one machine, one polling thread at a time.
//
// Polling. `WaitUntil` makes the calling thread the poller if there is none: it drives the machine until its predicate holds,
// spinning briefly before it sleeps in epoll. A second waiting thread sleeps on `turn_` and is woken when something may have
// changed or the poller leaves. When no thread waits, the background thread polls; it takes over only a
// millisecond after the last poller left, so that a loop of short calls never pays for a hand-over.
//
// Doorbells. A caller that sleeps is woken by a system call. A worker that ends short tasks with more at hand puts that off for a
// while, so that the caller wakes up to many replies; should the next task be long, the background thread rings.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "objectstore/shm/arena.h"
#include "runtime/core_worker/core_worker.h"
#include "runtime/io/core_links.h"
#include "runtime/io/core_process.h"
#include "runtime/io/doorbell.h"
#include "runtime/io/fd.h"
#include "runtime/io/local_socket.h"

namespace shoal::io {

class CoreProcess::Impl : public std::enable_shared_from_this<CoreProcess::Impl> {
 public:
  using Lock = std::unique_lock<std::mutex>;

  Impl(CoreProcessOptions options, LocalSocket socket, Doorbell doorbell);
  ~Impl();

  // Registers with the raylet and starts the background thread.
  absl::Status Start();

  // Runs `call(now, actions)` on the machine and carries out what it wishes.
  template <class Call>
  void Run(Lock& lock, Call&& call) {
    call(Now(), &actions_);
    Carry(lock);
    HastenPoller();
  }
  // Drives the machine until `done()`; Ok, DeadlineExceeded, Cancelled or Unavailable. `done` is called with the mutex held.
  // `in_task`: this wait may block a running task, so its CPUs are lent out once the thread sleeps.
  template <class Done>
  absl::Status WaitUntil(Lock& lock, std::optional<TimePoint> deadline, bool in_task, Done&& done);
  // As WaitUntil, but returns also when the watched descriptor is readable.
  template <class Done>
  void WaitWatching(Lock& lock, std::optional<TimePoint> deadline, Done&& done);
  // A round of input if no thread does that anyway.
  void Look(Lock& lock);
  // One round of input: rings, socket, timer. True if anything came.
  bool Drive(Lock& lock);
  void Carry(Lock& lock);
  absl::StatusOr<uint64_t> CreateBlock(Lock& lock, uint64_t size);
  // Pins an object whose bytes are local; empty if they are not.
  PinnedBytes Pin(const ObjectId& id);
  Fetched Fetch(const ObjectRefInfo& ref);
  // Until assigned_ holds a task; false when the process is to exit.
  bool AwaitTask(Lock& lock);
  bool TakeTask(AssignedTask* task);
  void TaskEnded(Lock& lock, const TaskSpec& spec, std::vector<ObjectValue> results, absl::Span<const uint64_t> offsets,
                 bool worker_exiting, bool final);
  // Ends the connection and the background thread; waits for blocked calls of other threads to return.
  void Stop();
  // Takes every thread out of its sleep to look at its predicate.
  void WakeAll();
  // Takes the reply of a request, once it is there.
  template <class Reply>
  absl::StatusOr<Reply> AwaitReply(Lock& lock, RequestId request, std::optional<TimePoint> deadline);
  // The same for a question to another process, which is repeated: what was on its way to a head that died is lost.
  template <class Reply>
  absl::StatusOr<Reply> Ask(Lock& lock, const Address& to, const Message& question, RequestId request, TimePoint deadline);
  RequestId NewRequest() {
    const RequestId request{next_request_++};
    open_requests_.insert(request);
    return request;
  }
  void SendTo(const Address& to, const Message& message);
  void Ring();
  // After a task has ended: rings, unless that can wait.
  void RingAfterTask(Lock& lock);
  static constexpr Duration kAskAgain = 1s;
  static TimePoint Now();
  std::optional<TimePoint> DeadlineAfter(std::optional<Duration> timeout);
  bool InTask() const { return options_.role == Role::kWorker && running_tasks_ > 0; }

  CoreProcessOptions options_;
  RegisterWorkerReply identity_;
  std::shared_ptr<Arena> arena_;
  LocalSocket socket_;
  Doorbell doorbell_;
  UniqueFd epoll_;        // doorbell, socket and release_event_
  UniqueFd release_event_;
  UniqueFd background_epoll_;  // epoll_ and kick_
  UniqueFd kick_;         // takes the background thread out of its poll

  std::mutex mutex_;      // guards all below
  std::unique_ptr<core_worker::CoreWorker> machine_;
  core_worker::CoreWorkerActions actions_;
  std::unique_ptr<CoreLinks> links_;
  std::vector<Send> sending_;  // memory of CarrySends
  std::deque<AssignedTask> assigned_;
  AssignLease assignment_;
  std::atomic<uint64_t> assignment_version_ = 0;  // written with the mutex held
  absl::flat_hash_set<RequestId> open_requests_;  // whose reply somebody waits for
  absl::flat_hash_set<RequestId> abandoned_blocks_;  // asked for, and not wanted any more
  absl::flat_hash_map<RequestId, Message> replies_;
  absl::flat_hash_map<PlacementGroupId, PlacementGroupUpdate> groups_;
  absl::flat_hash_map<PlacementGroupId, PlacementGroupSpec> unanswered_groups_;  // the head has said nothing of them yet
  std::multimap<ObjectId, std::function<void()>> on_ready_;
  std::vector<std::function<void()>> callbacks_;  // to run without the mutex
  std::function<void(TaskId)> on_interrupt_;
  std::function<void()> on_unclaimed_;
  std::function<void(const LogLines&)> on_log_lines_;
  uint64_t next_request_ = 1;
  bool ending_task_ = false;  // in TaskEnded
  bool batch_at_hand_ = false;  // NextTasks gave out tasks, and will be called again when they have been stepped
  TimePoint task_ended_;      // the last one
  std::optional<TimePoint> unrung_since_;  // doorbells were put off
  uint64_t interrupts_ = 0;  // calls of Interrupt
  size_t running_tasks_ = 0;
  int task_waiters_ = 0;     // threads that take what comes: in AwaitTask, or ending a task and about to look
  std::string lost_;         // why the raylet is gone; empty while it is there
  bool exiting_ = false;     // a worker that was told to leave
  bool stopping_ = false;
  bool polling_ = false;     // some thread is the poller
  bool background_polls_ = false;
  bool awaits_writable_ = false;  // epoll_ watches socket_ for that, too
  bool background_sleeps_ = false;  // deeply: only a notify wakes it
  bool poller_sleeps_ = false;
  bool slept_shortly_ = false;  // the last time
  std::optional<TimePoint> sleeps_until_;  // while poller_sleeps_; nullopt: for ever
  int watched_fd_ = -1;      // in epoll_; see WatchFd
  bool watching_ = false;    // some thread waits for it
  bool watched_readable_ = false;
  int waiting_threads_ = 0;
  int rounds_since_socket_ = 0;
  uint64_t progress_ = 0;    // counts rounds with input, so that waiters re-check
  TimePoint last_poll_;
  std::condition_variable turn_, background_turn_;
  std::thread background_;

  std::mutex releases_mutex_;  // guards releases_; taken last
  std::vector<ObjectId> releases_;

 private:
  void CarrySends();
  void CarryExecutions();
  void SendFrame(const LocalFrame& frame, std::initializer_list<int> fds);
  void ForLanguage(Message&& message);
  void RunCallbacks(Lock& lock);
  PinnedBytes PinnedAt(const ObjectId& id, const core_worker::LocalBlock& block);
  void ReleaseLater(const ObjectId& id);
  void ApplyReleases();
  void Deliver(const Address& from, Message&& message);
  void OnFrame(LocalFrame&& frame, std::vector<UniqueFd> fds);
  void ReadSocket();
  // Has epoll_ tell when more can be written, as long as something waits to be.
  void FlushSocket();
  void OnLost(const std::string& reason);
  void Background();
  // Sleeps in epoll without the mutex until input, `deadline`, or the machine's own deadline.
  void Sleep(Lock& lock, std::optional<TimePoint> deadline, const UniqueFd& poll);
  bool Spin(Lock& lock);
  // From now on epoll_ tells once when the watched descriptor is readable, also if it is already.
  void ArmWatch();
  // Wakes the poller if it would sleep past the machine's next deadline.
  void HastenPoller();
  // Something happened that a waiting thread may wait for.
  void NotifyWaiters();
  void EnterPoll();
  void LeavePoll();
};

template <class Done>
absl::Status CoreProcess::Impl::WaitUntil(Lock& lock, std::optional<TimePoint> deadline, bool in_task, Done&& done) {
  const uint64_t interrupts = interrupts_;
  bool blocked = false;
  absl::Status status;
  ++waiting_threads_;
  while (true) {
    if (done()) break;
    if (!lost_.empty()) {
      status = absl::UnavailableError(lost_);
      break;
    }
    if (interrupts_ != interrupts) {
      status = absl::CancelledError("interrupted");
      break;
    }
    if (deadline && Now() >= *deadline) {
      status = absl::DeadlineExceededError("the timeout has passed");
      break;
    }
    if (polling_ && !background_polls_) {
      const uint64_t seen = progress_;
      auto changed = [&] { return progress_ != seen || !polling_ || interrupts_ != interrupts; };
      if (in_task && !blocked) {
        blocked = true;
        Run(lock, [this](TimePoint now, auto* actions) { machine_->SetBlocked(now, true, actions); });
      }
      if (deadline) {
        turn_.wait_for(lock, *deadline - Now(), changed);
      } else {
        turn_.wait(lock, changed);
      }
      continue;
    }
    EnterPoll();
    while (!done() && lost_.empty() && interrupts_ == interrupts && (!deadline || Now() < *deadline)) {
      const uint64_t seen = progress_;
      if (Drive(lock)) continue;
      if (Spin(lock) || progress_ != seen) continue;
      if (in_task && !blocked) {
        blocked = true;
        Run(lock, [this](TimePoint now, auto* actions) { machine_->SetBlocked(now, true, actions); });
        continue;
      }
      Sleep(lock, deadline, epoll_);
    }
    LeavePoll();
  }
  --waiting_threads_;
  if (stopping_) turn_.notify_all();
  if (blocked && !stopping_) Run(lock, [this](TimePoint now, auto* actions) { machine_->SetBlocked(now, false, actions); });
  return status;
}

template <class Done>
void CoreProcess::Impl::WaitWatching(Lock& lock, std::optional<TimePoint> deadline, Done&& done) {
  watching_ = true;
  watched_readable_ = false;
  if (poller_sleeps_) ArmWatch();  // or else whoever goes to sleep does it
  // However it ends, the caller looks at everything.
  WaitUntil(lock, deadline, /*in_task=*/false, [&] { return watched_readable_ || done(); }).IgnoreError();
  watching_ = false;
}

template <class Reply>
absl::StatusOr<Reply> CoreProcess::Impl::AwaitReply(Lock& lock, RequestId request, std::optional<TimePoint> deadline) {
  const absl::Status status = WaitUntil(lock, deadline, InTask(), [&] { return replies_.contains(request); });
  if (!status.ok()) return status;
  Reply reply = std::get<Reply>(std::move(replies_[request]));
  replies_.erase(request);
  open_requests_.erase(request);
  return reply;
}

template <class Reply>
absl::StatusOr<Reply> CoreProcess::Impl::Ask(Lock& lock, const Address& to, const Message& question, RequestId request,
                                             TimePoint deadline) {
  while (true) {
    SendTo(to, question);
    absl::StatusOr<Reply> reply = AwaitReply<Reply>(lock, request, std::min(deadline, Now() + kAskAgain));
    if (absl::IsDeadlineExceeded(reply.status()) && Now() < deadline) continue;
    open_requests_.erase(request);
    if (!absl::IsDeadlineExceeded(reply.status())) return reply;
    return absl::DeadlineExceededError(to.is_head() ? std::string("the head did not answer in time; `shoal status` says why")
                                                    : absl::StrCat("the raylet of node ", to.node.Hex(), " did not answer in time; see `shoal logs raylet` there"));
  }
}

}  // namespace shoal::io
