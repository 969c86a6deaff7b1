// Objects on their way to this node. However many ask, an object is fetched once: from one location after another, until it is here or
// none has it.
//
//   waiting for room --block--> transferring --ok--> here
//                                    | failed: next location, or lost
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "schema/messages.h"

namespace shoal::objectstore {

struct Pull {
  ObjectRefInfo ref;
  uint64_t size = 0;
  std::vector<NodeId> untried;     // the next one last
  std::vector<NodeId> tried;
  std::vector<WorkerId> waiters;   // once per PullObject
  std::optional<uint64_t> block;   // where it is being written
  bool unwanted = false;           // freed, or its owner died, meanwhile
};

class PullManager {
 public:
  explicit PullManager(NodeId node) : node_(node) {}

  Pull* Find(const ObjectId& id);
  // Adds a reader and its knowledge of locations. `is_new`: nobody had asked before.
  Pull* Join(WorkerId reader, const PullObject& message, bool* is_new);
  // The next place to ask, which counts as tried from now on.
  std::optional<NodeId> NextLocation(Pull* pull);
  void Erase(const ObjectId& id) { pulls_.erase(id); }

  void ForgetReader(WorkerId worker);
  void ForgetNode(NodeId node);
  // Of one owner, or of all owners on a node; in order of ids.
  std::vector<ObjectId> OwnedBy(const Address& process) const;
  std::vector<ObjectId> OwnedOn(NodeId node) const;

  size_t size() const { return pulls_.size(); }
  template <class Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& [id, pull] : pulls_) {
      if (!visit(pull)) return;
    }
  }

 private:
  const NodeId node_;
  absl::btree_map<ObjectId, Pull> pulls_;
};

}  // namespace shoal::objectstore
