// The other nodes, as the head names them, and who has died. Every death is told to all core workers here and, if it happened here, to all
// other raylets, once.
#pragma once

#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "runtime/raylet/parts.h"
#include "runtime/raylet/worker_pool.h"

namespace shoal::raylet {

class Peers {
 public:
  Peers(const RayletOptions* options, WorkerPool* pool) : options_(*options), pool_(*pool) {}

  // Makes a level of news; false if some must have been missed.
  bool Complete(ClusterNodes* message) const;
  // Takes the level over. Fills in the nodes that are gone, a node whose raylet is another one included. False if this node itself is
  // not among the living.
  bool OnClusterNodes(const Turn& t, ClusterNodes&& message, std::vector<NodeId>* gone);
  // A core worker of this node is gone: tells everybody.
  void LocalDied(const Turn& t, const Address& worker, ErrorKind kind, const std::string& message);
  // One of another node: tells the core workers here, unless they know.
  void RemoteDied(const Turn& t, const WorkerDied& message);
  // The head gave a node up. Nothing may be left of the link to it, even if it is back by the time of the next level.
  void OnNodeDied(const Turn& t, NodeId node);
  // The link to it began anew. If its raylet is another one, that has been heard now and is not news in the next level.
  void OnLinkReset(NodeId node);
  void NodeGone(const Turn& t, NodeId node, const std::string& why);

  // Known to be dead: no lease may be granted to it.
  bool IsDead(const Address& process) const {
    const bool* node_gone = dead_nodes_.Find(process.node);
    return dead_.Find(process) != nullptr || (node_gone != nullptr && *node_gone);
  }
  // What is to be said of a core worker that is not here.
  WorkerDied ObituaryOf(const Address& worker) const;
  const absl::btree_map<NodeId, uint64_t>& nodes() const { return nodes_; }

 private:
  static constexpr uint64_t kTakenForDead = 0;  // as an incarnation

  void TellHere(const Turn& t, const WorkerDied& message);

  const RayletOptions& options_;
  WorkerPool& pool_;
  ClusterNodes level_;
  absl::btree_map<NodeId, uint64_t> nodes_;  // others: incarnation
  Recent<Address, WorkerDied> dead_{16'384};
  Recent<NodeId, bool> dead_nodes_{4096};    // true: gone, false: has come back
};

}  // namespace shoal::raylet
