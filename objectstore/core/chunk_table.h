// Blocks that were handed to somebody for writing, and how long they live. Most hold one object; a chunk holds several, sealed one after
// another by the worker it was created for.
//
//   open --all of it sealed, Close, or its creator is gone--> closed --last object gone--> free
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "base/ids.h"
#include "objectstore/core/block_allocator.h"

namespace shoal::objectstore {

class ChunkTable {
 public:
  ChunkTable(uint64_t capacity, uint32_t max_blocks) : allocator_(capacity, max_blocks) {}

  // The offset of a new open block; nullopt if there is no room. A creation said twice gets the same block.
  std::optional<uint64_t> Create(WorkerId creator, RequestId request, uint64_t size);
  // For a transfer: nobody but the bulk channel writes there. Close or Adopt it.
  std::optional<uint64_t> CreateForTransfer(uint64_t size);

  bool IsOpen(WorkerId creator, RequestId request) const { return open_.contains({creator, request}); }
  // An object in [offset, offset + size) of an open block of `creator`: the block's offset, held once more. nullopt: no such block.
  // Objects in a chunk begin at multiples of 64.
  std::optional<uint64_t> Seal(WorkerId creator, uint64_t offset, uint64_t size);
  // The transferred object fills this block, which it holds.
  void Adopt(uint64_t chunk);
  // The transfer failed for good.
  void AbandonTransfer(uint64_t chunk);
  // An object in it is gone.
  void Release(uint64_t chunk);
  // Nothing more will be sealed in an open block of `creator`; others are left alone.
  void Close(WorkerId creator, uint64_t chunk);
  void CloseAllOf(WorkerId creator);

  // There may be room now where there was none: memory became free, or something evictable.
  void NoteRoom() { room_ = true; }
  bool TakeRoom() { return std::exchange(room_, false); }
  bool room() const { return room_; }
  size_t open() const { return open_.size() + transfers_; }
  const BlockAllocator& allocator() const { return allocator_; }
  void CheckInvariants() const;

 private:
  struct Chunk {
    WorkerId creator;  // 0: a transfer
    RequestId request;
    uint64_t size = 0;
    uint64_t sealed_bytes = 0;
    uint32_t objects = 0;
    bool open = true;
  };
  using Chunks = absl::btree_map<uint64_t, Chunk>;

  void CloseAt(Chunks::iterator it);
  void FreeIfDone(Chunks::iterator it);

  BlockAllocator allocator_;
  Chunks chunks_;  // by offset
  absl::btree_map<std::pair<WorkerId, RequestId>, uint64_t> open_;  // blocks that workers may still seal in
  size_t transfers_ = 0;
  bool room_ = false;
};

}  // namespace shoal::objectstore
