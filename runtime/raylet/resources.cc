#include "runtime/raylet/resources.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"

namespace shoal::raylet {
namespace {

constexpr int64_t kWhole = ResourceSet::kStepsPerUnit;

}  // namespace

ResourcePool::ResourcePool(const ResourceSet& total) : total_(total), free_(total) {
  int64_t left = total.Get(kGpu);
  for (int32_t i = 0; left > 0; ++i, left -= kWhole) gpus_.push_back({i, std::min(left, kWhole)});
}

int64_t ResourcePool::FreeGpuSteps() const {
  int64_t sum = 0;
  for (const GpuShare& gpu : gpus_) sum += gpu.steps;
  return sum;
}

// A fraction goes to the GPU where it fits most closely, so that whole ones stay whole.
bool ResourcePool::TakeGpus(int64_t steps, std::vector<GpuShare>* taken) {
  if (steps == 0) return true;
  if (steps < kWhole) {
    GpuShare* best = nullptr;
    for (GpuShare& gpu : gpus_) {
      if (gpu.steps >= steps && (best == nullptr || gpu.steps < best->steps)) best = &gpu;
    }
    if (best == nullptr) return false;
    if (taken != nullptr) {
      best->steps -= steps;
      taken->push_back({best->index, steps});
    }
    return true;
  }
  const int64_t whole = std::count_if(gpus_.begin(), gpus_.end(), [](const GpuShare& g) { return g.steps == kWhole; });
  int64_t wanted = (steps + kWhole - 1) / kWhole;
  if (whole < wanted) return false;
  if (taken == nullptr) return true;
  for (GpuShare& gpu : gpus_) {
    if (wanted == 0) break;
    if (gpu.steps != kWhole) continue;
    const int64_t part = std::min(steps, kWhole);
    gpu.steps -= part;
    steps -= part;
    taken->push_back({gpu.index, part});
    --wanted;
  }
  return true;
}

bool ResourcePool::CanTake(const ResourceSet& need) const {
  return free_.Contains(need) && const_cast<ResourcePool*>(this)->TakeGpus(need.Get(kGpu), nullptr);
}

std::optional<Allocation> ResourcePool::Take(const ResourceSet& need) {
  if (!CanTake(need)) return std::nullopt;
  Allocation allocation;
  allocation.amounts = need;
  TakeGpus(need.Get(kGpu), &allocation.gpus);
  free_ -= need;
  return allocation;
}

void ResourcePool::Release(const Allocation& allocation) {
  free_ += allocation.amounts;
  for (const GpuShare& share : allocation.gpus) {
    for (GpuShare& gpu : gpus_) {
      if (gpu.index == share.index) gpu.steps += share.steps;
    }
  }
}

void ResourcePool::MoveCpus(const Allocation& allocation, int64_t sign) {
  const int64_t cpus = allocation.amounts.Get(kCpu);
  free_.Set(kCpu, free_.Get(kCpu) + sign * cpus);
}

// ---- the node

ResourcePool* NodeResources::PoolOf(const Holding& holding) {
  ++changes_;
  if (!holding.group) return &node_;
  auto it = bundles_.find({holding.group, holding.bundle});
  SHOAL_CHECK(it != bundles_.end()) << "a holding outlived its bundle " << holding.group.Hex() << "/" << holding.bundle;
  return &it->second.pool;
}

std::optional<Holding> NodeResources::Take(const Strategy& strategy, const ResourceSet& need) {
  Holding holding;
  holding.counted = true;
  if (strategy.kind != StrategyKind::kPlacementGroup) {
    std::optional<Allocation> allocation = node_.Take(need);
    if (!allocation) return std::nullopt;
    ++changes_;
    holding.allocation = *std::move(allocation);
    return holding;
  }
  for (auto it = bundles_.lower_bound({strategy.group, INT32_MIN});
       it != bundles_.end() && it->first.first == strategy.group; ++it) {
    BundleRecord& bundle = it->second;
    if (bundle.state != BundleState::kCommitted) continue;
    if (strategy.bundle >= 0 && strategy.bundle != it->first.second) continue;
    std::optional<Allocation> allocation = bundle.pool.Take(need);
    if (!allocation) continue;
    ++bundle.users;
    ++changes_;
    holding.group = strategy.group;
    holding.bundle = it->first.second;
    holding.allocation = *std::move(allocation);
    return holding;
  }
  return std::nullopt;
}

void NodeResources::Release(Holding* holding) {
  if (!holding->counted) return;
  ++released_;
  ResourcePool* pool = PoolOf(*holding);
  if (holding->cpus_lent) pool->TakeBackCpus(holding->allocation);
  pool->Release(holding->allocation);
  const BundleKey key{holding->group, holding->bundle};
  *holding = Holding{};
  if (!key.first) return;
  --bundles_.find(key)->second.users;
  EraseIfUnused(key);
}

bool NodeResources::LendCpus(Holding* holding) {
  if (!holding->counted || holding->cpus_lent) return false;
  if (SHOAL_DELIBERATE_BUG("raylet.blocked_keeps_slot")) return false;
  PoolOf(*holding)->LendCpus(holding->allocation);
  holding->cpus_lent = true;
  ++released_;
  return true;
}

bool NodeResources::TakeBackCpus(Holding* holding) {
  if (!holding->counted || !holding->cpus_lent) return false;
  PoolOf(*holding)->TakeBackCpus(holding->allocation);
  holding->cpus_lent = false;
  return true;
}

// ---- bundles

bool NodeResources::Prepare(TimePoint commit_by, const std::vector<Bundle>& bundles) {
  std::vector<BundleKey> made;
  for (const Bundle& bundle : bundles) {
    const BundleKey key{bundle.group, bundle.index};
    auto it = bundles_.find(key);
    if (it != bundles_.end() && it->second.state != BundleState::kReturning) continue;
    std::optional<Allocation> given = it == bundles_.end() ? node_.Take(bundle.resources) : std::nullopt;
    if (!given) {
      for (const BundleKey& undo : made) Return(undo);
      return false;
    }
    BundleRecord& record = bundles_[key];
    record.pool = ResourcePool(*given);
    record.given = *std::move(given);
    record.commit_by = commit_by;
    ++changes_;
    made.push_back(key);
  }
  return true;
}

bool NodeResources::Commit(const BundleKey& key) {
  auto it = bundles_.find(key);
  if (it == bundles_.end() || it->second.state == BundleState::kReturning) return false;
  if (it->second.state == BundleState::kPrepared) {
    ++released_;
    ++changes_;
  }
  it->second.state = BundleState::kCommitted;
  return true;
}

void NodeResources::Return(const BundleKey& key) {
  auto it = bundles_.find(key);
  if (it == bundles_.end()) return;
  it->second.state = BundleState::kReturning;
  ++changes_;
  EraseIfUnused(key);
}

void NodeResources::EraseIfUnused(const BundleKey& key) {
  auto it = bundles_.find(key);
  if (it->second.state != BundleState::kReturning || it->second.users > 0) return;
  if (!SHOAL_DELIBERATE_BUG("raylet.leak_bundle")) node_.Release(it->second.given);
  ++released_;
  ++changes_;
  bundles_.erase(it);
}

std::vector<BundleKey> NodeResources::BundlesOf(PlacementGroupId group, const std::vector<int32_t>& indices) const {
  std::vector<BundleKey> keys;
  for (auto it = bundles_.lower_bound({group, INT32_MIN}); it != bundles_.end() && it->first.first == group; ++it) {
    if (indices.empty() || std::find(indices.begin(), indices.end(), it->first.second) != indices.end()) {
      keys.push_back(it->first);
    }
  }
  return keys;
}

std::vector<BundleKey> NodeResources::Expired(TimePoint now) const {
  std::vector<BundleKey> keys;
  for (const auto& [key, bundle] : bundles_) {
    if (bundle.state == BundleState::kPrepared && bundle.commit_by <= now) keys.push_back(key);
  }
  return keys;
}

std::optional<TimePoint> NodeResources::NextExpiry() const {
  std::optional<TimePoint> next;
  for (const auto& [key, bundle] : bundles_) {
    if (bundle.state == BundleState::kPrepared) Earliest(&next, bundle.commit_by);
  }
  return next;
}

bool NodeResources::BundleCouldTake(PlacementGroupId group, int32_t index, const ResourceSet& need) const {
  auto it = bundles_.find({group, index});
  return it != bundles_.end() && it->second.state == BundleState::kCommitted && it->second.pool.total().Contains(need);
}

bool NodeResources::CouldEverTake(const ResourceSet& need) const {
  ResourceSet most = node_.total();
  for (const auto& [key, bundle] : bundles_) most -= bundle.given.amounts;
  return most.Contains(need);
}

void NodeResources::CheckInvariants(const std::vector<const Holding*>& holdings) const {
  ResourceSet used;
  absl::btree_map<BundleKey, std::pair<ResourceSet, uint32_t>> in_bundles;
  for (const Holding* holding : holdings) {
    if (!holding->counted) continue;
    ResourceSet amounts = holding->allocation.amounts;
    if (holding->cpus_lent) amounts.Set(kCpu, 0);
    if (holding->group) {
      auto& [sum, users] = in_bundles[{holding->group, holding->bundle}];
      sum += amounts;
      ++users;
    } else {
      used += amounts;
    }
  }
  for (const auto& [key, bundle] : bundles_) {
    used += bundle.given.amounts;
    const auto& [sum, users] = in_bundles[key];
    SHOAL_CHECK(bundle.pool.free() + sum == bundle.pool.total())
        << "bundle " << key.first.Hex() << "/" << key.second << ": free " << bundle.pool.free().ToString() << ", used "
        << sum.ToString() << " of " << bundle.pool.total().ToString();
    SHOAL_CHECK(users == bundle.users) << "bundle " << key.first.Hex() << "/" << key.second;
  }
  for (const auto& [key, sum] : in_bundles) SHOAL_CHECK(bundles_.contains(key)) << "a holding outlived its bundle";
  SHOAL_CHECK(node_.free() + used == node_.total())
      << "free " << node_.free().ToString() << ", used " << used.ToString() << " of " << node_.total().ToString();
  SHOAL_CHECK(node_.FreeGpuSteps() == node_.free().Get(kGpu))
      << node_.FreeGpuSteps() << " steps of GPUs are free, but counted " << node_.free().Get(kGpu);
}

std::string DevicesOf(const Holding& holding) {
  std::string devices;
  for (const GpuShare& share : holding.allocation.gpus) {
    absl::StrAppend(&devices, devices.empty() ? "" : ",", share.index);
  }
  return devices;
}

}  // namespace shoal::raylet
