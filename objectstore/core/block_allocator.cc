#include "objectstore/core/block_allocator.h"

#include <algorithm>
#include <iterator>

#include "base/buggify.h"
#include "base/check.h"

namespace shoal::objectstore {

BlockAllocator::BlockAllocator(uint64_t capacity, uint32_t max_blocks)
    : capacity_(capacity / kAlignment * kAlignment), max_blocks_(max_blocks) {
  if (capacity_ > 0) AddFree(0, {capacity_, 0});
}

void BlockAllocator::AddFree(uint64_t offset, Range range) {
  free_.emplace(offset, range);
  by_size_.insert(Key(offset, range));
}

BlockAllocator::Range BlockAllocator::TakeFree(absl::btree_map<uint64_t, Range>::iterator it) {
  const Range range = it->second;
  by_size_.erase(Key(it->first, range));
  free_.erase(it);
  return range;
}

std::optional<uint64_t> BlockAllocator::Allocate(uint64_t size) {
  const uint64_t rounded = Rounded(size);
  if (allocated_.size() >= max_blocks_) return std::nullopt;
  auto best = by_size_.lower_bound(BySize{rounded, 0, 0});
  if (best == by_size_.end()) return std::nullopt;
  const uint64_t offset = std::get<2>(*best);
  const Range range = TakeFree(free_.find(offset));
  if (range.size == rounded && SHOAL_DELIBERATE_BUG("store.double_allocate")) AddFree(offset, range);
  if (range.size > rounded) AddFree(offset + rounded, {range.size - rounded, range.stamp});
  allocated_.emplace(offset, rounded);
  used_ += rounded;
  return offset;
}

void BlockAllocator::Free(uint64_t offset) {
  auto block = allocated_.find(offset);
  SHOAL_CHECK(block != allocated_.end()) << "no block begins at offset " << offset;
  Range range{block->second, clock_++};
  used_ -= range.size;
  allocated_.erase(block);
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && next->first == offset + range.size) range.size += TakeFree(next).size;
  auto previous = free_.lower_bound(offset);
  if (previous != free_.begin()) {
    --previous;
    if (previous->first + previous->second.size == offset) {
      offset = previous->first;
      range.size += TakeFree(previous).size;
    }
  }
  AddFree(offset, range);
}

void BlockAllocator::CheckInvariants() const {
  SHOAL_CHECK(free_.size() == by_size_.size());
  uint64_t at = 0, used = 0;
  bool after_free = false;
  auto block = allocated_.begin();
  auto range = free_.begin();
  while (block != allocated_.end() || range != free_.end()) {
    if (block != allocated_.end() && block->first == at) {
      used += block->second;
      at += block->second;
      after_free = false;
      ++block;
      continue;
    }
    SHOAL_CHECK(range != free_.end() && range->first == at) << "offset " << at << " is neither in use nor free, or both";
    SHOAL_CHECK(!after_free) << "two free ranges meet at offset " << at;
    SHOAL_CHECK(by_size_.contains(Key(range->first, range->second)));
    at += range->second.size;
    after_free = true;
    ++range;
  }
  SHOAL_CHECK(at == capacity_ && used == used_) << "blocks end at " << at << " of " << capacity_;
}

}  // namespace shoal::objectstore
