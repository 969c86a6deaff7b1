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

  // Takes the level over. Fills in the nodes that are gone, a node whose raylet is another one included. False if this node itself is
  // not among the living.
  bool OnClusterNodes(const Turn& t, ClusterNodes&& message, std::vector<NodeId>* gone);
  // A core worker of this node is gone: tells everybody.
  void LocalDied(const Turn& t, const Address& worker, ErrorKind kind, const std::string& message);
  // One of another node, or one that was said to be on this node and is not: tells the core workers here. False if they know.
  bool RemoteDied(const Turn& t, const WorkerDied& message);
  void NodeGone(const Turn& t, NodeId node, const std::string& why);

  // Known to be dead: no lease may be granted to it.
  bool IsDead(const Address& process) const {
    return dead_.Find(process) != nullptr || (process.node != options_.info.id && dead_nodes_.Find(process.node) != nullptr &&
                                              *dead_nodes_.Find(process.node));
  }
  // What is to be said of a core worker that is not here.
  WorkerDied ObituaryOf(const Address& worker) const;
  const absl::btree_map<NodeId, uint64_t>& nodes() const { return nodes_; }

 private:
  void TellHere(const Turn& t, const WorkerDied& message);

  const RayletOptions& options_;
  WorkerPool& pool_;
  absl::btree_map<NodeId, uint64_t> nodes_;  // others: incarnation
  Recent<Address, WorkerDied> dead_{16'384};
  Recent<NodeId, bool> dead_nodes_{4096};    // true: gone, false: has come back
};

}  // namespace shoal::raylet
