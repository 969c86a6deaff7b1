// Who has been silent too long: first suspect, so that nothing new goes there, then dead. Counts from the receipt of a heartbeat, so a raylet, which counts from its sending, has fenced itself
// before. If the head itself was held up (paused, swapped out), beats may lie unread: that time is not held against anybody.
#pragma once

#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/ids.h"
#include "base/time.h"

namespace shoal::scheduler {

class FailureDetector {
 public:
  FailureDetector(Duration suspect_after, Duration dead_after) : suspect_after_(suspect_after), dead_after_(dead_after) {}

  // A sign of life; begins to watch a node that is not watched yet. True if it was suspect until now.
  bool Heard(TimePoint now, NodeId node);
  void Forget(NodeId node) {
    last_heard_.erase(node);
    suspects_.erase(node);
  }
  bool Watches(NodeId node) const { return last_heard_.contains(node); }
  // Nodes that have been silent for dead_after, in order of their ids; they are watched no more.
  std::vector<NodeId> TakeSilent(TimePoint now);
  // Nodes that have become suspect.
  std::vector<NodeId> TakeSuspects(TimePoint now);
  std::optional<TimePoint> NextDeadline() const;

 private:
  const Duration suspect_after_, dead_after_;
  absl::flat_hash_map<NodeId, TimePoint> last_heard_;
  // When to look at a node again; looked up lazily, so that a beat costs one hash access.
  absl::btree_set<std::pair<TimePoint, NodeId>> checks_, suspect_checks_;
  absl::flat_hash_set<NodeId> suspects_;
};

}  // namespace shoal::scheduler
