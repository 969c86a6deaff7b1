#include "schema/labels.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace shoal {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool IsOneOf(std::string_view list, std::string_view value) {
  while (true) {
    const size_t comma = list.find(',');
    if (Trim(list.substr(0, comma)) == value) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

const std::string* FindLabel(const StringMap& labels, const std::string& key) {
  auto it = std::find_if(labels.begin(), labels.end(), [&](const auto& label) { return label.first == key; });
  return it == labels.end() ? nullptr : &it->second;
}

}  // namespace

bool LabelMatches(const std::string& condition, const std::string* value) {
  std::string_view rest = condition;
  const bool negated = !rest.empty() && rest.front() == '!';
  if (negated) rest.remove_prefix(1);
  bool holds = false;
  if (value != nullptr) {
    const bool is_list = rest.size() >= 4 && rest.substr(0, 3) == "in(" && rest.back() == ')';
    holds = is_list ? IsOneOf(rest.substr(3, rest.size() - 4), *value) : rest == *value;
  }
  return holds != negated;
}

bool LabelsMatch(const StringMap& selector, const StringMap& labels) {
  return std::all_of(selector.begin(), selector.end(),
                     [&](const auto& want) { return LabelMatches(want.second, FindLabel(labels, want.first)); });
}

std::string LabelMismatch(const StringMap& selector, const StringMap& labels) {
  for (const auto& [key, condition] : selector) {
    const std::string* value = FindLabel(labels, key);
    if (LabelMatches(condition, value)) continue;
    return absl::StrCat("label ", key, " is ", value == nullptr ? "absent" : absl::StrCat("\"", *value, "\""),
                        ", wanted ", condition);
  }
  return "";
}

}  // namespace shoal
