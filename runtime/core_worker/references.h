// The object table and who holds what: ownership, borrowing, and answers to those who ask the owner.
//
// A record is held by local references, uses and borrowers. Records that lost their last hold are looked at again at
// the end of the turn (Settle), so pointers to records stay good during one.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/object_table.h"
#include "runtime/core_worker/parts.h"

namespace shoal::core_worker {

class References {
 public:
  References(const CoreWorkerOptions* options, Outbox* outbox, Events* events)
      : options_(*options), outbox_(*outbox), events_(*events), objects_(options->self.worker) {}
  ~References();

  // ---- records
  uint64_t TakeIndices(uint32_t count) { return std::exchange(next_index_, next_index_ + count); }
  bool IsMine(const ObjectId& id) const { return id.owner == options_.self.worker; }
  ObjectEntry* Find(const ObjectId& id) const { return objects_.Find(id); }
  // A record for a new object of this process.
  ObjectEntry* CreateOwned(const ObjectId& id);
  // For an object of another process a record without holds. An own object that is unknown was freed before: an error.
  ObjectEntry* FindOrCreate(const ObjectRefInfo& ref);

  // ---- holds
  void AddUse(const Turn& t, const ObjectRefInfo& ref);  // registers as borrower if nobody did
  void DropUse(const ObjectId& id);
  void DropUse(ObjectEntry* entry) {
    --entry->uses;
    Review(entry);
  }
  void AddLocal(const ObjectRefInfo& ref);
  void Adopt(const Turn& t, const ObjectRefInfo& ref, std::optional<ObjectId> outer);
  void RemoveLocal(const ObjectId& id);
  // Has the holds looked at when the turn ends.
  void Review(ObjectEntry* entry) {
    if (entry->held() || entry->in_release_queue) return;
    entry->in_release_queue = true;
    release_queue_.push_back(entry);
  }

  // ---- values
  // Gives an owned object its value. `registration` is how the sender registered us for the references inside.
  void SetOwnedValue(const Turn& t, ObjectEntry* entry, ObjectValue value, uint64_t registration);
  // Lets go of registrations that came with a reply nobody wants.
  void DeclineContained(const Turn& t, const ObjectValue& value, uint64_t registration);
  // A copy was not found, or its node died. Repeats are harmless.
  void LoseLocation(const Turn& t, ObjectEntry* entry, NodeId at);
  void FreeAt(NodeId node, const ObjectId& id) { frees_[node].push_back(id); }

  // ---- messages
  void OnAddBorrower(const Turn& t, const AddBorrower& message);
  void OnBorrowerAdded(const Turn& t, const BorrowerAdded& message);
  void OnRemoveBorrower(const RemoveBorrower& message);
  void OnResolveObject(const Turn& t, const ResolveObject& message);
  void OnObjectLocation(const Turn& t, const ObjectLocation& message);
  // `sure`: it will not be heard of again.
  void OnProcessDied(const Turn& t, const Address& process, bool sure, const std::string& why);
  void OnNodeDied(const Turn& t, NodeId node, const std::string& why);
  // The raylet is gone: what others have not told yet, they never will.
  void FailUnknown(const Turn& t, const ErrorInfo& error);
  // Registers `borrower` with this owner; false if the object is gone.
  bool Register(const ObjectId& id, const Address& borrower, uint64_t registration);

  // Borrowed objects held here that no owner has confirmed yet.
  const absl::btree_set<ObjectId>& unconfirmed() const { return unconfirmed_; }
  // Ends the turn: forgets what nobody holds. True if there was something to do.
  bool Settle(const Turn& t);
  // After `pins` or a pull ended: removes a record without references.
  void EraseIfDone(ObjectEntry* entry);

  size_t size() const { return objects_.size(); }
  std::vector<ObjectEntry*> Sorted() const;
  void CheckInvariants() const;

 private:
  void Borrow(const Turn& t, ObjectEntry* entry);
  void HoldContained(const Turn& t, ObjectEntry* entry, uint64_t registration);
  void Release(const Turn& t, ObjectEntry* entry);
  void FreeValue(const Turn& t, ObjectEntry* entry);
  void Confirm(const Turn& t, ObjectEntry* entry);
  void OwnerDied(const Turn& t, ObjectEntry* entry, const std::string& why);
  void ForgetBorrowersOf(const Address& process);
  void Remember(const Address& dead);
  void Erase(ObjectEntry* entry);
  void CheckEntry(const ObjectEntry* entry) const;

  const CoreWorkerOptions& options_;
  Outbox& outbox_;
  Events& events_;
  uint64_t next_index_ = 1;
  ObjectTable objects_;
  Pool<ObjectEntry> pool_;
  std::vector<ObjectEntry*> release_queue_;
  std::vector<ObjectEntry*> unregistered_;  // AddLocal of foreign objects: to be registered at the next Settle
  absl::btree_set<ObjectId> borrowed_;      // records of others' objects, by owner
  absl::btree_set<ObjectId> unconfirmed_;
  absl::btree_map<Address, absl::btree_set<ObjectId>> lent_to_;
  absl::btree_map<NodeId, std::vector<ObjectId>> frees_;
  // Who died lately, so that a registration that arrives late is not kept for ever.
  absl::btree_set<Address> dead_;
  std::vector<Address> dead_order_;
  size_t dead_next_ = 0;
};

}  // namespace shoal::core_worker
