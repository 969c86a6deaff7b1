#include "runtime/io/core_process.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/fd.h"
#include "runtime/io/core_impl.h"
#include "runtime/io/log_capture.h"
#include "schema/limits.h"

namespace shoal::io {
namespace {

constexpr size_t kMostEntrypointBytes = 4096;
// Copies of one error's text, over all results of a task.
constexpr size_t kMostErrorCopiesBytes = size_t{64} << 20;

// True if the value can be handed out now.
bool Available(core_worker::CoreWorker& machine, const ObjectRefInfo& ref, core_worker::CoreWorkerActions* actions) {
  const ObjectValue* value = machine.Lookup(ref.id);
  if (value != nullptr && value->kind != ValueKind::kStored) return true;
  return machine.Want(MonotonicNow(), ref, /*local_bytes=*/true, actions);
}

absl::Status NotInTime(const core_worker::CoreWorker& machine, const ObjectId& missing, bool alone) {
  const std::string maker(machine.NameOfMaker(missing));
  const std::string object = absl::StrCat("object ", missing.Hex(), maker.empty() ? "" : absl::StrCat(", which ", maker, " makes,"));
  return absl::DeadlineExceededError(alone ? absl::StrCat("the value of ", object, " was not there in time")
                                           : absl::StrCat("not all of the values were there in time: ", object, " was not"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoreProcess>> CoreProcess::Connect(CoreProcessOptions options) {
  if (absl::Status status = CheckName("the namespace's name", options.ns); !status.ok()) return status;
  if (absl::Status status = CheckSize(Shape{.worker = options.worker_kind}); !status.ok()) return status;
  options.entrypoint = Shortened(std::move(options.entrypoint), kMostEntrypointBytes);
  RaiseFileLimit();  // each neighbour on the node costs two
  absl::StatusOr<LocalSocket> socket = LocalSocket::Connect(options.raylet_socket);
  if (!socket.ok()) return socket.status();
  absl::StatusOr<Doorbell> doorbell = Doorbell::Create();
  if (!doorbell.ok()) return absl::FailedPreconditionError(doorbell.status().message());
  Rng rng(RandomSeed());
  if (!options.worker) options.worker = rng.NewId<WorkerId>();
  if (!options.job) options.job = rng.NewId<JobId>();
  if (options.ns.empty()) options.ns = absl::StrCat("anonymous-", options.job.Hex());
  auto impl = std::make_shared<Impl>(std::move(options), *std::move(socket), *std::move(doorbell));
  const absl::Status started = impl->Start();
  // To our callers ResourceExhausted means a full store.
  if (absl::IsResourceExhausted(started)) return absl::FailedPreconditionError(started.message());
  if (!started.ok()) return started;
  return std::unique_ptr<CoreProcess>(new CoreProcess(std::move(impl)));
}

CoreProcess::CoreProcess(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

CoreProcess::~CoreProcess() { impl_->Stop(); }

Address CoreProcess::self() const { return {impl_->identity_.node, impl_->options_.worker}; }
JobId CoreProcess::job() const { return impl_->identity_.job; }
const std::string& CoreProcess::ns() const { return impl_->identity_.ns; }

absl::StatusOr<ObjectRefInfo> CoreProcess::Put(NewValue value) {
  if (absl::Status status = CheckContained(value.contained.size()); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_, std::defer_lock);
  ObjectRefInfo ref;
  if (value.size <= kInlineLimitBytes) {
    Payload data = Payload::Allocate(value.size, value.fill);
    lock.lock();
    impl_->Run(lock, [&](TimePoint now, auto* actions) {
      ref = impl_->machine_->PutInline(now, std::move(data), std::move(value.contained), actions);
    });
    return ref;
  }
  lock.lock();
  absl::StatusOr<uint64_t> offset = impl_->CreateBlock(lock, value.size);
  if (!offset.ok()) return offset.status();
  lock.unlock();
  value.fill(impl_->arena_->data() + *offset);
  lock.lock();
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    const ObjectId id = impl_->machine_->NewObjectId();
    ref = impl_->machine_->PutStored(now, id, *offset, value.size, std::move(value.contained), actions);
  });
  return ref;
}

Fetched CoreProcess::Impl::Fetch(const ObjectRefInfo& ref) {
  Fetched fetched;
  const ObjectValue* value = machine_->Lookup(ref.id);
  if (value == nullptr) {
    fetched.error = {ErrorKind::kSystem, absl::StrCat("object ", ref.id.Hex(), " vanished while it was fetched"), {}};
    return fetched;
  }
  fetched.contained = value->contained;
  switch (value->kind) {
    case ValueKind::kInline:
      fetched.data = value->data;
      break;
    case ValueKind::kError:
      fetched.error = value->error;
      break;
    case ValueKind::kStored:
    case ValueKind::kPending:
      fetched.bytes = Pin(ref.id);
      if (!fetched.bytes) {
        fetched.error = {ErrorKind::kObjectLost,
                         absl::StrCat("object ", ref.id.Hex(), " left this node while it was fetched; get it again"), {}};
      }
      break;
  }
  return fetched;
}

absl::Status CoreProcess::Get(absl::Span<const ObjectRefInfo> refs, std::optional<Duration> timeout,
                              std::vector<Fetched>* values) {
  Impl::Lock lock(impl_->mutex_);
  Impl& impl = *impl_;
  // State the wish for all before waiting for the first, so that pulls overlap.
  size_t have = 0;
  impl.Run(lock, [&](TimePoint now, auto* actions) { have = impl.machine_->WantAll(now, refs, actions); });
  const absl::Status status =
      impl.WaitUntil(lock, impl.DeadlineAfter(timeout), impl.InTask(), [&] {
        while (have < refs.size() && Available(*impl.machine_, refs[have], &impl.actions_)) ++have;
        return have == refs.size();
      });
  if (absl::IsDeadlineExceeded(status)) return NotInTime(*impl.machine_, refs[have].id, refs.size() == 1);
  if (!status.ok()) return status;
  values->clear();
  values->reserve(refs.size());
  for (const ObjectRefInfo& ref : refs) values->push_back(impl.Fetch(ref));
  return absl::OkStatus();
}

bool CoreProcess::TryGet(absl::Span<const ObjectRefInfo> refs, std::vector<Fetched>* values) {
  Impl::Lock lock(impl_->mutex_);
  bool all = true;
  impl_->Run(lock, [&](TimePoint, auto* actions) {
    for (const ObjectRefInfo& ref : refs) all = all && Available(*impl_->machine_, ref, actions);
  });
  if (!all) return false;
  values->clear();
  for (const ObjectRefInfo& ref : refs) values->push_back(impl_->Fetch(ref));
  return true;
}

absl::Status CoreProcess::Wait(absl::Span<const ObjectRefInfo> refs, size_t count, std::optional<Duration> timeout,
                               bool fetch_local, std::vector<bool>* ready) {
  Impl::Lock lock(impl_->mutex_);
  Impl& impl = *impl_;
  ready->assign(refs.size(), false);
  size_t found = 0;
  auto look = [&](TimePoint now, core_worker::CoreWorkerActions* actions) {
    for (size_t i = 0; i < refs.size(); ++i) {
      if ((*ready)[i]) continue;
      const ObjectValue* value = impl.machine_->Lookup(refs[i].id);
      const bool here = (value != nullptr && (!fetch_local || value->kind != ValueKind::kStored)) ||
                        (value == nullptr && refs[i].owner() == impl.machine_->self() && !fetch_local
                             ? false
                             : impl.machine_->Want(now, refs[i], fetch_local, actions));
      if (here) {
        (*ready)[i] = true;
        ++found;
      }
    }
  };
  impl.Run(lock, look);
  uint64_t seen = impl.progress_;
  return impl.WaitUntil(lock, impl.DeadlineAfter(timeout), impl.InTask(), [&] {
    if (found < count && impl.progress_ != seen) {
      seen = impl.progress_;
      look(Impl::Now(), &impl.actions_);
    }
    return found >= count;
  });
}

void CoreProcess::OnReady(const ObjectRefInfo& ref, std::function<void()> done) {
  Impl::Lock lock(impl_->mutex_);
  bool here = false;
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    here = impl_->machine_->Want(now, ref, /*local_bytes=*/true, actions);
    if (!here) impl_->on_ready_.emplace(ref.id, done);
  });
  lock.unlock();
  if (here) done();
}

void CoreProcess::AddReference(const ObjectRefInfo& ref) {
  Impl::Lock lock(impl_->mutex_);
  impl_->machine_->AddLocalReference(ref);
}

void CoreProcess::RemoveReference(const ObjectId& id) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) { impl_->machine_->RemoveLocalReference(now, id, actions); });
}

void CoreProcess::AdoptReference(const ObjectRefInfo& ref, std::optional<ObjectId> outer) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) { impl_->machine_->AdoptBorrowed(now, ref, outer, actions); });
}

absl::StatusOr<ShapeId> CoreProcess::RegisterShape(const Shape& shape) {
  if (absl::Status status = CheckSize(shape); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  return impl_->machine_->RegisterShape(shape);
}

absl::StatusOr<TaskId> CoreProcess::SubmitTask(core_worker::TaskSubmission submission) {
  if (absl::Status status = CheckSize(submission.spec); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  TaskId task;
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    task = impl_->machine_->SubmitTask(now, std::move(submission), actions);
  });
  return task;
}

absl::StatusOr<CreatedActor> CoreProcess::CreateActor(ActorSpec spec) {
  if (absl::Status status = CheckSize(spec); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  CreatedActor created;
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    created.actor = impl_->machine_->CreateActor(now, std::move(spec), actions);
    created.life = impl_->machine_->ActorHandleRef(created.actor);
  });
  return created;
}

absl::StatusOr<TaskId> CoreProcess::SubmitActorCall(ActorId actor, core_worker::TaskSubmission submission) {
  if (absl::Status status = CheckSize(submission.spec); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  TaskId task;
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    task = impl_->machine_->SubmitActorCall(now, actor, std::move(submission), actions);
  });
  return task;
}

void CoreProcess::RegisterActorHandle(ActorId actor, const ObjectRefInfo& life, int32_t max_task_retries,
                                      int32_t max_pending_calls) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    impl_->machine_->RegisterActorHandle(now, actor, life, max_task_retries, max_pending_calls, actions);
  });
}

bool CoreProcess::ActorQueueFull(ActorId actor) {
  Impl::Lock lock(impl_->mutex_);
  return impl_->machine_->ActorQueueFull(actor);
}

void CoreProcess::CancelTask(const ObjectId& result, bool force, bool recursive) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) {
    impl_->machine_->CancelTask(now, result, force, recursive, actions);
  });
}

void CoreProcess::KillActor(ActorId actor, bool no_restart) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) { impl_->machine_->KillActor(now, actor, no_restart, actions); });
}

absl::StatusOr<FindActorReply> CoreProcess::GetActor(const std::string& name, const std::string& ns, Duration timeout) {
  if (absl::Status status = CheckName("the actor's name", name); !status.ok()) return status;
  if (absl::Status status = CheckName("the namespace's name", ns); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  const RequestId request = impl_->NewRequest();
  return impl_->Ask<FindActorReply>(lock, Address::Head(), FindActor{request, name, ns}, request, Impl::Now() + timeout);
}

absl::StatusOr<ActorUpdate> CoreProcess::WaitActor(ActorId actor, std::optional<Duration> timeout) {
  Impl::Lock lock(impl_->mutex_);
  ActorUpdate update;
  const absl::Status status = impl_->WaitUntil(lock, impl_->DeadlineAfter(timeout), impl_->InTask(), [&] {
    const ActorUpdate* known = impl_->machine_->ActorStatus(actor);
    if (known == nullptr) return false;
    update = *known;
    return known->state == ActorState::kAlive || known->state == ActorState::kDead;
  });
  if (!status.ok()) return status;
  return update;
}

absl::Status CoreProcess::CreatePlacementGroup(PlacementGroupSpec spec) {
  if (absl::Status status = CheckSize(spec); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  impl_->groups_[spec.id] = {.group = spec.id};
  impl_->unanswered_groups_[spec.id] = spec;
  impl_->SendTo(Address::Head(), shoal::CreatePlacementGroup{std::move(spec)});
  return absl::OkStatus();
}

void CoreProcess::RemovePlacementGroup(PlacementGroupId group) {
  Impl::Lock lock(impl_->mutex_);
  PlacementGroupUpdate& known = impl_->groups_[group];
  known.group = group;
  known.state = PlacementGroupStateKind::kRemoved;  // for good, whatever is still on its way
  impl_->unanswered_groups_.erase(group);
  impl_->SendTo(Address::Head(), shoal::RemovePlacementGroup{group});
}

absl::StatusOr<PlacementGroupUpdate> CoreProcess::WaitPlacementGroup(PlacementGroupId group,
                                                                     std::optional<Duration> timeout) {
  Impl::Lock lock(impl_->mutex_);
  Impl& impl = *impl_;
  if (!impl.groups_.contains(group)) impl.SendTo(Address::Head(), WatchPlacementGroup{group});
  auto settled = [&] {
    const auto known = impl.groups_.find(group);
    if (known == impl.groups_.end()) return false;
    const PlacementGroupStateKind state = known->second.state;
    return state == PlacementGroupStateKind::kCreated || state == PlacementGroupStateKind::kRemoved ||
           known->second.error;
  };
  const std::optional<TimePoint> deadline = impl.DeadlineAfter(timeout);
  absl::Status status;
  while (true) {
    const TimePoint again = Impl::Now() + Impl::kAskAgain;
    status = impl.WaitUntil(lock, deadline ? std::min(*deadline, again) : again, impl.InTask(), settled);
    if (!absl::IsDeadlineExceeded(status) || (deadline && Impl::Now() >= *deadline)) break;
    // As for other questions, the head that was asked may be gone.
    const auto unanswered = impl.unanswered_groups_.find(group);
    if (unanswered != impl.unanswered_groups_.end()) {
      impl.SendTo(Address::Head(), shoal::CreatePlacementGroup{unanswered->second});
    } else {
      impl.SendTo(Address::Head(), WatchPlacementGroup{group});
    }
  }
  if (!status.ok() && !absl::IsDeadlineExceeded(status)) return status;
  return impl_->groups_[group];
}

absl::StatusOr<std::string> CoreProcess::ListState(Address to, const std::string& kind, const std::string& argument,
                                                  Duration timeout) {
  if (absl::Status status = CheckName("what is asked for", kind + argument); !status.ok()) return status;
  Impl::Lock lock(impl_->mutex_);
  const RequestId request = impl_->NewRequest();
  absl::StatusOr<ListStateReply> reply =
      impl_->Ask<ListStateReply>(lock, to, shoal::ListState{request, kind, argument}, request, Impl::Now() + timeout);
  if (!reply.ok()) return reply.status();
  if (reply->error) return absl::InvalidArgumentError(reply->error.message);
  return std::move(reply->json);
}

bool CoreProcess::NextTask(AssignedTask* task) {
  *task = {};
  Impl::Lock lock(impl_->mutex_);
  return impl_->AwaitTask(lock) && impl_->TakeTask(task);
}

bool CoreProcess::TryNextTask(AssignedTask* task, size_t* left) {
  Impl::Lock lock(impl_->mutex_);
  ++impl_->task_waiters_;
  if (impl_->assigned_.empty()) impl_->Look(lock);
  --impl_->task_waiters_;
  const bool found = impl_->TakeTask(task);
  *left = impl_->assigned_.size();
  return found;
}

bool CoreProcess::AwaitTask() {
  Impl::Lock lock(impl_->mutex_);
  return impl_->AwaitTask(lock);
}

void CoreProcess::OnUnclaimedTask(std::function<void()> wake) {
  Impl::Lock lock(impl_->mutex_);
  impl_->on_unclaimed_ = std::move(wake);
}

absl::Status CoreProcess::WatchFd(int fd) {
  Impl::Lock lock(impl_->mutex_);
  epoll_event event{.events = 0, .data = {.fd = fd}};  // armed when needed
  if (epoll_ctl(impl_->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::InternalError(absl::StrCat("epoll_ctl: ", std::strerror(errno)));
  }
  impl_->watched_fd_ = fd;
  return absl::OkStatus();
}

bool CoreProcess::NextTasks(std::optional<Duration> timeout, std::vector<AssignedTask>* tasks) {
  tasks->clear();
  Impl::Lock lock(impl_->mutex_);
  impl_->batch_at_hand_ = false;
  if (impl_->unrung_since_) impl_->Ring();
  if (timeout == Duration::zero()) {
    impl_->Look(lock);
  } else {
    impl_->WaitWatching(lock, impl_->DeadlineAfter(timeout), [&] { return !impl_->assigned_.empty() || impl_->exiting_; });
  }
  if (impl_->exiting_ || !impl_->lost_.empty()) return false;
  tasks->assign(std::make_move_iterator(impl_->assigned_.begin()), std::make_move_iterator(impl_->assigned_.end()));
  impl_->assigned_.clear();
  impl_->batch_at_hand_ = !tasks->empty();
  return true;
}

void CoreProcess::FinishTask(const TaskSpec& spec, std::vector<NewValue> results, bool worker_exiting, bool final) {
  Impl::Lock lock(impl_->mutex_, std::defer_lock);
  std::vector<ObjectValue> values(results.size());
  std::vector<uint64_t> offsets;
  uint64_t inline_bytes = 0;
  size_t contained = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    NewValue& result = results[i];
    ObjectValue& value = values[i];
    if (absl::Status status = CheckContained(contained + result.contained.size()); !status.ok()) {
      result.error = {ErrorKind::kInvalidArgument, std::string(status.message()), Payload()};
      result.contained.clear();
    }
    contained += result.contained.size();
    value.contained = std::move(result.contained);
    if (result.error) {
      value.kind = ValueKind::kError;
      value.error = std::move(result.error);
      continue;
    }
    if (result.size <= kInlineLimitBytes && inline_bytes + result.size <= kInlineTotalBytes) {
      inline_bytes += result.size;
      value.kind = ValueKind::kInline;
      value.data = Payload::Allocate(result.size, result.fill);
      continue;
    }
    lock.lock();
    absl::StatusOr<uint64_t> offset = absl::CancelledError();
    // An interrupt is for some task that runs here, not for the results of this one.
    while (absl::IsCancelled(offset.status())) offset = impl_->CreateBlock(lock, result.size);
    lock.unlock();
    if (!offset.ok()) {
      value.kind = ValueKind::kError;
      value.error = {absl::IsResourceExhausted(offset.status()) ? ErrorKind::kObjectStoreFull : ErrorKind::kSystem,
                     std::string(offset.status().message()), Payload()};
      continue;
    }
    result.fill(impl_->arena_->data() + *offset);
    value.kind = ValueKind::kStored;
    value.size = result.size;
    offsets.resize(results.size());
    offsets[i] = *offset;
  }
  lock.lock();
  impl_->TaskEnded(lock, spec, std::move(values), offsets, worker_exiting, final);
}

void CoreProcess::FailTask(const TaskSpec& spec, ErrorInfo error, bool worker_exiting, bool final) {
  // One result also stands for a task without any.
  std::vector<ObjectValue> values(std::max<uint32_t>(spec.num_returns, 1));
  for (ObjectValue& value : values) value.kind = ValueKind::kError;
  const size_t most = std::min(kMostErrorBytes, kMostErrorCopiesBytes / values.size());
  error.message = Shortened(std::move(error.message), most);
  if (error.detail.size() > kInlineTotalBytes) error.detail = Payload();
  values[0].error = std::move(error);
  Impl::Lock lock(impl_->mutex_);
  impl_->TaskEnded(lock, spec, std::move(values), {}, worker_exiting, final);
}

void CoreProcess::SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups) {
  Impl::Lock lock(impl_->mutex_);
  impl_->machine_->SetConcurrency(max_concurrency, std::move(groups));
}

AssignLease CoreProcess::Assignment() {
  Impl::Lock lock(impl_->mutex_);
  return impl_->assignment_;
}

uint64_t CoreProcess::AssignmentVersion() const { return impl_->assignment_version_.load(std::memory_order_acquire); }

void CoreProcess::OnInterrupt(std::function<void(TaskId)> interrupt) {
  Impl::Lock lock(impl_->mutex_);
  impl_->on_interrupt_ = std::move(interrupt);
}

void CoreProcess::OnLogLines(std::function<void(const LogLines&)> print) {
  Impl::Lock lock(impl_->mutex_);
  impl_->on_log_lines_ = std::move(print);
}

void CoreProcess::CatchUpOnLogs() {
  const Address raylet = Address::Raylet(impl_->identity_.node);
  if (!ListState(raylet, "workers", "", 1s).ok()) return;  // a turn of the raylet's loop, in which it reads the pipes
  std::this_thread::sleep_for(2 * LogCapture::kBatchDelay);
  ListState(raylet, "workers", "", 1s).IgnoreError();  // what it sent in between comes before the answer
}

void CoreProcess::SetBlocked(bool blocked) {
  Impl::Lock lock(impl_->mutex_);
  impl_->Run(lock, [&](TimePoint now, auto* actions) { impl_->machine_->SetBlocked(now, blocked, actions); });
}

void CoreProcess::Interrupt() {
  Impl::Lock lock(impl_->mutex_);
  ++impl_->interrupts_;
  impl_->WakeAll();
}

}  // namespace shoal::io
