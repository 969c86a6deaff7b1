#include "runtime/raylet/reports.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/json.h"

namespace shoal::raylet {
namespace {

constexpr Duration kAskWorkersFor = 1s;
constexpr size_t kMaxQueries = 64;

WorkerReport Describe(const Worker& worker) {
  WorkerReport report;
  report.worker = worker.id;
  report.role = worker.role;
  report.job = worker.job;
  report.pid = worker.pid;
  report.state = Name(worker.state);
  return report;
}

}  // namespace

// ---- to the head

void Reports::Changed(TimePoint now) {
  Duration delay = parts_.options->report_delay;
  if (SHOAL_BUGGIFY("raylet.slow_report")) delay *= 20;
  if (!due_ || now + delay < *due_) due_ = now + delay;
}

bool Reports::Settle(const Turn& t) {
  if (!due_ || t.now < *due_) return false;
  Send(t);
  return true;
}

void Reports::Send(const Turn& t) {
  due_ = t.now + parts_.options->report_every;
  NodeReport& report = Post<NodeReport>(t, Address::Head());
  report.node = parts_.options->info.id;
  report.incarnation = parts_.options->info.incarnation;
  report.version = ++version_;
  report.available = parts_.resources->node().free();
  for (const auto& [id, lease] : parts_.leases->all()) {
    report.leases.push_back({id, lease.shape, lease.owner, lease.worker, lease.resources});
  }
  for (const auto& [id, actor] : parts_.actors->all()) {
    report.actors.push_back({id, actor.incarnation, actor.worker, actor.stage == ActorStage::kAlive});
  }
  for (const auto& [key, bundle] : parts_.resources->bundles()) {
    if (bundle.state == BundleState::kReturning) continue;
    report.bundles.push_back({key.first, key.second, bundle.state == BundleState::kCommitted});
  }
  for (const auto& [id, worker] : parts_.pool->workers()) report.workers.push_back(Describe(*worker));
  report.store_used_bytes = parts_.store->used_bytes();
  report.store_objects = parts_.store->objects();
  report.store_capacity_bytes = parts_.store->capacity_bytes();
}

// ---- to people

void StateTables::OnListState(const Turn& t, const Address& from, const ListState& message) {
  if (message.kind == "tasks") return Ask(t, from, message);
  ListStateReply reply;
  reply.request = message.request;
  if (message.kind == "workers") {
    reply.json = Workers(message.limit);
  } else if (message.kind == "leases") {
    reply.json = LeaseRows(message.limit);
  } else if (message.kind == "objects") {
    reply.json = parts_.store->ListObjects(message.limit);
  } else if (message.kind == "resources") {
    reply.json = ResourceRows();
  } else if (message.kind == "why") {
    reply.json = parts_.demands->Explain(t.now, message.limit);
  } else {
    reply.error = MakeError(ErrorKind::kInvalidArgument,
                            absl::StrCat("a raylet keeps workers, leases, objects, tasks, resources and why, not \"",
                                         message.kind, "\"; ask the head"));
  }
  Post<ListStateReply>(t, from) = std::move(reply);
}

void StateTables::Ask(const Turn& t, const Address& from, const ListState& message) {
  if (queries_.size() >= kMaxQueries) {
    ListStateReply& busy = Post<ListStateReply>(t, from);
    busy.request = message.request;
    busy.error = MakeError(ErrorKind::kSystem, "too many questions are open on this node; ask again later");
    return;
  }
  const RequestId id = rng_.NewId<RequestId>();
  Query& query = queries_[id];
  query.asker = from;
  query.request = message.request;
  query.deadline = t.now + kAskWorkersFor;
  for (Worker* worker : parts_.pool->Registered()) {
    if (worker->role == Role::kAdmin) continue;
    query.open.insert(worker->id);
    ListState& ask = Post<ListState>(t, parts_.pool->AddressOf(*worker));
    ask = message;
    ask.request = id;
  }
  if (query.open.empty()) Answer(t, id);
}

void StateTables::OnReply(const Turn& t, const Worker& worker, ListStateReply&& message) {
  auto it = queries_.find(message.request);
  if (it == queries_.end() || it->second.open.erase(worker.id) == 0) return;
  std::string& json = message.json;
  if (json.size() > 2 && json.front() == '[' && json.back() == ']') {
    absl::StrAppend(&it->second.rows, it->second.rows.empty() ? "" : ",", json.substr(1, json.size() - 2));
  }
  if (it->second.open.empty()) Answer(t, it->first);
}

void StateTables::Answer(const Turn& t, RequestId id) {
  auto it = queries_.find(id);
  ListStateReply& reply = Post<ListStateReply>(t, it->second.asker);
  reply.request = it->second.request;
  reply.json = absl::StrCat("[", it->second.rows, "]");
  for (const WorkerId worker : it->second.open) {
    const Worker* silent = parts_.pool->Find(worker);
    if (silent == nullptr) continue;
    absl::StrAppend(&reply.note, reply.note.empty() ? "" : ", ", silent->role == Role::kDriver ? "the driver" : "a worker", " with pid ",
                    silent->pid);
  }
  if (!reply.note.empty()) absl::StrAppend(&reply.note, " did not answer within ", kAskWorkersFor / 1s, " s, and what it knows is left out");
  queries_.erase(it);
}

void StateTables::WorkerGone(const Turn& t, WorkerId worker) {
  std::vector<RequestId> complete;
  for (auto& [id, query] : queries_) {
    if (query.open.erase(worker) > 0 && query.open.empty()) complete.push_back(id);
  }
  for (RequestId id : complete) Answer(t, id);
}

void StateTables::Tick(const Turn& t) {
  std::vector<RequestId> late;
  for (const auto& [id, query] : queries_) {
    if (query.deadline <= t.now) late.push_back(id);
  }
  for (RequestId id : late) Answer(t, id);
}

std::optional<TimePoint> StateTables::NextDeadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, query] : queries_) Earliest(&next, query.deadline);
  return next;
}

std::string StateTables::Workers(uint32_t limit) const {
  std::string rows = "[";
  uint32_t count = 0;
  for (const auto& [id, worker] : parts_.pool->workers()) {
    if (count++ >= limit) break;
    absl::StrAppend(&rows, count > 1 ? "," : "", "{\"worker\":\"", id.Hex(), "\",\"node\":\"",
                    parts_.options->info.id.Hex(), "\",\"job\":\"", worker->job.Hex(), "\",\"pid\":", worker->pid,
                    ",\"state\":\"", Name(worker->state), "\",\"blocked\":", worker->blocked ? "true" : "false",
                    ",\"holds\":", JsonQuote(worker->held.allocation.amounts.ToString()), "}");
  }
  return rows + "]";
}

std::string StateTables::LeaseRows(uint32_t limit) const {
  std::string rows = "[";
  uint32_t count = 0;
  for (const auto& [id, lease] : parts_.leases->all()) {
    if (count++ >= limit) break;
    absl::StrAppend(&rows, count > 1 ? "," : "", "{\"lease\":\"", id.Hex(), "\",\"node\":\"",
                    parts_.options->info.id.Hex(), "\",\"state\":\"", Name(lease.state), "\",\"owner\":\"",
                    lease.owner.worker.Hex(), "\",\"job\":\"", lease.job.Hex(), "\",\"worker\":\"", lease.worker.Hex(),
                    "\",\"resources\":", JsonQuote(lease.resources.ToString()), "}");
  }
  return rows + "]";
}

std::string StateTables::ResourceRows() const {
  const ResourcePool& node = parts_.resources->node();
  return absl::StrCat("[{\"node\":\"", parts_.options->info.id.Hex(), "\",\"total\":", JsonQuote(node.total().ToString()),
                      ",\"free\":", JsonQuote(node.free().ToString()), "}]");
}

std::string DescribeRemains(const Parts& parts) {
  std::string remains;
  auto add = [&](const std::string& what) { absl::StrAppend(&remains, remains.empty() ? "" : ", ", what); };
  if (!parts.leases->all().empty()) add(absl::StrCat(parts.leases->all().size(), " leases"));
  if (parts.demands->size() > 0) add(absl::StrCat(parts.demands->size(), " demands"));
  if (!parts.actors->all().empty()) add(absl::StrCat(parts.actors->all().size(), " actors"));
  if (!parts.resources->bundles().empty()) add(absl::StrCat(parts.resources->bundles().size(), " bundles"));
  for (const auto& [id, worker] : parts.pool->workers()) {
    if (worker->state != WorkerState::kIdle) add(absl::StrCat("a worker that is ", Name(worker->state)));
  }
  const ResourcePool& node = parts.resources->node();
  if (node.free() != node.total()) add(absl::StrCat("only ", node.free().ToString(), " free"));
  const std::string stored = parts.store->Remains();
  if (!stored.empty()) add(stored);
  return remains;
}

}  // namespace shoal::raylet
