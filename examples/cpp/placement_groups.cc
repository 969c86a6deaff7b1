// Placement groups: two bundles that exist together or not at all; each task runs on the bundle it names.
#include <cstdio>

#include "runtime/sdk/shoal.h"

namespace {

int Half(int x) { return x / 2; }

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv, {.num_cpus = 2});

  const shoal::PlacementGroup group({{{"CPU", 1}}, {{"CPU", 1}}});
  if (!group.Wait(std::chrono::seconds(10))) return 1;
  auto left = shoal::Task<Half>({.strategy = group.Bundle(0)}).Remote(40);
  auto right = shoal::Task<Half>({.strategy = group.Bundle(1)}).Remote(44);
  const int sum = shoal::Get(left) + shoal::Get(right);

  // All of the machine is reserved, so a second group has to wait until the first is gone.
  const shoal::PlacementGroup second({{{"CPU", 2}}});
  const bool early = second.Wait(std::chrono::milliseconds(50));
  group.Remove();
  const bool late = second.Wait(std::chrono::seconds(10));
  std::printf("sum %d; second group before: %s, after: %s\n", sum, early ? "yes" : "no", late ? "yes" : "no");
  return sum == 42 && !early && late ? 0 : 1;
}
