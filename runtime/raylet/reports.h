// What the raylet tells of itself: the level that the head works with, and tables for people.
#pragma once

#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "base/rng.h"
#include "objectstore/core/object_store.h"
#include "runtime/raylet/actors.h"
#include "runtime/raylet/demands.h"
#include "runtime/raylet/leases.h"
#include "runtime/raylet/parts.h"
#include "runtime/raylet/resources.h"
#include "runtime/raylet/worker_pool.h"

namespace shoal::raylet {

// What reports are made of.
struct Parts {
  const RayletOptions* options;
  const WorkerPool* pool;
  const NodeResources* resources;
  const Leases* leases;
  const Demands* demands;
  const Actors* actors;
  const objectstore::ObjectStore* store;
};

class Reports {
 public:
  explicit Reports(const Parts& parts) : parts_(parts) {}

  // Something that is reported has changed.
  void Changed(TimePoint now);
  // True if a report was due and was sent.
  bool Settle(const Turn& t);
  void Send(const Turn& t);
  std::optional<TimePoint> NextDeadline() const { return due_; }

 private:
  const Parts parts_;
  uint64_t version_ = 0;
  std::optional<TimePoint> due_ = TimePoint{};
};

// Answers ListState. Tables that the core workers keep are asked of each of them, for a second at most.
class StateTables {
 public:
  StateTables(const Parts& parts, Rng rng) : parts_(parts), rng_(rng) {}

  void OnListState(const Turn& t, const Address& from, const ListState& message);
  void OnReply(const Turn& t, const Worker& worker, ListStateReply&& message);
  void WorkerGone(const Turn& t, WorkerId worker);
  void Tick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

 private:
  struct Query {
    Address asker;
    RequestId request;
    TimePoint deadline{};
    absl::btree_set<WorkerId> open;
    std::string rows;
  };
  void Ask(const Turn& t, const Address& from, const ListState& message);
  void Answer(const Turn& t, RequestId id);
  std::string Workers(uint32_t limit) const;
  std::string LeaseRows(uint32_t limit) const;
  std::string ResourceRows() const;

  const Parts parts_;
  Rng rng_;
  absl::btree_map<RequestId, Query> queries_;
};

// What would not be here on a node without jobs.
std::string DescribeRemains(const Parts& parts);

}  // namespace shoal::raylet
