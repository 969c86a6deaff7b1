#include "runtime/core_worker/references.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace shoal::core_worker {
namespace {

constexpr size_t kRememberedDead = 1024;

}  // namespace

References::~References() {
  objects_.ForEach([this](ObjectEntry* entry) { pool_.Delete(entry); });
}

ObjectEntry* References::CreateOwned(const ObjectId& id) {
  ObjectEntry* entry = pool_.New();
  entry->ref = {id, options_.self.node};
  entry->owned = true;
  SHOAL_CHECK(Find(id) == nullptr) << "object " << id.Hex() << " was made twice";
  objects_.Insert(id, entry);
  return entry;
}

ObjectEntry* References::FindOrCreate(const ObjectRefInfo& ref) {
  ObjectEntry* entry = Find(ref.id);
  if (entry != nullptr && !entry->released) return entry;
  if (entry == nullptr) {
    entry = pool_.New();
    objects_.Insert(ref.id, entry);
  }
  entry->ref = ref;
  entry->owned = IsMine(ref.id);
  entry->released = false;
  if (entry->owned) {
    entry->value = ErrorValue(MakeError(
        ErrorKind::kObjectLost,
        absl::StrCat("object ", ref.id.Hex(),
                     " was freed because no reference to it was left; keep one while it is in use")));
  } else {
    borrowed_.insert(ref.id);
  }
  return entry;
}

// ---- holds

void References::AddUse(const Turn& t, const ObjectRefInfo& ref) {
  ObjectEntry* entry = FindOrCreate(ref);
  ++entry->uses;
  if (!entry->owned && !entry->registered && !entry->confirmed) Borrow(t, entry);
}

void References::DropUse(const ObjectId& id) {
  ObjectEntry* entry = Find(id);
  SHOAL_CHECK(entry != nullptr && entry->uses > 0) << "no use of object " << id.Hex() << " is left";
  DropUse(entry);
}

void References::AddLocal(const ObjectRefInfo& ref) {
  ObjectEntry* entry = FindOrCreate(ref);
  ++entry->local_refs;
  if (!entry->owned && !entry->registered && !entry->confirmed) unregistered_.push_back(entry);
}

void References::Adopt(const Turn& t, const ObjectRefInfo& ref, std::optional<ObjectId> outer) {
  ObjectEntry* entry = FindOrCreate(ref);
  ++entry->local_refs;
  if (entry->owned) return;
  if (!entry->registered && !entry->confirmed) Borrow(t, entry);
  if (entry->confirmed || !outer || *outer == ref.id) return;
  ObjectEntry* holder = Find(*outer);
  if (holder == nullptr || holder->released) return;
  std::vector<ObjectId>& outers = entry->Extra().outers;
  if (std::find(outers.begin(), outers.end(), *outer) != outers.end()) return;
  ++holder->uses;
  outers.push_back(*outer);
}

void References::RemoveLocal(const ObjectId& id) {
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || entry->local_refs == 0) return;
  --entry->local_refs;
  Review(entry);
}

void References::Borrow(const Turn& t, ObjectEntry* entry) {
  entry->registered = true;
  AddBorrower& add = outbox_.Post<AddBorrower>(t, entry->ref.owner());
  add.id = entry->id();
  add.borrower = add.reply_to = options_.self;
  unconfirmed_.insert(entry->id());
}

void References::Confirm(const Turn& t, ObjectEntry* entry) {
  if (entry->confirmed && unconfirmed_.find(entry->id()) == unconfirmed_.end()) return;
  entry->confirmed = true;
  unconfirmed_.erase(entry->id());
  if (entry->extra != nullptr) {
    for (const ObjectId& outer : std::exchange(entry->extra->outers, {})) DropUse(outer);
  }
  events_.BorrowConfirmed(t, entry->id(), 0);
  Review(entry);
}

// ---- values

void References::SetOwnedValue(const Turn& t, ObjectEntry* entry, ObjectValue value,
                               uint64_t registration) {
  const bool was_known = entry->known();
  if (was_known) {
    DeclineContained(t, value, registration);
    // Computed again because a sibling was lost: a copy more.
    if (value.kind == ValueKind::kStored && entry->value.kind == ValueKind::kStored) {
      for (NodeId node : value.locations) {
        auto& locations = entry->value.locations;
        if (std::find(locations.begin(), locations.end(), node) == locations.end()) {
          locations.push_back(node);
        }
      }
    }
    return;
  }
  entry->value = std::move(value);
  entry->value_freed = false;
  if (!entry->value.contained.empty()) HoldContained(t, entry, registration);
  if (entry->extra != nullptr && !entry->extra->resolvers.empty()) {
    for (const Address& asker : std::exchange(entry->extra->resolvers, {})) {
      ObjectResolved& answer = outbox_.Post<ObjectResolved>(t, asker);
      answer.id = entry->id();
      answer.value = entry->value;
    }
  }
  events_.ValueKnown(t, entry);
  Review(entry);
}

void References::HoldContained(const Turn& t, ObjectEntry* entry, uint64_t registration) {
  entry->holds_contained = true;
  for (const ObjectRefInfo& ref : entry->value.contained) {
    ObjectEntry* inner = FindOrCreate(ref);
    ++inner->uses;
    if (inner->owned) continue;
    if (registration == 0) {
      if (!inner->registered && !inner->confirmed) Borrow(t, inner);
      continue;
    }
    auto& registrations = inner->Extra().registrations;
    if (std::find(registrations.begin(), registrations.end(), registration) != registrations.end()) {
      continue;
    }
    if (inner->confirmed) {  // one is enough
      RemoveBorrower& remove = outbox_.Post<RemoveBorrower>(t, ref.owner());
      remove.id = ref.id;
      remove.borrower = options_.self;
      remove.registration = registration;
      continue;
    }
    registrations.push_back(registration);
    if (!inner->registered) inner->confirmed = true;
  }
}

void References::DeclineContained(const Turn& t, const ObjectValue& value, uint64_t registration) {
  if (registration == 0) return;
  for (const ObjectRefInfo& ref : value.contained) {
    if (IsMine(ref.id)) continue;
    ObjectEntry* inner = Find(ref.id);
    if (inner != nullptr && inner->extra != nullptr) {
      const auto& kept = inner->extra->registrations;
      if (std::find(kept.begin(), kept.end(), registration) != kept.end()) continue;
    }
    RemoveBorrower& remove = outbox_.Post<RemoveBorrower>(t, ref.owner());
    remove.id = ref.id;
    remove.borrower = options_.self;
    remove.registration = registration;
  }
}

void References::LoseLocation(const Turn& t, ObjectEntry* entry, NodeId at) {
  if (!entry->owned || entry->value.kind != ValueKind::kStored) return;
  if (at == options_.self.node && entry->local == LocalState::kLocal) return;  // it is here, pinned
  auto& locations = entry->value.locations;
  if (at) {
    auto it = std::find(locations.begin(), locations.end(), at);
    if (it == locations.end() && !locations.empty()) return;
    if (it != locations.end()) locations.erase(it);
  } else {
    locations.clear();
  }
  if (locations.empty()) events_.BytesLost(t, entry, at);
}

void References::FreeValue(const Turn& t, ObjectEntry* entry) {
  if (entry->local == LocalState::kLocal && entry->pins == 0) {
    outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = entry->id();
    entry->local = LocalState::kAbsent;
  }
  if (entry->owned && entry->value.kind == ValueKind::kStored) {
    for (NodeId node : entry->value.locations) FreeAt(node, entry->id());
  }
  if (entry->owned && entry->extra != nullptr) {
    for (NodeId node : std::exchange(entry->extra->strays, {})) {
      const auto& locations = entry->value.locations;
      if (std::find(locations.begin(), locations.end(), node) == locations.end()) FreeAt(node, entry->id());
    }
  }
  if (entry->holds_contained) {
    entry->holds_contained = false;
    for (const ObjectRefInfo& ref : entry->value.contained) DropUse(ref.id);
  }
  entry->value_freed = entry->known();
  if (entry->known()) entry->value = ObjectValue{};
}

// ---- messages

bool References::Register(const ObjectId& id, const Address& borrower, uint64_t registration) {
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || entry->released || !entry->owned || !entry->held()) return false;
  if (dead_.contains(borrower)) return true;
  entry->Extra().borrowers.insert({borrower, registration});
  lent_to_[borrower].insert(id);
  return true;
}

void References::OnAddBorrower(const Turn& t, const AddBorrower& message) {
  const bool found = Register(message.id, message.borrower, message.registration);
  BorrowerAdded& answer = outbox_.Post<BorrowerAdded>(t, message.reply_to);
  answer.id = message.id;
  answer.borrower = message.borrower;
  answer.found = found;
  answer.registration = message.registration;
}

void References::OnBorrowerAdded(const Turn& t, const BorrowerAdded& message) {
  if (message.borrower != options_.self || message.registration != 0) {
    events_.BorrowConfirmed(t, message.id, message.registration);
    return;
  }
  ObjectEntry* entry = Find(message.id);
  if (entry == nullptr || entry->owned || !entry->registered) return;
  if (!message.found && !entry->known()) {
    entry->value = ErrorValue(MakeError(
        ErrorKind::kObjectLost,
        absl::StrCat("object ", message.id.Hex(),
                     " was freed by its owner before this process could register; keep a reference "
                     "to it until the task that receives it has finished")));
    events_.ValueKnown(t, entry);
  }
  Confirm(t, entry);
}

void References::OnRemoveBorrower(const RemoveBorrower& message) {
  ObjectEntry* entry = Find(message.id);
  if (entry == nullptr || entry->extra == nullptr) return;
  auto& borrowers = entry->extra->borrowers;
  if (borrowers.erase({message.borrower, message.registration}) == 0) return;
  auto it = borrowers.lower_bound({message.borrower, 0});
  if (it == borrowers.end() || it->first != message.borrower) {
    auto lent = lent_to_.find(message.borrower);
    if (lent != lent_to_.end()) {
      lent->second.erase(message.id);
      if (lent->second.empty()) lent_to_.erase(lent);
    }
  }
  Review(entry);
}

void References::OnResolveObject(const Turn& t, const ResolveObject& message) {
  ObjectEntry* entry = Find(message.id);
  if (entry != nullptr && entry->owned && message.lost_at) LoseLocation(t, entry, message.lost_at);
  const bool answerable = entry == nullptr || !entry->owned || entry->released || entry->known();
  if (!answerable) {
    auto& resolvers = entry->Extra().resolvers;
    if (std::find(resolvers.begin(), resolvers.end(), message.requester) == resolvers.end()) {
      resolvers.push_back(message.requester);
    }
    return;
  }
  ObjectResolved& answer = outbox_.Post<ObjectResolved>(t, message.requester);
  answer.id = message.id;
  if (entry != nullptr && entry->owned && entry->known()) {
    answer.value = entry->value;
  } else {
    answer.value = ErrorValue(MakeError(
        ErrorKind::kObjectLost, absl::StrCat("object ", message.id.Hex(),
                                             " was freed by its owner: no reference was registered")));
  }
}

void References::OnObjectLocation(const Turn& t, const ObjectLocation& message) {
  ObjectEntry* entry = Find(message.id);
  if (entry == nullptr || !entry->owned || entry->released) {
    if (message.present && IsMine(message.id)) FreeAt(message.node, message.id);
    return;
  }
  if (!message.present) return LoseLocation(t, entry, message.node);
  if (entry->value.kind != ValueKind::kStored) return;
  auto& locations = entry->value.locations;
  if (std::find(locations.begin(), locations.end(), message.node) == locations.end()) {
    locations.push_back(message.node);
  }
}

void References::Remember(const Address& dead) {
  if (!dead_.insert(dead).second) return;
  if (dead_order_.size() < kRememberedDead) {
    dead_order_.push_back(dead);
    return;
  }
  dead_.erase(std::exchange(dead_order_[dead_next_], dead));
  dead_next_ = (dead_next_ + 1) % kRememberedDead;
}

void References::ForgetBorrowersOf(const Address& process) {
  auto lent = lent_to_.find(process);
  if (lent == lent_to_.end()) return;
  for (const ObjectId& id : lent->second) {
    ObjectEntry* entry = Find(id);
    if (entry == nullptr || entry->extra == nullptr) continue;
    auto& borrowers = entry->extra->borrowers;
    auto it = borrowers.lower_bound({process, 0});
    while (it != borrowers.end() && it->first == process) it = borrowers.erase(it);
    Review(entry);
  }
  lent_to_.erase(lent);
}

void References::OwnerDied(const Turn& t, ObjectEntry* entry, const std::string& why) {
  const bool readable = entry->value.kind == ValueKind::kInline ||
                        entry->value.kind == ValueKind::kError ||
                        entry->local == LocalState::kLocal;
  if (!readable) {
    entry->value = ErrorValue(
        MakeError(ErrorKind::kOwnerDied,
                  absl::StrCat("the owner of object ", entry->id().Hex(), ", process ",
                               entry->ref.owner().ToString(), ", died: ", why,
                               "; objects are lost with the process that created them")));
    entry->resolving = false;
    events_.ValueKnown(t, entry);
  }
  Confirm(t, entry);
}

void References::OnProcessDied(const Turn& t, const Address& process, bool sure, const std::string& why) {
  if (sure) Remember(process);
  ForgetBorrowersOf(process);
  std::vector<ObjectId> theirs;
  for (auto it = borrowed_.lower_bound(ObjectId{process.worker, 0});
       it != borrowed_.end() && it->owner == process.worker; ++it) {
    theirs.push_back(*it);
  }
  for (const ObjectId& id : theirs) OwnerDied(t, Find(id), why);
}

void References::FailUnknown(const Turn& t, const ErrorInfo& error) {
  for (ObjectEntry* entry : Sorted()) {
    if (entry->released) continue;
    if (entry->known() && entry->want_local && entry->local != LocalState::kLocal) {
      entry->Extra().read_error = ErrorValue(error);
      events_.BytesLocal(t, entry);
    }
    if (entry->owned) continue;
    if (!entry->known()) {
      entry->resolving = false;
      entry->value = ErrorValue(error);
      events_.ValueKnown(t, entry);
    }
    Confirm(t, entry);
  }
}

void References::OnNodeDied(const Turn& t, NodeId node, const std::string& why) {
  // Nobody there is remembered as dead: the node may come back, perhaps with the same processes.
  std::vector<Address> processes;
  for (auto it = lent_to_.lower_bound(Address::Raylet(node));
       it != lent_to_.end() && it->first.node == node; ++it) {
    processes.push_back(it->first);
  }
  for (const Address& process : processes) ForgetBorrowersOf(process);
  // Rare, so a walk over everything; in order of ids, because messages follow from it.
  for (ObjectEntry* entry : Sorted()) {
    if (entry->owned) {
      const auto& locations = entry->value.locations;
      if (std::find(locations.begin(), locations.end(), node) != locations.end()) {
        LoseLocation(t, entry, node);
      }
    } else if (entry->ref.owner_node == node) {
      OwnerDied(t, entry, why);
    } else {
      auto& locations = entry->value.locations;
      locations.erase(std::remove(locations.begin(), locations.end(), node), locations.end());
    }
  }
}

// ---- the end of a turn

void References::Release(const Turn& t, ObjectEntry* entry) {
  if (entry->owned) {
    if (entry->producer != nullptr && entry->producer->pending()) {
      return events_.ResultUnwanted(t, entry);  // its reply comes here
    }
    if (entry->producer != nullptr && entry->lineage_uses > 0) {
      FreeValue(t, entry);
      return;
    }
    events_.Released(t, entry);
  } else {
    if (entry->registered && unconfirmed_.contains(entry->id())) return;  // Confirm comes back to it
    if (entry->registered) {
      RemoveBorrower& remove = outbox_.Post<RemoveBorrower>(t, entry->ref.owner());
      remove.id = entry->id();
      remove.borrower = options_.self;
    }
    if (entry->extra != nullptr) {
      for (uint64_t registration : entry->extra->registrations) {
        RemoveBorrower& remove = outbox_.Post<RemoveBorrower>(t, entry->ref.owner());
        remove.id = entry->id();
        remove.borrower = options_.self;
        remove.registration = registration;
      }
    }
    events_.Released(t, entry);
  }
  t.actions->freed.push_back(entry->id());
  FreeValue(t, entry);
  entry->released = true;
  EraseIfDone(entry);
}

void References::EraseIfDone(ObjectEntry* entry) {
  if (!entry->released || entry->pins != 0 || entry->local == LocalState::kPulling) {
    if (entry->released) {  // comes back when the pins are gone; a new borrow starts afresh
      entry->registered = entry->confirmed = entry->resolving = false;
      entry->want_value = entry->want_local = false;
      entry->extra.reset();
    }
    return;
  }
  Erase(entry);
}

void References::Erase(ObjectEntry* entry) {
  if (!entry->owned) borrowed_.erase(entry->id());
  objects_.Erase(entry->id());
  pool_.Delete(entry);
}

bool References::Settle(const Turn& t) {
  if (release_queue_.empty() && unregistered_.empty() && frees_.empty()) return false;
  for (ObjectEntry* entry : unregistered_) {
    if (!entry->registered && !entry->confirmed) Borrow(t, entry);
  }
  unregistered_.clear();
  for (size_t i = 0; i < release_queue_.size(); ++i) {
    ObjectEntry* entry = release_queue_[i];
    entry->in_release_queue = false;
    if (!entry->held() && !entry->released) Release(t, entry);
  }
  release_queue_.clear();
  if (!frees_.empty()) {
    for (auto& [node, ids] : frees_) {
      outbox_.Post<FreeObjects>(t, Address::Raylet(node)).ids = std::move(ids);
    }
    frees_.clear();
  }
  return true;
}

std::vector<ObjectEntry*> References::Sorted() const {
  std::vector<ObjectEntry*> sorted;
  sorted.reserve(objects_.size());
  objects_.ForEach([&](ObjectEntry* entry) { sorted.push_back(entry); });
  std::sort(sorted.begin(), sorted.end(),
            [](const ObjectEntry* a, const ObjectEntry* b) { return a->id() < b->id(); });
  return sorted;
}

void References::CheckEntry(const ObjectEntry* entry) const {
  const ObjectId& id = entry->id();
  SHOAL_CHECK(Find(id) == entry);
  SHOAL_CHECK(entry->id() == id);
  SHOAL_CHECK(entry->owned == IsMine(id));
  SHOAL_CHECK(entry->owned != borrowed_.contains(id));
  if (entry->released) {
    SHOAL_CHECK(!entry->held() && !entry->known()) << id.Hex();
    SHOAL_CHECK(entry->pins > 0 || entry->local == LocalState::kPulling) << id.Hex();
    return;
  }
  const bool expected = entry->held() || entry->lineage_uses > 0 ||
                        (entry->producer != nullptr && entry->producer->pending()) ||
                        unconfirmed_.contains(id);
  SHOAL_CHECK(expected) << "object " << id.Hex() << " is kept although nobody holds it";
  if (entry->holds_contained) {
    for (const ObjectRefInfo& ref : entry->value.contained) {
      const ObjectEntry* inner = Find(ref.id);
      SHOAL_CHECK(inner != nullptr && inner->uses > 0) << ref.id.Hex() << " in " << id.Hex();
    }
  }
  if (entry->owned) {
    SHOAL_CHECK(!entry->registered && !entry->resolving) << id.Hex();
    SHOAL_CHECK(entry->value.kind != ValueKind::kStored || !entry->value.locations.empty())
        << "stored object " << id.Hex() << " has no location";
    if (entry->extra != nullptr) {
      for (const auto& [borrower, registration] : entry->extra->borrowers) {
        auto lent = lent_to_.find(borrower);
        SHOAL_CHECK(lent != lent_to_.end() && lent->second.contains(id)) << id.Hex();
      }
    }
  }
}

void References::CheckInvariants() const {
  SHOAL_CHECK(release_queue_.empty()) << "a turn ended without Settle";
  objects_.ForEach([this](const ObjectEntry* entry) { CheckEntry(entry); });
  for (const ObjectId& id : unconfirmed_) {
    const ObjectEntry* entry = Find(id);
    SHOAL_CHECK(entry != nullptr && entry->registered) << id.Hex();
  }
}

}  // namespace shoal::core_worker
