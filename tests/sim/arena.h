// The bytes of one simulated node's store. A block's content is one number (its hash, so to speak); a read that finds no block, another
// size or a block that somebody wrote over is told to the observer.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/container/btree_map.h"
#include "base/ids.h"

namespace shoal::sim {

class Observer;

class SimArena {
 public:
  explicit SimArena(Observer* observer) : observer_(observer) {}

  // Whatever lay in [offset, offset + size) is gone.
  void Write(uint64_t offset, uint64_t size, uint64_t number);
  // The content of exactly this block; `id` names it in a violation.
  uint64_t Read(uint64_t offset, uint64_t size, const ObjectId& id);
  // As Read, without a violation.
  std::optional<uint64_t> Peek(uint64_t offset, uint64_t size) const;
  void Clear() { blocks_.clear(); }

 private:
  struct Block {
    uint64_t size;
    uint64_t number;
  };
  Observer* observer_;
  absl::btree_map<uint64_t, Block> blocks_;
};

}  // namespace shoal::sim
