#include "runtime/sdk/placement_group.h"

#include "runtime/io/clock.h"
#include "runtime/sdk/errors.h"
#include "runtime/sdk/runtime.h"

namespace shoal {

PlacementGroup::PlacementGroup(const std::vector<BundleResources>& bundles, PlacementGroupOptions options) {
  if (bundles.empty()) throw Error("a placement group needs at least one bundle");
  io::CoreProcess& core = internal::Core();
  PlacementGroupSpec spec;
  Rng rng(io::RandomSeed());
  spec.id = id_ = rng.NewId<PlacementGroupId>();
  spec.job = core.job();
  spec.owner = core.self();
  spec.ns = core.ns();
  spec.name = std::move(options.name);
  spec.strategy = options.strategy;
  spec.bundle_labels = std::move(options.bundle_labels);
  for (const BundleResources& bundle : bundles) {
    absl::StatusOr<ResourceSet> resources = ResourceSet::Parse(bundle);
    if (!resources.ok()) throw Error(std::string(resources.status().message()));
    spec.bundles.push_back(*std::move(resources));
  }
  if (absl::Status status = core.CreatePlacementGroup(std::move(spec)); !status.ok()) internal::Throw(status);
}

bool PlacementGroup::Wait(std::optional<Duration> timeout) const {
  const absl::StatusOr<PlacementGroupUpdate> update = internal::Core().WaitPlacementGroup(id_, timeout);
  if (!update.ok()) internal::Throw(update.status());
  if (update->error) internal::Throw(update->error);
  if (update->state == PlacementGroupStateKind::kRemoved) {
    throw SystemError(ErrorKind::kPlacementGroupRemoved, "the placement group was removed");
  }
  return update->state == PlacementGroupStateKind::kCreated;
}

std::vector<NodeId> PlacementGroup::BundleNodes() const {
  const absl::StatusOr<PlacementGroupUpdate> update = internal::Core().WaitPlacementGroup(id_, Duration(0));
  if (!update.ok()) internal::Throw(update.status());
  return update->bundle_nodes;
}

Strategy PlacementGroup::Bundle(int index) const {
  return {.kind = StrategyKind::kPlacementGroup, .group = id_, .bundle = index};
}

void PlacementGroup::Remove() const { internal::Core().RemovePlacementGroup(id_); }

}  // namespace shoal
