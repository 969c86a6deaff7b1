// Who wants leases: the core workers of this node, by level, and the head, which asks on behalf of others. What the node cannot meet is told
// to the head (SpillDemand), also by level.
//
// Order of service: the job, then the owner, with the fewest leases here; among equals the one served longest ago. An owner that has none and
// waits for long has leases of the richest owner revoked, and what comes free is kept for it; likewise for what the head has to place.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "runtime/raylet/leases.h"
#include "runtime/raylet/parts.h"

namespace shoal::raylet {

class Demands {
 public:
  Demands(const RayletOptions* options, Leases* leases, NodeResources* resources, WorkerPool* pool);

  void OnDemand(const Turn& t, const Address& owner, LeaseDemand&& message);
  // `refusal`: why nothing can be granted to this owner now; "" if it can.
  void OnGrantLeases(const Turn& t, const GrantLeases& message, const std::string& refusal);
  void OnMakeRoom(const Turn& t, const MakeRoom& message);
  // The head has placed this much here: bundles, or what has that shape (in a group it takes nothing more).
  void RoomTaken(const ResourceSet& resources);
  void RoomTaken(const Shape& shape, const ResourceSet& resources);
  // A lease reached its owner, or cannot.
  void Granted(const Turn& t, const Address& owner, ShapeId shape);
  void Failed(const Turn& t, const Address& owner, ShapeId shape, const ErrorInfo& error);
  void OwnerGone(const Turn& t, WorkerId owner);

  // Grants what can be granted, revokes for the starving. Call at the end of each turn, then TellHead.
  void Settle(const Turn& t, bool may_grant);
  // Of what is left.
  void TellHead(const Turn& t, bool head_listens);
  // The head forgot everything.
  void Restate();
  // With the values last given to Settle and TellHead.
  std::optional<TimePoint> NextDeadline() const;
  // JSON rows for `shoal why`.
  std::string Explain(TimePoint now, uint32_t limit) const;
  size_t size() const { return demands_.size(); }
  void CheckInvariants() const;

 private:
  struct Demand {
    Shape shape;
    KindPtr kind;
    uint32_t wanted = 0;
    uint64_t version = 0;
    std::vector<LocalityHint> locality;
    uint64_t served = 0;          // when it got its newest lease, in grants
    TimePoint waiting_since{};    // of a wish that is not met at all
    TimePoint heard{};            // when the owner last said so
    uint32_t told = 0;            // what the head knows
    bool tell_again = false;      // the owner repeats itself: the head's grants may be lost
  };
  using Key = std::pair<WorkerId, ShapeId>;
  enum class Place : uint8_t { kHereOrElsewhere, kHereOnly, kElsewhere };

  Address OwnerOf(const Key& key) const { return {options_.info.id, key.first}; }
  // Beyond leases that wait for their worker.
  uint32_t Need(const Key& key, const Demand& demand) const;
  uint32_t ForHead(const Key& key, const Demand& demand) const;
  Place PlaceOf(const Shape& shape) const;
  // Of owners that do not repeat themselves.
  void ForgetSilent(const Turn& t);
  void Schedule(const Turn& t);
  void HelpStarving(const Turn& t);
  // Revokes until what is free or on its way back covers `resources`. False if that cannot be now.
  bool RevokeFor(const Turn& t, const Address& owner, const ResourceSet& resources);
  // What is free without what is kept for others.
  bool HasRoomFor(const Key& key, const Demand& demand) const;
  void Tell(const Turn& t);
  void End(const Key& key, Demand& demand);
  void EraseIfDone(const Key& key);

  const RayletOptions& options_;
  Leases& leases_;
  NodeResources& resources_;
  WorkerPool& pool_;
  absl::btree_map<Key, Demand> demands_;
  absl::btree_set<Key> untold_;          // may differ from what the head knows
  absl::btree_set<Key> waiting_;         // something is wanted
  Recent<RequestId, GrantLeasesReply> answered_{4096};
  uint64_t grants_ = 0;
  uint64_t spill_version_ = 0;
  uint64_t seen_released_ = 0;
  bool changed_ = false;
  bool may_grant_ = false;
  bool head_listens_ = false;
  TimePoint next_tell_{};
  std::optional<TimePoint> next_look_;   // for the starving
  std::optional<TimePoint> next_silence_;  // when to look for silent owners
  std::optional<Key> kept_for_;          // a starving demand: what comes free is for it
  ResourceSet kept_for_head_;
  TimePoint kept_for_head_until_{};
};

}  // namespace shoal::raylet
