#include "tests/sim/observer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/sim/arena.h"
#include "tests/sim/cluster.h"
#include "tests/sim/language.h"

namespace shoal::sim {
namespace {

constexpr size_t kKeptViolations = 16;
// A machine that slept may act on old orders for a moment before its raylet looks at the clock.
constexpr int64_t kExcuseAfterPauseNs = 20'000'000'000;

}  // namespace

void Observer::Violate(const char* rule, const std::string& detail) {
  if (violations_.size() < kKeptViolations) violations_.push_back({rule, detail, cluster_.now_ns()});
}

// ---- references and values

void Observer::OnHold(uint32_t process, const ObjectId& id) { holders_[id].push_back(process); }

void Observer::OnUnhold(uint32_t process, const ObjectId& id) {
  auto it = holders_.find(id);
  if (it == holders_.end()) return;
  auto at = std::find(it->second.begin(), it->second.end(), process);
  if (at != it->second.end()) it->second.erase(at);
  if (it->second.empty()) holders_.erase(it);
}

void Observer::OnFreed(uint32_t process, const ObjectId& id) {
  if (cluster_.AddressOf(process).worker != id.owner) return;  // a borrower that let go
  auto it = holders_.find(id);
  if (it == holders_.end()) return;
  for (uint32_t holder : it->second) {
    if (!cluster_.process(holder).alive || WasDeclaredDead(cluster_.AddressOf(holder).node.value)) continue;
    Violate("referenced_object_is_kept",
            absl::StrCat(id.Hex(), " freed by its owner while ", cluster_.NameOf(holder), " holds it"));
  }
}

void Observer::OnContent(const ObjectId& id, uint64_t number) {
  auto [it, inserted] = content_.try_emplace(id, number);
  Require(inserted || it->second == number, "values_agree", absl::StrCat(id.Hex(), " was written with two values"));
}

void Observer::OnGet(uint32_t process, const ObjectId& id, const Got& got) {
  if (!got.error) return OnContent(id, got.number);
  const bool freed = got.error.kind == ErrorKind::kObjectLost && absl::StrContains(got.error.message, "freed");
  if (freed && declared_dead_.empty()) {
    Violate("referenced_object_is_kept",
            absl::StrCat(cluster_.NameOf(process), " gets ", id.Hex(), ": ", got.error.message));
  }
}

// ---- tasks and actors

void Observer::OnSubmit(uint32_t process, const TaskId& task, const Program&, int32_t max_retries) {
  static_cast<void>(process);
  TaskRecord& record = tasks_[task];
  Require(!record.submitted, "task_names_are_unique", task.Hex());
  record.submitted = true;
  record.max_retries = max_retries;
}

void Observer::OnCreateActor(uint32_t, ActorId actor, int32_t max_restarts) {
  hosts_.try_emplace(actor);
  lives_[actor].max_restarts = max_restarts;
}

uint32_t Observer::Executions(const TaskId& task) const {
  auto it = tasks_.find(task);
  return it == tasks_.end() ? 0 : it->second.executions;
}

void Observer::CheckIncarnation(uint32_t process, const core_worker::ExecuteTask& task) {
  std::vector<ActorHost>& hosts = hosts_[task.spec.actor];
  const bool creation = task.spec.kind == TaskKind::kActorCreation;
  for (const ActorHost& host : hosts) {
    if (host.process == process) continue;
    if (cluster_.PausedWithin(host.process, kExcuseAfterPauseNs)) continue;
    if (!creation && host.incarnation < task.actor_incarnation) continue;  // said when this one was constructed
    if (cluster_.PausedWithin(process, kExcuseAfterPauseNs)) continue;
    Violate("one_live_incarnation",
            absl::StrCat("actor ", task.spec.actor.Hex(), " runs as incarnation ", task.actor_incarnation, " in ",
                         cluster_.NameOf(process), " while incarnation ", host.incarnation, " lives in ",
                         cluster_.NameOf(host.process)));
  }
  if (creation) hosts.push_back({process, task.actor_incarnation});
}

void Observer::CheckActorCall(uint32_t process, const core_worker::ExecuteTask& task, const Program& program) {
  for (const auto& [id, running] : running_[process]) {
    Require(!running.actor_call, "sync_actor_runs_one_call",
            absl::StrCat(task.spec.id.Hex(), " starts while ", id.Hex(), " runs in ", cluster_.NameOf(process)));
  }
  const LastCall call{program.tag, task.spec.attempt};
  auto [it, first] = last_call_.try_emplace({process, task.spec.id.owner.value}, call);
  if (first) return;
  Require(it->second.tag < call.tag || it->second.attempt < call.attempt, "actor_calls_in_order",
          absl::StrCat("call ", call.tag, " of ", task.spec.id.owner.Hex(), " starts after ", it->second.tag, " in ",
                       cluster_.NameOf(process)));
  it->second = call;
}

void Observer::Occupy(uint32_t node, int64_t cpu_steps) {
  int64_t& used = used_cpu_[node];
  used += cpu_steps;
  if (cpu_steps > 0 && used > cluster_.CpuStepsOf(node)) {
    Violate("leases_within_capacity", absl::StrCat("node ", node, " runs ", used, " steps of CPU, has ",
                                                   cluster_.CpuStepsOf(node)));
  }
}

void Observer::OnExecute(uint32_t process, const core_worker::ExecuteTask& task, const Program& program) {
  ++executions_;
  const TaskSpec& spec = task.spec;
  const uint32_t node = cluster_.MachineOf(process);
  if (spec.kind == TaskKind::kActorCreation) {
    CheckIncarnation(process, task);
    const int64_t cpus = task.actor == nullptr ? 0 : task.actor->shape.resources.Get(kCpu);
    actor_cpu_[process] = cpus;
    running_[process][spec.id] = {node, 0, true};
    return Occupy(node, cpus);
  }
  TaskRecord& record = tasks_[spec.id];
  ++record.executions;
  Require(attempts_.insert({spec.id, spec.attempt}).second, "attempt_runs_once",
          absl::StrCat(spec.id.Hex(), " attempt ", spec.attempt, " began again in ", cluster_.NameOf(process)));
  Require(!program.at_most_once || record.executions == 1, "at_most_once",
          absl::StrCat(spec.id.Hex(), " began ", record.executions, " times"));
  if (record.submitted && record.max_retries >= 0) {
    Require(record.executions <= static_cast<uint32_t>(record.max_retries) + 1, "retries_are_bounded",
            absl::StrCat(spec.id.Hex(), " began ", record.executions, " times"));
  }
  if (spec.kind == TaskKind::kActorCall) {
    CheckIncarnation(process, task);
    CheckActorCall(process, task, program);
    Lives& lives = lives_[spec.actor];
    lives.incarnations.insert(task.actor_incarnation);
    Require(lives.max_restarts < 0 || lives.incarnations.size() <= static_cast<size_t>(lives.max_restarts) + 1,
            "restarts_are_bounded",
            absl::StrCat("actor ", spec.actor.Hex(), " serves calls in ", lives.incarnations.size(), " incarnations"));
    running_[process][spec.id] = {node, 0, true};
    return;
  }
  for (const auto& [id, running] : running_[process]) {
    Require(running.actor_call, "worker_runs_one_task",
            absl::StrCat(spec.id.Hex(), " starts while ", id.Hex(), " runs in ", cluster_.NameOf(process)));
  }
  const int64_t steps = lent_.contains(process) ? 0 : program.cpu_hundredths * (ResourceSet::kStepsPerUnit / 100);
  running_[process][spec.id] = {node, steps, false};
  Occupy(node, steps);
}

void Observer::OnBlocked(uint32_t process, const TaskId& task, bool) {
  lent_.insert(process);
  auto it = running_[process].find(task);
  if (it == running_[process].end() || it->second.cpu_steps == 0) return;
  Occupy(it->second.node, -it->second.cpu_steps);
  it->second.cpu_steps = 0;
}

void Observer::OnFinished(uint32_t process, const core_worker::ExecuteTask& task) {
  auto it = running_[process].find(task.spec.id);
  if (it == running_[process].end()) return;
  Occupy(it->second.node, -it->second.cpu_steps);
  running_[process].erase(it);
}

void Observer::OnDeclaredDead(NodeId node) {
  declared_dead_.insert(node.value);
  if (!deaths_are_true_) return;
  Require(cluster_.RayletDiedOn(cluster_.MachineOfNode(node)), "no_false_death",
          absl::StrCat("node ", node.Hex(), " is said to be dead and lives"));
}

void Observer::OnProcessDied(uint32_t process) {
  for (const auto& [id, running] : running_[process]) Occupy(running.node, -running.cpu_steps);
  running_.erase(process);
  if (auto it = actor_cpu_.find(process); it != actor_cpu_.end()) {
    Occupy(cluster_.MachineOf(process), -it->second);
    actor_cpu_.erase(it);
  }
  for (auto& [actor, hosts] : hosts_) {
    hosts.erase(std::remove_if(hosts.begin(), hosts.end(), [&](const ActorHost& h) { return h.process == process; }),
                hosts.end());
  }
}

// ---- the arena

void SimArena::Write(uint64_t offset, uint64_t size, uint64_t number) {
  auto it = blocks_.upper_bound(offset);
  if (it != blocks_.begin()) {
    auto before = std::prev(it);
    if (before->first + before->second.size > offset) it = before;
  }
  while (it != blocks_.end() && it->first < offset + size) it = blocks_.erase(it);
  blocks_[offset] = {size, number};
}

std::optional<uint64_t> SimArena::Peek(uint64_t offset, uint64_t size) const {
  auto it = blocks_.find(offset);
  if (it == blocks_.end() || it->second.size != size) return std::nullopt;
  return it->second.number;
}

uint64_t SimArena::Read(uint64_t offset, uint64_t size, const ObjectId& id) {
  const std::optional<uint64_t> number = Peek(offset, size);
  observer_->Require(number.has_value(), "bytes_are_where_they_are_said_to_be",
                     absl::StrCat(id.Hex(), " at ", offset, " + ", size));
  return number.value_or(0);
}

}  // namespace shoal::sim
