#include "base/buggify.h"

#include <map>
#include <memory>
#include <utility>

namespace shoal {
namespace {

struct State {
  explicit State(uint64_t seed) : rng(seed) {}
  Rng rng;
  std::map<std::string, bool> active;
};

thread_local std::unique_ptr<State> buggify;
thread_local std::string deliberate_bug;

constexpr double kActiveFraction = 0.25;
constexpr double kFiringFraction = 0.25;

}  // namespace

void EnableBuggify(uint64_t seed) { buggify = std::make_unique<State>(seed); }
void DisableBuggify() { buggify.reset(); }
void SetDeliberateBug(std::string name) { deliberate_bug = std::move(name); }

namespace internal {

bool BuggifyFires(const char* name) {
  if (buggify == nullptr) return false;
  auto [it, inserted] = buggify->active.try_emplace(name, false);
  if (inserted) it->second = buggify->rng.Chance(kActiveFraction);
  return it->second && buggify->rng.Chance(kFiringFraction);
}

bool DeliberateBugIs(const char* name) { return !deliberate_bug.empty() && deliberate_bug == name; }

}  // namespace internal
}  // namespace shoal
