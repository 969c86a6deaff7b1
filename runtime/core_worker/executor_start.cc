// The executor's arguments, and what starts when.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "runtime/core_worker/executor.h"

namespace shoal::core_worker {

// ---- arguments

// The caller holds them until the reply, so this process need not become a borrower.
void Executor::FetchArgs(const Turn& t, TaskHere* task) {
  task->holds_args = true;
  for (const ArgRef& arg : task->spec.refs) {
    if (Inline(arg)) continue;
    ObjectEntry* entry = references_.FindOrCreate(arg.ref);
    ++entry->uses;
    if (!entry->known() && !entry->resolving && !entry->owned) entry->value = arg.value;
  }
  LookAtArgs(t, task);
}

void Executor::LookAtArgs(const Turn& t, TaskHere* task) {
  task->waiting_args = 0;
  for (const ArgRef& arg : task->spec.refs) {
    if (Inline(arg)) continue;
    ObjectEntry* entry = references_.Find(arg.ref.id);
    if (LocalObjects::Readable(entry)) continue;
    ++task->waiting_args;
    std::vector<TaskId>& waiting = entry->Extra().waiting_here;
    if (std::find(waiting.begin(), waiting.end(), task->spec.id) == waiting.end()) waiting.push_back(task->spec.id);
    if (entry->known()) {
      objects_.Pull(t, entry);
    } else {
      objects_.Resolve(t, entry);
    }
  }
  if (task->waiting_args == 0) dirty_ = true;
}

// Bytes that were here when the task arrived may have gone since: whoever read them let go, and they were not kept for it.
bool Executor::ArgsHere(const Turn& t, TaskHere* task) {
  if (task->waiting_args > 0 || !task->holds_args) return task->waiting_args == 0;
  for (const ArgRef& arg : task->spec.refs) {
    if (Inline(arg) || LocalObjects::Readable(references_.Find(arg.ref.id))) continue;
    LookAtArgs(t, task);
    return task->waiting_args == 0;
  }
  return true;
}

void Executor::ArgChanged(const Turn& t, ObjectEntry* entry) {
  if (entry->extra == nullptr || entry->extra->waiting_here.empty()) return;
  for (const TaskId& id : std::exchange(entry->extra->waiting_here, {})) {
    TaskHere* task = Find(id);
    if (task != nullptr && task->state == HereState::kQueued) LookAtArgs(t, task);
  }
}

// It may take another task to make it again, and that one may need the worker or the resources that this one has.
void Executor::ArgGone(const Turn& t, ObjectEntry* entry) {
  if (entry->extra == nullptr) return;
  for (const TaskId& id : std::vector<TaskId>(entry->extra->waiting_here)) {
    TaskHere* task = Find(id);
    if (task == nullptr || task->state != HereState::kQueued || task->spec.kind != TaskKind::kNormal) continue;
    TasksReturned& message = outbox_.Post<TasksReturned>(t, task->caller);
    message.lease = task->lease;
    message.tasks = {id};
    Forget(task);
  }
}

void Executor::DropArgs(TaskHere* task) {
  if (!std::exchange(task->holds_args, false)) return;
  for (const ArgRef& arg : task->spec.refs) {
    if (Inline(arg)) continue;
    ObjectEntry* entry = references_.Find(arg.ref.id);
    if (task->waiting_args > 0 && entry->extra != nullptr) {
      auto& waiting = entry->extra->waiting_here;
      waiting.erase(std::remove(waiting.begin(), waiting.end(), task->spec.id), waiting.end());
    }
    references_.DropUse(entry);
  }
  task->waiting_args = 0;
}

bool Executor::FailOnArgs(const Turn& t, TaskHere* task) {
  for (const ArgRef& arg : task->spec.refs) {
    if (Inline(arg)) continue;
    const ObjectEntry* entry = references_.Find(arg.ref.id);
    const ObjectValue* error = entry->value.kind == ValueKind::kError ? &entry->value : LocalObjects::ReadError(entry);
    if (error == nullptr) continue;
    FinishWithError(t, task, ErrorInfo(error->error));
    return true;
  }
  return false;
}

// ---- starting

void Executor::Start(const Turn& t) {
  dirty_ = false;
  if (left_) return;
  // One at a time, and none before the last reply has left. A constructor is the first and only one of its process.
  while (!queue_.empty() && running_.empty() && replying_.empty()) {
    TaskHere* task = queue_.front();
    if (!ArgsHere(t, task)) break;
    if (!FailOnArgs(t, task)) Run(t, task);
  }
  if (constructed_) {
    for (const auto& group : groups_) StartGroup(t, group.get());
  }
  ReportBlocked(t);
  if (leaving_) LeaveIfDone(t);
}

// In the order of arrival; a call that waits for its arguments holds back only those of its own caller.
void Executor::StartGroup(const Turn& t, Group* group) {
  ++scan_;
  for (TaskHere* task = group->queue.front(); task != nullptr && group->running < group->limit;) {
    TaskHere* next = task->next;
    CallerQueue* caller = task->caller_queue;
    if (caller->held_back_in != scan_) {
      if (!ArgsHere(t, task)) {
        caller->held_back_in = scan_;
      } else if (!FailOnArgs(t, task)) {
        ++group->running;
        Run(t, task);
      }
    }
    task = next;
  }
}

void Executor::Run(const Turn& t, TaskHere* task) {
  task->state = HereState::kRunning;
  MoveTo(task, &running_);
  ExecuteTask& execute = t.actions->execute.emplace_back();
  if (task->holds_args) {
    for (size_t i = 0; i < task->spec.refs.size(); ++i) {
      ArgRef& arg = task->spec.refs[i];
      if (Inline(arg)) continue;
      ObjectEntry* entry = references_.Find(arg.ref.id);
      if (entry->value.kind == ValueKind::kStored) {
        execute.blocks.resize(task->spec.refs.size());
        const std::optional<LocalBlock> block = objects_.Acquire(entry);
        SHOAL_CHECK(block.has_value()) << "argument " << arg.ref.id.Hex() << " is not here";
        execute.blocks[i] = *block;
      }
    }
    // The pins last as long as the language reads; values that came since replace what the caller knew.
    std::vector<ArgRef> refs = task->spec.refs;
    for (ArgRef& arg : refs) {
      if (!Inline(arg)) arg.value = references_.Find(arg.ref.id)->value;
    }
    DropArgs(task);
    task->spec.refs = std::move(refs);
  }
  // All that is heavy goes; numbers stay, and the name, for people.
  execute.spec = std::move(task->spec);
  task->spec.refs.clear();
  task->spec.name = execute.spec.name;
  execute.caller = task->caller;
  execute.actor_incarnation = task->actor_incarnation;
  execute.actor = task->actor;
  if (code_.empty()) return;
  if (auto code = code_.find(execute.spec.function); code != code_.end()) {
    execute.code = std::move(code->second);
    code_.erase(code);
  }
}

void Executor::SetBlocked(const Turn& t, bool blocked) {
  blocked_ = std::max(blocked_ + (blocked ? 1 : -1), 0);
  ReportBlocked(t);
}

// Threads that outlive their task may wait too; that keeps nothing from running here.
void Executor::ReportBlocked(const Turn& t) {
  const bool blocked = blocked_ > 0 && !running_.empty() && actor_ == nullptr && options_.role == Role::kWorker;
  if (blocked == reported_blocked_) return;
  reported_blocked_ = blocked;
  if (blocked) blocked_lease_ = running_.front()->lease;
  WorkerBlocked& message = outbox_.Post<WorkerBlocked>(t, outbox_.raylet());
  message.blocked = blocked;
  message.lease = blocked_lease_;
  if (blocked) ReturnTasks(t, UINT32_MAX, /*even_if_none=*/false);
  dirty_ = dirty_ || !blocked;
}

size_t Executor::queued() const {
  size_t count = parked_.size() + queue_.size() + early_;
  for (const auto& group : groups_) count += group->queue.size();
  return count;
}

std::vector<const TaskHere*> Executor::Sorted() const {
  std::vector<const TaskHere*> sorted;
  for (const auto& [id, task] : tasks_) sorted.push_back(task);
  std::sort(sorted.begin(), sorted.end(),
            [](const TaskHere* a, const TaskHere* b) { return a->spec.id < b->spec.id; });
  return sorted;
}

void Executor::CheckInvariants() const {
  SHOAL_CHECK(!dirty_) << "a turn ended without Flush";
  SHOAL_CHECK(tasks_.size() == queued() + running_.size() + replying_.size());
  SHOAL_CHECK(actor_ != nullptr || running_.size() <= 1) << "a worker runs one normal task at a time";
  SHOAL_CHECK(!reported_blocked_ || queue_.empty()) << "a task waits behind one that waits in get";
  const bool idle = running_.empty() && replying_.empty() && !left_;
  SHOAL_CHECK(!idle || queue_.empty() || queue_.front()->waiting_args > 0) << "a task waits for nothing";
  for (const auto& group : groups_) SHOAL_CHECK(group->running >= 0 && group->running <= group->limit) << group->name;
  for (const auto& [id, task] : tasks_) {
    SHOAL_CHECK(task->spec.id == id);
    SHOAL_CHECK(task->list != nullptr || task->state == HereState::kParked) << id.Hex();
    SHOAL_CHECK((task->state == HereState::kRunning) == (task->list == &running_)) << id.Hex();
    SHOAL_CHECK((task->state == HereState::kReplying) == (task->list == &replying_)) << id.Hex();
    SHOAL_CHECK(task->state != HereState::kReplying || !Confirmed(task)) << "a reply waits for nothing";
    if (task->state != HereState::kQueued) continue;
    for (const ArgRef& arg : task->spec.refs) {
      if (Inline(arg)) continue;
      const ObjectEntry* entry = references_.Find(arg.ref.id);
      SHOAL_CHECK(entry != nullptr && entry->uses > 0) << id.Hex();
      SHOAL_CHECK(task->waiting_args > 0 || LocalObjects::Readable(entry)) << id.Hex();
    }
  }
}

}  // namespace shoal::core_worker
