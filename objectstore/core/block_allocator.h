// Which bytes of an arena are in use. Best fit over free ranges; among equals the one freed last, because its pages are warm: touching a
// fresh page costs as much as copying it eight times over. Neighbouring free ranges are one range.
//
//   BlockAllocator blocks(/*capacity=*/1 << 30, /*max_blocks=*/1000);
//   std::optional<uint64_t> offset = blocks.Allocate(5000);   // a multiple of 64; nullopt: no range is long enough
//   blocks.Free(*offset);
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"

namespace shoal::objectstore {

class BlockAllocator {
 public:
  static constexpr uint64_t kAlignment = 64;  // a cache line, and what vector instructions like

  BlockAllocator(uint64_t capacity, uint32_t max_blocks);

  // Bytes that a block of `size` takes; an empty one takes a line too, so that offsets are names.
  static uint64_t Rounded(uint64_t size) {
    if (size == 0) return kAlignment;
    return size > UINT64_MAX - kAlignment ? UINT64_MAX : (size + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::optional<uint64_t> Allocate(uint64_t size);
  // `offset` is one that Allocate gave and Free has not had since (checked).
  void Free(uint64_t offset);

  uint64_t used() const { return used_; }
  uint64_t capacity() const { return capacity_; }
  size_t blocks() const { return allocated_.size(); }
  uint64_t largest_free() const { return by_size_.empty() ? 0 : std::get<0>(*by_size_.rbegin()); }
  void CheckInvariants() const;

 private:
  struct Range {
    uint64_t size;
    uint64_t stamp;  // when its newest part was freed
  };
  // Size, then newest first, then offset.
  using BySize = std::tuple<uint64_t, uint64_t, uint64_t>;
  static BySize Key(uint64_t offset, const Range& range) { return {range.size, ~range.stamp, offset}; }

  void AddFree(uint64_t offset, Range range);
  Range TakeFree(absl::btree_map<uint64_t, Range>::iterator it);

  const uint64_t capacity_;
  const uint32_t max_blocks_;
  uint64_t used_ = 0;
  uint64_t clock_ = 1;  // counts frees
  absl::btree_map<uint64_t, uint64_t> allocated_;  // offset -> rounded size
  absl::btree_map<uint64_t, Range> free_;
  absl::btree_set<BySize> by_size_;
};

}  // namespace shoal::objectstore
