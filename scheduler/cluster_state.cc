#include "scheduler/cluster_state.h"

#include <algorithm>

namespace shoal::scheduler {

NodeRecord* ClusterState::Find(NodeId node) {
  auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : it->second.get();
}

bool ClusterState::Alive(NodeId node) const {
  const NodeRecord* record = Find(node);
  return record != nullptr && record->alive();
}

bool ClusterState::AliveOrExpected(NodeId node) const {
  const NodeRecord* record = Find(node);
  return record != nullptr && record->state != NodeState::kDead;
}

void ClusterState::Expect(NodeInfo&& info) {
  std::unique_ptr<NodeRecord>& record = nodes_[info.id];
  if (record != nullptr) return;
  record = std::make_unique<NodeRecord>();
  record->info = std::move(info);
}

NodeRecord& ClusterState::Register(const Turn& t, NodeInfo&& info) {
  std::unique_ptr<NodeRecord>& slot = nodes_[info.id];
  const bool is_new = slot == nullptr;
  if (is_new) {
    slot = std::make_unique<NodeRecord>();
    slot->state = NodeState::kDead;
  }
  NodeRecord& node = *slot;
  const NodeState before = node.state;
  node.state = NodeTransitions().Next(before, NodeEvent::kRegisters);
  if (before == NodeState::kRegistered || before == NodeState::kReady) return node;  // it missed the answer
  ++alive_;
  ++node.link;
  changed_.insert(info.id);
  log_.Add(t, absl::StrCat("node ", info.id.Hex()), is_new ? "" : NameOf(before), "ALIVE", "it registered");
  PutRow(t, RowKey("node", info.id), info);
  node.report = NodeReport{};
  node.death_reason.clear();
  node.slot = index_.AddNode(info.total, info.labels);
  node.info = std::move(info);
  if (node.slot >= by_slot_.size()) by_slot_.resize(node.slot + 1);
  by_slot_[node.slot] = &node;
  return node;
}

void ClusterState::Report(const Turn&, NodeRecord& node, NodeReport&& report) {
  node.state = NodeTransitions().Next(node.state, NodeEvent::kReports);
  node.report = std::move(report);
  index_.SetAvailable(node.slot, node.report.available);
  for (size_t i = 0; i < node.reservations.size();) {
    if (node.reservations[i].settled) {
      index_.Release(node.reservations[i].need);
      node.reservations.erase(node.reservations.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      index_.Take(node.slot, node.reservations[i].need, node.reservations[i].count);
      ++i;
    }
  }
}

void ClusterState::SetSuspect(NodeId node, bool suspect) {
  NodeRecord* record = Find(node);
  if (record != nullptr && record->alive()) index_.SetClosed(record->slot, suspect);
}

void ClusterState::MarkDead(const Turn& t, NodeRecord& node, NodeEvent event, const std::string& reason) {
  const NodeState before = node.state;
  node.state = NodeTransitions().Next(before, event);
  if (before == NodeState::kDead) return;
  changed_.insert(node.info.id);
  for (const Reservation& reservation : node.reservations) index_.Release(reservation.need);
  node.reservations.clear();
  if (node.slot != NodeRecord::kNoSlot) {
    --alive_;
    index_.RemoveNode(node.slot);
    by_slot_[node.slot] = nullptr;
    node.slot = NodeRecord::kNoSlot;
  }
  node.report = NodeReport{};
  node.death_reason = reason;
  node.told_of_death = false;
  DeleteRow(t, RowKey("node", node.info.id));
  log_.Add(t, absl::StrCat("node ", node.info.id.Hex()), NameOf(before), "DEAD", reason);
  dead_.push_back(node.info.id);
  ForgetOldDead();
}

void ClusterState::ForgetOldDead() {
  while (dead_.size() > kDeadKept) {
    auto it = nodes_.find(dead_.front());
    // A node that died twice is in the list twice: the later entry will do.
    const bool again = std::find(dead_.begin() + 1, dead_.end(), dead_.front()) != dead_.end();
    if (it != nodes_.end() && it->second->state == NodeState::kDead && !again) {
      forgotten_.push_back(it->first);
      nodes_.erase(it);
    }
    dead_.pop_front();
  }
}

// ---- reservations

ReservationId ClusterState::Reserve(NodeRecord& node, NeedId need, uint32_t count) {
  index_.AddUser(need);
  index_.Take(node.slot, need, count);
  node.reservations.push_back({++last_reservation_, need, count, false});
  return last_reservation_;
}

void ClusterState::Grow(NodeRecord& node, ReservationId id, uint32_t more) {
  for (Reservation& reservation : node.reservations) {
    if (reservation.id != id) continue;
    reservation.count += more;
    return index_.Take(node.slot, reservation.need, more);
  }
  SHOAL_CHECK(false) << "no reservation " << id;
}

Reservation* ClusterState::FindReservation(NodeId node, ReservationId id, NodeRecord** record) {
  *record = Find(node);
  if (*record == nullptr) return nullptr;
  for (Reservation& reservation : (*record)->reservations) {
    if (reservation.id == id) return &reservation;
  }
  return nullptr;
}

void ClusterState::Erase(NodeRecord& node, Reservation* reservation) {
  index_.Release(reservation->need);
  node.reservations.erase(node.reservations.begin() + (reservation - node.reservations.data()));
}

void ClusterState::GiveBack(NodeId node, ReservationId id, uint32_t count) {
  NodeRecord* record = nullptr;
  Reservation* reservation = FindReservation(node, id, &record);
  if (reservation == nullptr) return;
  count = std::min(count, reservation->count);
  reservation->count -= count;
  index_.Give(record->slot, reservation->need, count);
  if (reservation->count == 0) Erase(*record, reservation);
}

void ClusterState::Settle(NodeId node, ReservationId id) {
  NodeRecord* record = nullptr;
  Reservation* reservation = FindReservation(node, id, &record);
  if (reservation != nullptr) reservation->settled = true;
}

void ClusterState::Exclude(NodeId node, NeedId need) {
  NodeRecord* record = Find(node);
  if (record != nullptr && record->alive()) index_.Exclude(record->slot, need);
}

void ClusterState::CheckInvariants() const {
  size_t alive = 0;
  for (const auto& [id, node] : nodes_) {
    SHOAL_CHECK(node->info.id == id);
    SHOAL_CHECK(node->alive() == (node->slot != NodeRecord::kNoSlot)) << id.Hex();
    SHOAL_CHECK(node->alive() || node->reservations.empty());
    if (!node->alive()) continue;
    ++alive;
    SHOAL_CHECK(by_slot_[node->slot] == node.get());
    for (const Reservation& reservation : node->reservations) SHOAL_CHECK(reservation.count > 0);
  }
  SHOAL_CHECK(alive == alive_);
  index_.CheckInvariants();
}

}  // namespace shoal::scheduler
