// The sealed objects of a node: where they lie, who reads them, and which may go when memory is short. A primary copy was sealed here by
// the process that made it; it stays until its owner frees it. A secondary copy came from another node and is evictable while nobody has
// pinned it. A doomed copy is gone for new readers and vanishes with the last pin.
//
// An id has at most one copy that is not doomed, and any number of doomed ones (sealed again, or freed and fetched again, while somebody
// was reading). Pins are counted per worker; a release counts against the doomed copies first, because those are older.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/inlined_vector.h"
#include "objectstore/core/chunk_table.h"
#include "schema/messages.h"

namespace shoal::objectstore {

struct Copy {
  ObjectRefInfo ref;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t chunk = 0;
  bool primary = false;
  bool doomed = false;
  uint32_t transfer_pins = 0;
  uint64_t last_use = 0;  // position in the order of eviction, 0: not evictable
  absl::InlinedVector<std::pair<WorkerId, uint32_t>, 2> pins;

  bool pinned() const { return transfer_pins > 0 || !pins.empty(); }
};

class ObjectTable {
 public:
  explicit ObjectTable(ChunkTable* chunks) : chunks_(*chunks) {}

  // The copy that new readers get; null if there is none. Valid until the next call that is not const.
  Copy* Find(const ObjectId& id) const;
  // A copy in `chunk`, which it releases when it goes. An older copy of the id is doomed.
  Copy* Add(const ObjectRefInfo& ref, uint64_t offset, uint64_t size, uint64_t chunk, bool primary);
  void Pin(Copy* copy, WorkerId worker);
  // One pin of this worker, if it has one.
  void Unpin(const ObjectId& id, WorkerId worker);
  void UnpinAllOf(WorkerId worker);
  void PinForTransfer(Copy* copy);
  void UnpinAfterTransfer(const ObjectId& id);
  // No new readers; gone at once if there are none.
  void Doom(const ObjectId& id);
  // The copy nobody has used for longest, of those that may be evicted.
  Copy* Oldest() const { return evictable_.empty() ? nullptr : evictable_.begin()->second; }
  uint64_t evictable_bytes() const { return evictable_bytes_; }

  // Of one owner, or of all owners on a node; in order of ids.
  std::vector<ObjectId> OwnedBy(const Address& process) const;
  std::vector<ObjectId> OwnedOn(NodeId node) const;

  size_t size() const { return copies_.size(); }
  template <class Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& [key, copy] : copies_) {
      if (!visit(*copy)) return;
    }
  }
  void CheckInvariants() const;

 private:
  // Doomed copies come first in the order of their ids, by age; generation UINT64_MAX is the one that readers get.
  using Key = std::pair<ObjectId, uint64_t>;
  static constexpr uint64_t kCurrent = UINT64_MAX;
  using Copies = absl::btree_map<Key, std::unique_ptr<Copy>>;

  Copies::iterator FirstOf(const ObjectId& id) { return copies_.lower_bound({id, 0}); }
  void Unpinned(Copies::iterator it);
  void SetEvictable(Copy* copy, bool evictable);
  void Erase(Copies::iterator it);

  ChunkTable& chunks_;
  Copies copies_;
  absl::btree_map<uint64_t, Copy*> evictable_;  // by last use
  uint64_t evictable_bytes_ = 0;
  absl::btree_map<WorkerId, absl::btree_set<ObjectId>> pinned_by_;
  uint64_t clock_ = 0;
};

}  // namespace shoal::objectstore
