// How tasks that ran here end: results are sealed, references registered, replies sent when that is confirmed.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "runtime/core_worker/executor.h"

namespace shoal::core_worker {
void Executor::TaskFinished(const Turn& t, const TaskId& id, uint32_t attempt, std::vector<ObjectValue> results,
                            absl::Span<const uint64_t> offsets, bool worker_exiting, bool final) {
  TaskHere* task = Find(id);
  if (task == nullptr || task->spec.attempt != attempt || task->state != HereState::kRunning) return;
  if (task->group != nullptr) --task->group->running;
  task->reply.worker_exiting = worker_exiting;
  task->reply.final = final;
  if (worker_exiting) leave_reason_ = absl::StrCat(task->spec.name, " ended this worker");
  if (task->caller_died) {
    AbortResults(t, results, offsets);
    Forget(task);
  } else {
    task->reply.results = std::move(results);
    SealResults(t, task, offsets);
    Finish(t, task);
  }
  dirty_ = true;
  if (!worker_exiting) return;
  outbox_.Post<ExitWorker>(t, outbox_.raylet()).reason = leave_reason_;  // or its raylet takes it for an accident
  Leave(t, /*finish_queue=*/false);
}

void Executor::FinishWithError(const Turn& t, TaskHere* task, const ErrorInfo& error) {
  ObjectValue as_the_first;
  as_the_first.kind = ValueKind::kError;
  task->reply.results.assign(std::max<uint32_t>(task->spec.num_returns, 1), as_the_first);
  task->reply.results[0].error = error;
  Finish(t, task);
}

void Executor::Finish(const Turn& t, TaskHere* task) {
  DropArgs(task);
  RegisterCaller(t, task);
  AwaitOwnBorrows(task);
  task->state = HereState::kReplying;
  MoveTo(task, &replying_);
  if (Confirmed(task) || SHOAL_DELIBERATE_BUG("core.early_reply")) SendReply(t, task);
}

// A reply by ring may be faster than the socket to the raylet. So that nobody looks for the bytes before the raylet knows of them, it
// is asked for them and the reply waits for the answer.
void Executor::SealResults(const Turn& t, TaskHere* task, absl::Span<const uint64_t> offsets) {
  for (uint32_t i = 0; i < task->reply.results.size(); ++i) {
    ObjectValue& value = task->reply.results[i];
    if (value.kind != ValueKind::kStored) continue;
    SHOAL_CHECK(i < offsets.size()) << "a stored result needs the offset of its block";
    value.locations = {options_.self.node};
    const ObjectRefInfo ref{task->spec.id.Return(i), task->caller.node};
    SealObject& seal = outbox_.Post<SealObject>(t, outbox_.raylet());
    seal.ref = ref;
    seal.offset = offsets[i];
    seal.size = value.size;
    PullObject& pull = outbox_.Post<PullObject>(t, outbox_.raylet());
    pull.ref = ref;
    pull.size = value.size;
    pull.locations = value.locations;
    sealing_[ref.id] = task;
    ++task->sealing;
  }
}

bool Executor::OnObjectLocal(const Turn& t, const ObjectLocal& message) {
  const auto it = sealing_.find(message.id);
  if (it == sealing_.end()) return false;
  TaskHere* task = it->second;
  sealing_.erase(it);
  --task->sealing;
  if (Confirmed(task)) SendReply(t, task);
  // The pin of the creator and the one of this pull; the store keeps a first copy without them.
  outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = message.id;
  if (!message.error) outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = message.id;
  return true;
}

void Executor::AbortResults(const Turn& t, const std::vector<ObjectValue>& results,
                            absl::Span<const uint64_t> offsets) {
  for (size_t i = 0; i < results.size() && i < offsets.size(); ++i) {
    if (results[i].kind == ValueKind::kStored) outbox_.Post<AbortObject>(t, outbox_.raylet()).offset = offsets[i];
  }
}

// The caller is to hold what the results contain from the first moment.
void Executor::RegisterCaller(const Turn& t, TaskHere* task) {
  const uint64_t registration = ResultRegistration(task->spec.id, task->spec.attempt);
  for (const ObjectValue& value : task->reply.results) {
    for (const ObjectRefInfo& ref : value.contained) {
      const Address owner = ref.owner();
      if (owner == options_.self) {
        if (task->caller != owner) references_.Register(ref.id, task->caller, registration);
        continue;
      }
      references_.AddUse(t, ref);
      task->contained.push_back(ref.id);
      if (owner == task->caller) continue;
      AddBorrower& add = outbox_.Post<AddBorrower>(t, owner);
      add.id = ref.id;
      add.borrower = task->caller;
      add.reply_to = options_.self;
      add.registration = registration;
      task->unconfirmed.push_back({ref, registration});
    }
  }
}

// What this process still holds from the arguments must be known to its owners before the caller lets go. Some of these
// may have come with other tasks: to wait for them too costs little.
void Executor::AwaitOwnBorrows(TaskHere* task) {
  for (const ObjectId& id : references_.unconfirmed()) {
    task->unconfirmed.push_back({references_.Find(id)->ref, 0});
  }
}

void Executor::SendReply(const Turn& t, TaskHere* task) {
  if (task->spec.kind == TaskKind::kActorCreation) {
    ActorReady& ready = outbox_.Post<ActorReady>(t, outbox_.raylet());
    ready.actor = actor_->id;
    ready.incarnation = incarnation_;
    if (!task->reply.results.empty()) ready.error = std::move(task->reply.results[0].error);
    constructed_ = !ready.error;
  } else {
    TaskReply& reply = outbox_.Post<TaskReply>(t, task->caller);
    reply = std::move(task->reply);
    reply.task = task->spec.id;
    reply.attempt = task->spec.attempt;
  }
  Forget(task);
}

// ---- confirmations

template <class Matches>
void Executor::ConfirmAll(const Turn& t, Matches&& matches) {
  for (TaskHere* task = replying_.front(); task != nullptr;) {
    TaskHere* next = task->next;
    auto& waits = task->unconfirmed;
    waits.erase(std::remove_if(waits.begin(), waits.end(),
                               [&](const auto& wait) { return matches(task, wait.first, wait.second); }),
                waits.end());
    if (Confirmed(task)) SendReply(t, task);
    task = next;
  }
}

void Executor::BorrowConfirmed(const Turn& t, const ObjectId& id, uint64_t registration) {
  if (replying_.empty()) return;
  ConfirmAll(t, [&](const TaskHere*, const ObjectRefInfo& ref, uint64_t wanted) {
    return ref.id == id && wanted == registration;
  });
}

// ---- deaths of others

void Executor::DropCaller(const Turn& t, TaskHere* task) {
  for (uint32_t i = 0; task->sealing > 0 && i < task->reply.results.size(); ++i) {
    const ObjectId id = task->spec.id.Return(i);
    if (sealing_.erase(id) == 0) continue;
    --task->sealing;
    for (int pin = 0; pin < 2; ++pin) outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = id;  // the answer will find nobody
  }
  for (const auto& [ref, registration] : task->unconfirmed) {
    if (registration == 0) continue;
    RemoveBorrower& remove = outbox_.Post<RemoveBorrower>(t, ref.owner());
    remove.id = ref.id;
    remove.borrower = task->caller;
    remove.registration = registration;
  }
  Forget(task);
}

template <class IsDead>
void Executor::CallersDied(const Turn& t, IsDead&& is_dead) {
  for (const TaskHere* sorted : Sorted()) {
    TaskHere* task = Find(sorted->spec.id);
    if (!is_dead(task->caller) || task->spec.kind == TaskKind::kActorCreation) continue;
    if (task->state == HereState::kRunning) {
      task->caller_died = true;
    } else if (task->list == nullptr) {
      task->caller_queue->early[task->sequence] = nullptr;
      --early_;
      Forget(task);
    } else {
      DropCaller(t, task);
    }
  }
}

void Executor::OnProcessDied(const Turn& t, const Address& process, bool sure) {
  CallersDied(t, [&](const Address& caller) { return caller == process; });
  ConfirmAll(t, [&](const TaskHere*, const ObjectRefInfo& ref, uint64_t) { return ref.owner() == process; });
  if (sure) callers_.erase(process);  // only queued calls point there, and they are gone
}

void Executor::OnNodeDied(const Turn& t, NodeId node) {
  // The numbers of callers there stay: if the node was only cut off, they may go on.
  CallersDied(t, [&](const Address& caller) { return caller.node == node; });
  ConfirmAll(t, [&](const TaskHere*, const ObjectRefInfo& ref, uint64_t) { return ref.owner_node == node; });
}

// ---- leaving

void Executor::Leave(const Turn& t, bool finish_queue) {
  leaving_ = true;
  while (TaskHere* task = parked_.front()) Refuse(t, task);
  if (actor_ == nullptr || !finish_queue) {
    while (TaskHere* task = queue_.front()) Refuse(t, task);
    for (const auto& group : groups_) {
      while (TaskHere* task = group->queue.front()) Refuse(t, task);
    }
  }
  for (const TaskHere* sorted : Sorted()) {
    if (sorted->list != nullptr) continue;
    TaskHere* task = Find(sorted->spec.id);
    task->caller_queue->early.erase(task->sequence);
    --early_;
    Refuse(t, task);
  }
  dirty_ = true;
}

void Executor::LeaveIfDone(const Turn& t) {
  if (!running_.empty() || !replying_.empty() || queued() > 0) return;
  left_ = true;
  ExitWorker exit;
  exit.reason = leave_reason_;
  t.actions->exit = std::move(exit);
}

}  // namespace shoal::core_worker
