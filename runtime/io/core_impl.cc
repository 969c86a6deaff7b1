#include "runtime/io/core_impl.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/event_loop.h"
#include "runtime/io/runtime_directory.h"
#include "schema/codec.h"

namespace shoal::io {
namespace {

constexpr Duration kTakeOver = 1ms;           // a poller gone for so long is not coming back at once
constexpr int kShallowRounds = 50;            // rounds of kTakeOver before the background thread sleeps deeply
constexpr size_t kReceiveBudget = 256;        // messages per ring and round
constexpr int kSpinRounds = 400;              // about 20 us
constexpr int kLongSpinRounds = 1600;         // after a short sleep: two sides that wake each other up never get to spin else
constexpr Duration kShortSleep = 100us;
constexpr int kSelfishRounds = 64;            // of these, before others may have the core
constexpr Duration kShortTask = 50us;         // callers do not mind if a reply waits for the end of one
constexpr Duration kMostUnrung = 50us;
constexpr int kSocketRounds = 8;
constexpr Duration kRetryFullRing = 500us;
constexpr Duration kExitGrace = 1s;           // for a worker whose raylet is gone

static_assert(kMostMessageBytes <= kMaxRecordBytes && kMostMessageBytes + (size_t{64} << 10) <= kMaxFrameBytes);

// Nobody is left to kill this worker, and user code that runs on may never look at its connection. It leads its process group, so
// what it started goes with it.
void EndWorkerSoon() {
  std::thread([] {
    std::this_thread::sleep_for(kExitGrace);
    if (getpgrp() == getpid()) kill(0, SIGKILL);
    _exit(1);
  }).detach();
}

}  // namespace

CoreProcess::Impl::Impl(CoreProcessOptions options, LocalSocket socket, Doorbell doorbell)
    : options_(std::move(options)), socket_(std::move(socket)), doorbell_(std::move(doorbell)) {}

CoreProcess::Impl::~Impl() { Stop(); }

void CoreProcess::Impl::Stop() {
  {
    Lock lock(mutex_);
    stopping_ = exiting_ = true;
    if (lost_.empty()) lost_ = "the connection was shut down";
    WakeAll();
    turn_.wait(lock, [this] { return waiting_threads_ == 0; });
  }
  if (background_.joinable()) background_.join();
  socket_.Close();
}

void CoreProcess::Impl::WakeAll() {
  const uint64_t one = 1;
  for (const UniqueFd* event : {&kick_, &release_event_}) {
    if (event->valid()) static_cast<void>(!write(event->get(), &one, sizeof(one)));
  }
  turn_.notify_all();
  background_turn_.notify_all();
}

TimePoint CoreProcess::Impl::Now() { return MonotonicNow(); }

std::optional<TimePoint> CoreProcess::Impl::DeadlineAfter(std::optional<Duration> timeout) {
  if (!timeout) return std::nullopt;
  return Now() + *timeout;
}

absl::Status CoreProcess::Impl::Start() {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  background_epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  kick_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  release_event_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.valid() || !background_epoll_.valid() || !kick_.valid() || !release_event_.valid()) {
    return absl::ResourceExhaustedError("no file descriptor is left for the event loop; raise the limit (ulimit -n)");
  }
  auto watch = [](const UniqueFd& set, int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  if (!watch(epoll_, doorbell_.event_fd()) || !watch(epoll_, socket_.fd()) || !watch(epoll_, release_event_.get()) || !watch(background_epoll_, epoll_.get()) ||
      !watch(background_epoll_, kick_.get())) {
    return absl::InternalError(absl::StrCat("epoll_ctl: ", std::strerror(errno)));
  }

  Lock lock(mutex_);
  links_ = std::make_unique<CoreLinks>([this](WorkerId peer, const UniqueFd& ring) {
    LocalFrame frame{.kind = LocalFrame::Kind::kConnectRing, .to = {identity_.node, peer}};
    SendFrame(frame, {ring.get()});
  });
  SendFrame({.kind = LocalFrame::Kind::kDoorbell}, {doorbell_.memory_fd(), doorbell_.event_fd()});
  RegisterWorker hello;
  hello.worker = options_.worker;
  hello.role = options_.role;
  hello.pid = static_cast<uint32_t>(getpid());
  hello.job = options_.job;
  hello.ns = options_.ns;
  hello.entrypoint = options_.entrypoint;
  hello.worker_kind = options_.worker_kind;
  SendTo({}, hello);

  const absl::Status status = WaitUntil(lock, Now() + options_.connect_timeout, /*in_task=*/false, [this] {
    return identity_.error || (identity_.node && (arena_ != nullptr || identity_.arena_bytes == 0));
  });
  if (absl::IsDeadlineExceeded(status)) {
    return absl::UnavailableError(absl::StrCat("the raylet at ", options_.raylet_socket, " did not answer in time"));
  }
  if (!status.ok()) return status;
  if (identity_.error) return absl::FailedPreconditionError(identity_.error.message);
  background_ = std::thread([this] { Background(); });
  return absl::OkStatus();
}

void CoreProcess::Impl::SendFrame(const LocalFrame& frame, std::initializer_list<int> fds) {
  absl::Status status = socket_.Send(frame, absl::MakeConstSpan(fds.begin(), fds.size()));
  // The raylet is behind: whoever has so much to say waits. It never waits for us, so it gets on.
  while (absl::IsResourceExhausted(status) && socket_.unsent_bytes() > 0) {
    pollfd writable{.fd = socket_.fd(), .events = POLLOUT, .revents = 0};
    poll(&writable, 1, -1);
    socket_.FlushWrites();
    status = socket_.Send(frame, absl::MakeConstSpan(fds.begin(), fds.size()));
  }
  if (!status.ok()) OnLost(std::string(status.message()));
}

void CoreProcess::Impl::FlushSocket() {
  const bool waits = socket_.FlushWrites();
  if (waits == awaits_writable_) return;
  awaits_writable_ = waits;
  epoll_event event{.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.fd = socket_.fd()}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, socket_.fd(), &event);
}

void CoreProcess::Impl::SendTo(const Address& to, const Message& message) {
  LocalFrame frame{.kind = LocalFrame::Kind::kMessage, .to = to};
  frame.bytes = EncodeMessage(message);
  SendFrame(frame, {});
}

void CoreProcess::Impl::OnLost(const std::string& reason) {
  if (!lost_.empty()) return;
  const std::string& socket = options_.raylet_socket;
  const std::string cause = ReadState(socket.substr(0, socket.rfind('/'))).Text("failed");  // of a node that gave up
  lost_ = absl::StrCat("the connection to the raylet is lost: ", cause.empty() ? reason : cause);
  if (machine_ != nullptr) machine_->OnRayletLost(Now(), lost_, &actions_);
  exiting_ = true;
  ++progress_;
  turn_.notify_all();
  if (options_.role == Role::kWorker) EndWorkerSoon();
}

void CoreProcess::Impl::Carry(Lock& lock) {
  // Sending may fill actions_ again (OnLost), so each kind is taken out before it is carried out.
  while (!actions_.empty()) {
    const bool for_waiters = !actions_.execute.empty() || !actions_.ready.empty() || !actions_.for_language.empty() ||
                             actions_.exit.has_value();
    if (for_waiters) NotifyWaiters();
    CarrySends();
    if (!actions_.execute.empty()) CarryExecutions();
    for (const TaskId& task : actions_.interrupt) {
      if (on_interrupt_) callbacks_.push_back([call = on_interrupt_, task] { call(task); });
    }
    for (const ObjectId& id : actions_.ready) {
      const auto [begin, end] = on_ready_.equal_range(id);
      for (auto it = begin; it != end; ++it) callbacks_.push_back(std::move(it->second));
      on_ready_.erase(begin, end);
    }
    actions_.interrupt.clear();
    actions_.ready.clear();
    actions_.freed.clear();
    for (Message& message : std::exchange(actions_.for_language, {})) ForLanguage(std::move(message));
    if (const std::optional<ExitWorker> exit = std::exchange(actions_.exit, std::nullopt)) {
      exiting_ = true;
      if (options_.role == Role::kDriver) {  // its job is over, for instance because its node was given up: the raylet is to see it go
        OnLost(exit->reason);
        socket_.Close();
      }
    }
  }
  if (!ending_task_) Ring();
  if (!callbacks_.empty()) RunCallbacks(lock);
}

void CoreProcess::Impl::CarrySends() {
  std::swap(sending_, actions_.sends);
  for (Send& send : sending_) {
    if (send.to.node == identity_.node && send.to.worker) {
      links_->Send(send.to.worker, send.message);
    } else {
      SendTo(send.to, send.message);
    }
  }
  sending_.clear();
}

void CoreProcess::Impl::CarryExecutions() {
  for (core_worker::ExecuteTask& task : actions_.execute) {
    AssignedTask& assigned = assigned_.emplace_back();
    assigned.stored.resize(task.blocks.empty() ? 0 : task.spec.refs.size());
    for (size_t i = 0; i < task.blocks.size(); ++i) {
      if (task.spec.refs[i].value.kind == ValueKind::kStored) {
        assigned.stored[i] = PinnedAt(task.spec.refs[i].ref.id, task.blocks[i]);
      }
    }
    assigned.task = std::move(task);
    ++running_tasks_;
  }
  actions_.execute.clear();
  if (task_waiters_ == 0 && on_unclaimed_) on_unclaimed_();
}

void CoreProcess::Impl::Ring() {
  links_->RingDoorbells();
  unrung_since_.reset();
}

void CoreProcess::Impl::RingAfterTask(Lock& lock) {
  const TimePoint now = Now();
  const bool was_short = now - std::exchange(task_ended_, now) < kShortTask;
  const bool more = batch_at_hand_ || !assigned_.empty();
  if (!was_short || !more) return Ring();
  // Whoever runs one short task after the other also looks for messages, so that the background thread does not take over.
  const bool look = background_polls_ || now - last_poll_ > kTakeOver / 2;
  if (look) Look(lock);
  if (!unrung_since_) unrung_since_ = now;
  if (look || now - *unrung_since_ >= kMostUnrung) Ring();
}

void CoreProcess::Impl::RunCallbacks(Lock& lock) {
  std::vector<std::function<void()>> callbacks;
  callbacks.swap(callbacks_);
  lock.unlock();
  for (const std::function<void()>& callback : callbacks) callback();
  lock.lock();
}

void CoreProcess::Impl::ForLanguage(Message&& message) {
  // A reply that nobody waits for any more came twice or too late.
  auto keep = [this, &message](RequestId request) {
    if (open_requests_.contains(request)) replies_[request] = std::move(message);
  };
  if (auto* lines = std::get_if<LogLines>(&message)) {
    if (on_log_lines_) callbacks_.push_back([call = on_log_lines_, lines = std::move(*lines)] { call(lines); });
  } else if (auto* update = std::get_if<PlacementGroupUpdate>(&message)) {
    unanswered_groups_.erase(update->group);
    PlacementGroupUpdate& known = groups_[update->group];
    if (known.state != PlacementGroupStateKind::kRemoved) known = std::move(*update);
  } else if (auto* actor = std::get_if<FindActorReply>(&message)) {
    keep(actor->request);
  } else if (auto* state = std::get_if<ListStateReply>(&message)) {
    keep(state->request);
  } else if (auto* created = std::get_if<ObjectCreated>(&message)) {
    if (abandoned_blocks_.erase(created->request) == 0) {
      keep(created->request);
    } else if (!created->error) {
      SendTo(Address::Raylet(identity_.node), AbortObject{created->offset});
    }
  } else if (auto* lease = std::get_if<AssignLease>(&message)) {
    assignment_ = std::move(*lease);
    assignment_version_.fetch_add(1, std::memory_order_release);
  }
}

void CoreProcess::Impl::Deliver(const Address& from, Message&& message) {
  if (machine_ == nullptr) {
    if (auto* reply = std::get_if<RegisterWorkerReply>(&message)) {
      identity_ = *reply;
      if (identity_.error) return;
      core_worker::CoreWorkerOptions options;
      options.self = {identity_.node, options_.worker};
      options.job = identity_.job;
      options.role = options_.role;
      machine_ = std::make_unique<core_worker::CoreWorker>(options, Rng(options_.worker.value));
    }
    return;
  }
  if (auto* died = std::get_if<WorkerDied>(&message); died != nullptr && died->worker.node == identity_.node) {
    // What the dead one still wrote comes before the news of its death.
    links_->OnDied(died->worker.worker, [this](WorkerId peer, Message&& last) {
      machine_->OnMessage(Now(), {identity_.node, peer}, std::move(last), &actions_);
    });
  }
  machine_->OnMessage(Now(), from, std::move(message), &actions_);
}

void CoreProcess::Impl::OnFrame(LocalFrame&& frame, std::vector<UniqueFd> fds) {
  using Kind = LocalFrame::Kind;
  switch (frame.kind) {
    case Kind::kMessage: {
      absl::StatusOr<Message> message = DecodeMessage(frame.bytes);
      if (message.ok()) Deliver(frame.from, *std::move(message));
      return;
    }
    case Kind::kArena: {
      if (fds.empty()) return;
      absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Attach(fds[0].Release(), /*writable=*/true);
      if (arena.ok()) {
        arena_ = *std::move(arena);
      } else {
        OnLost(std::string(arena.status().message()));
      }
      return;
    }
    case Kind::kRingConnected:
      if (fds.size() == 2) links_->OnConnected(frame.from.worker, DoorbellHandle(std::move(fds[0]), std::move(fds[1])));
      return;
    case Kind::kRingRefused:
      links_->OnRefused(frame.from.worker);
      return;
    case Kind::kConnectRing:
      if (fds.size() == 3) {
        // A ring that does not look like one is dropped; the peer hears nothing and its calls fail with its own death.
        links_->OnOffered(frame.from.worker, std::move(fds[0]), DoorbellHandle(std::move(fds[1]), std::move(fds[2])))
            .IgnoreError();
      }
      return;
    case Kind::kDoorbell:
      return;
  }
}

void CoreProcess::Impl::ReadSocket() {
  while (lost_.empty()) {
    LocalFrame frame;
    std::vector<UniqueFd> fds;
    const absl::StatusOr<bool> received = socket_.Receive(&frame, &fds);
    if (!received.ok()) return OnLost(std::string(received.status().message()));
    if (!*received) return;
    OnFrame(std::move(frame), std::move(fds));
  }
}

bool CoreProcess::Impl::Drive(Lock& lock) {
  bool any = false;
  if (machine_ != nullptr) {
    any = links_->Receive(kReceiveBudget, [this, now = Now()](WorkerId peer, Message&& message) {
      machine_->OnMessage(now, {identity_.node, peer}, std::move(message), &actions_);
    });
  }
  if (++rounds_since_socket_ >= kSocketRounds) {  // a look costs a system call; whoever sleeps is told
    rounds_since_socket_ = 0;
    if (lost_.empty() && socket_.Readable()) {
      ReadSocket();
      any = true;
    }
  }
  if (machine_ != nullptr && (!any || rounds_since_socket_ == 0)) {
    const std::optional<TimePoint> due = machine_->NextDeadline();
    if (due && *due <= Now()) {
      machine_->OnTick(Now(), &actions_);
      any = true;
    }
  }
  if (machine_ != nullptr) {
    ApplyReleases();
    links_->Flush();
    Carry(lock);
  }
  if (any) {
    ++progress_;
    if (waiting_threads_ > 1 || (background_polls_ && waiting_threads_ > 0)) turn_.notify_all();
  }
  return any;
}

bool CoreProcess::Impl::Spin(Lock& lock) {
  for (int i = 0; i < (slept_shortly_ ? kLongSpinRounds : kSpinRounds); ++i) {
    if (links_ != nullptr && links_->HasInput()) return true;
    if (i % 16 == 0) {  // let other threads submit, and where there are more processes than cores, let them run
      lock.unlock();
      if (i < kSelfishRounds) {
        __builtin_ia32_pause();
      } else {
        sched_yield();
      }
      lock.lock();
    }
    __builtin_ia32_pause();
  }
  return false;
}

void CoreProcess::Impl::Look(Lock& lock) {
  if (polling_ && !background_polls_) return;
  EnterPoll();
  Drive(lock);
  LeavePoll();
}

void CoreProcess::Impl::ArmWatch() {
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = watched_fd_}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watched_fd_, &event);
}

void CoreProcess::Impl::Sleep(Lock& lock, std::optional<TimePoint> deadline, const UniqueFd& poll) {
  doorbell_.PrepareSleep();
  if (links_ != nullptr && links_->HasInput()) {
    doorbell_.Wake();
    return;
  }
  if (machine_ != nullptr) {
    const std::optional<TimePoint> due = machine_->NextDeadline();
    if (due && (!deadline || *due < *deadline)) deadline = due;
    if (links_->Flush()) deadline = std::min(deadline.value_or(Now() + kRetryFullRing), Now() + kRetryFullRing);
    Ring();
  }
  FlushSocket();
  if (watching_ && !watched_readable_) ArmWatch();
  poller_sleeps_ = true;
  sleeps_until_ = deadline;
  const bool in_background = &poll == &background_epoll_;
  lock.unlock();
  epoll_event events[4];
  const TimePoint began = Now();
  const int count = WaitEpoll(poll.get(), events, 4, deadline);
  const bool shortly = Now() - began < kShortSleep;
  lock.lock();
  slept_shortly_ = shortly;
  if (count > 0) rounds_since_socket_ = kSocketRounds;
  uint64_t value;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.fd == kick_.get()) static_cast<void>(!read(kick_.get(), &value, sizeof(value)));
    if (events[i].data.fd == watched_fd_) {
      watched_readable_ = true;
      ++progress_;
      turn_.notify_all();
    }
  }
  // A thread that took over may sleep by now: then the doorbell is its own, and to be left armed.
  if (in_background && !background_polls_) return;
  poller_sleeps_ = false;
  static_cast<void>(!read(release_event_.get(), &value, sizeof(value)));
  doorbell_.Wake();
}

// The caller is the poller itself, which looks again anyway, or another thread, while the poller sleeps or waits for the mutex.
void CoreProcess::Impl::NotifyWaiters() {
  ++progress_;
  if (poller_sleeps_) {
    const uint64_t one = 1;
    static_cast<void>(!write(release_event_.get(), &one, sizeof(one)));
  }
  if (waiting_threads_ > 1 || (background_polls_ && waiting_threads_ > 0)) turn_.notify_all();
}

void CoreProcess::Impl::HastenPoller() {
  if (!poller_sleeps_ || machine_ == nullptr) return;
  const std::optional<TimePoint> due = machine_->NextDeadline();
  if (!due || (sleeps_until_ && *sleeps_until_ <= *due)) return;
  sleeps_until_ = due;
  const uint64_t one = 1;
  static_cast<void>(!write(release_event_.get(), &one, sizeof(one)));
}

void CoreProcess::Impl::EnterPoll() {
  if (background_polls_) {
    const uint64_t one = 1;
    static_cast<void>(!write(kick_.get(), &one, sizeof(one)));
    background_polls_ = false;
    poller_sleeps_ = false;
  }
  polling_ = true;
}

void CoreProcess::Impl::LeavePoll() {
  polling_ = false;
  last_poll_ = Now();
  if (waiting_threads_ > 1) turn_.notify_all();
  if (background_sleeps_) background_turn_.notify_one();
}

void CoreProcess::Impl::Background() {
  Lock lock(mutex_);
  int idle_rounds = 0;
  while (!stopping_) {
    if (polling_ || Now() - last_poll_ < kTakeOver) {
      if (polling_ && ++idle_rounds > kShallowRounds) {
        background_sleeps_ = true;
        background_turn_.wait(lock, [this] { return stopping_ || !polling_; });
        background_sleeps_ = false;
        idle_rounds = 0;
      } else {
        background_turn_.wait_for(lock, kTakeOver);
      }
      continue;
    }
    idle_rounds = 0;
    polling_ = background_polls_ = true;
    while (!stopping_ && background_polls_) {
      if (Drive(lock)) continue;
      Sleep(lock, std::nullopt, background_epoll_);
    }
    if (background_polls_) polling_ = background_polls_ = false;
  }
}

void CoreProcess::Impl::TaskEnded(Lock& lock, const TaskSpec& spec, std::vector<ObjectValue> results,
                                  absl::Span<const uint64_t> offsets, bool worker_exiting, bool final) {
  if (running_tasks_ > 0) --running_tasks_;
  ++task_waiters_;  // whoever ends a task looks for the next
  ending_task_ = true;
  Run(lock, [&](TimePoint now, auto* actions) {
    machine_->TaskFinished(now, spec.id, spec.attempt, std::move(results), offsets, worker_exiting, final, actions);
  });
  ending_task_ = false;
  RingAfterTask(lock);
  --task_waiters_;
}

bool CoreProcess::Impl::AwaitTask(Lock& lock) {
  absl::Status status;
  ++task_waiters_;
  do {  // an interrupt is for the tasks that run here
    status = WaitUntil(lock, std::nullopt, /*in_task=*/false, [this] { return !assigned_.empty() || exiting_; });
  } while (absl::IsCancelled(status));
  --task_waiters_;
  return !assigned_.empty() && !absl::IsUnavailable(status);
}

bool CoreProcess::Impl::TakeTask(AssignedTask* task) {
  if (assigned_.empty()) return false;
  *task = std::move(assigned_.front());
  assigned_.pop_front();
  return true;
}

absl::StatusOr<uint64_t> CoreProcess::Impl::CreateBlock(Lock& lock, uint64_t size) {
  const RequestId request = NewRequest();
  SendTo(Address::Raylet(identity_.node), CreateObject{request, size});
  absl::StatusOr<ObjectCreated> created = AwaitReply<ObjectCreated>(lock, request, std::nullopt);
  if (!created.ok()) {
    open_requests_.erase(request);
    abandoned_blocks_.insert(request);
    return created.status();
  }
  if (created->error) return absl::ResourceExhaustedError(created->error.message);
  const absl::Status backed = arena_->EnsureBacked(created->offset, size);
  if (!backed.ok()) {
    SendTo(Address::Raylet(identity_.node), AbortObject{created->offset});
    return backed;
  }
  return created->offset;
}

PinnedBytes CoreProcess::Impl::PinnedAt(const ObjectId& id, const core_worker::LocalBlock& block) {
  auto pinned = std::make_shared<PinnedBytes::Block>();
  pinned->data = arena_->data() + block.offset;
  pinned->size = block.size;
  // Bytes may outlive the connection (a numpy array kept after shutdown): then there is nothing to release.
  pinned->release = [self = weak_from_this(), id] {
    if (const std::shared_ptr<Impl> impl = self.lock()) impl->ReleaseLater(id);
  };
  pinned->arena = arena_;
  PinnedBytes bytes;
  bytes.block_ = std::move(pinned);
  return bytes;
}

PinnedBytes CoreProcess::Impl::Pin(const ObjectId& id) {
  const std::optional<core_worker::LocalBlock> block = machine_->AcquireBlock(id);
  return block ? PinnedAt(id, *block) : PinnedBytes();
}

// A release may come from anywhere, also while this thread holds the mutex, so it is queued for the poller.
void CoreProcess::Impl::ReleaseLater(const ObjectId& id) {
  std::lock_guard<std::mutex> lock(releases_mutex_);
  releases_.push_back(id);
  if (releases_.size() == 1) {
    const uint64_t one = 1;
    static_cast<void>(!write(release_event_.get(), &one, sizeof(one)));
  }
}

void CoreProcess::Impl::ApplyReleases() {
  std::vector<ObjectId> releases;
  {
    std::lock_guard<std::mutex> lock(releases_mutex_);
    if (releases_.empty()) return;
    releases.swap(releases_);
    uint64_t value;
    static_cast<void>(!read(release_event_.get(), &value, sizeof(value)));
  }
  for (const ObjectId& id : releases) machine_->ReleaseBlock(Now(), id, &actions_);
}

}  // namespace shoal::io
