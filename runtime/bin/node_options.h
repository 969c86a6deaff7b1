// What `shoal start` says about a node, as the processes of the node need it: options in, NodeInfo and friends out.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/bin/options.h"
#include "runtime/io/node_resources.h"
#include "schema/messages.h"

namespace shoal::bin {

// Options that describe a node; passed on from `start` to the nanny and from it to the raylet.
const std::vector<OptionSpec>& NodeOptionSpecs();
// Those of them that were given, as words.
std::vector<std::string> NodeWords(const Options& options);

struct NodeOptions {
  NodeInfo info;             // resources, labels, name, hardware; no id yet
  uint64_t arena_bytes = 0;
  std::string python;
};

// "H100" of "NVIDIA H100 80GB HBM3": the first word with a digit. A node offers its GPUs also as `accelerator_type:H100`.
std::string AcceleratorType(const std::string& gpu_model);

// InvalidArgument names the option that is wrong.
absl::StatusOr<NodeOptions> NodeOptionsOf(const Options& options, const io::MeasuredNode& measured);

}  // namespace shoal::bin
