#include "runtime/core_worker/actor_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::core_worker {
namespace {

ErrorInfo Cancelled(const SubmittedTask* task) {
  return MakeError(ErrorKind::kTaskCancelled, absl::StrCat("call ", task->spec.name, " was cancelled"));
}

}  // namespace

// ---- records

ActorRecord* ActorClient::Find(ActorId actor) const {
  if (last_ != nullptr && last_->id() == actor) return last_;
  auto it = by_id_.find(actor);
  return it == by_id_.end() ? nullptr : last_ = it->second;
}

ActorRecord* ActorClient::FindOrAdd(ActorId actor) {
  if (ActorRecord* known = Find(actor); known != nullptr) return known;
  std::unique_ptr<ActorRecord>& record = records_[actor];
  record = std::make_unique<ActorRecord>();
  record->status.actor = actor;
  return by_id_[actor] = record.get();
}

void ActorClient::EraseIfDone(ActorRecord* record) {
  // A living one stays even if nobody uses it: its calls are numbered.
  if (!record->dead() || record->pending() > 0 || record->handle_entry != nullptr || record->dirty) return;
  if (!record->handle.id || record->creation) return;
  for (const auto& [id, other] : records_) {
    if (other->instead == record) return;
  }
  if (last_ == record) last_ = nullptr;
  by_id_.erase(record->id());
  records_.erase(record->id());
}

ObjectRefInfo ActorClient::HandleRef(ActorId actor) const {
  const ActorRecord* record = Find(actor);
  return record == nullptr ? ObjectRefInfo{} : record->handle;
}

const ActorUpdate* ActorClient::Status(ActorId actor) const {
  ActorRecord* record = Find(actor);
  return record == nullptr ? nullptr : &Target(record)->status;
}

bool ActorClient::QueueFull(ActorId actor) const {
  ActorRecord* record = Find(actor);
  if (record == nullptr) return false;
  record = Target(record);
  return record->max_pending_calls > 0 && record->pending() >= static_cast<size_t>(record->max_pending_calls);
}

void ActorClient::Register(const Turn& t, ActorId actor, const ObjectRefInfo& handle, int32_t max_task_retries,
                           int32_t max_pending_calls) {
  if (!actor) return;
  const bool known = Find(actor) != nullptr;
  ActorRecord* record = FindOrAdd(actor);
  if (!known) {
    record->max_task_retries = max_task_retries;
    record->max_pending_calls = max_pending_calls;
    outbox_.Post<WatchActor>(t, Address::Head()).actor = actor;
    AskLater(t, record);
  }
  if (handle.id && !record->handle.id) record->handle = handle;
  Attach(record);
}

// Finds the object that stands for the actor, so that calls can keep it.
void ActorClient::Attach(ActorRecord* record) {
  if (!record->handle.id || record->handle_entry != nullptr) return;
  ObjectEntry* entry = references_.Find(record->handle.id);
  if (entry == nullptr || entry->released) return;
  entry->Extra().actor = record->id();
  record->handle_entry = entry;
}

// ---- creation

ActorId ActorClient::Create(const Turn& t, ActorSpec spec) {
  if (!spec.id) spec.id = rng_.NewId<ActorId>();
  const ActorId id = spec.id;
  SHOAL_CHECK(Find(id) == nullptr) << "actor " << id.Hex() << " was created twice";
  if (!spec.job) spec.job = options_.job;
  spec.owner = options_.self;
  TaskSubmission submission;
  submission.spec = std::move(spec.creation);
  submission.spec.job = spec.job;
  submission.spec.actor = id;
  submission.spec.num_returns = 1;
  ActorRecord* record = FindOrAdd(id);
  SubmittedTask* task = tasks_.Register(t, std::move(submission), TaskKind::kActorCreation);
  task->actor = record;
  record->is_owner = true;
  record->anonymous = spec.name.empty() && !spec.detached;
  record->max_task_retries = spec.max_task_retries;
  record->max_pending_calls = spec.max_pending_calls;
  record->creation = task->spec.id;
  record->handle = {task->spec.id.Return(0), options_.self.node};
  record->handle_entry = task->results[0];
  record->handle_entry->Extra().actor = id;
  if (spec.max_restarts != 0) {
    for (const ArgRef& arg : task->spec.refs) record->held.push_back(arg.ref);
    for (const ObjectRefInfo& ref : task->spec.nested) record->held.push_back(ref);
    for (const ObjectRefInfo& ref : record->held) references_.AddUse(t, ref);
  }
  record->spec = std::make_unique<ActorSpec>(std::move(spec));
  tasks_.Start(t, task);
  return id;
}

void ActorClient::SendCreation(const Turn& t, ActorRecord* record) {
  outbox_.Post<CreateActor>(t, Address::Head()).spec = *record->spec;
}

void ActorClient::TaskReady(const Turn& t, SubmittedTask* task) {
  ActorRecord* record = task->actor;
  task->state = TaskState::kQueued;
  if (task->spec.kind == TaskKind::kActorCall) return MarkDirty(record);
  record->spec->creation = task->spec;
  task->state = TaskState::kPushed;
  SendCreation(t, record);
  AskLater(t, record);
}

void ActorClient::CallGone(ActorRecord* record) {
  if (record->creation && record->spec != nullptr && tasks_.Find(record->creation) == nullptr) {
    // An argument of the constructor is an error, which its result now is.
    const ObjectEntry* entry = record->handle_entry;
    record->status.state = ActorState::kDead;
    record->status.error = entry != nullptr ? entry->value.error : ErrorInfo{};
  }
  MarkDirty(record);
}

void ActorClient::ReleaseArguments(ActorRecord* record) {
  for (const ObjectRefInfo& ref : std::exchange(record->held, {})) references_.DropUse(ref.id);
}

// ---- calls

TaskId ActorClient::Submit(const Turn& t, ActorId actor, TaskSubmission submission) {
  ActorRecord* record = Find(actor);
  if (record != nullptr) record = Target(record);
  submission.spec.actor = record == nullptr ? actor : record->id();
  if (record != nullptr && submission.max_retries == 0) submission.max_retries = record->max_task_retries;
  const bool full = QueueFull(actor);
  SubmittedTask* task = tasks_.Register(t, std::move(submission), TaskKind::kActorCall);
  const TaskId id = task->spec.id;
  if (record == nullptr) {
    tasks_.Fail(t, task, MakeError(ErrorKind::kInvalidArgument,
                                   absl::StrCat("actor ", actor.Hex(), " is unknown to this process; register its handle "
                                                "before the first call")));
    return id;
  }
  if (full) {
    tasks_.Fail(t, task, MakeError(ErrorKind::kPendingCallsLimit,
                                   absl::StrCat("actor ", actor.Hex(), " has ", record->max_pending_calls,
                                                " calls pending, its max_pending_calls; wait for some of them")));
    return id;
  }
  if (record->dead()) {
    tasks_.Fail(t, task, DeathOf(record));
    return id;
  }
  task->actor = record;
  task->order = record->next_order++;
  Attach(record);
  if (record->handle_entry != nullptr) {
    task->handle = record->handle_entry;
    ++task->handle->uses;
  }
  task->MoveToBackOf(&record->queue);
  tasks_.Start(t, task);
  AskLater(t, record);
  return id;
}

void ActorClient::MarkDirty(ActorRecord* record) {
  if (std::exchange(record->dirty, true)) return;
  dirty_.push_back(record);
}

void ActorClient::FlushDirty(const Turn& t) {
  for (size_t i = 0; i < dirty_.size(); ++i) {
    ActorRecord* record = dirty_[i];
    record->dirty = false;
    if (record->dead()) {
      Dies(t, record);
      EraseIfDone(record);
    } else {
      Pump(t, record);
    }
  }
  dirty_.clear();
}

void ActorClient::Pump(const Turn& t, ActorRecord* record) {
  while (record->reachable() && record->in_flight.size() < options_.max_in_flight_per_actor) {
    SubmittedTask* task = record->queue.front();
    if (task != nullptr && task->next != nullptr && SHOAL_DELIBERATE_BUG("core.reorder_actor_calls")) task = task->next;
    if (task == nullptr || task->state != TaskState::kQueued) return;
    if (tasks_.Prepare(t, task) == TaskTable::Readiness::kReady) Push(t, record, task);
    // Else it has failed and left, or waits again at its place: then the next round ends the loop.
  }
}

void ActorClient::Push(const Turn& t, ActorRecord* record, SubmittedTask* task) {
  task->MoveToBackOf(&record->in_flight);
  task->state = TaskState::kPushed;
  task->pushed_at = t.now;
  PushTask& push = outbox_.Post<PushTask>(t, record->status.address);
  push.spec = task->spec;
  push.actor_incarnation = record->status.incarnation;
  push.sequence = record->next_sequence++;
}

bool ActorClient::OnReply(const Turn& t, const Address& from, SubmittedTask* task, TaskReply* reply) {
  ActorRecord* record = task->actor;
  if (task->list != &record->in_flight || from != record->status.address) return false;
  if (reply->worker_exiting || reply->outcome == TaskOutcome::kRefused) {
    record->closed = true;
    AskLater(t, record);
  }
  if (reply->outcome == TaskOutcome::kRefused && !task->cancelled) {
    task->state = TaskState::kQueued;
    task->MoveToPlaceIn(&record->queue);
  } else if (reply->outcome != TaskOutcome::kFinished) {
    tasks_.Fail(t, task, Cancelled(task));
  } else if (TaskTable::WantsRetry(task, *reply) && tasks_.TakeRetry(task)) {
    tasks_.Decline(t, *reply);
    task->MoveToPlaceIn(&record->queue);
  } else {
    tasks_.Complete(t, task, std::move(reply->results));
  }
  if (!record->queue.empty()) MarkDirty(record);
  return true;
}

void ActorClient::Cancel(const Turn& t, SubmittedTask* task, bool recursive) {
  ActorRecord* record = task->actor;
  if (task->spec.kind == TaskKind::kActorCreation) return;
  if (task->list == &record->queue) {
    tasks_.Fail(t, task, Cancelled(task));
    return MarkDirty(record);
  }
  task->cancelled = true;
  if (task->list != &record->in_flight) return;
  class CancelTask& cancel = outbox_.Post<class CancelTask>(t, record->status.address);
  cancel.task = task->spec.id;
  cancel.recursive = recursive;
}

// ---- the handle and the end

void ActorClient::HandleUnwanted(const Turn& t, ObjectEntry* entry) {
  ActorRecord* record = Find(entry->extra->actor);
  if (record == nullptr || record->kill || record->dead() || !record->anonymous) return;
  if (AbandonCreation(t, record)) return;
  record->kill = true;  // it has never lived and nobody can call it
  SendKill(t, record);
}

// True if the head has not heard of the actor yet, and now never will.
bool ActorClient::AbandonCreation(const Turn& t, ActorRecord* record) {
  SubmittedTask* task = tasks_.Find(record->creation);
  if (task == nullptr || task->state == TaskState::kPushed) return false;
  tasks_.Fail(t, task, MakeError(ErrorKind::kActorDied, absl::StrCat("actor ", record->id().Hex(),
                                                                   " was killed before it was created")));
  CallGone(record);
  return true;
}

void ActorClient::HandleReleased(const Turn& t, ObjectEntry* entry) {
  ActorRecord* record = Find(entry->extra->actor);
  if (record == nullptr || record->handle_entry != entry) return;
  record->handle_entry = nullptr;
  if (record->is_owner && record->anonymous && !record->dead()) {
    record->kill_idle = true;
    SendKill(t, record);
  }
  MarkDirty(record);  // it may be time to forget it
}

void ActorClient::Kill(const Turn& t, ActorId actor, bool no_restart) {
  ActorRecord* record = Find(actor);
  if (record != nullptr) record = Target(record);
  if (record != nullptr && record->dead()) return;
  if (record == nullptr || !no_restart) {  // once: a repeated one could hit the next incarnation
    KillActor& message = outbox_.Post<KillActor>(t, Address::Head());
    message.actor = record == nullptr ? actor : record->id();
    message.no_restart = no_restart;
    return;
  }
  if (AbandonCreation(t, record)) return;
  record->kill = true;
  record->closed = true;  // who has killed it finds it dead, and not perhaps still there
  SendKill(t, record);
}

void ActorClient::SendKill(const Turn& t, ActorRecord* record) {
  KillActor& message = outbox_.Post<KillActor>(t, Address::Head());
  message.actor = record->id();
  message.when_idle = !record->kill;
  AskLater(t, record);
}

}  // namespace shoal::core_worker
