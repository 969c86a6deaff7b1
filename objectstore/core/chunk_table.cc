#include "objectstore/core/chunk_table.h"

#include <utility>
#include <vector>

#include "base/buggify.h"
#include "base/check.h"

namespace shoal::objectstore {

std::optional<uint64_t> ChunkTable::Create(WorkerId creator, RequestId request, uint64_t size) {
  auto known = open_.find({creator, request});
  if (known != open_.end()) return known->second;
  const std::optional<uint64_t> offset = allocator_.Allocate(size);
  if (!offset) return std::nullopt;
  chunks_[*offset] = {.creator = creator, .request = request, .size = size};
  open_[{creator, request}] = *offset;
  return offset;
}

std::optional<uint64_t> ChunkTable::CreateForTransfer(uint64_t size) {
  const std::optional<uint64_t> offset = allocator_.Allocate(size);
  if (!offset) return std::nullopt;
  chunks_[*offset] = {.size = size};
  ++transfers_;
  return offset;
}

std::optional<uint64_t> ChunkTable::Seal(WorkerId creator, uint64_t offset, uint64_t size) {
  auto it = chunks_.upper_bound(offset);
  if (it == chunks_.begin()) return std::nullopt;
  Chunk& chunk = (--it)->second;
  if (!creator || chunk.creator != creator || !chunk.open) return std::nullopt;
  const uint64_t at = offset - it->first;
  if (at > chunk.size || size > chunk.size - at) return std::nullopt;
  ++chunk.objects;
  chunk.sealed_bytes += BlockAllocator::Rounded(size);
  if (chunk.sealed_bytes >= chunk.size) CloseAt(it);
  return it->first;
}

void ChunkTable::Adopt(uint64_t offset) {
  auto it = chunks_.find(offset);
  SHOAL_CHECK(it != chunks_.end() && it->second.open && !it->second.creator) << "no transfer to offset " << offset;
  it->second.objects = 1;
  CloseAt(it);
}

void ChunkTable::AbandonTransfer(uint64_t offset) {
  auto it = chunks_.find(offset);
  SHOAL_CHECK(it != chunks_.end() && it->second.open && !it->second.creator) << "no transfer to offset " << offset;
  CloseAt(it);
  FreeIfDone(it);
}

void ChunkTable::CloseAt(Chunks::iterator it) {
  it->second.open = false;
  if (it->second.creator) {
    open_.erase({it->second.creator, it->second.request});
  } else {
    --transfers_;
  }
}

void ChunkTable::FreeIfDone(Chunks::iterator it) {
  if (it->second.open || it->second.objects > 0) return;
  allocator_.Free(it->first);
  chunks_.erase(it);
  NoteRoom();
}

void ChunkTable::Release(uint64_t offset) {
  auto it = chunks_.find(offset);
  SHOAL_CHECK(it != chunks_.end() && it->second.objects > 0) << "no object lies in block " << offset;
  --it->second.objects;
  FreeIfDone(it);
}

void ChunkTable::Close(WorkerId creator, uint64_t offset) {
  auto it = chunks_.find(offset);
  if (it == chunks_.end() || it->second.creator != creator || !it->second.open) return;
  if (SHOAL_DELIBERATE_BUG("store.leak_aborted")) return;
  CloseAt(it);
  FreeIfDone(it);
}

void ChunkTable::CloseAllOf(WorkerId creator) {
  std::vector<uint64_t> theirs;
  for (auto it = open_.lower_bound({creator, RequestId{}}); it != open_.end() && it->first.first == creator; ++it) {
    theirs.push_back(it->second);
  }
  for (uint64_t offset : theirs) Close(creator, offset);
}

void ChunkTable::CheckInvariants() const {
  allocator_.CheckInvariants();
  SHOAL_CHECK(allocator_.blocks() == chunks_.size());
  size_t open = 0, transfers = 0;
  for (const auto& [offset, chunk] : chunks_) {
    SHOAL_CHECK(chunk.open || chunk.objects > 0) << "block " << offset << " is closed and empty";
    if (!chunk.open) continue;
    if (!chunk.creator) {
      ++transfers;
      continue;
    }
    ++open;
    auto it = open_.find({chunk.creator, chunk.request});
    SHOAL_CHECK(it != open_.end() && it->second == offset) << "block " << offset;
  }
  SHOAL_CHECK(open == open_.size() && transfers == transfers_);
}

}  // namespace shoal::objectstore
