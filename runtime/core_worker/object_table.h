// Finds the record of an object by its id. Own objects are numbered in the order in which they are made, so a page holds those that were
// made one after the other, and who looks for one of the youngest finds its page without hashing. Others' objects are hashed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"

namespace shoal::core_worker {

struct ObjectEntry;

class ObjectTable {
 public:
  explicit ObjectTable(WorkerId self) : self_(self) {}

  ObjectEntry* Find(const ObjectId& id) const {
    if (id.owner != self_) {
      const auto found = others_.find(id);
      return found == others_.end() ? nullptr : found->second;
    }
    const Page* page = FindPage(id.index / kPage);
    return page == nullptr ? nullptr : page->entries[id.index % kPage];
  }
  // There must be none yet.
  void Insert(const ObjectId& id, ObjectEntry* entry) {
    ++size_;
    if (id.owner != self_) {
      others_.emplace(id, entry);
      return;
    }
    Page* page = FindPage(id.index / kPage);
    if (page == nullptr) page = AddPage(id.index / kPage);
    page->entries[id.index % kPage] = entry;
    ++page->used;
  }
  // There must be one.
  void Erase(const ObjectId& id) {
    --size_;
    if (id.owner != self_) {
      others_.erase(id);
      return;
    }
    Page* page = FindPage(id.index / kPage);
    page->entries[id.index % kPage] = nullptr;
    if (--page->used == 0) DropPage(page->number);
  }
  size_t size() const { return size_; }

  // In no particular order; `call` may not insert or erase.
  template <class Call>
  void ForEach(Call&& call) const {
    for (const auto& [number, page] : pages_) {
      for (ObjectEntry* entry : page->entries) {
        if (entry != nullptr) call(entry);
      }
    }
    for (const auto& [id, entry] : others_) call(entry);
  }

 private:
  static constexpr uint64_t kPage = 512;
  static constexpr uint64_t kNear = 64;
  struct Page {
    uint64_t number = 0;
    uint32_t used = 0;
    std::array<ObjectEntry*, kPage> entries{};
  };

  Page* FindPage(uint64_t number) const {
    Page*& near = near_[number % kNear];
    if (near != nullptr && near->number == number) return near;
    const auto found = pages_.find(number);
    return found == pages_.end() ? nullptr : near = found->second.get();
  }
  Page* AddPage(uint64_t number) {
    std::unique_ptr<Page> page = spare_ != nullptr ? std::move(spare_) : std::make_unique<Page>();
    page->number = number;
    return (pages_[number] = std::move(page)).get();
  }
  void DropPage(uint64_t number) {
    const auto found = pages_.find(number);
    if (near_[number % kNear] == found->second.get()) near_[number % kNear] = nullptr;
    spare_ = std::move(found->second);
    pages_.erase(found);
  }

  const WorkerId self_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Page>> pages_;
  mutable std::array<Page*, kNear> near_{};  // where they were found last
  std::unique_ptr<Page> spare_;              // the last one that was emptied: all null
  absl::flat_hash_map<ObjectId, ObjectEntry*> others_;
  size_t size_ = 0;
};

}  // namespace shoal::core_worker
