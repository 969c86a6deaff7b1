// All nodes as the head sees them: who lives, what they last reported, and what was promised since. The room of a node is its report
// minus reservations: what the head has asked that raylet for and what its next report may not count yet. A raylet alone decides
// about its own resources, so a wrong view here costs a refusal, never an overdraft.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/inlined_vector.h"
#include "scheduler/policy/fit_index.h"
#include "scheduler/transitions.h"
#include "scheduler/turn.h"

namespace shoal::scheduler {

using ReservationId = uint64_t;  // 0: none

struct Reservation {
  ReservationId id = 0;
  NeedId need = 0;
  uint32_t count = 0;
  bool settled = false;  // answered: the next report counts it
};

struct NodeRecord {
  static constexpr uint32_t kNoSlot = UINT32_MAX;

  NodeInfo info;
  NodeState state = NodeState::kExpected;
  uint32_t slot = kNoSlot;
  // Counts the links to this raylet: what was sent over an earlier one and not answered may be lost.
  uint64_t link = 0;
  NodeReport report;
  std::string death_reason;
  bool told_of_death = false;  // kDead: this incarnation lives and knows that it was given up
  absl::InlinedVector<Reservation, 4> reservations;
  bool alive() const { return state == NodeState::kRegistered || state == NodeState::kReady; }
};

class ClusterState {
 public:
  using Nodes = absl::btree_map<NodeId, std::unique_ptr<NodeRecord>>;
  static constexpr size_t kDeadKept = 1000;

  explicit ClusterState(EventLog* log) : log_(*log) {}

  // Null if it was never heard of (or long ago).
  NodeRecord* Find(NodeId node);
  const NodeRecord* Find(NodeId node) const { return const_cast<ClusterState*>(this)->Find(node); }
  bool Alive(NodeId node) const;
  // May still come back: it is alive, or a head that has just started waits for it.
  bool AliveOrExpected(NodeId node) const;
  const Nodes& nodes() const { return nodes_; }
  NodeRecord& AtSlot(uint32_t slot) { return *by_slot_[slot]; }
  size_t alive_count() const { return alive_; }

  // From the store: row "node/<id>" holds the NodeInfo of a node that was alive when it was written. `info` has only its id and perhaps its
  // incarnation if just something on it was found.
  void Expect(NodeInfo&& info);
  // It registered; whatever an earlier incarnation held has been dealt with.
  NodeRecord& Register(const Turn& t, NodeInfo&& info);
  void LinkBroke(NodeRecord& node) { ++node.link; }
  void Report(const Turn& t, NodeRecord& node, NodeReport&& report);
  // Nothing new goes to a node that has been silent for a while.
  void SetSuspect(NodeId node, bool suspect);
  void MarkDead(const Turn& t, NodeRecord& node, NodeEvent event, const std::string& reason);
  // Nodes that came, changed or went since.
  absl::btree_set<NodeId> TakeChanged() { return std::exchange(changed_, {}); }
  // Is in the list of nodes that raylets are told. Those that a new head waits for are not gone: whoever misses one takes it for dead.
  static bool Listed(const NodeRecord& node) { return node.state != NodeState::kDead && node.info.incarnation != 0; }
  // Nodes whose records were dropped since, to make room.
  std::vector<NodeId> TakeForgotten() { return std::exchange(forgotten_, {}); }

  // ---- reservations
  ReservationId Reserve(NodeRecord& node, NeedId need, uint32_t count);
  void Grow(NodeRecord& node, ReservationId id, uint32_t more);
  // Gives `count` back now: they were refused or never arrived. Unknown ids (the node died) are ignored.
  void GiveBack(NodeId node, ReservationId id, uint32_t count);
  // The raylet has them: the next report counts them.
  void Settle(NodeId node, ReservationId id);
  // Nothing of that need there before the next report.
  void Exclude(NodeId node, NeedId need);

  FitIndex& index() { return index_; }
  const FitIndex& index() const { return index_; }

  // To every raylet but `except`.
  template <class M>
  void Broadcast(const Turn& t, const M& message, NodeId except = {}) const {
    for (const auto& [id, node] : nodes_) {
      if (node->alive() && id != except) Say(t, Address::Raylet(id), message);
    }
  }
  void CheckInvariants() const;

 private:
  Reservation* FindReservation(NodeId node, ReservationId id, NodeRecord** record);
  void Erase(NodeRecord& node, Reservation* reservation);
  void ForgetOldDead();

  EventLog& log_;
  Nodes nodes_;
  std::vector<NodeRecord*> by_slot_;
  FitIndex index_;
  size_t alive_ = 0;
  ReservationId last_reservation_ = 0;
  std::deque<NodeId> dead_;  // in order of death; those that came back are skipped
  std::vector<NodeId> forgotten_;
  absl::btree_set<NodeId> changed_;
};

}  // namespace shoal::scheduler
