// Commands that ask a runtime and print the answer: status, list, why, token create.
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/bin/admin_client.h"
#include "runtime/bin/commands.h"
#include "runtime/bin/table.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::bin {
namespace {

using io::Json;

constexpr Duration kNodePatience = 3s;
constexpr char kDefaultTtl[] = "3600";
constexpr size_t kTaskIdDigits = 32;

struct Table {
  const char* name;                   // as people type it
  const char* kind;                   // as ListState has it
  bool of_raylets;                    // each raylet keeps its part
  std::vector<std::string> columns;   // for people; empty: all
};

const std::vector<Table>& Tables() {
  static const std::vector<Table> kTables = {
      {"nodes", "nodes", false, {"node_id", "name", "state", "reachable", "resources_total", "resources_available", "labels"}},
      {"actors", "actors", false, {"actor_id", "class_name", "name", "state", "node_id", "num_restarts", "death_cause"}},
      {"tasks", "tasks", true, {}},
      {"objects", "objects", true, {}},
      {"workers", "workers", false, {}},
      {"jobs", "jobs", false, {"job_id", "state", "user", "namespace", "entrypoint", "reason"}},
      {"leases", "leases", true, {}},
      {"placement-groups", "placement_groups", false, {"placement_group_id", "name", "state", "strategy", "job_id", "reason"}},
      {"demands", "demands", false, {}},
      {"events", "events", false, {}},
      {"head", "head", false, {"decisions", "decision_p50_us", "decision_p99_us", "decision_max_us", "turns", "turn_p99_us", "busy_s"}},
  };
  return kTables;
}

bool IsAlive(const Json& node) { return node.Text("state") == "ALIVE"; }

std::set<NodeId> AliveNodes(const Json& nodes) {
  std::set<NodeId> alive;
  for (const Json& node : nodes.items()) {
    NodeId id;
    if (IsAlive(node) && absl::SimpleHexAtoi(node.Text("node_id"), &id.value)) alive.insert(id);
  }
  return alive;
}

void Extend(Json* rows, const Json& more) {
  for (const Json& row : more.items()) rows->Append(row);
}

// The parts that the raylets keep, put together. A node that does not answer is left out, with a note.
absl::StatusOr<Json> ListAtRaylets(AdminClient* client, const std::string& kind, const std::string& argument) {
  absl::StatusOr<Json> nodes = client->List(Address::Head(), "nodes");
  Json rows = Json::Array();
  std::set<NodeId> ask;
  if (nodes.ok()) {
    ask = AliveNodes(*nodes);
  } else if (!client->at_head()) {
    ask = {client->node()};  // the head is away; this node can still speak for itself
  } else {
    return nodes.status();
  }
  for (const NodeId node : ask) {
    const absl::StatusOr<AdminClient::Answer> part = client->Ask(Address::Raylet(node), kind, argument, kNodePatience);
    if (part.ok()) {
      Extend(&rows, part->rows);
      if (!part->note.empty()) std::fprintf(stderr, "shoal: on node %s %s\n", node.Hex().c_str(), part->note.c_str());
    } else if (absl::IsInvalidArgument(part.status())) {
      return part.status();
    } else {
      std::fprintf(stderr, "shoal: node %s did not answer and is left out\n", node.Hex().c_str());
    }
  }
  return rows;
}

// A task that was pushed is a row of its owner and one of its worker, which knows better what it does.
Json MergeTasks(const Json& rows) {
  std::vector<Json> merged;
  std::map<std::string, size_t> places;
  for (const Json& row : rows.items()) {
    const auto [place, first] = places.try_emplace(row.Text("task_id"), merged.size());
    if (first) {
      merged.push_back(row);
      continue;
    }
    Json& known = merged[place->second];
    const Json& better = row.Find("caller") != nullptr ? row : known;
    Json both = row.Find("caller") != nullptr ? known : row;
    for (const auto& [name, value] : better.members()) both.Set(name, value);
    known = std::move(both);
  }
  Json all = Json::Array();
  for (Json& row : merged) all.Append(std::move(row));
  return all;
}

// Units as people think of them.
std::string Amounts(const Json* total, const Json* available) {
  std::string text;
  if (total == nullptr) return text;
  for (const auto& [name, amount] : total->members()) {
    const double free = available == nullptr ? 0 : available->Number(name);
    const double used = amount.number() - free;
    absl::StrAppend(&text, text.empty() ? "" : ", ");
    if (name == kMemory) {
      absl::StrAppend(&text, "memory ", FormatBytes(used), "/", FormatBytes(amount.number()));
    } else {
      absl::StrAppend(&text, name, " ", used, "/", amount.number());
    }
  }
  return text;
}

size_t CountState(const Json& rows, const std::string& state) {
  size_t count = 0;
  for (const Json& row : rows.items()) count += row.Text("state") == state ? 1 : 0;
  return count;
}

std::string Plural(size_t count, const std::string& one) { return absl::StrCat(count, " ", one, count == 1 ? "" : "s"); }

void PrintNodes(const Json& nodes) {
  Json rows = Json::Array();
  for (const Json& node : nodes.items()) {
    Json row = Json::Object();
    row.Set("node", node.Text("node_id")).Set("name", node.Text("name"));
    std::string state = node.Text("state");
    for (char& c : state) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (IsAlive(node) && node.Find("reachable") != nullptr && !node.Boolean("reachable")) state = "unreachable";
    row.Set("state", state).Set("used/total", IsAlive(node) ? Amounts(node.Find("resources_total"), node.Find("resources_available")) : "");
    row.Set("store", IsAlive(node) ? absl::StrCat(FormatBytes(node.Number("store_used_bytes")), "/",
                                                  FormatBytes(node.Number("store_capacity_bytes")))
                                   : "");
    row.Set("why", node.Text("death_reason"));
    rows.Append(std::move(row));
  }
  std::printf("%s", FormatTable(rows).c_str());
}

// No runtime answers: why, as far as its directory tells.
int StatusOfNothing(const Options& options, const std::string& directory, const absl::Status& status) {
  const std::string failed = io::ReadState(directory).Text("failed");
  if (options.Has("json")) {
    std::printf("%s\n", Json::Object().Set("running", false).Set("reason", failed.empty() ? std::string(status.message()) : failed)
                            .ToString().c_str());
  }
  if (!failed.empty()) return Complain(absl::NotFoundError(absl::StrCat("no runtime runs in ", directory, ": ", failed)));
  return Complain(status);
}

void PrintStatus(const Json& all) {
  const Json& nodes = *all.Find("nodes");
  if (!all.Boolean("head_reachable")) {
    const std::string stopped = StoppedDaemon(all.Text("runtime_dir"));
    const std::string waits = all.Text("head_waits").empty() ? stopped : all.Text("head_waits");
    std::printf("the head does not answer%s; running tasks go on, actors as long as its silence is short (docs/cli.md), and this node keeps trying to reach it\n",
                waits.empty() ? "" : absl::StrCat(" (", waits, ")").c_str());
    return;
  }
  const size_t alive = CountState(nodes, "ALIVE"), dead = nodes.items().size() - alive;
  std::printf("%s alive%s, %s, %s, cluster %s\n", Plural(alive, "node").c_str(),
              dead == 0 ? "" : absl::StrCat(", ", dead, " dead").c_str(),
              Plural(static_cast<size_t>(all.Number("jobs_running")), "running job").c_str(),
              Plural(static_cast<size_t>(all.Number("actors_alive")), "live actor").c_str(), all.Text("cluster_id").c_str());
  std::printf("%s\n", Amounts(all.Find("resources_total"), all.Find("resources_available")).c_str());
  PrintNodes(nodes);
}

}  // namespace

int Status(const Options& options) {
  const std::string directory = RuntimeDirectoryOf(options);
  absl::StatusOr<AdminClient> client = AdminClient::Connect(directory);
  if (!client.ok()) return StatusOfNothing(options, directory, client.status());

  Json all = Json::Object().Set("running", true);
  const Json state = io::ReadState(directory);
  for (const auto& [name, value] : state.members()) all.Set(name, value);
  bool reachable = true;
  if (!client->at_head()) {
    const absl::StatusOr<Json> host = client->List(Address::Raylet(client->node()), "host");
    if (!host.ok()) return Complain(host.status());
    const Json here = host->items().empty() ? Json::Object() : host->items()[0];
    reachable = here.Boolean("head_reachable");
    all.Set("cluster_id", here.Text("cluster_id"));
  }
  absl::StatusOr<Json> nodes = Json::Array();
  if (reachable) nodes = client->List(Address::Head(), "nodes");
  all.Set("head_reachable", reachable && nodes.ok()).Set("nodes", nodes.ok() ? *nodes : Json::Array());
  if (all.Boolean("head_reachable")) {
    const absl::StatusOr<Json> jobs = client->List(Address::Head(), "jobs"), actors = client->List(Address::Head(), "actors"),
                               resources = client->List(Address::Head(), "resources");
    for (const absl::Status& status : {jobs.status(), actors.status(), resources.status()}) {
      if (!status.ok()) return Complain(status);
    }
    all.Set("jobs_running", static_cast<uint64_t>(CountState(*jobs, "RUNNING")));
    all.Set("actors_alive", static_cast<uint64_t>(CountState(*actors, "ALIVE")));
    if (!resources->items().empty()) {
      for (const char* name : {"total", "available"}) {
        const Json* amounts = resources->items()[0].Find(name);
        if (amounts != nullptr) all.Set(absl::StrCat("resources_", name), *amounts);
      }
    }
  }
  if (options.Has("json")) {
    std::printf("%s\n", all.ToString().c_str());
  } else {
    PrintStatus(all);
  }
  return kOk;
}

// Those in which a column begins with `id`.
Json Naming(const Json& rows, const std::string& id) {
  Json found = Json::Array();
  for (const Json& row : rows.items()) {
    const bool names = std::any_of(row.members().begin(), row.members().end(), [&](const auto& member) {
      return member.second.kind() == Json::Kind::kString && absl::StartsWith(member.second.text(), id);
    });
    if (names) found.Append(row);
  }
  return found;
}

int List(const Options& options) {
  std::vector<std::string> names;
  for (const Table& table : Tables()) names.emplace_back(table.name);
  std::string name = options.positional().empty() ? "" : options.positional()[0];
  for (char& c : name) c = c == '_' ? '-' : c;
  const Table* found = nullptr;
  for (const Table& table : Tables()) {
    if (name == table.name) found = &table;
  }
  if (found == nullptr || options.positional().size() > 2) {
    std::string all;
    for (const std::string& one : names) absl::StrAppend(&all, all.empty() ? "" : ", ", one);
    return Complain(absl::InvalidArgumentError(absl::StrCat("say what to list: ", all)));
  }
  absl::StatusOr<AdminClient> client = AdminClient::Connect(RuntimeDirectoryOf(options));
  if (!client.ok()) return Complain(client.status());
  if (name == "head" && !client->at_head()) {
    return Complain(absl::FailedPreconditionError("the head's own figures are shown where it runs; run `shoal list head` there"));
  }
  const std::string argument = options.positional().size() > 1 ? options.positional()[1] : "";
  absl::StatusOr<Json> rows =
      found->of_raylets ? ListAtRaylets(&*client, found->kind, "") : client->List(Address::Head(), found->kind, argument);
  if (!rows.ok()) return Complain(rows.status());
  if (name == "tasks") rows = MergeTasks(*rows);
  if (!argument.empty()) rows = Naming(*rows, argument);
  if (options.Has("json")) {
    std::printf("%s\n", rows->ToString().c_str());
  } else if (rows->items().empty()) {
    std::printf("no %s\n", found->name);
  } else {
    std::printf("%s", FormatTable(*rows, found->columns).c_str());
  }
  return kOk;
}

// Rows that explain why leases, actors and placement groups wait: those of the head, then what a raylet will place by itself, which has
// not reached the head. An error only if nobody can be asked.
absl::StatusOr<Json> Explanations(AdminClient* client, const std::string& id) {
  absl::StatusOr<Json> rows = client->List(Address::Head(), "why", id);
  if (!rows.ok()) return rows;
  std::set<std::string> explained;
  for (const Json& row : rows->items()) explained.insert(row.Text("shape"));
  const absl::StatusOr<Json> local = ListAtRaylets(client, "why", id);
  for (const Json& row : local.ok() ? local->items() : std::vector<Json>()) {
    const bool asked = id.empty() || id.substr(0, 16) == row.Text("owner").substr(0, 16);
    if (asked && !explained.contains(row.Text("shape"))) rows->Append(row);
  }
  return rows;
}

// The row of one task, and if it is queued the demand of its owner for its shape.
absl::StatusOr<Json> WhyTask(AdminClient* client, const std::string& id) {
  absl::StatusOr<Json> tasks = ListAtRaylets(client, "tasks", id);
  if (!tasks.ok()) return tasks;
  const Json merged = MergeTasks(*tasks);
  for (const Json& task : merged.items()) {
    if (task.Text("task_id") != id) continue;
    Json rows = Json::Array().Append(task);
    if (task.Text("state") != "queued") return rows;
    absl::StatusOr<Json> demands = Explanations(client, id);
    if (!demands.ok()) return demands;
    for (const Json& demand : demands->items()) {
      if (demand.Text("shape") == task.Text("shape")) rows.Append(demand);
    }
    return rows;
  }
  return absl::NotFoundError(absl::StrCat("no task ", id, " waits or runs, as far as the nodes that answered list them; see `shoal list tasks`"));
}

int Why(const Options& options) {
  if (options.positional().size() > 1) return Complain(absl::InvalidArgumentError("`shoal why` takes one id; see `shoal list tasks`"));
  const std::string id = options.positional().empty() ? "" : options.positional()[0];
  absl::StatusOr<AdminClient> client = AdminClient::Connect(RuntimeDirectoryOf(options));
  if (!client.ok()) return Complain(client.status());
  const absl::StatusOr<Json> rows = id.size() == kTaskIdDigits ? WhyTask(&*client, id) : Explanations(&*client, id);
  // NotFound would mean that no runtime runs.
  if (absl::IsNotFound(rows.status())) return Complain(absl::UnavailableError(rows.status().message()));
  if (!rows.ok()) return Complain(rows.status());
  if (options.Has("json")) {
    std::printf("%s\n", rows->ToString().c_str());
  } else if (rows->items().empty()) {
    std::printf("%s\n", id.empty() ? "nothing waits" : absl::StrCat("nothing of ", id, " waits").c_str());
  }
  if (options.Has("json") || rows->items().empty()) return kOk;
  for (const Json& row : rows->items()) {
    Json summary = Json::Array();
    Json head = row;
    head.Remove("nodes");
    std::printf("%s", FormatTable(summary.Append(std::move(head))).c_str());
    if (const Json* nodes = row.Find("nodes"); nodes != nullptr && nodes->is_array()) std::printf("%s", FormatTable(*nodes).c_str());
    std::printf("\n");
  }
  return kOk;
}

int CreateToken(const Options& options) {
  const std::string directory = RuntimeDirectoryOf(options);
  absl::StatusOr<AdminClient> client = AdminClient::Connect(directory);
  if (!client.ok()) return Complain(client.status());
  if (!client->at_head()) {
    return Complain(absl::FailedPreconditionError("tokens are made where the head runs; run `shoal token create` there"));
  }
  const absl::StatusOr<Json> rows = client->List(Address::Head(), "token", options.Get("ttl", kDefaultTtl));
  if (!rows.ok()) return Complain(rows.status());
  const Json row = rows->items().empty() ? Json::Object() : rows->items()[0];
  if (row.Find("error") != nullptr) return Complain(absl::InvalidArgumentError(row.Text("error")));
  if (options.Has("json")) {
    std::printf("%s\n", row.ToString().c_str());
    return kOk;
  }
  const std::string address = io::ReadState(directory).Text("address");
  std::printf("shoal start --address %s --token %s\n", address.c_str(), row.Text("token").c_str());
  std::fprintf(stderr, "run this line on the machine that shall join; it works once, within %s seconds\n",
               options.Get("ttl", kDefaultTtl).c_str());
  return kOk;
}

}  // namespace shoal::bin
