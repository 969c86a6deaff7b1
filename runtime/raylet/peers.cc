#include "runtime/raylet/peers.h"

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::raylet {

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
    if (it == nodes.end() || it->second != incarnation) gone->push_back(node);
  }
  for (const auto& [node, incarnation] : nodes) {
    if (dead_nodes_.Find(node) != nullptr) dead_nodes_.Put(node, false);
  }
  for (NodeId node : *gone) {
    if (!nodes.contains(node)) dead_nodes_.Put(node, true);
  }
  nodes_ = std::move(nodes);
  t.actions->peers = std::move(message);
  return here;
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
  for (const auto& [node, incarnation] : nodes_) Post<WorkerDied>(t, Address::Raylet(node)) = died;
}

bool Peers::RemoteDied(const Turn& t, const WorkerDied& message) {
  if (dead_.Find(message.worker) != nullptr) return false;
  dead_.Put(message.worker, message);
  TellHere(t, message);
  return true;
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
  died.message = absl::StrCat("process ", worker.worker.Hex(), " is not on node ", worker.node.Hex(), " (any more)");
  return died;
}

}  // namespace shoal::raylet
