#include "runtime/raylet/policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace shoal::raylet {
namespace {

const std::string* Find(const StringMap& map, const std::string& key) {
  for (const auto& [name, value] : map) {
    if (name == key) return &value;
  }
  return nullptr;
}

}  // namespace

StringMap EnvironmentFor(const Holding& holding, bool node_has_gpus, const StringMap& chosen) {
  StringMap environment;
  if (node_has_gpus && Find(chosen, "CUDA_VISIBLE_DEVICES") == nullptr) {
    environment.emplace_back("CUDA_VISIBLE_DEVICES", DevicesOf(holding));
  }
  if (Find(chosen, "OMP_NUM_THREADS") == nullptr) {
    const int64_t cpus = holding.allocation.amounts.Get(kCpu) / ResourceSet::kStepsPerUnit;
    environment.emplace_back("OMP_NUM_THREADS", absl::StrCat(std::max<int64_t>(1, cpus)));
  }
  return environment;
}

}  // namespace shoal::raylet
