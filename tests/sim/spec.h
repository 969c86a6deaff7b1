// What a run consists of: workloads and faults by name, as a short text.
//
//   name kills
//   workloads fan_out chain actor_order
//   faults kill_worker kill_raylet kill_head
//   nodes 5..20
//   seconds 60
//   swarm
//
// With `swarm` each seed takes a random part of the workloads and faults, which finds more than all of them every time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace shoal::sim {

struct Spec {
  std::string name;
  std::vector<std::string> workloads;
  std::vector<std::string> faults;
  uint32_t nodes_min = 5, nodes_max = 20;
  uint32_t seconds = 60;  // simulated, over all phases; faults end after 60 % of them
  bool swarm = false;
};

// InvalidArgument for an unknown word, workload or fault.
absl::StatusOr<Spec> ParseSpec(std::string_view text);
// A built-in spec (mixed, quiet, fair, crowded, kills, network, tasks, objects, actors), or a file of that name.
absl::StatusOr<Spec> FindSpec(const std::string& name);

}  // namespace shoal::sim
