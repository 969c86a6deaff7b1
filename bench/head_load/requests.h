// Closed loops of what processes ask of the head by itself: actors that are created and killed, placement groups that are created and
// removed. So many are always under way.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/histogram.h"
#include "base/rng.h"
#include "bench/head_load/node.h"

namespace shoal::head_load {

class RequestLoad {
 public:
  enum class Kind { kActors, kGroups };

  RequestLoad(Kind kind, uint64_t seed) : kind_(kind), rng_(seed) {}

  void AddOwner(Node* node, const Address& owner, JobId job) { owners_.push_back({node, owner, job}); }
  void Start(uint32_t under_way);
  void Stop() { runs_ = false; }
  void StartMeasuring();
  void Receive(const Address& process, const Message& message);

  uint64_t created() const { return times_.count(); }
  // From asking to hearing that it is there, in nanoseconds.
  const Histogram& times() const { return times_; }

 private:
  struct Owner {
    Node* node;
    Address address;
    JobId job;
  };

  void Ask(size_t owner);
  void CreateOneActor(const Owner& owner, uint64_t id);
  void CreateOneGroup(const Owner& owner, uint64_t id);
  void On(const Address& process, const ActorUpdate& update);
  void On(const Address& process, const PlacementGroupUpdate& update);
  // True the first time.
  bool Created(uint64_t id);
  bool Ended(uint64_t id) { return ending_.erase(id) + asked_.erase(id) > 0; }
  size_t IndexOf(const Address& process) const;

  const Kind kind_;
  Rng rng_;
  std::vector<Owner> owners_;
  absl::flat_hash_map<uint64_t, TimePoint> asked_;
  absl::flat_hash_set<uint64_t> ending_;  // updates are levels, and each end begins one anew
  bool runs_ = false;
  Histogram times_;
};

}  // namespace shoal::head_load
