// The half of the actor client that follows the lives of actors: what the head says, and who died.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/core_worker/actor_client.h"

namespace shoal::core_worker {
namespace {

// A head that restarts has forgotten who watches, so what it has not answered is said again.
constexpr Duration kAskAgain = 2s;

}  // namespace

// ---- what the head says

void ActorClient::OnActorUpdate(const Turn& t, const ActorUpdate& update) {
  ActorRecord* record = Find(update.actor);
  if (record == nullptr || record->dead()) return;
  record->heard_of = true;
  if (update.existing && update.existing != update.actor) return UseInstead(t, record, update.existing);
  if (record->max_task_retries == 0) record->max_task_retries = update.max_task_retries;
  const uint64_t known = record->status.incarnation;
  switch (update.state) {
    case ActorState::kDead:
      record->status = update;
      MarkDirty(record);
      return;
    case ActorState::kAlive:
      if (update.incarnation <= record->dead_incarnation || update.incarnation < known) return;
      if (update.incarnation == known && record->status.state == ActorState::kAlive) {
        if (std::exchange(record->closed, false)) MarkDirty(record);  // it refused, but the head knows of no end
        return;
      }
      IncarnationDied(record, /*sure=*/true);
      record->status = update;
      return Lives(t, record);
    case ActorState::kRestarting:
    case ActorState::kStarting:
    case ActorState::kPending:
      // Old news if this process has seen a later life, or the same one and no word of its end.
      if (update.incarnation < known) return;
      if (update.incarnation == known && update.state != ActorState::kRestarting && record->reachable()) return;
      IncarnationDied(record, /*sure=*/true);
      ResolveLost(t, record);
      record->status = update;
      record->status.address = {};
      AskLater(t, record);
      return;
  }
}

void ActorClient::Lives(const Turn& t, ActorRecord* record) {
  record->next_sequence = 0;
  record->closed = false;
  if (SubmittedTask* task = tasks_.Find(record->creation); task != nullptr) {
    std::vector<ObjectValue> result(1);
    result[0].kind = ValueKind::kInline;
    tasks_.Complete(t, task, std::move(result));
  }
  record->creation = {};
  record->spec.reset();
  ResolveLost(t, record);
  MarkDirty(record);
}

void ActorClient::UseInstead(const Turn& t, ActorRecord* record, ActorId existing) {
  if (record->instead != nullptr) return;
  Register(t, existing, {}, record->max_task_retries, record->max_pending_calls);
  ActorRecord* other = Target(Find(existing));
  if (other == record) return;
  record->instead = other;
  record->kill = record->kill_idle = false;
  while (SubmittedTask* task = record->queue.front()) {
    task->actor = other;
    task->spec.actor = other->id();
    task->order = other->next_order++;
    task->MoveToBackOf(&other->queue);
  }
  if (SubmittedTask* task = tasks_.Find(record->creation); task != nullptr) {
    std::vector<ObjectValue> result(1);
    result[0].kind = ValueKind::kInline;
    tasks_.Complete(t, task, std::move(result));
  }
  record->creation = {};
  record->spec.reset();
  ReleaseArguments(record);
  AskLater(t, other);
  MarkDirty(other);
}

// ---- an incarnation ends

void ActorClient::IncarnationDied(ActorRecord* record, bool sure) {
  if (record->status.state != ActorState::kAlive) return;
  if (sure) record->dead_incarnation = record->status.incarnation;
  record->status.state = ActorState::kRestarting;
  record->status.address = {};
  while (SubmittedTask* task = record->in_flight.front()) {
    if (tasks_.TakeRetry(task)) {
      task->MoveToPlaceIn(&record->queue);
    } else {
      task->MoveToBackOf(&record->lost);
    }
  }
}

// It is known now that the actor comes back.
void ActorClient::ResolveLost(const Turn& t, ActorRecord* record) {
  while (SubmittedTask* task = record->lost.front()) {
    if (task->cancelled) {
      tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled,
                                     absl::StrCat("call ", task->spec.name, " was cancelled")));
      continue;
    }
    tasks_.Fail(t, task,
                MakeError(ErrorKind::kActorUnavailable,
                          absl::StrCat("actor ", record->id().Hex(), " died while call ", task->spec.name,
                                       " was in flight, and is being restarted; the call may have run: set "
                                       "max_task_retries to have such calls repeated")));
  }
}

ErrorInfo ActorClient::DeathOf(const ActorRecord* record) const {
  const ErrorInfo& why = record->status.error;
  // What went wrong while it was created, or with this process (kNodeDied), says more than that it is dead.
  const bool says_more = record->status.incarnation == 0 || why.kind == ErrorKind::kNameTaken ||
                           why.kind == ErrorKind::kNodeDied ||
                           why.kind == ErrorKind::kUnschedulable || why.kind == ErrorKind::kApplication ||
                           why.kind == ErrorKind::kRuntimeEnvSetup;
  if (why && says_more) return why;
  ErrorInfo error = MakeError(
      ErrorKind::kActorDied, absl::StrCat("actor ", record->id().Hex(), " is dead: ",
                                          why ? why.message : std::string("it was killed or has exited")));
  error.detail = why.detail;
  return error;
}

void ActorClient::FailCalls(const Turn& t, List<SubmittedTask>* calls, const ErrorInfo& error) {
  while (SubmittedTask* task = calls->front()) {
    if (task->cancelled) {
      tasks_.Fail(t, task, MakeError(ErrorKind::kTaskCancelled,
                                     absl::StrCat("call ", task->spec.name, " was cancelled")));
    } else {
      tasks_.Fail(t, task, error);
    }
  }
}

void ActorClient::Dies(const Turn& t, ActorRecord* record) {
  const ErrorInfo error = DeathOf(record);
  if (SubmittedTask* task = tasks_.Find(record->creation); task != nullptr) tasks_.Fail(t, task, error);
  record->creation = {};
  record->spec.reset();
  ReleaseArguments(record);
  for (List<SubmittedTask>* calls : {&record->lost, &record->in_flight, &record->queue}) FailCalls(t, calls, error);
}

// ---- who died

void ActorClient::OnProcessDied(const Turn& t, const Address& process, bool sure) {
  for (const auto& [id, record] : records_) {
    if (record->status.state != ActorState::kAlive || record->status.address != process) continue;
    IncarnationDied(record.get(), sure);
    AskLater(t, record.get());
  }
}

void ActorClient::OnNodeDied(const Turn& t, NodeId node) {
  for (const auto& [id, record] : records_) {
    if (record->status.state != ActorState::kAlive || record->status.address.node != node) continue;
    IncarnationDied(record.get(), /*sure=*/false);
    AskLater(t, record.get());
  }
}

void ActorClient::OnRayletLost(const ErrorInfo& error) {
  for (const auto& [id, record] : records_) {
    if (record->dead()) continue;
    record->status.state = ActorState::kDead;
    record->status.error = error;
    MarkDirty(record.get());
  }
  ask_at_.reset();
}

// ---- asking again

bool ActorClient::NeedsNews(const ActorRecord* record) const {
  if (record->dead() || record->instead != nullptr) return false;
  if (record->kill || record->kill_idle || !record->heard_of) return true;
  if (record->reachable()) return false;
  return record->creation || record->pending() > 0;
}

void ActorClient::AskLater(const Turn& t, const ActorRecord* record) {
  if (NeedsNews(record) && !ask_at_) ask_at_ = t.now + kAskAgain;
}

void ActorClient::OnTick(const Turn& t) {
  if (!ask_at_ || *ask_at_ > t.now) return;
  ask_at_.reset();
  for (const auto& [id, record] : records_) {
    if (!NeedsNews(record.get())) continue;
    ask_at_ = t.now + kAskAgain;
    const SubmittedTask* creation = tasks_.Find(record->creation);
    if (creation != nullptr && creation->state != TaskState::kPushed) continue;  // the head has not heard of it
    if (creation != nullptr && !record->heard_of) {
      SendCreation(t, record.get());
    } else {
      outbox_.Post<WatchActor>(t, Address::Head()).actor = id;
    }
    if (record->kill || record->kill_idle) SendKill(t, record.get());
  }
}

void ActorClient::CheckInvariants() const {
  SHOAL_CHECK(dirty_.empty()) << "a turn ended without Flush";
  for (const auto& [id, record] : records_) {
    const ActorRecord* r = record.get();
    if (r->dead()) {
      SHOAL_CHECK(r->pending() == 0) << "calls wait for actor " << id.Hex() << ", which is dead";
      SHOAL_CHECK(r->held.empty() && r->spec == nullptr) << id.Hex();
    }
    SHOAL_CHECK(r->in_flight.empty() || r->status.state == ActorState::kAlive) << id.Hex();
    SHOAL_CHECK(r->instead == nullptr || r->pending() == 0) << id.Hex();
    SHOAL_CHECK(!NeedsNews(r) || ask_at_) << "nobody asks about actor " << id.Hex();
    SHOAL_CHECK(r->in_flight.size() <= r->next_sequence) << id.Hex();
    const SubmittedTask* front = r->queue.front();
    const bool stuck = front != nullptr && front->state == TaskState::kQueued && r->reachable() &&
                       r->in_flight.size() < options_.max_in_flight_per_actor;
    SHOAL_CHECK(!stuck) << "a call waits although actor " << id.Hex() << " can take it";
    for (const List<SubmittedTask>* calls : {&r->queue, &r->in_flight, &r->lost}) {
      for (const SubmittedTask* task = calls->front(); task != nullptr; task = task->next) {
        SHOAL_CHECK(task->actor == r && task->list == calls) << task->spec.id.Hex();
        SHOAL_CHECK((task->state == TaskState::kPushed) == (calls != &r->queue)) << task->spec.id.Hex();
      }
    }
    if (r->handle_entry != nullptr) SHOAL_CHECK(references_.Find(r->handle.id) == r->handle_entry) << id.Hex();
  }
}

}  // namespace shoal::core_worker
