#include "runtime/core_worker/task_table.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::core_worker {
namespace {

constexpr size_t kLocationsTold = 4;  // of an argument: enough to find a copy, and bounded whatever the cluster

// What a worker has to know of a value: its bytes or where they are. What it contains is found when it is read.
ObjectValue AsArgument(const ObjectValue& value) {
  ObjectValue argument;
  argument.kind = value.kind;
  argument.data = value.data;
  argument.size = value.size;
  argument.locations.assign(value.locations.begin(), value.locations.begin() + std::min(value.locations.size(), kLocationsTold));
  return argument;
}

}  // namespace

TaskTable::~TaskTable() {
  // Records are found through their results; a task with several is deleted at the last one.
  for (ObjectEntry* entry : references_.Sorted()) {
    SubmittedTask* task = std::exchange(entry->producer, nullptr);
    if (task != nullptr && task->Forget(entry)) pool_.Delete(task);
  }
}

SubmittedTask* TaskTable::Register(const Turn& t, TaskSubmission submission, TaskKind kind) {
  SubmittedTask* task = pool_.New();
  TaskSpec& spec = task->spec;
  spec = std::move(submission.spec);
  spec.kind = kind;
  spec.attempt = 0;
  spec.owner_node = options_.self.node;
  if (!spec.job) spec.job = options_.job;
  const uint32_t count = std::max<uint32_t>(spec.num_returns, 1);
  spec.id = TaskId{options_.self.worker, references_.TakeIndices(count)};
  task->retries_left = submission.max_retries;
  task->retry_exceptions = submission.retry_exceptions;
  task->results.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    ObjectEntry* entry = references_.CreateOwned(spec.id.Return(i));
    entry->local_refs = 1;
    entry->producer = task;
    task->results.push_back(entry);
  }
  task->results_left = count;
  if (spec.function != last_function_ && !submission.code.empty()) {
    functions_.try_emplace(spec.function, std::move(submission.code));
    last_function_ = spec.function;
  }
  HoldArgs(t, task);
  ++pending_;
  ++submitted_;
  return task;
}

void TaskTable::HoldArgs(const Turn& t, SubmittedTask* task) {
  if (SHOAL_DELIBERATE_BUG("core.forgotten_reference")) return;
  task->holds_args = true;
  for (const ArgRef& arg : task->spec.refs) references_.AddUse(t, arg.ref);
  for (const ObjectRefInfo& ref : task->spec.nested) references_.AddUse(t, ref);
}

void TaskTable::DropArgs(SubmittedTask* task) {
  if (!std::exchange(task->holds_args, false)) return;
  for (const ArgRef& arg : task->spec.refs) references_.DropUse(arg.ref.id);
  for (const ObjectRefInfo& ref : task->spec.nested) references_.DropUse(ref.id);
}

void TaskTable::WaitFor(const Turn& t, SubmittedTask* task, ObjectEntry* entry) {
  entry->dependents.push_back(task);
  ++task->waiting_args;
  objects_.Resolve(t, entry);
}

void TaskTable::StopWaiting(SubmittedTask* task) {
  if (task->waiting_args == 0) return;
  task->waiting_args = 0;
  for (const ArgRef& arg : task->spec.refs) {
    ObjectEntry* entry = references_.Find(arg.ref.id);
    if (entry == nullptr) continue;
    auto& waiting = entry->dependents;
    waiting.erase(std::remove(waiting.begin(), waiting.end(), task), waiting.end());
  }
}

void TaskTable::Start(const Turn& t, SubmittedTask* task) {
  task->state = TaskState::kWaitingForArgs;
  for (const ArgRef& arg : task->spec.refs) {
    ObjectEntry* entry = references_.FindOrCreate(arg.ref);
    if (!entry->known()) WaitFor(t, task, entry);
  }
  if (task->waiting_args > 0) return;
  if (task->spec.refs.empty()) return events_.TaskReady(t, task);
  AddReady(task);
}

void TaskTable::AddReady(SubmittedTask* task) {
  if (std::exchange(task->in_ready, true)) return;
  ready_.push_back(task);
}

void TaskTable::ProcessReady(const Turn& t) {
  for (size_t i = 0; i < ready_.size(); ++i) {
    SubmittedTask* task = std::exchange(ready_[i], nullptr);
    if (task == nullptr) continue;
    task->in_ready = false;
    ActorRecord* actor = task->actor;
    const Readiness readiness = Prepare(t, task);
    if (readiness == Readiness::kReady) events_.TaskReady(t, task);
    if (readiness == Readiness::kFailed && actor != nullptr) events_.CallGone(t, actor);
  }
  ready_.clear();
}

void TaskTable::ValueKnown(ObjectEntry* entry) {
  if (entry->dependents.empty()) return;
  auto dependents = std::move(entry->dependents);
  entry->dependents.clear();
  for (SubmittedTask* task : dependents) {
    if (--task->waiting_args == 0) AddReady(task);
  }
}

TaskTable::Readiness TaskTable::PrepareRefs(const Turn& t, SubmittedTask* task) {
  const ObjectEntry* failed = nullptr;
  uint64_t inline_bytes = 0;
  for (ArgRef& arg : task->spec.refs) {
    if (arg.value.kind == ValueKind::kInline) {  // copied for an earlier attempt
      inline_bytes += arg.value.data.size();
      continue;
    }
    ObjectEntry* entry = references_.FindOrCreate(arg.ref);
    if (!entry->known()) {
      WaitFor(t, task, entry);
    } else if (entry->value.kind == ValueKind::kError) {
      failed = entry;
    } else if (entry->value.kind != ValueKind::kInline || inline_bytes + entry->value.data.size() <= kInlineTotalBytes) {
      arg.value = AsArgument(entry->value);
      if (arg.value.kind == ValueKind::kInline) inline_bytes += arg.value.data.size();
    }  // else the worker asks for it
  }
  if (failed != nullptr) {
    StopWaiting(task);
    Fail(t, task, ErrorInfo(failed->value.error));
    return Readiness::kFailed;
  }
  if (task->waiting_args == 0) return Readiness::kReady;
  task->state = TaskState::kWaitingForArgs;
  return Readiness::kWaiting;
}

// ---- endings

bool TaskTable::WantsRetry(const SubmittedTask* task, const TaskReply& reply) {
  if (!task->retry_exceptions || reply.final || !task->may_retry()) return false;
  return std::any_of(reply.results.begin(), reply.results.end(), [](const ObjectValue& value) {
    return value.kind == ValueKind::kError && value.error.kind == ErrorKind::kApplication;
  });
}

bool TaskTable::TakeRetry(SubmittedTask* task) {
  if (!task->may_retry()) return false;
  if (task->retries_left > 0) --task->retries_left;
  ++task->spec.attempt;
  ++retried_;
  task->state = TaskState::kQueued;
  return true;
}

SubmittedTask* TaskTable::Awaiting(const TaskReply& reply) const {
  SubmittedTask* task = FindByResult(reply.task.Return(0));
  // A task that is computed again may have lost its first result.
  for (uint32_t i = 1; task == nullptr && i < reply.results.size(); ++i) task = FindByResult(reply.task.Return(i));
  if (task == nullptr || task->state != TaskState::kPushed || task->spec.id != reply.task) return nullptr;
  if (task->spec.attempt == reply.attempt || SHOAL_DELIBERATE_BUG("core.accept_stale_attempt")) return task;
  return nullptr;
}

void TaskTable::Decline(const Turn& t, const TaskReply& reply) {
  const uint64_t registration = ResultRegistration(reply.task, reply.attempt);
  for (uint32_t i = 0; i < reply.results.size(); ++i) {
    const ObjectValue& value = reply.results[i];
    references_.DeclineContained(t, value, registration);
    if (value.kind != ValueKind::kStored) continue;
    const ObjectId id = reply.task.Return(i);
    ObjectEntry* entry = references_.Find(id);
    for (NodeId node : value.locations) {
      if (entry == nullptr || entry->released) {
        references_.FreeAt(node, id);
      } else {  // the same bytes under the same name as another attempt's, perhaps on the same node: goes when that goes
        entry->Extra().strays.push_back(node);
      }
    }
  }
}

void TaskTable::Complete(const Turn& t, SubmittedTask* task, std::vector<ObjectValue> results) {
  StopWaiting(task);
  const uint64_t registration = ResultRegistration(task->spec.id, task->spec.attempt);
  bool stored = false;
  const size_t count = task->results.size();
  const ErrorInfo first_error = count > 1 && !results.empty() ? results[0].error : ErrorInfo();
  for (size_t i = 0; i < count; ++i) {
    ObjectEntry* entry = task->results[i];
    ObjectValue value;
    if (i < results.size() && results[i].kind != ValueKind::kPending) {
      value = std::move(results[i]);
      if (value.kind == ValueKind::kError && !value.error) value.error = first_error;  // see TaskReply
    } else if (task->spec.num_returns == 0) {
      value.kind = ValueKind::kInline;
    } else {
      value = ErrorValue(MakeError(
          ErrorKind::kSystem, absl::StrCat("task ", task->spec.name, " returned ", results.size(),
                                           " values instead of ", count)));
    }
    stored = stored || value.kind == ValueKind::kStored;
    if (entry != nullptr) {
      references_.SetOwnedValue(t, entry, std::move(value), registration);
    } else {  // forgotten since; a recomputation made it again
      references_.DeclineContained(t, value, registration);
      for (NodeId node : value.locations) references_.FreeAt(node, task->spec.id.Return(i));
    }
  }
  End(task, stored);
}

void TaskTable::Fail(const Turn& t, SubmittedTask* task, const ErrorInfo& error) {
  StopWaiting(task);
  for (ObjectEntry* entry : task->results) {
    if (entry != nullptr) references_.SetOwnedValue(t, entry, ErrorValue(error), 0);
  }
  End(task, /*stored=*/false);
}

void TaskTable::FailAll(const Turn& t, const ErrorInfo& error) {
  for (ObjectEntry* entry : references_.Sorted()) {
    SubmittedTask* task = entry->producer;  // ended ones have been taken from their entries
    if (task != nullptr && task->pending()) Fail(t, task, error);
  }
}

void TaskTable::End(SubmittedTask* task, bool stored) {
  --pending_;
  task->Leave();
  if (std::exchange(task->in_ready, false)) {
    std::replace(ready_.begin(), ready_.end(), task, static_cast<SubmittedTask*>(nullptr));
  }
  if (task->handle != nullptr) references_.DropUse(std::exchange(task->handle, nullptr));
  ++finished_;
  task->state = TaskState::kFinished;
  const bool wanted = std::any_of(task->results.begin(), task->results.end(),
                                  [](const ObjectEntry* e) { return e != nullptr && (e->held() || e->lineage_uses > 0); });
  if (stored && wanted && task->spec.kind == TaskKind::kNormal && task->may_retry() &&
      lineage_ < options_.max_lineage_tasks) {
    KeepLineage(task);
    for (ObjectEntry* entry : task->results) {
      if (entry != nullptr) references_.Review(entry);
    }
    return;
  }
  DropArgs(task);
  for (ObjectEntry* entry : task->results) {
    if (entry == nullptr) continue;
    entry->producer = nullptr;
    references_.Review(entry);
  }
  pool_.Delete(task);
}

// ---- lineage

void TaskTable::KeepLineage(SubmittedTask* task) {
  ++lineage_;
  auto convert = [this](const ObjectRefInfo& ref) {
    ObjectEntry* entry = references_.Find(ref.id);
    // Others' objects stay held in full: only their owner could make them again.
    if (entry == nullptr || !entry->owned) return;
    ++entry->lineage_uses;
    if (entry->uses > 0) references_.DropUse(entry);
  };
  if (!std::exchange(task->holds_args, false)) return;
  for (const ArgRef& arg : task->spec.refs) convert(arg.ref);
  for (const ObjectRefInfo& ref : task->spec.nested) convert(ref);
}

void TaskTable::DropLineage(SubmittedTask* task) {
  --lineage_;
  auto drop = [this](const ObjectRefInfo& ref) {
    ObjectEntry* entry = references_.Find(ref.id);
    if (entry == nullptr) return;
    if (!entry->owned) return references_.DropUse(entry);
    if (entry->lineage_uses > 0) --entry->lineage_uses;
    references_.Review(entry);
  };
  for (const ArgRef& arg : task->spec.refs) drop(arg.ref);
  for (const ObjectRefInfo& ref : task->spec.nested) drop(ref);
  pool_.Delete(task);
}

void TaskTable::ResultForgotten(ObjectEntry* entry) {
  SubmittedTask* task = std::exchange(entry->producer, nullptr);
  if (task != nullptr && task->Forget(entry) && !task->pending()) DropLineage(task);
}

void TaskTable::Resubmit(const Turn& t, SubmittedTask* task) {
  const bool retry = TakeRetry(task);
  SHOAL_CHECK(retry) << "lineage is kept only while retries are left";
  --lineage_;
  ++pending_;
  task->holds_args = true;
  auto hold = [&](const ObjectRefInfo& ref) {
    ObjectEntry* entry = references_.FindOrCreate(ref);
    if (!entry->owned) return;  // still held
    ++entry->uses;
    if (entry->lineage_uses > 0) --entry->lineage_uses;
    if (!entry->value_freed || entry->known()) return;
    if (entry->producer != nullptr && entry->producer->pending()) return;
    Recompute(t, entry, NodeId{});
  };
  for (const ArgRef& arg : task->spec.refs) hold(arg.ref);
  for (const ObjectRefInfo& ref : task->spec.nested) hold(ref);
  Start(t, task);
}

void TaskTable::Recompute(const Turn& t, ObjectEntry* entry, NodeId at) {
  SubmittedTask* task = entry->producer;
  if (entry->holds_contained) {
    entry->holds_contained = false;
    for (const ObjectRefInfo& ref : entry->value.contained) references_.DropUse(ref.id);
  }
  entry->value = ObjectValue{};
  entry->value_freed = true;
  if (task != nullptr && task->pending()) return;  // on its way already
  if (task != nullptr && task->may_retry() && ++entry->Extra().losses <= options_.max_pull_attempts) {
    return Resubmit(t, task);
  }
  const char* why = task != nullptr ? "the retries of its task are used up; raise max_retries"
                                    : "it cannot be computed again, because it was put, came from an actor "
                                      "or its task allows no retries";
  entry->value = ErrorValue(MakeError(
      ErrorKind::kObjectLost, absl::StrCat("object ", entry->id().Hex(), ": its last copy was lost with node ",
                                           at ? at.Hex() : std::string("unknown"), " and ", why)));
  entry->value_freed = false;
  if (entry->extra != nullptr) {
    // Askers are answered by the same path as for any value.
    ObjectValue error = std::exchange(entry->value, ObjectValue{});
    references_.SetOwnedValue(t, entry, std::move(error), 0);
  } else {
    events_.ValueKnown(t, entry);
  }
}

// ---- lookups

std::vector<TaskId> TaskTable::ChildrenOf(const TaskId& parent) const {
  std::vector<TaskId> children;
  for (const ObjectEntry* entry : references_.Sorted()) {
    const SubmittedTask* task = entry->producer;
    if (task != nullptr && task->pending() && task->spec.parent == parent &&
        task->spec.kind != TaskKind::kActorCreation &&
        (children.empty() || children.back() != task->spec.id)) {
      children.push_back(task->spec.id);
    }
  }
  return children;
}

Payload TaskTable::CodeFor(const Address& worker, FunctionId function) {
  if (!function || !sent_code_[worker].insert(function).second) return Payload();
  auto it = functions_.find(function);
  return it == functions_.end() ? Payload() : it->second;
}

void TaskTable::ForgetNode(NodeId node) {
  absl::erase_if(sent_code_, [node](const auto& item) { return item.first.node == node; });
}

}  // namespace shoal::core_worker
