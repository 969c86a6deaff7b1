// Demands for leases that raylets could not meet themselves, and how they are met: a demand is a level per (owner, shape), a grant is a
// request to some raylet. What was asked for and not answered counts as on its way; what was granted counts as given until
// the demand is stated under a new version, or for a while if it is not.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_set.h"
#include "scheduler/infeasible.h"
#include "scheduler/placement_group_table.h"
#include "scheduler/shared.h"

namespace shoal::scheduler {

struct Demand {
  uint64_t version = 0;
  uint32_t wanted = 0;
  uint32_t on_its_way = 0;    // in requests without an answer
  uint32_t coming = 0;        // leases elsewhere that wait for their worker, so that the owner has not got them yet
  uint32_t granted = 0;       // of this version
  TimePoint granted_until{};  // after that, whoever still wants it has not got it
  TimePoint since{};
  std::vector<LocalityHint> locality;
  NoticeState notice;
};

struct ShapeRecord {
  Shape shape;
  NeedId need = 0;
  absl::btree_map<Address, Demand> demands;
  absl::btree_set<Address> open;  // those that something may be open of; the others need not be looked at
  Address last_served;            // owners take turns
  uint32_t spread_cursor = 0;
  absl::btree_map<NodeId, uint32_t> on_its_way;  // in groups: how much of a bundle is spoken for
};

class LeaseQueue {
 public:
  static constexpr size_t kMostShapes = 65'536;
  static constexpr uint32_t kMostWanted = 1'000'000;

  LeaseQueue(Shared* shared, PlacementGroupTable* groups) : shared_(*shared), groups_(*groups) {}

  void OnDemand(const Turn& t, const Address& owner, LeaseDemand&& demand);
  void OnReply(const Turn& t, NodeId from, const GrantLeasesReply& reply);
  void OnReport(const NodeRecord& node);
  void OnOwnerLost(const Address& owner);
  void OnNodeLost(NodeId node);   // owners there are gone, requests to it are void
  void OnLinkBroke(NodeId node);  // requests to it may have been lost
  void OnJobOver(JobId job);
  void OnGroupRemoved(const Turn& t, PlacementGroupId group);

  // Grants what fits now: of demands that are new or changed, and of all if room has grown somewhere.
  void Serve(const Turn& t, bool room_grew);
  // For owners that have waited longer than `patience` and hold no lease anywhere.
  void AskForRoom(TimePoint now, Duration patience, RoomView* view);
  // Of demands that nobody can meet.
  void CollectNotices(TimePoint now, std::vector<Notice>* notices);
  // Looks at every shape at the next Serve: something changed that no single demand shows.
  void MarkAllDirty();
  void OnGroupCreated(PlacementGroupId group);
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;
  // Owners on that node.
  void CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const;
  // Something arrived since the last Serve.
  bool dirty() const { return !dirty_.empty(); }

  const absl::btree_map<ShapeId, ShapeRecord>& shapes() const { return shapes_; }
  size_t requests() const { return requests_.size(); }
  void CheckInvariants() const;

 private:
  struct Request {
    NodeId node;
    ShapeId shape;
    Address owner;
    uint32_t count = 0;
    ReservationId reservation = 0;
  };
  struct Tally {
    uint32_t count = 0;
    ReservationId reservation = 0;
  };
  using Tallies = absl::btree_map<std::pair<NodeId, Address>, Tally>;

  using Key = std::pair<ShapeId, Address>;

  // More of this demand may be open than before.
  void Reopen(ShapeId id, const Address& owner);
  // Of its open demands, the oldest; nullopt if there are none.
  std::optional<TimePoint> Oldest(ShapeRecord& record, TimePoint now);
  // Sets how many leases of a node wait for their worker, for one demand.
  void SetComing(NodeId node, const Key& key, uint32_t count);
  static uint32_t Open(const Demand& demand, TimePoint now);
  ShapeRecord& Intern(const Shape& shape, ShapeId id);
  void Drop(ShapeId id, const Address& owner);
  void Fail(const Turn& t, ShapeId id, const ErrorInfo& why);
  void ServeShape(const Turn& t, ShapeId id);
  bool FailIfNever(const Turn& t, ShapeId id, const ShapeRecord& record);
  NodeRecord* Choose(const Turn& t, ShapeRecord& record, const Demand& demand);
  NodeRecord* ChooseBundleNode(ShapeRecord& record);
  // Who holds a lease anywhere.
  absl::flat_hash_set<Address> Holders() const;
  void Ask(const Turn& t, ShapeId id, ShapeRecord& record, const Tallies& tallies);
  // The request is over: `granted` of it have become leases, the rest is wanted again.
  void Close(TimePoint now, RequestId id, uint32_t granted, bool known_answer);

  Shared& shared_;
  PlacementGroupTable& groups_;
  absl::btree_map<ShapeId, ShapeRecord> shapes_;
  absl::btree_set<ShapeId> dirty_;     // new or changed demands
  absl::btree_set<ShapeId> starving_;  // of those that AskForRoom found; served first
  absl::btree_map<RequestId, Request> requests_;
  std::deque<std::pair<TimePoint, RequestId>> timeouts_;  // in order; the first is open, later ones may be closed
  absl::btree_map<Address, absl::btree_set<ShapeId>> by_owner_;
  absl::btree_map<NodeId, absl::btree_map<Key, uint32_t>> coming_;  // what the nodes report, and what they granted since
  absl::btree_map<Key, uint32_t> all_coming_;                       // their sums
};

}  // namespace shoal::scheduler
