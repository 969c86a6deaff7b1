// Placement groups: bundles of resources that are reserved together or not at all, packed on few machines or spread over many.
//
//   shoal::PlacementGroup group({{{"CPU", 1}}, {{"CPU", 1}}}, {.strategy = shoal::PackStrategy::kSpread});
//   if (!group.Wait(10s)) ...                                       // the cluster has no room
//   auto ref = shoal::Task<Train>({.strategy = group.Bundle(0)}).Remote();
//   group.Remove();                                                 // or when the job ends
//
// Unlike a reference, a group is not counted: it stays until Remove or the end of the job.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/messages.h"

namespace shoal {

// Amounts of one bundle in whole units, for example {{"CPU", 2}, {"GPU", 0.5}}.
using BundleResources = std::vector<std::pair<std::string, double>>;

struct PlacementGroupOptions {
  PackStrategy strategy = PackStrategy::kPack;
  std::vector<StringMap> bundle_labels;  // empty, or one label selector per bundle
  std::string name;                      // for people
};

class PlacementGroup {
 public:
  // Asks for it and returns at once. Throws Error for an amount that is no amount, or for no bundles.
  explicit PlacementGroup(const std::vector<BundleResources>& bundles, PlacementGroupOptions options = {});

  PlacementGroupId id() const { return id_; }
  // True once all bundles are reserved; false if they are not within `timeout` (nullopt: without end). Throws SystemError if the group was
  // removed or can never exist.
  bool Wait(std::optional<Duration> timeout = std::nullopt) const;
  // Where the bundles are, by index; empty until they are reserved.
  std::vector<NodeId> BundleNodes() const;
  // For TaskOptions::strategy and ActorOptions::strategy; -1: any bundle that has room.
  Strategy Bundle(int index = -1) const;
  // Gives the resources back; tasks and actors that run on them end with kPlacementGroupRemoved.
  void Remove() const;

 private:
  PlacementGroupId id_;
};

}  // namespace shoal
