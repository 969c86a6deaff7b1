#include "runtime/bin/node_options.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/io/json.h"

namespace shoal::bin {

std::string AcceleratorType(const std::string& gpu_model) {
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(gpu_model, absl::ByAnyChar(" -"), absl::SkipEmpty()))) {
    const bool has_digit = std::any_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (has_digit) return word;
  }
  return gpu_model;
}

namespace {

constexpr double kMostUnits = 1e6;
constexpr double kMemoryShare = 0.7, kStoreShare = 0.3;
constexpr uint64_t kMinStore = uint64_t{64} << 20, kMaxStore = uint64_t{200} << 30;

using Amounts = std::vector<std::pair<std::string, double>>;

// {"name": amount, ...} of --resources.
absl::Status AddCustom(const std::string& text, Amounts* amounts) {
  if (text.empty()) return absl::OkStatus();
  const absl::StatusOr<io::Json> json = io::Json::Parse(text);
  if (!json.ok() || !json->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat("--resources wants JSON such as '{\"disk\": 2}', not '", text, "'"));
  }
  for (const auto& [name, amount] : json->members()) {
    if (name == kCpu || name == kGpu || name == kMemory) {
      return absl::InvalidArgumentError(absl::StrCat("--resources names ", name, "; use --num-cpus, --num-gpus or --memory for it"));
    }
    if (amount.kind() != io::Json::Kind::kNumber) {
      return absl::InvalidArgumentError(absl::StrCat("--resources gives '", name, "' no number"));
    }
    amounts->emplace_back(name, amount.number());
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<OptionSpec>& NodeOptionSpecs() {
  static const std::vector<OptionSpec> kSpecs = {
      {"name", "NAME", "what people call this node (default: the host's name)"},
      {"num-cpus", "N", "CPUs to offer (default: those this process may use)"},
      {"num-gpus", "N", "GPUs to offer (default: those found in /dev)"},
      {"memory", "BYTES", "memory to offer, such as 8GiB (default: 70 % of what is free)"},
      {"object-store-memory", "BYTES", "limit of the object store (default: 30 % of what is free); taken as it is used"},
      {"resources", "JSON", "further resources, such as '{\"disk\": 2}'"},
      {"labels", "K=V,...", "labels that tasks can ask for", false, true},
      {"site", "NAME", "where the machine stands (default: the host's name)"},
      {"region", "NAME", "what part of the world that is in"},
      {"owner", "NAME", "whose machine it is (default: this user's name)"},
      {"python", "PATH", "Python for workers (default: $SHOAL_PYTHON, else python3)"},
  };
  return kSpecs;
}

std::vector<std::string> NodeWords(const Options& options) {
  std::vector<std::string> words;
  for (const OptionSpec& spec : NodeOptionSpecs()) {
    for (const std::string& value : options.All(spec.name)) words.insert(words.end(), {"--" + spec.name, value});
  }
  return words;
}

absl::StatusOr<NodeOptions> NodeOptionsOf(const Options& options, const io::MeasuredNode& measured) {
  const double free_memory = static_cast<double>(measured.memory_bytes);
  const absl::StatusOr<double> cpus = options.Number("num-cpus", measured.cpus, 0, kMostUnits);
  const absl::StatusOr<double> gpus = options.Number("num-gpus", measured.gpus, 0, kMostUnits);
  const absl::StatusOr<uint64_t> memory = options.Bytes("memory", static_cast<uint64_t>(free_memory * kMemoryShare));
  const uint64_t default_store = std::clamp(static_cast<uint64_t>(free_memory * kStoreShare), kMinStore, kMaxStore);
  const absl::StatusOr<uint64_t> store = options.Bytes("object-store-memory", default_store);
  for (const absl::Status& status : {cpus.status(), gpus.status(), memory.status(), store.status()}) {
    if (!status.ok()) return status;
  }
  if (*store < (uint64_t{1} << 20)) return absl::InvalidArgumentError("--object-store-memory wants at least 1MB");
  const auto labels = ParsePairs("labels", options.All("labels"));
  if (!labels.ok()) return labels.status();

  // Amounts have steps of 0.0001; memory is offered in whole MiB.
  Amounts amounts = {{std::string(kCpu), *cpus}, {std::string(kGpu), *gpus},
                     {std::string(kMemory), static_cast<double>(*memory >> 20 << 20)}};
  if (*gpus > 0 && !measured.gpu_model.empty()) {  // for accelerator_type
    amounts.emplace_back(absl::StrCat("accelerator_type:", AcceleratorType(measured.gpu_model)), *gpus);
  }
  if (const absl::Status added = AddCustom(options.Get("resources"), &amounts); !added.ok()) return added;
  absl::StatusOr<ResourceSet> total = ResourceSet::Parse(amounts);
  if (!total.ok()) return total.status();

  NodeOptions node;
  node.arena_bytes = *store;
  node.python = options.Get("python");
  NodeInfo& info = node.info;
  info.name = options.Get("name", measured.hostname);
  info.total = *std::move(total);
  info.labels.assign(labels->begin(), labels->end());
  info.owner = options.Get("owner", measured.user);
  info.site = options.Get("site", measured.hostname);
  info.region = options.Get("region");
  info.measured = {measured.cpus, measured.memory_bytes, measured.disk_bytes, measured.gpus, measured.gpu_model};
  info.claimed = {*cpus, *memory, measured.disk_bytes, *gpus, measured.gpu_model};
  // Nobody is lent what is not there.
  info.leasable = {std::min(*cpus, measured.cpus), std::min(*memory, measured.memory_bytes), measured.disk_bytes,
                   std::min(*gpus, measured.gpus), measured.gpu_model};
  return node;
}

}  // namespace shoal::bin
