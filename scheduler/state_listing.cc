#include "scheduler/state_listing.h"

#include <algorithm>

#include "base/json.h"

namespace shoal::scheduler {
namespace {

// "Counter" of its constructor's name "Counter.__init__".
std::string_view ClassOf(std::string_view creation) {
  constexpr std::string_view kConstructor = ".__init__";
  if (creation.ends_with(kConstructor)) creation.remove_suffix(kConstructor.size());
  return creation;
}

constexpr uint32_t kMostRows = 10'000;
constexpr size_t kMostBytes = 8u << 20;  // replies travel inside one message

class Rows {
 public:
  Rows(const Tables& tables, TimePoint now, const ListState& message)
      : tables_(tables), now_(now), argument_(message.argument), limit_(std::min(message.limit, kMostRows)) {
    json_.BeginArray();
  }
  std::string Finish() && {
    json_.EndArray();
    return std::move(json_).Finish();
  }

  void Nodes();
  void Actors();
  void Jobs();
  void Groups();
  void Resources();
  void Leases();
  void Workers();
  void Demands();
  void Events();
  void Why();

 private:
  // False if no more row is wanted.
  bool Row() { return rows_++ < limit_ && json_.size() < kMostBytes; }
  void Map(std::string_view key, const StringMap& map);
  void WhyOfNeed(NeedId need, const Strategy& strategy);
  void WhyShape(ShapeId id, const ShapeRecord& record);
  void WhyActor(const ActorRecord& actor);
  void WhyGroup(const GroupRecord& group);
  bool Asked(const std::string& hex) const { return argument_.empty() || argument_ == hex; }

  const Tables& tables_;
  const TimePoint now_;
  const std::string& argument_;
  const uint32_t limit_;
  uint32_t rows_ = 0;
  JsonWriter json_;
};

double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

const char* StrategyName(PackStrategy strategy) {
  constexpr const char* kNames[] = {"PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"};
  return kNames[static_cast<int>(strategy)];
}

void Rows::Map(std::string_view key, const StringMap& map) {
  json_.Key(key).BeginObject();
  for (const auto& [name, value] : map) json_.Field(name, value);
  json_.EndObject();
}

void Rows::Nodes() {
  for (const auto& [id, node] : tables_.shared.cluster.nodes()) {
    if (!Asked(id.Hex())) continue;
    if (!Row()) return;
    const NodeInfo& info = node->info;
    const NodeReport& report = node->report;
    json_.BeginObject().Field("node_id", id.Hex()).Field("name", info.name);
    json_.Field("state", node->alive() ? "ALIVE" : NameOf(node->state)).Field("reported", node->state == NodeState::kReady);
    json_.Field("incarnation", absl::StrCat(absl::Hex(info.incarnation, absl::kZeroPad16)));
    json_.Field("resources_total", info.total).Field("resources_available", report.available);
    Map("labels", info.labels);
    json_.Field("control_endpoint", info.control_endpoint).Field("bulk_endpoint", info.bulk_endpoint);
    json_.Field("owner", info.owner).Field("site", info.site).Field("region", info.region);
    json_.Field("store_used_bytes", report.store_used_bytes).Field("store_capacity_bytes", report.store_capacity_bytes);
    json_.Field("store_objects", report.store_objects);
    json_.Field("workers", report.workers.size()).Field("leases", report.leases.size());
    json_.Field("actors", report.actors.size()).Field("death_reason", node->death_reason).EndObject();
  }
}

void Rows::Actors() {
  for (const auto& [id, actor] : tables_.actors.actors()) {
    if (!actor.announced || !Asked(id.Hex())) continue;
    if (!Row()) return;
    const ActorSpec& spec = actor.spec;
    json_.BeginObject().Field("actor_id", id.Hex()).Field("class_name", ClassOf(spec.creation.name));
    json_.Field("state", NameOf(actor.state)).Field("name", spec.name).Field("ray_namespace", spec.ns);
    json_.Field("job_id", spec.job.Hex()).Field("is_detached", spec.detached).Field("owner", spec.owner.ToString());
    json_.Field("node_id", actor.node ? actor.node.Hex() : "").Field("worker_id", actor.worker ? actor.worker.Hex() : "");
    json_.Field("incarnation", actor.incarnation).Field("num_restarts", actor.restarts);
    json_.Field("max_restarts", spec.max_restarts).Field("required_resources", spec.shape.resources);
    json_.Field("placement_resources", spec.placement);
    const Strategy& strategy = spec.shape.strategy;
    const bool in_group = strategy.kind == StrategyKind::kPlacementGroup;
    json_.Field("placement_group_id", in_group ? strategy.group.Hex() : "").Field("death_cause", actor.error.message).EndObject();
  }
}

void Rows::Jobs() {
  for (const auto& [id, job] : tables_.jobs.jobs()) {
    if (!Asked(id.Hex())) continue;
    if (!Row()) return;
    json_.BeginObject().Field("job_id", id.Hex()).Field("state", NameOf(job.state)).Field("reason", job.reason);
    json_.Field("driver_node_id", job.info.driver.node.Hex()).Field("driver_id", job.info.driver.worker.Hex());
    json_.Field("namespace", job.info.ns).Field("entrypoint", job.info.entrypoint).Field("user", job.info.user).EndObject();
  }
}

void Rows::Groups() {
  for (const auto& [id, group] : tables_.groups.groups()) {
    if (!group.announced || !Asked(id.Hex())) continue;
    if (!Row()) return;
    json_.BeginObject().Field("placement_group_id", id.Hex()).Field("name", group.spec.name);
    json_.Field("namespace", group.spec.ns).Field("state", NameOf(group.state)).Field("strategy", StrategyName(group.spec.strategy));
    json_.Field("job_id", group.spec.job.Hex()).Field("is_detached", group.spec.detached);
    json_.Field("reason", group.reason).Field("error", group.error.message).Key("bundles").BeginArray();
    for (size_t i = 0; i < group.spec.bundles.size(); ++i) {
      const bool held = i < group.places.size() && group.held(i);
      json_.BeginObject().Field("bundle_index", i).Field("resources", group.spec.bundles[i]);
      json_.Field("node_id", held ? group.places[i].node.Hex() : "").EndObject();
    }
    json_.EndArray().EndObject();
  }
}

void Rows::Resources() {
  ResourceSet total, available;
  for (const auto& [id, node] : tables_.shared.cluster.nodes()) {
    if (!node->alive()) continue;
    total += node->info.total;
    available += node->report.available;
  }
  json_.BeginObject().Field("total", total).Field("available", available);
  json_.Field("nodes", tables_.shared.cluster.alive_count()).EndObject();
}

void Rows::Leases() {
  for (const auto& [id, node] : tables_.shared.cluster.nodes()) {
    for (const LeaseReport& lease : node->report.leases) {
      if (!Asked(lease.lease.Hex())) continue;
      if (!Row()) return;
      json_.BeginObject().Field("lease_id", lease.lease.Hex()).Field("node_id", id.Hex());
      json_.Field("worker_id", lease.worker.Hex()).Field("owner", lease.owner.ToString());
      json_.Field("shape", lease.shape.Hex()).Field("resources", lease.resources).EndObject();
    }
  }
}

void Rows::Workers() {
  constexpr const char* kRoles[] = {"HEAD", "RAYLET", "DRIVER", "WORKER", "ADMIN"};
  for (const auto& [id, node] : tables_.shared.cluster.nodes()) {
    for (const WorkerReport& worker : node->report.workers) {
      if (!Asked(worker.worker.Hex())) continue;
      if (!Row()) return;
      const size_t role = std::min<size_t>(static_cast<size_t>(worker.role), std::size(kRoles) - 1);
      json_.BeginObject().Field("worker_id", worker.worker.Hex()).Field("node_id", id.Hex());
      json_.Field("worker_type", kRoles[role]).Field("state", worker.state).Field("pid", worker.pid);
      json_.Field("job_id", worker.job.Hex()).EndObject();
    }
  }
}

void Rows::Demands() {
  for (const auto& [id, record] : tables_.leases.shapes()) {
    for (const auto& [owner, demand] : record.demands) {
      if (!Asked(id.Hex())) continue;
      if (!Row()) return;
      json_.BeginObject().Field("shape", id.Hex()).Field("owner", owner.ToString());
      json_.Field("resources", record.shape.resources).Field("wanted", demand.wanted);
      json_.Field("on_its_way", demand.on_its_way).Field("waiting_s", Seconds(now_ - demand.since)).EndObject();
    }
  }
}

void Rows::Events() {
  const auto& kept = tables_.shared.log.kept();
  size_t first = kept.size() > limit_ ? kept.size() - limit_ : 0;
  for (; first < kept.size(); ++first) {
    const ClusterEvent& event = kept[first].event;
    if (!argument_.empty() && event.subject.find(argument_) == std::string::npos) continue;
    if (!Row()) return;
    json_.BeginObject().Field("age_s", Seconds(now_ - kept[first].at)).Field("subject", event.subject);
    json_.Field("from", event.from).Field("to", event.to).Field("reason", event.reason).EndObject();
  }
}

// ---- why does it not run

void Rows::WhyOfNeed(NeedId need, const Strategy& strategy) {
  json_.Key("nodes").BeginArray();
  for (const auto& [id, node] : tables_.shared.cluster.nodes()) {
    if (!node->alive() || json_.size() > kMostBytes) continue;
    bool never = false;
    std::string reason = tables_.shared.cluster.index().WhyNot(need, node->slot, &never);
    if (strategy.kind == StrategyKind::kNodeAffinity && !strategy.soft && strategy.node != id) {
      reason = absl::StrCat("it must run on node ", strategy.node.Hex());
      never = true;
    }
    if (node->state != NodeState::kReady && !never) reason = "it has not reported since it registered";
    if (reason.empty()) reason = "it has room; a grant is on its way";
    json_.BeginObject().Field("node_id", id.Hex()).Field("reason", reason).Field("never", never).EndObject();
  }
  json_.EndArray();
}

void Rows::WhyShape(ShapeId id, const ShapeRecord& record) {
  const Strategy& strategy = record.shape.strategy;
  for (const auto& [owner, demand] : record.demands) {
    // A task is named by its owner and a number: 32 digits that begin with the owner.
    const bool asked = Asked(id.Hex()) || argument_.substr(0, 16) == owner.worker.Hex();
    if (!asked) continue;
    if (!Row()) return;
    json_.BeginObject().Field("kind", "lease").Field("shape", id.Hex()).Field("owner", owner.ToString());
    json_.Field("resources", record.shape.resources).Field("wanted", demand.wanted).Field("on_its_way", demand.on_its_way);
    json_.Field("waiting_s", Seconds(now_ - demand.since));
    if (strategy.kind == StrategyKind::kPlacementGroup) {
      const GroupRecord* group = tables_.groups.Find(strategy.group);
      json_.Field("placement_group_id", strategy.group.Hex());
      json_.Field("reason", group == nullptr || group->state != PlacementGroupStateKind::kCreated
                                ? absl::StrCat("its placement group is not ready: ", group == nullptr ? "" : group->reason)
                                : std::string("its bundles are full"));
    }
    WhyOfNeed(record.need, strategy);
    json_.EndObject();
  }
}

void Rows::WhyActor(const ActorRecord& actor) {
  const bool waits = actor.state == ActorState::kPending || actor.state == ActorState::kRestarting;
  if (!waits || !Asked(actor.spec.id.Hex()) || !Row()) return;
  json_.BeginObject().Field("kind", "actor").Field("actor_id", actor.spec.id.Hex()).Field("state", NameOf(actor.state));
  json_.Field("placement_resources", actor.spec.placement).Field("reason", tables_.actors.WhyWaiting(actor));
  if (actor.has_need) WhyOfNeed(actor.need, actor.spec.shape.strategy);
  json_.EndObject();
}

void Rows::WhyGroup(const GroupRecord& group) {
  const bool waits = group.state != PlacementGroupStateKind::kCreated && group.state != PlacementGroupStateKind::kRemoved;
  if (!waits || !Asked(group.spec.id.Hex()) || !Row()) return;
  json_.BeginObject().Field("kind", "placement_group").Field("placement_group_id", group.spec.id.Hex());
  const std::string never = tables_.groups.WhyNever(group);
  json_.Field("state", NameOf(group.state)).Field("reason", never.empty() ? group.reason : never).Field("never", !never.empty());
  json_.EndObject();
}

void Rows::Why() {
  for (const auto& [id, record] : tables_.leases.shapes()) WhyShape(id, record);
  for (const auto& [id, actor] : tables_.actors.actors()) WhyActor(actor);
  for (const auto& [id, group] : tables_.groups.groups()) WhyGroup(group);
}

constexpr struct {
  const char* kind;
  void (Rows::*list)();
} kKinds[] = {
    {"nodes", &Rows::Nodes},         {"actors", &Rows::Actors},   {"jobs", &Rows::Jobs},
    {"placement_groups", &Rows::Groups}, {"resources", &Rows::Resources}, {"leases", &Rows::Leases},
    {"workers", &Rows::Workers},     {"demands", &Rows::Demands}, {"events", &Rows::Events},
    {"why", &Rows::Why},
};

}  // namespace

ListStateReply ListTable(const Tables& tables, TimePoint now, const ListState& message) {
  ListStateReply reply;
  reply.request = message.request;
  for (const auto& [kind, list] : kKinds) {
    if (message.kind != kind) continue;
    Rows rows(tables, now, message);
    (rows.*list)();
    reply.json = std::move(rows).Finish();
    return reply;
  }
  std::string kinds;
  for (const auto& known : kKinds) absl::StrAppend(&kinds, kinds.empty() ? "" : ", ", known.kind);
  reply.error = MakeError(ErrorKind::kInvalidArgument,
                          absl::StrCat("the head has no table \"", message.kind, "\"; it has ", kinds));
  reply.json = "[]";
  return reply;
}

}  // namespace shoal::scheduler
