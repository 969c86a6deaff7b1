#include "runtime/core_worker/describe.h"

#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json.h"

namespace shoal::core_worker {
namespace {

using Row = std::vector<std::pair<const char*, std::string>>;

std::string ToJson(const Row& row) {
  return absl::StrCat("{", absl::StrJoin(row, ",", [](std::string* out, const auto& field) {
                        absl::StrAppend(out, JsonQuote(field.first), ":", field.second);
                      }), "}");
}

const char* KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kNormal: return "task";
    case TaskKind::kActorCreation: return "actor_creation";
    case TaskKind::kActorCall: return "actor_call";
  }
  return "unknown";
}

const char* StateName(TaskState state) {
  switch (state) {
    case TaskState::kWaitingForArgs: return "waiting_for_arguments";
    case TaskState::kQueued: return "queued";
    case TaskState::kPushed: return "pushed";
    case TaskState::kFinished: return "finished";
  }
  return "unknown";
}

const char* StateName(HereState state) {
  switch (state) {
    case HereState::kParked: return "parked";
    case HereState::kQueued: return "queued_at_worker";
    case HereState::kRunning: return "running";
    case HereState::kReplying: return "replying";
  }
  return "unknown";
}

const char* ValueName(ValueKind kind) {
  switch (kind) {
    case ValueKind::kPending: return "pending";
    case ValueKind::kInline: return "inline";
    case ValueKind::kStored: return "stored";
    case ValueKind::kError: return "error";
  }
  return "unknown";
}

Row TaskRow(const TaskSpec& spec, const char* state) {
  return {{"task_id", JsonQuote(spec.id.Hex())},
          {"name", JsonQuote(spec.name)},
          {"kind", JsonQuote(KindName(spec.kind))},
          {"state", JsonQuote(state)},
          {"attempt", absl::StrCat(spec.attempt)},
          {"job_id", JsonQuote(spec.job.Hex())},
          {"actor_id", JsonQuote(spec.actor ? spec.actor.Hex() : "")},
          {"parent_task_id", JsonQuote(spec.parent ? spec.parent.Hex() : "")}};
}

Row ObjectRow(const ObjectEntry* entry) {
  const ObjectValue& value = entry->value;
  const uint64_t size = value.kind == ValueKind::kInline ? value.data.size() : value.size;
  std::vector<std::string> nodes;
  for (NodeId node : value.locations) nodes.push_back(JsonQuote(node.Hex()));
  const size_t borrowers = entry->extra == nullptr ? 0 : entry->extra->borrowers.size();
  return {{"object_id", JsonQuote(entry->id().Hex())},
          {"owner", JsonQuote(entry->ref.owner().ToString())},
          {"state", JsonQuote(ValueName(value.kind))},
          {"size", absl::StrCat(size)},
          {"nodes", absl::StrCat("[", absl::StrJoin(nodes, ","), "]")},
          {"local_references", absl::StrCat(entry->local_refs)},
          {"uses", absl::StrCat(entry->uses)},
          {"borrowers", absl::StrCat(borrowers)},
          {"pins", absl::StrCat(entry->pins)}};
}

}  // namespace

std::string DescribeTasks(const References& references, const Executor& executor, const std::string& only, uint32_t limit) {
  const auto asked = [&](const TaskSpec& spec) { return only.empty() || spec.id.Hex() == only; };
  std::vector<std::string> rows;
  const SubmittedTask* last = nullptr;
  for (const ObjectEntry* entry : references.Sorted()) {
    const SubmittedTask* task = entry->producer;
    if (task == nullptr || task == last || !task->pending()) continue;
    last = task;
    if (!asked(task->spec)) continue;
    if (rows.size() >= limit) break;
    Row row = TaskRow(task->spec, StateName(task->state));
    if (task->lease != nullptr) row.push_back({"worker", JsonQuote(task->lease->worker.ToString())});
    if (task->shape != nullptr) row.push_back({"shape", JsonQuote(task->shape->id.Hex())});
    rows.push_back(ToJson(row));
  }
  for (const TaskHere* task : executor.Sorted()) {
    if (!asked(task->spec)) continue;
    if (rows.size() >= limit) break;
    Row row = TaskRow(task->spec, StateName(task->state));
    row.push_back({"caller", JsonQuote(task->caller.ToString())});
    rows.push_back(ToJson(row));
  }
  return absl::StrJoin(rows, ",");
}

std::string DescribeObjects(const References& references, uint32_t limit) {
  std::vector<std::string> rows;
  for (const ObjectEntry* entry : references.Sorted()) {
    if (rows.size() >= limit) break;
    if (!entry->released) rows.push_back(ToJson(ObjectRow(entry)));
  }
  return absl::StrJoin(rows, ",");
}

}  // namespace shoal::core_worker
