// Placement groups: bundles that are reserved on raylets in two phases, all or none. Prepare on every chosen node; when all have said
// yes the group is created (and written down), and the bundles are committed; one no, or silence, and all of the attempt goes back.
// Reports are held against what should be: strange bundles are returned, missing ones are placed anew.
// States: docs/states/placement_group.md.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "scheduler/cluster_state.h"
#include "scheduler/infeasible.h"
#include "scheduler/room_view.h"
#include "scheduler/shared.h"
#include "scheduler/watch_list.h"

namespace shoal::scheduler {

enum class BundleState : uint8_t { kNone, kAsked, kPrepared, kHeld };

struct BundlePlace {
  BundleState state = BundleState::kNone;
  NodeId node;
  ReservationId reservation = 0;
};

struct GroupRecord {
  PlacementGroupSpec spec;
  PlacementGroupStateKind state = PlacementGroupStateKind::kPending;
  bool announced = false;       // false: somebody asks for it, its creator has not spoken yet
  TimePoint unknown_until{};    // !announced
  std::vector<BundlePlace> places;
  RequestId attempt;            // 0: none is under way
  TimePoint attempt_until{};
  ErrorInfo error;              // why it was removed
  std::string reason;           // why it waits
  std::vector<NeedId> needs;    // while it waits: of each bundle, and of all missing ones together; so that room for them is noticed
  NeedId sum_need = 0;
  std::optional<NeedId> lacks;  // of those, while it waits: it found no room for this one
  NoticeState notice;
  bool held(size_t i) const { return places[i].state == BundleState::kHeld; }
};

// Row "group/<id>".
struct GroupRow {
  PlacementGroupSpec spec;
  std::vector<NodeId> nodes;  // of bundles that are held, else 0
  bool created = false;       // it once was: what is missing is being rescheduled
  template <class V> void Fields(V& v) { v(spec, nodes, created); }
};

class PlacementGroupTable {
 public:
  static constexpr size_t kMostBundles = 4096;
  static constexpr size_t kRemovedKept = 10'000;

  explicit PlacementGroupTable(Shared* shared) : shared_(*shared), watches_("group_watch") {}
  void Restore(const StoreRow& row);
  // Nodes named by restored groups.
  std::vector<NodeId> NodesInUse() const;

  // ---- requests
  void OnCreate(const Turn& t, const Address& from, PlacementGroupSpec&& spec);
  void OnWatch(const Turn& t, const Address& from, PlacementGroupId id);
  // The group as a user of it sees it: one that is unknown is taken for removed if nobody announces it in time.
  const GroupRecord& Seek(const Turn& t, PlacementGroupId id);
  const GroupRecord* Find(PlacementGroupId id) const;
  // True if it is removed now and was not before: the caller deals with actors and demands in it.
  bool Remove(const Turn& t, PlacementGroupId id, const ErrorInfo& why);
  void Answer(const Turn& t, const Address& to, PlacementGroupId id);  // the state of things, once

  // ---- raylets
  void OnPrepared(const Turn& t, NodeId from, const BundlesPrepared& message);
  void OnReport(const Turn& t, NodeRecord& node);
  void OnLinkBroke(const Turn& t, NodeId node);
  void OnNodeLost(const Turn& t, NodeId node);
  // Processes of that node may have missed something.
  void StateAnew(const Turn& t, NodeId node);

  // ---- lives
  std::vector<PlacementGroupId> OfOwner(const Address& owner) const;
  std::vector<PlacementGroupId> OfNode(NodeId node) const;  // owned by its processes
  std::vector<PlacementGroupId> OfJob(JobId job) const;
  WatchList<PlacementGroupId>& watches() { return watches_; }

  // ---- placing
  void PlaceWaiting(const Turn& t);
  // For those that wait.
  void AskForRoom(RoomView* view) const;
  // Of groups that the nodes can never hold.
  void CollectNotices(TimePoint now, std::vector<Notice>* notices);
  // Why the nodes could not hold it even if they were free; "" if they could, as far as single bundles tell, or it does not wait.
  std::string WhyNever(const GroupRecord& group) const;
  bool waits() const { return !waiting_.empty(); }
  // True if some group waits that did not at the last call.
  bool TakeNewWaiting() { return std::exchange(new_waiting_, false); }
  // Groups that were created since: what waits for them can go on.
  std::vector<PlacementGroupId> TakeCreated() { return std::exchange(created_, {}); }
  // Owners and watchers on that node.
  void CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const;
  // Groups that OnTick removed because nobody announced them.
  std::vector<PlacementGroupId> OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  // Nodes that hold bundle `bundle` of the group (-1: any), in order of bundles, without repetition.
  std::vector<NodeId> NodesOf(const GroupRecord& group, int32_t bundle) const;
  // How often `resources` fit into those bundles on that node if they are empty.
  uint32_t Capacity(const GroupRecord& group, int32_t bundle, NodeId node, const ResourceSet& resources, uint32_t limit) const;

  const absl::btree_map<PlacementGroupId, GroupRecord>& groups() const { return groups_; }
  void CheckInvariants() const;

 private:
  void Become(const Turn& t, GroupRecord& group, GroupEvent event, const std::string& reason);
  void Tell(const Turn& t, const GroupRecord& group);
  static PlacementGroupUpdate UpdateOf(const GroupRecord& group);
  void Save(const Turn& t, const GroupRecord& group);
  void TryPlace(const Turn& t, GroupRecord& group);
  Need BundleNeed(const GroupRecord& group, size_t i) const;
  void Ask(const Turn& t, GroupRecord& group, const std::vector<size_t>& missing, const std::vector<uint32_t>& slots);
  void FailAttempt(const Turn& t, GroupRecord& group, NodeId refused_by, const std::string& reason);
  void FinishAttempt(const Turn& t, GroupRecord& group);
  void Return(const Turn& t, NodeId node, PlacementGroupId group, std::vector<int32_t> indices);
  void LoseBundles(const Turn& t, GroupRecord& group, NodeId node, const std::vector<size_t>& lost, const std::string& reason);
  void ForgetOldRemoved(const Turn& t);
  // Of groups that end with their owner.
  void Own(const GroupRecord& group);
  void Disown(const GroupRecord& group);
  void Wait(GroupRecord& group);
  void StopWaiting(GroupRecord& group);

  Shared& shared_;
  absl::btree_map<PlacementGroupId, GroupRecord> groups_;
  absl::btree_set<PlacementGroupId> waiting_;   // have bundles to place and no attempt under way
  absl::btree_set<PlacementGroupId> attempts_;  // an attempt is under way
  absl::btree_set<PlacementGroupId> unknown_;   // not announced
  absl::btree_map<NodeId, absl::btree_set<PlacementGroupId>> on_node_;  // holds, has prepared or was asked for bundles
  absl::btree_map<Address, absl::btree_set<PlacementGroupId>> owned_;   // alive, and end with that process
  std::deque<PlacementGroupId> removed_;
  std::vector<PlacementGroupId> created_;
  bool new_waiting_ = false;
  WatchList<PlacementGroupId> watches_;
};

}  // namespace shoal::scheduler
