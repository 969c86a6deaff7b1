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

bool ListHas(std::string_view list, const std::string& value) {
  while (true) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == value) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

bool Matches(std::string_view wish, const std::string* value) {
  const bool negated = !wish.empty() && wish.front() == '!';
  if (negated) wish.remove_prefix(1);
  bool found = false;
  if (wish.size() >= 4 && wish.substr(0, 3) == "in(" && wish.back() == ')') {
    found = value != nullptr && ListHas(wish.substr(3, wish.size() - 4), *value);
  } else {
    found = value != nullptr && wish == *value;
  }
  return found != negated;
}

}  // namespace

bool LabelsMatch(const StringMap& selector, const StringMap& labels) {
  return std::all_of(selector.begin(), selector.end(),
                     [&](const auto& line) { return Matches(line.second, Find(labels, line.first)); });
}

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

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + "\"";
}

}  // namespace shoal::raylet
