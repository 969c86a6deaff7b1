// A closed loop of leases: so many tasks are always either waiting for a lease or holding one for a while, so that the head
// decides as fast as it can at the load that their number makes. Owners say what they want as raylets do: a level for each
// (owner, shape), at once where it begins, else every 20 ms.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/histogram.h"
#include "base/rng.h"
#include "bench/head_load/node.h"

namespace shoal::head_load {

class LeaseLoad {
 public:
  LeaseLoad(io::DaemonLoop* loop, uint64_t seed) : loop_(loop), rng_(seed) {}

  // An owner with two shapes, of one CPU and of two.
  void AddOwner(Node* node, const Address& owner, JobId job);
  // As many tasks as use that many CPUs.
  void Start(double cpus);
  void Stop();
  void StartMeasuring();

  void Granted(const Address& owner, ShapeId shape, uint32_t count);
  void Ended(const Address& owner, ShapeId shape, uint32_t count);

  uint64_t granted() const { return granted_; }
  // From wanting a lease to having it, in nanoseconds.
  const Histogram& waits() const { return waits_; }

 private:
  struct Demand {
    Node* node = nullptr;
    Address owner;
    Shape shape;
    uint32_t told = 0;
    uint64_t version = 0;
    TimePoint next_tell{};
    bool tell_due = false;
    std::deque<TimePoint> waiting;  // since when
  };
  using Key = std::pair<Address, ShapeId>;

  void Want(Demand* demand);
  void Tell(Demand* demand);

  io::DaemonLoop* const loop_;
  Rng rng_;
  std::vector<std::unique_ptr<Demand>> demands_;
  absl::flat_hash_map<Key, Demand*> by_key_;
  bool runs_ = false;
  uint64_t granted_ = 0;
  Histogram waits_;
};

}  // namespace shoal::head_load
