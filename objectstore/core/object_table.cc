#include "objectstore/core/object_table.h"

#include <algorithm>

#include "base/buggify.h"
#include "base/check.h"

namespace shoal::objectstore {
namespace {

auto PinOf(Copy* copy, WorkerId worker) {
  return std::find_if(copy->pins.begin(), copy->pins.end(), [&](const auto& pin) { return pin.first == worker; });
}

}  // namespace

Copy* ObjectTable::Find(const ObjectId& id) const {
  auto it = copies_.find({id, kCurrent});
  return it == copies_.end() ? nullptr : it->second.get();
}

Copy* ObjectTable::Add(const ObjectRefInfo& ref, uint64_t offset, uint64_t size, uint64_t chunk, bool primary) {
  Doom(ref.id);
  std::unique_ptr<Copy>& slot = copies_[{ref.id, kCurrent}];
  slot = std::make_unique<Copy>();
  slot->ref = ref;
  slot->offset = offset;
  slot->size = size;
  slot->chunk = chunk;
  slot->primary = primary;
  SetEvictable(slot.get(), true);
  return slot.get();
}

void ObjectTable::SetEvictable(Copy* copy, bool evictable) {
  if (copy->last_use != 0) {
    evictable_.erase(copy->last_use);
    evictable_bytes_ -= copy->size;
    copy->last_use = 0;
  }
  if (!evictable || copy->primary || copy->doomed || copy->pinned()) return;
  copy->last_use = ++clock_;
  evictable_[copy->last_use] = copy;
  evictable_bytes_ += copy->size;
  chunks_.NoteRoom();
}

// ---- pins

void ObjectTable::Pin(Copy* copy, WorkerId worker) {
  SetEvictable(copy, false);
  auto pin = PinOf(copy, worker);
  if (pin == copy->pins.end()) {
    copy->pins.push_back({worker, 1});
    pinned_by_[worker].insert(copy->ref.id);
  } else {
    ++pin->second;
  }
}

void ObjectTable::Unpin(const ObjectId& id, WorkerId worker) {
  bool more = false;
  auto found = copies_.end();
  for (auto it = FirstOf(id); it != copies_.end() && it->first.first == id; ++it) {
    auto pin = PinOf(it->second.get(), worker);
    if (pin == it->second->pins.end()) continue;
    if (found != copies_.end() || pin->second > 1) more = true;
    if (found == copies_.end()) found = it;
  }
  if (found == copies_.end()) return;
  Copy* copy = found->second.get();
  auto pin = PinOf(copy, worker);
  if (!more) {
    auto mine = pinned_by_.find(worker);
    mine->second.erase(id);
    if (mine->second.empty()) pinned_by_.erase(mine);
  }
  if (--pin->second > 0) return;
  copy->pins.erase(pin);
  Unpinned(found);
}

void ObjectTable::UnpinAllOf(WorkerId worker) {
  auto node = pinned_by_.extract(worker);
  if (node.empty()) return;
  for (const ObjectId& id : node.mapped()) {
    std::vector<uint64_t> generations;
    for (auto it = FirstOf(id); it != copies_.end() && it->first.first == id; ++it) {
      generations.push_back(it->first.second);
    }
    for (uint64_t generation : generations) {
      auto it = copies_.find({id, generation});
      auto pin = PinOf(it->second.get(), worker);
      if (pin == it->second->pins.end()) continue;
      it->second->pins.erase(pin);
      Unpinned(it);
    }
  }
}

void ObjectTable::PinForTransfer(Copy* copy) {
  SetEvictable(copy, false);
  ++copy->transfer_pins;
}

void ObjectTable::UnpinAfterTransfer(const ObjectId& id) {
  for (auto it = FirstOf(id); it != copies_.end() && it->first.first == id; ++it) {
    if (it->second->transfer_pins == 0) continue;
    --it->second->transfer_pins;
    return Unpinned(it);
  }
}

void ObjectTable::Unpinned(Copies::iterator it) {
  Copy* copy = it->second.get();
  if (copy->pinned()) return;
  if (copy->doomed) return Erase(it);
  SetEvictable(copy, true);
}

// ---- the end

void ObjectTable::Doom(const ObjectId& id) {
  auto it = copies_.find({id, kCurrent});
  if (it == copies_.end()) return;
  Copy* copy = it->second.get();
  SetEvictable(copy, false);
  copy->doomed = true;
  if (!copy->pinned() || SHOAL_DELIBERATE_BUG("store.free_while_pinned")) return Erase(it);
  std::unique_ptr<Copy> kept = std::move(it->second);
  copies_.erase(it);
  copies_[{id, ++clock_}] = std::move(kept);
}

void ObjectTable::Erase(Copies::iterator it) {
  Copy* copy = it->second.get();
  SetEvictable(copy, false);
  for (const auto& [worker, count] : copy->pins) {  // only if it was freed too early
    auto mine = pinned_by_.find(worker);
    if (mine == pinned_by_.end()) continue;
    mine->second.erase(copy->ref.id);
    if (mine->second.empty()) pinned_by_.erase(mine);
  }
  chunks_.Release(copy->chunk);
  copies_.erase(it);
}

std::vector<ObjectId> ObjectTable::OwnedBy(const Address& process) const {
  std::vector<ObjectId> theirs;
  for (auto it = copies_.lower_bound({ObjectId{process.worker, 0}, 0});
       it != copies_.end() && it->first.first.owner == process.worker; ++it) {
    if (!it->second->doomed && it->second->ref.owner_node == process.node) theirs.push_back(it->first.first);
  }
  return theirs;
}

std::vector<ObjectId> ObjectTable::OwnedOn(NodeId node) const {
  std::vector<ObjectId> theirs;
  for (const auto& [key, copy] : copies_) {
    if (!copy->doomed && copy->ref.owner_node == node) theirs.push_back(key.first);
  }
  return theirs;
}

void ObjectTable::CheckInvariants() const {
  uint64_t evictable = 0, bytes = 0;
  absl::btree_map<WorkerId, absl::btree_set<ObjectId>> pinned_by;
  for (const auto& [key, copy] : copies_) {
    SHOAL_CHECK(copy->doomed == (key.second != kCurrent)) << key.first.Hex();
    SHOAL_CHECK(copy->ref.id == key.first);
    SHOAL_CHECK(!copy->doomed || copy->pinned()) << "doomed object " << key.first.Hex() << " stays without readers";
    const bool may_go = !copy->primary && !copy->doomed && !copy->pinned();
    SHOAL_CHECK(may_go == (copy->last_use != 0)) << key.first.Hex();
    if (may_go) {
      ++evictable;
      bytes += copy->size;
      auto it = evictable_.find(copy->last_use);
      SHOAL_CHECK(it != evictable_.end() && it->second == copy.get());
    }
    for (const auto& [worker, count] : copy->pins) {
      SHOAL_CHECK(count > 0);
      pinned_by[worker].insert(key.first);
    }
  }
  SHOAL_CHECK(evictable == evictable_.size() && bytes == evictable_bytes_);
  SHOAL_CHECK(pinned_by == pinned_by_) << "the index of pins differs from the pins";
}

}  // namespace shoal::objectstore
