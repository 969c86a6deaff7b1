// What the nodes could hold if the leases there were returned. Somebody whose tasks keep every node full would otherwise keep actors,
// placement groups and owners without any lease waiting for as long as the queue lasts: raylets serve their own demands themselves, and
// the head sees no room. So the head plans in this view, now and then, and has raylets `MakeRoom` for what finds a place in it.
//
//   RoomView view(&cluster);
//   groups.AskForRoom(&view);
//   for (const auto& [node, resources] : view.asked()) Say(t, Address::Raylet(node), MakeRoom{epoch, resources});
//
// The same waiting thing is planned on the same node as long as that node could hold it, so that repetition does not empty all of them.
#pragma once

#include <vector>

#include "absl/container/btree_map.h"
#include "scheduler/cluster_state.h"
#include "scheduler/policy/fit_index.h"
#include "scheduler/policy/plan_bundles.h"

namespace shoal::scheduler {

class RoomView {
 public:
  explicit RoomView(const ClusterState* cluster) : cluster_(*cluster) {}

  // For one actor or lease; `salt` is its own.
  void Ask(const Need& need, const Strategy& strategy, uint64_t salt);
  // For all of these bundles or none; `held`: where bundles of the group are already, `all`: their sum.
  void AskBundles(PackStrategy strategy, const std::vector<Need>& needs, const Need& all, const std::vector<NodeId>& held,
                  uint64_t salt);
  // What each raylet is to make room for.
  const absl::btree_map<NodeId, ResourceSet>& asked() const { return asked_; }

 private:
  void Build();
  // Plans them there, and asks for room unless there is enough already: then they wait for something else.
  void Take(const std::vector<uint32_t>& slots, const std::vector<NeedId>& needs);

  const ClusterState& cluster_;
  FitIndex index_;
  std::vector<const NodeRecord*> nodes_;  // by slot
  absl::btree_map<NodeId, uint32_t> slots_;
  absl::btree_map<NodeId, ResourceSet> asked_;
  bool built_ = false;         // not before somebody asks
};

}  // namespace shoal::scheduler
