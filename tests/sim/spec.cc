#include "tests/sim/spec.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/sim/faults.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

constexpr char kBuiltIn[] = R"(
name mixed
workloads fan_out chain nested cancel retry borrow large actor_state actor_order named_actors driver_death groups
faults kill_worker kill_raylet kill_head pause slow clog swizzle cut cut_one_way isolate lossy drift small_store buggify
swarm

name quiet
workloads fan_out chain nested cancel retry borrow large actor_state actor_order named_actors groups

name fair
workloads hog

name crowded
workloads hog fan_out nested actor_order groups
faults kill_worker kill_raylet kill_head lossy cut small_store buggify
swarm

name kills
workloads fan_out chain nested retry borrow large actor_state actor_order driver_death groups
faults kill_worker kill_raylet kill_head buggify
swarm

name network
workloads fan_out chain nested borrow large actor_state actor_order named_actors groups
faults clog swizzle cut cut_one_way isolate lossy drift buggify
swarm

name tasks
workloads fan_out chain nested cancel retry driver_death
faults kill_worker kill_raylet lossy clog buggify
swarm

name objects
workloads borrow large actor_state chain driver_death
faults kill_worker kill_raylet lossy clog small_store buggify
swarm

name actors
workloads actor_order actor_state named_actors driver_death groups
faults kill_worker kill_raylet kill_head lossy isolate cut cut_one_way drift pause buggify
swarm
)";

absl::Status ParseLine(std::string_view raw, Spec* spec) {
  std::vector<std::string> words =
      absl::StrSplit(absl::string_view(raw.data(), raw.size()), ' ', absl::SkipEmpty());
  if (words.empty()) return absl::OkStatus();
  const std::string key = words[0];
  words.erase(words.begin());
  auto known = [&words](const std::vector<std::string>& names) {
    return std::all_of(words.begin(), words.end(), [&](const std::string& word) {
      return std::find(names.begin(), names.end(), word) != names.end();
    });
  };
  if (key == "name" && words.size() == 1) {
    spec->name = words[0];
  } else if (key == "workloads" && known(WorkloadNames())) {
    spec->workloads = words;
  } else if (key == "faults" && known(FaultNames())) {
    spec->faults = words;
  } else if (key == "swarm" && words.empty()) {
    spec->swarm = true;
  } else if (key == "seconds" && words.size() == 1 && absl::SimpleAtoi(words[0], &spec->seconds)) {
    return absl::OkStatus();
  } else if (key == "nodes" && words.size() == 1) {
    const std::vector<std::string> range = absl::StrSplit(words[0], "..");
    if (!absl::SimpleAtoi(range.front(), &spec->nodes_min) || !absl::SimpleAtoi(range.back(), &spec->nodes_max) ||
        spec->nodes_min < 1 || spec->nodes_max < spec->nodes_min) {
      return absl::InvalidArgumentError("nodes wants LOW..HIGH, for example nodes 5..20");
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("do not understand the line \"", absl::string_view(raw.data(), raw.size()),
                     "\"; see tests/sim/spec.h for the words"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Spec> ParseSpec(std::string_view text) {
  Spec spec;
  for (absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    const absl::Status status = ParseLine(std::string_view(line.data(), line.size()), &spec);
    if (!status.ok()) return status;
  }
  if (spec.workloads.empty()) return absl::InvalidArgumentError("a spec needs a line \"workloads ...\"");
  return spec;
}

absl::StatusOr<Spec> FindSpec(const std::string& name) {
  for (absl::string_view text : absl::StrSplit(absl::string_view(kBuiltIn), "\n\n")) {
    absl::StatusOr<Spec> spec = ParseSpec(std::string_view(text.data(), text.size()));
    if (!spec.ok()) return spec;
    if (spec->name == name) return spec;
  }
  std::ifstream file(name);
  if (!file) {
    return absl::NotFoundError(absl::StrCat(
        "no spec is called ", name, "; there are mixed, quiet, fair, crowded, kills, network, tasks, objects, actors, or name a file"));
  }
  std::ostringstream text;
  text << file.rdbuf();
  return ParseSpec(text.str());
}

}  // namespace shoal::sim
