#include "base/resources.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace shoal {
namespace {

constexpr double kMostUnits = 9e14;  // keeps sums of many nodes inside an int64 of steps

absl::StatusOr<int64_t> ToSteps(const std::string& name, double units) {
  if (name.empty()) return absl::InvalidArgumentError("a resource needs a name");
  if (!std::isfinite(units) || units < 0 || units > kMostUnits) {
    return absl::InvalidArgumentError(
        absl::StrCat("resource ", name, " must be a number from 0 to 9e14, not ", units));
  }
  const double steps = units * static_cast<double>(ResourceSet::kStepsPerUnit);
  const double rounded = std::round(steps);
  if (units != 0 && rounded == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("resource ", name, " is divisible down to 0.0001, not to ", units));
  }
  if (name == kGpu && units > 1 && units != std::floor(units)) {
    return absl::InvalidArgumentError(
        absl::StrCat("GPU must be a fraction below 1 or a whole number, not ", units));
  }
  return static_cast<int64_t>(rounded);
}

bool NameLess(const std::pair<std::string, int64_t>& entry, std::string_view name) {
  return entry.first < name;
}

}  // namespace

absl::StatusOr<ResourceSet> ResourceSet::Parse(
    const std::vector<std::pair<std::string, double>>& amounts) {
  ResourceSet result;
  for (const auto& [name, units] : amounts) {
    absl::StatusOr<int64_t> steps = ToSteps(name, units);
    if (!steps.ok()) return steps.status();
    result.Set(name, *steps);
  }
  return result;
}

ResourceSet ResourceSet::Of(std::vector<std::pair<std::string, double>> amounts) {
  absl::StatusOr<ResourceSet> result = Parse(amounts);
  SHOAL_CHECK(result.ok()) << result.status();
  return *std::move(result);
}

int64_t ResourceSet::Get(std::string_view name) const {
  auto it = std::lower_bound(amounts_.begin(), amounts_.end(), name, NameLess);
  return it != amounts_.end() && it->first == name ? it->second : 0;
}

void ResourceSet::Set(std::string_view name, int64_t steps) {
  auto it = std::lower_bound(amounts_.begin(), amounts_.end(), name, NameLess);
  const bool found = it != amounts_.end() && it->first == name;
  if (steps == 0) {
    if (found) amounts_.erase(it);
  } else if (found) {
    it->second = steps;
  } else {
    amounts_.emplace(it, std::string(name), steps);
  }
}

bool ResourceSet::Contains(const ResourceSet& need) const {
  auto have = amounts_.begin();
  for (const auto& [name, steps] : need.amounts_) {
    while (have != amounts_.end() && have->first < name) ++have;
    const int64_t available = have != amounts_.end() && have->first == name ? have->second : 0;
    if (available < steps) return false;
  }
  return true;
}

ResourceSet& ResourceSet::operator+=(const ResourceSet& other) {
  for (const auto& [name, steps] : other.amounts_) Set(name, Get(name) + steps);
  return *this;
}

ResourceSet& ResourceSet::operator-=(const ResourceSet& other) {
  for (const auto& [name, steps] : other.amounts_) Set(name, Get(name) - steps);
  return *this;
}

std::string ResourceSet::ToString() const {
  std::string text = "{";
  for (const auto& [name, steps] : amounts_) {
    if (text.size() > 1) absl::StrAppend(&text, ", ");
    absl::StrAppend(&text, name, ": ", static_cast<double>(steps) / kStepsPerUnit);
  }
  return text + "}";
}

}  // namespace shoal
