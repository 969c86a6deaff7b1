// Actors: who they are, where they live, who watches them, and when they start again. An actor is placed, started on a raylet under an
// incarnation number of its own, and started again elsewhere only when its last process is known to be gone: its raylet said so,
// reported without it, was replaced, or was silent for dead_after and has therefore fenced itself.
// Everything is written down before anybody hears of it, so that a new head goes on where this one ends.
// States: docs/states/actor.md.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "scheduler/cluster_state.h"
#include "scheduler/infeasible.h"
#include "scheduler/placement_group_table.h"
#include "scheduler/shared.h"
#include "scheduler/watch_list.h"

namespace shoal::scheduler {

// Row "actor/<id>"; the spec, which may be large, is row "actor_spec/<id>" and is written once.
struct ActorRow {
  ActorState state = ActorState::kPending;
  NodeId node;                   // kStarting, kAlive
  uint64_t node_incarnation = 0;
  WorkerId worker;               // kAlive
  uint64_t incarnation = 0;
  uint32_t restarts = 0;         // used up
  bool retiring = false;         // its last handle is gone: it ends when it is idle
  bool restart_asked = false;    // it was killed in order to start again
  ErrorInfo error;
  ActorId existing;              // get_if_exists found that one
  template <class V> void Fields(V& v) {
    v(state, node, node_incarnation, worker, incarnation, restarts, retiring, restart_asked, error, existing);
  }
};

struct ActorRecord : ActorRow {
  ActorSpec spec;
  bool announced = false;        // false: somebody asks for it, its creator has not spoken yet
  TimePoint unknown_until{};
  uint64_t start_link = 0;       // NodeRecord::link over which StartActor was sent
  bool seen = false;             // kStarting: the raylet has reported it
  NeedId need = 0;
  bool has_need = false;
  ReservationId reservation = 0;
  std::string reason;            // why it waits
  NoticeState notice;
};

class ActorTable {
 public:
  static constexpr size_t kDeadKept = 10'000;

  ActorTable(Shared* shared, PlacementGroupTable* groups)
      : shared_(*shared), groups_(*groups), watches_("actor_watch") {}
  void RestoreSpec(const StoreRow& row);
  void RestoreState(const StoreRow& row);
  void FinishRestore(const Turn& t);
  // Nodes (and their incarnations) that restored actors live on.
  std::vector<std::pair<NodeId, uint64_t>> NodesInUse() const;

  // ---- requests. `job_over`: the actor's job has finished
  void OnCreate(const Turn& t, const Address& from, ActorSpec&& spec, bool job_over);
  void OnWatch(const Turn& t, const Address& from, ActorId id);
  void OnGet(const Turn& t, const Address& from, const FindActor& message);
  void OnKill(const Turn& t, const KillActor& message);

  // ---- raylets
  void OnStarted(const Turn& t, NodeId from, const ActorStarted& message);
  void OnExited(const Turn& t, NodeId from, const ActorExited& message);
  void OnReport(const Turn& t, NodeRecord& node);
  void OnNodeLost(const Turn& t, NodeId node);
  void StateAnew(const Turn& t, NodeId node);

  // ---- lives: what ends because something else has ended
  void OnOwnerLost(const Turn& t, const Address& owner);
  void OnOwnerNodeLost(const Turn& t, NodeId node);
  void OnJobOver(const Turn& t, JobId job);
  void OnGroupRemoved(const Turn& t, PlacementGroupId group);
  WatchList<ActorId>& watches() { return watches_; }

  void PlaceWaiting(const Turn& t);
  // For those that wait.
  void AskForRoom(RoomView* view) const;
  // Of actors that no node can take.
  void CollectNotices(TimePoint now, std::vector<Notice>* notices);
  bool waits() const { return !waiting_.empty() || !waiting_bound_.empty(); }
  // True if somebody waits who did not at the last call; or mark those bound to nodes so.
  bool TakeNewWaiting() { return std::exchange(new_waiting_, false); }
  void MarkWaitingNew() { new_waiting_ = true; }
  // Owners and watchers on that node.
  void CollectProcesses(NodeId node, absl::btree_set<Address>* processes) const;
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  const absl::btree_map<ActorId, ActorRecord>& actors() const { return actors_; }
  std::string WhyWaiting(const ActorRecord& actor) const;
  void CheckInvariants() const;

 private:
  using Name = std::pair<std::string, std::string>;  // namespace, name

  ActorRecord* Find(ActorId id);
  // Looks up or makes a record that waits for its creator.
  ActorRecord& Seek(const Turn& t, ActorId id);
  void Become(const Turn& t, ActorRecord& actor, ActorEvent event, const std::string& reason);
  void Save(const Turn& t, const ActorRecord& actor);
  ActorUpdate UpdateOf(const ActorRecord& actor) const;
  void Tell(const Turn& t, const ActorRecord& actor);
  void Wait(const Turn& t, ActorRecord& actor);
  void StopWaiting(ActorRecord& actor);
  void LeaveNode(ActorRecord& actor);
  bool TryPlace(const Turn& t, ActorRecord& actor);
  NodeRecord* ChooseBundleNode(const Turn& t, const ActorRecord& actor, ErrorInfo* never);
  void StartOn(const Turn& t, ActorRecord& actor, NodeRecord& node);
  void Alive(const Turn& t, ActorRecord& actor, WorkerId worker);
  // Its process is gone: starts again or ends.
  void Lost(const Turn& t, ActorRecord& actor, const ErrorInfo& why);
  // It did not start there for no fault of its own: place it again.
  void PlaceAgain(const Turn& t, ActorRecord& actor, const ErrorInfo& why);
  void End(const Turn& t, ActorRecord& actor, const ErrorInfo& why);
  void Stop(const Turn& t, NodeId node, ActorId actor, uint64_t incarnation, bool when_idle, const std::string& reason);
  void ReconcileListed(const Turn& t, NodeRecord& node, const ActorReport& report);
  void ReconcileMissing(const Turn& t, NodeRecord& node, ActorRecord& actor);
  void ForgetOldDead(const Turn& t);
  bool TakeName(const Turn& t, const Address& from, ActorRecord& actor);
  void Index(ActorRecord& actor);
  // Undoes it but for the node.
  void Unindex(const ActorRecord& actor);

  Shared& shared_;
  PlacementGroupTable& groups_;
  absl::btree_map<ActorId, ActorRecord> actors_;
  absl::btree_map<Name, ActorId> names_;
  absl::btree_map<NodeId, absl::btree_set<ActorId>> hosted_;
  absl::btree_map<Address, absl::btree_set<ActorId>> owned_;  // not detached, not dead
  absl::btree_map<PlacementGroupId, absl::btree_set<ActorId>> in_group_;  // not dead
  // Pending or restarting, without a node: by need those that go anywhere, and the others.
  absl::btree_map<NeedId, absl::btree_set<ActorId>> waiting_;
  absl::btree_set<ActorId> waiting_bound_;
  absl::btree_set<std::pair<TimePoint, ActorId>> unknown_;
  std::deque<ActorId> dead_;
  WatchList<ActorId> watches_;
  uint32_t spread_cursor_ = 0;
  bool new_waiting_ = false;
};

}  // namespace shoal::scheduler
