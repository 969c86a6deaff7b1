#include "objectstore/core/block_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"

namespace shoal::objectstore {
namespace {

TEST(BlockAllocatorTest, BlocksAreAlignedAndDisjoint) {
  BlockAllocator blocks(1000, 100);
  EXPECT_EQ(blocks.capacity(), 960u);
  EXPECT_EQ(blocks.Allocate(1), 0u);
  EXPECT_EQ(blocks.Allocate(65), 64u);
  EXPECT_EQ(blocks.Allocate(0), 192u);
  EXPECT_EQ(blocks.used(), 256u);
  blocks.CheckInvariants();
}

TEST(BlockAllocatorTest, AFreedBlockIsReusedBeforeFreshMemory) {
  BlockAllocator blocks(1 << 20, 100);
  const uint64_t first = *blocks.Allocate(4096);
  blocks.Allocate(64);
  const uint64_t second = *blocks.Allocate(4096);
  blocks.Allocate(64);
  blocks.Free(first);
  blocks.Free(second);
  EXPECT_EQ(blocks.Allocate(4096), second) << "the one freed last is the warmest";
  EXPECT_EQ(blocks.Allocate(4096), first);
}

TEST(BlockAllocatorTest, NeighboursThatAreFreeBecomeOneRange) {
  BlockAllocator blocks(4 * 64, 100);
  std::vector<uint64_t> offsets;
  for (int i = 0; i < 4; ++i) offsets.push_back(*blocks.Allocate(64));
  EXPECT_EQ(blocks.Allocate(64), std::nullopt);
  blocks.Free(offsets[0]);
  blocks.Free(offsets[2]);
  EXPECT_EQ(blocks.Allocate(128), std::nullopt) << "two holes are not one";
  blocks.Free(offsets[1]);
  EXPECT_EQ(blocks.largest_free(), 192u);
  EXPECT_EQ(blocks.Allocate(192), 0u);
}

TEST(BlockAllocatorTest, ImpossibleSizesAndTooManyBlocksAreRefused) {
  BlockAllocator blocks(1 << 20, 2);
  EXPECT_EQ(blocks.Allocate(UINT64_MAX), std::nullopt);
  EXPECT_EQ(blocks.Allocate((1 << 20) + 1), std::nullopt);
  EXPECT_TRUE(blocks.Allocate(1) && blocks.Allocate(1));
  EXPECT_EQ(blocks.Allocate(1), std::nullopt);
  BlockAllocator none(63, 10);
  EXPECT_EQ(none.Allocate(1), std::nullopt);
}

TEST(BlockAllocatorDeathTest, FreeingTwiceIsCaught) {
  BlockAllocator blocks(1 << 20, 10);
  const uint64_t offset = *blocks.Allocate(100);
  blocks.Free(offset);
  EXPECT_DEATH(blocks.Free(offset), "no block begins at offset");
}

// Against a model that knows which lines are taken: a refusal must be true, a grant must be disjoint.
TEST(BlockAllocatorTest, AgreesWithAModelOverRandomUse) {
  constexpr uint64_t kLines = 512;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    BlockAllocator blocks(kLines * 64, 1000);
    std::vector<bool> taken(kLines);
    std::map<uint64_t, uint64_t> live;  // line -> lines
    auto mark = [&](uint64_t line, uint64_t count, bool value) {
      for (uint64_t i = line; i < line + count; ++i) {
        ASSERT_NE(taken[i], value) << "line " << i;
        taken[i] = value;
      }
    };
    for (int step = 0; step < 2000; ++step) {
      if (rng.Chance(0.55)) {
        const uint64_t size = rng.Below(rng.Chance(0.2) ? 64 * 64 : 6 * 64);
        const uint64_t lines = BlockAllocator::Rounded(size) / 64;
        uint64_t longest = 0, run = 0;
        for (bool t : taken) longest = std::max(longest, run = t ? 0 : run + 1);
        const std::optional<uint64_t> offset = blocks.Allocate(size);
        ASSERT_EQ(offset.has_value(), longest >= lines);
        if (!offset) continue;
        ASSERT_EQ(*offset % 64, 0u);
        mark(*offset / 64, lines, true);
        live[*offset / 64] = lines;
      } else if (!live.empty()) {
        auto it = live.lower_bound(rng.Below(kLines));
        if (it == live.end()) it = live.begin();
        blocks.Free(it->first * 64);
        mark(it->first, it->second, false);
        live.erase(it);
      }
      blocks.CheckInvariants();
    }
    for (const auto& [line, lines] : live) blocks.Free(line * 64);
    EXPECT_EQ(blocks.used(), 0u);
    EXPECT_EQ(blocks.largest_free(), kLines * 64);
  }
}

}  // namespace
}  // namespace shoal::objectstore
