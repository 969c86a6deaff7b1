// Amounts of what a machine offers and a task asks for. Quantities are fixed-point with a step of
// 0.0001, so that sums are exact: ten tenths of a GPU are one GPU.
//
//   ResourceSet need = ResourceSet::Of({{"CPU", 1}, {"GPU", 0.25}});
//   if (free.Contains(need)) free -= need;
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace shoal {

inline constexpr std::string_view kCpu = "CPU";
inline constexpr std::string_view kGpu = "GPU";
inline constexpr std::string_view kMemory = "memory";  // bytes

class ResourceSet {
 public:
  static constexpr int64_t kStepsPerUnit = 10'000;

  ResourceSet() = default;
  // From amounts in whole units. Checks that no amount is negative; see Parse for input from outside.
  static ResourceSet Of(std::vector<std::pair<std::string, double>> amounts);
  // As Of, with an InvalidArgument error for a negative, non-finite or too finely divided amount,
  // an empty name, or a fraction above one of an indivisible resource such as GPU.
  static absl::StatusOr<ResourceSet> Parse(const std::vector<std::pair<std::string, double>>& amounts);

  // Amount in steps of 0.0001; 0 for a resource that is not named.
  int64_t Get(std::string_view name) const;
  double GetUnits(std::string_view name) const {
    return static_cast<double>(Get(name)) / kStepsPerUnit;
  }
  void Set(std::string_view name, int64_t steps);

  bool empty() const { return amounts_.empty(); }
  // Sorted by name, no zero amounts. A set after subtraction may hold negative amounts (a worker
  // that resumed from a blocking get while its slot was lent).
  const std::vector<std::pair<std::string, int64_t>>& amounts() const { return amounts_; }

  // True if every amount of `need` is available here.
  bool Contains(const ResourceSet& need) const;
  ResourceSet& operator+=(const ResourceSet& other);
  ResourceSet& operator-=(const ResourceSet& other);
  friend ResourceSet operator+(ResourceSet a, const ResourceSet& b) { return a += b; }
  friend ResourceSet operator-(ResourceSet a, const ResourceSet& b) { return a -= b; }
  friend bool operator==(const ResourceSet&, const ResourceSet&) = default;
  friend auto operator<=>(const ResourceSet&, const ResourceSet&) = default;
  template <class H>
  friend H AbslHashValue(H h, const ResourceSet& r) {
    return H::combine(std::move(h), r.amounts_);
  }

  // "{CPU: 2, GPU: 0.5}"
  std::string ToString() const;

  template <class Visitor>
  void Fields(Visitor& v) {
    v(amounts_);
  }

 private:
  std::vector<std::pair<std::string, int64_t>> amounts_;
};

}  // namespace shoal
