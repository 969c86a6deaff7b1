#include "runtime/raylet/peers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "schema/cluster_nodes.h"

namespace shoal::raylet {

bool Peers::Complete(ClusterNodes* message) const {
  if (message->whole) return true;
  ClusterNodes level = level_;
  if (!TakeOver(std::move(*message), &level)) return false;
  *message = std::move(level);
  return true;
}

bool Peers::OnClusterNodes(const Turn& t, ClusterNodes&& message, std::vector<NodeId>* gone) {
  absl::btree_map<NodeId, uint64_t> nodes;
  bool here = false;
  for (const NodeInfo& info : message.nodes) {
    if (info.id == options_.info.id) {
      here = info.incarnation == options_.info.incarnation;
    } else {
      nodes[info.id] = info.incarnation;
    }
  }
  for (const auto& [node, incarnation] : nodes_) {
    auto it = nodes.find(node);
    const bool another = it != nodes.end() && it->second != incarnation;
    if (it == nodes.end() || (another && incarnation != kTakenForDead)) gone->push_back(node);
  }
  for (const auto& [node, incarnation] : nodes) {
    if (dead_nodes_.Find(node) != nullptr) dead_nodes_.Put(node, false);
  }
  for (NodeId node : *gone) {
    if (!nodes.contains(node)) dead_nodes_.Put(node, true);
  }
  nodes_ = std::move(nodes);
  level_ = std::move(message);
  t.actions->peers = level_;
  return here;
}

void Peers::OnNodeDied(const Turn& t, NodeId node) {
  if (nodes_.erase(node) == 0) return;
  dead_nodes_.Put(node, true);
  auto& nodes = level_.nodes;
  nodes.erase(std::remove_if(nodes.begin(), nodes.end(), [&](const NodeInfo& info) { return info.id == node; }),
              nodes.end());
  t.actions->peers = level_;
}

void Peers::OnLinkReset(NodeId node) {
  auto it = nodes_.find(node);
  if (it != nodes_.end()) it->second = kTakenForDead;
}

void Peers::TellHere(const Turn& t, const WorkerDied& message) {
  for (Worker* worker : pool_.Registered()) {
    if (worker->role == Role::kAdmin || worker->id == message.worker.worker) continue;
    Post<WorkerDied>(t, pool_.AddressOf(*worker)) = message;
  }
}

void Peers::LocalDied(const Turn& t, const Address& worker, ErrorKind kind, const std::string& message) {
  WorkerDied died;
  died.worker = worker;
  died.kind = kind;
  died.message = message;
  dead_.Put(worker, died);
  if (SHOAL_DELIBERATE_BUG("raylet.forget_death_broadcast")) return;
  TellHere(t, died);
  Post<WorkerDied>(t, Address::Head()) = died;
  for (const auto& [node, incarnation] : nodes_) Post<WorkerDied>(t, Address::Raylet(node)) = died;
}

void Peers::RemoteDied(const Turn& t, const WorkerDied& message) {
  if (dead_.Find(message.worker) != nullptr) return;
  dead_.Put(message.worker, message);
  TellHere(t, message);
}

void Peers::NodeGone(const Turn& t, NodeId node, const std::string& why) {
  for (Worker* worker : pool_.Registered()) {
    if (worker->role == Role::kAdmin) continue;
    NodeDied& died = Post<NodeDied>(t, pool_.AddressOf(*worker));
    died.node = node;
    died.message = why;
  }
  Note(t, absl::StrCat("node ", node.Hex()), "alive", "dead", why);
}

WorkerDied Peers::ObituaryOf(const Address& worker) const {
  if (const WorkerDied* known = dead_.Find(worker)) return *known;
  WorkerDied died;
  died.worker = worker;
  if (worker.node == options_.info.id) {
    died.message = absl::StrCat("process ", worker.worker.Hex(), " is not on node ", worker.node.Hex(), " (any more)");
  } else {
    died.kind = ErrorKind::kNodeDied;
    died.message = absl::StrCat("node ", worker.node.Hex(), " of process ", worker.worker.Hex(), " is not in the cluster (any more)");
  }
  return died;
}

}  // namespace shoal::raylet
