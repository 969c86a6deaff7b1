// What the node can give: amounts, numbered GPUs, and the bundles cut out of both. Everything that runs here holds a Holding; the sum of
// all holdings and of what is free is what the node has.
//
//   NodeResources resources(total);
//   std::optional<Holding> held = resources.Take(strategy, ResourceSet::Of({{"GPU", 0.5}}));
//   if (held) ... DevicesOf(*held) ...      // "0"
//   resources.Release(&*held);
//
// A bundle is a pool of its own that was taken from the node. It can be used once committed; one that is to be returned lets nobody in and goes
// back to the node when its last user has left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "base/resources.h"
#include "runtime/raylet/parts.h"
#include "schema/messages.h"

namespace shoal::raylet {

// Part of one numbered GPU, in steps of 0.0001.
struct GpuShare {
  int32_t index = 0;
  int64_t steps = 0;
  friend bool operator==(const GpuShare&, const GpuShare&) = default;
};

struct Allocation {
  ResourceSet amounts;
  std::vector<GpuShare> gpus;
  bool empty() const { return amounts.empty(); }
};

// Amounts and GPUs from which allocations are taken; never more than there is, except by TakeBackCpus.
class ResourcePool {
 public:
  ResourcePool() = default;
  // A node: GPUs are numbered from 0.
  explicit ResourcePool(const ResourceSet& total);
  // A bundle: what it was given.
  explicit ResourcePool(const Allocation& given) : total_(given.amounts), free_(given.amounts), gpus_(given.gpus) {}

  bool CanTake(const ResourceSet& need) const;
  std::optional<Allocation> Take(const ResourceSet& need);
  void Release(const Allocation& allocation);
  // The CPUs of somebody who waits, to be used by others; and back, at the cost of a negative balance.
  void LendCpus(const Allocation& allocation) { MoveCpus(allocation, +1); }
  void TakeBackCpus(const Allocation& allocation) { MoveCpus(allocation, -1); }

  const ResourceSet& total() const { return total_; }
  const ResourceSet& free() const { return free_; }
  // Sum over the free parts of all GPUs.
  int64_t FreeGpuSteps() const;

 private:
  void MoveCpus(const Allocation& allocation, int64_t sign);
  bool TakeGpus(int64_t steps, std::vector<GpuShare>* taken);

  ResourceSet total_, free_;
  std::vector<GpuShare> gpus_;  // what is free of each
};

// What one worker holds, and of which pool.
struct Holding {
  PlacementGroupId group;  // 0: the node itself
  int32_t bundle = 0;
  Allocation allocation;
  bool counted = false;    // a pool has been asked; false after Release
  bool cpus_lent = false;
};

enum class BundleState : uint8_t { kPrepared, kCommitted, kReturning };

struct BundleRecord {
  ResourcePool pool;
  Allocation given;
  BundleState state = BundleState::kPrepared;
  TimePoint commit_by{};
  uint32_t users = 0;
};

using BundleKey = std::pair<PlacementGroupId, int32_t>;

class NodeResources {
 public:
  explicit NodeResources(const ResourceSet& total) : node_(total) {}

  // From the node, or from the bundle that the strategy names (any committed one of the group with room for -1).
  std::optional<Holding> Take(const Strategy& strategy, const ResourceSet& need);
  void Release(Holding* holding);
  // Idempotent. True if something changed.
  bool LendCpus(Holding* holding);
  bool TakeBackCpus(Holding* holding);
  // More CPUs of its pool are in use than there are.
  bool CpusOverdrawn(const Holding& holding) { return PoolOf(holding)->free().Get(kCpu) < 0; }

  // ---- bundles
  // All or none; those that are here already are no news.
  bool Prepare(TimePoint commit_by, const std::vector<Bundle>& bundles);
  // False if it is not here.
  bool Commit(const BundleKey& key);
  // Lets nobody in any more; gone at once if nobody uses it.
  void Return(const BundleKey& key);
  // Of one group, or only those of `indices` if there are any.
  std::vector<BundleKey> BundlesOf(PlacementGroupId group, const std::vector<int32_t>& indices) const;
  std::vector<BundleKey> Expired(TimePoint now) const;
  std::optional<TimePoint> NextExpiry() const;
  // The bundle is here, and would have room for that if it were empty.
  bool BundleCouldTake(PlacementGroupId group, int32_t index, const ResourceSet& need) const;
  const absl::btree_map<BundleKey, BundleRecord>& bundles() const { return bundles_; }

  const ResourcePool& node() const { return node_; }
  // True if so much may ever be free for leases: what bundles hold is not counted.
  bool CouldEverTake(const ResourceSet& need) const;
  // Counts up when something became free; whoever waits compares.
  uint64_t released() const { return released_; }
  // Counts up with every change.
  uint64_t changes() const { return changes_; }
  void CheckInvariants(const std::vector<const Holding*>& holdings) const;

 private:
  ResourcePool* PoolOf(const Holding& holding);
  void EraseIfUnused(const BundleKey& key);

  ResourcePool node_;
  absl::btree_map<BundleKey, BundleRecord> bundles_;
  uint64_t released_ = 0;
  uint64_t changes_ = 0;
};

// "0,2" for CUDA_VISIBLE_DEVICES; "" without GPUs.
std::string DevicesOf(const Holding& holding);

}  // namespace shoal::raylet
