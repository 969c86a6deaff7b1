#include "runtime/core_worker/executor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::core_worker {
namespace {

constexpr size_t kMaxParked = 4096;
constexpr size_t kRememberedLeases = 16;

}  // namespace

Executor::~Executor() {
  for (auto& [id, task] : tasks_) pool_.Delete(task);
}

void Executor::MoveTo(TaskHere* task, List<TaskHere>* list) {
  if (task->list != nullptr) task->list->Remove(task);
  task->list = list;
  if (list != nullptr) list->PushBack(task);
}

void Executor::Forget(TaskHere* task) {
  if (task->sealing > 0) absl::erase_if(sealing_, [task](const auto& entry) { return entry.second == task; });  // core.early_reply
  MoveTo(task, nullptr);
  DropArgs(task);
  for (const ObjectId& id : task->contained) references_.DropUse(id);
  tasks_.erase(task->spec.id);
  pool_.Delete(task);
  dirty_ = true;
}

Group* Executor::GroupOf(const std::string& name) const {
  for (const auto& group : groups_) {
    if (group->name == name) return group.get();
  }
  return nullptr;
}

void Executor::SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups) {
  groups_.front()->limit = std::max(max_concurrency, 1);
  for (auto& [name, limit] : groups) {
    Group* group = GroupOf(name);
    if (group == nullptr) group = groups_.emplace_back(std::make_unique<Group>()).get();
    group->name = std::move(name);
    group->limit = std::max(limit, 1);
  }
}

// ---- arrival

void Executor::RefusePush(const Turn& t, const Address& to, const TaskId& task, uint32_t attempt) {
  TaskReply& reply = outbox_.Post<TaskReply>(t, to);
  reply.task = task;
  reply.attempt = attempt;
  reply.outcome = TaskOutcome::kRefused;
}

// True if this attempt, or another one of the same task, has a place here already.
bool Executor::AlreadyHere(const Turn& t, const Address& from, const PushTask& push) {
  TaskHere* known = Find(push.spec.id);
  if (known == nullptr) return false;
  if (known->spec.attempt == push.spec.attempt) return true;
  const bool started = known->state == HereState::kRunning || known->state == HereState::kReplying;
  if (started) {
    RefusePush(t, from, push.spec.id, push.spec.attempt);
    if (push.spec.kind == TaskKind::kActorCall) SkipCall(t, from, push);
    return true;
  }
  if (push.spec.attempt < known->spec.attempt) return true;
  Forget(known);  // its caller has given that attempt up
  return false;
}

void Executor::OnPushTask(const Turn& t, const Address& from, PushTask&& push) {
  // Whatever becomes of the task, its caller will not send the code again.
  if (!push.code.empty()) code_.try_emplace(push.spec.function, std::move(push.code));
  if (AlreadyHere(t, from, push)) return;
  const bool call = push.spec.kind == TaskKind::kActorCall;
  const bool misplaced = call ? actor_ == nullptr || push.actor_incarnation != incarnation_ : actor_ != nullptr;
  if (leaving_ || misplaced || push.spec.kind == TaskKind::kActorCreation) {
    return RefusePush(t, from, push.spec.id, push.spec.attempt);
  }
  if (call) {
    TaskHere* task = Accept(t, from, std::move(push));
    return ArriveCall(t, task);
  }
  if (RightfulLease(push, from)) {
    TaskHere* task = Accept(t, from, std::move(push));
    return Enqueue(t, task);
  }
  const bool ended = std::find(ended_leases_.begin(), ended_leases_.end(), push.lease) != ended_leases_.end();
  if (ended || push.lease == lease_.lease || parked_.size() >= kMaxParked) {
    return RefusePush(t, from, push.spec.id, push.spec.attempt);
  }
  // The raylet's word may be slower than the caller's ring.
  MoveTo(Accept(t, from, std::move(push)), &parked_);
}

TaskHere* Executor::Accept(const Turn& t, const Address& from, PushTask&& push) {
  TaskHere* task = pool_.New();
  task->spec = std::move(push.spec);
  task->caller = from;
  task->lease = push.lease;
  task->actor_incarnation = push.actor_incarnation;
  task->sequence = push.sequence;
  task->arrived = t.now;
  tasks_.emplace(task->spec.id, task);
  return task;
}

CallerQueue* Executor::QueueOf(const Address& caller, const TaskSpec& spec, uint64_t sequence) {
  std::unique_ptr<CallerQueue>& queue = callers_[caller];
  if (queue == nullptr) queue = std::make_unique<CallerQueue>();
  if (sequence == 0 && queue->first != std::pair(spec.id, spec.attempt)) {
    StartAnew(queue.get());
    queue->first = {spec.id, spec.attempt};
  }
  return queue.get();
}

void Executor::ArriveCall(const Turn& t, TaskHere* task) {
  CallerQueue* caller = QueueOf(task->caller, task->spec, task->sequence);
  task->caller_queue = caller;
  if (task->sequence < caller->expected) return Forget(task);  // said twice
  if (task->sequence > caller->expected) {
    const auto [it, inserted] = caller->early.emplace(task->sequence, task);
    if (!inserted) return Forget(task);
    ++early_;
    return;
  }
  ++caller->expected;
  Enqueue(t, task);
  AdmitEarly(t, caller);
}

void Executor::AdmitEarly(const Turn& t, CallerQueue* caller) {
  for (auto it = caller->early.begin(); it != caller->early.end() && it->first == caller->expected;
       it = caller->early.begin()) {
    TaskHere* next = it->second;
    caller->early.erase(it);
    ++caller->expected;
    if (next == nullptr) continue;  // cancelled while it waited
    --early_;
    Enqueue(t, next);
  }
}

// What waits for calls that never came is given up by the caller.
void Executor::StartAnew(CallerQueue* caller) {
  caller->expected = 0;
  for (auto& [sequence, task] : std::exchange(caller->early, {})) {
    if (task == nullptr) continue;
    --early_;
    Forget(task);
  }
}

// A call that is not accepted has its place in the order all the same.
void Executor::SkipCall(const Turn& t, const Address& from, const PushTask& push) {
  CallerQueue* caller = QueueOf(from, push.spec, push.sequence);
  if (push.sequence < caller->expected) return;
  caller->early.try_emplace(push.sequence, nullptr);
  AdmitEarly(t, caller);
}

void Executor::Enqueue(const Turn& t, TaskHere* task) {
  task->state = HereState::kQueued;
  if (task->spec.kind == TaskKind::kActorCall) {
    const std::string& name = task->spec.concurrency_group;
    task->group = name.empty() ? groups_.front().get() : GroupOf(name);
    if (task->group == nullptr) {
      return FinishWithError(t, task, MakeError(ErrorKind::kInvalidArgument,
                                                absl::StrCat("actor ", actor_->id.Hex(), " has no concurrency group ",
                                                             name, "; name it where the actor is defined")));
    }
    MoveTo(task, &task->group->queue);
  } else {
    MoveTo(task, &queue_);
  }
  if (!task->spec.refs.empty()) FetchArgs(t, task);
  dirty_ = true;
  if (GivesBack()) ReturnTasks(t, UINT32_MAX, /*even_if_none=*/false);
}

void Executor::Answer(const Turn& t, TaskHere* task, TaskOutcome outcome) {
  if (!task->caller_died && task->spec.kind != TaskKind::kActorCreation) {
    TaskReply& reply = outbox_.Post<TaskReply>(t, task->caller);
    reply.task = task->spec.id;
    reply.attempt = task->spec.attempt;
    reply.outcome = outcome;
  }
  Forget(task);
}

void Executor::Refuse(const Turn& t, TaskHere* task) { Answer(t, task, TaskOutcome::kRefused); }

// ---- leases and other roles

void Executor::OnAssignLease(const Turn& t, const AssignLease& message) {
  const bool same = message.lease == lease_.lease;
  if (message.job) options_.job = message.job;
  if (same) {
    lease_ = message;
    return;
  }
  if (lease_.lease) {
    if (ended_leases_.size() >= kRememberedLeases) ended_leases_.erase(ended_leases_.begin());
    ended_leases_.push_back(lease_.lease);
  }
  lease_ = message;
  if (actor_ != nullptr) return;
  while (TaskHere* task = queue_.front()) Refuse(t, task);
  for (TaskHere* task = parked_.front(); task != nullptr;) {
    TaskHere* next = task->next;
    if (lease_.lease && task->lease == lease_.lease) {
      if (task->caller == lease_.owner) {
        Enqueue(t, task);
      } else {
        Refuse(t, task);
      }
    }
    task = next;
  }
}

void Executor::OnBecomeActor(const Turn& t, BecomeActor&& message) {
  if (actor_ != nullptr || leaving_) return;
  while (TaskHere* task = queue_.front()) Refuse(t, task);
  while (TaskHere* task = parked_.front()) Refuse(t, task);
  actor_ = std::make_shared<const ActorSpec>(std::move(message.spec));
  incarnation_ = message.incarnation;
  if (actor_->job) options_.job = actor_->job;
  groups_.front()->limit = std::max(actor_->max_concurrency, 1);
  if (!actor_->code.empty()) code_.try_emplace(actor_->creation.function, actor_->code);
  PushTask creation;
  creation.spec = actor_->creation;
  creation.spec.kind = TaskKind::kActorCreation;
  creation.spec.actor = actor_->id;
  creation.actor_incarnation = incarnation_;
  TaskHere* task = Accept(t, actor_->owner, std::move(creation));
  task->actor = actor_;
  Enqueue(t, task);
}

void Executor::OnExitWorker(const Turn& t, const ExitWorker& message) {
  leave_reason_ = message.reason;
  if (message.now) {
    left_ = leaving_ = true;
    t.actions->exit = message;
    return;
  }
  Leave(t, /*finish_queue=*/true);
}

// ---- giving tasks back

void Executor::OnReclaimTasks(const Turn& t, const Address& from, const ReclaimTasks& message) {
  if (message.lease != lease_.lease || from != lease_.owner) {
    outbox_.Post<TasksReturned>(t, from).lease = message.lease;
    return;
  }
  ReturnTasks(t, message.count, /*even_if_none=*/true);
}

// Newest first.
void Executor::ReturnTasks(const Turn& t, uint32_t count, bool even_if_none) {
  if (actor_ != nullptr) return;
  std::vector<TaskId> returned;
  while (count-- > 0 && !queue_.empty()) {
    TaskHere* task = queue_.back();
    returned.push_back(task->spec.id);
    Forget(task);
  }
  if (returned.empty() && !even_if_none) return;
  std::reverse(returned.begin(), returned.end());
  TasksReturned& message = outbox_.Post<TasksReturned>(t, lease_.owner);
  message.lease = lease_.lease;
  message.tasks = std::move(returned);
}

bool Executor::OnCancelTask(const Turn& t, const CancelTask& message) {
  TaskHere* task = Find(message.task);
  if (task == nullptr || task->state == HereState::kReplying) return false;
  if (task->state == HereState::kRunning) {
    t.actions->interrupt.push_back(message.task);
    return true;
  }
  if (task->list == nullptr) {  // came too early: its place in the order must be filled
    task->caller_queue->early[task->sequence] = nullptr;
    --early_;
  }
  Answer(t, task, TaskOutcome::kCancelled);
  return false;
}

void Executor::OnTick(const Turn& t) {
  while (!parked_.empty() && parked_.front()->arrived + options_.unknown_lease_timeout <= t.now) {
    Refuse(t, parked_.front());
  }
}

std::optional<TimePoint> Executor::NextDeadline() const {
  if (parked_.empty()) return std::nullopt;
  return parked_.front()->arrived + options_.unknown_lease_timeout;
}

}  // namespace shoal::core_worker
