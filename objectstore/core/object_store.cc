#include "objectstore/core/object_store.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/buggify.h"
#include "base/check.h"
#include "objectstore/core/chunk_table.h"
#include "objectstore/core/object_table.h"
#include "objectstore/core/pull_manager.h"
#include "objectstore/core/room_queue.h"

namespace shoal::objectstore {
namespace {

ErrorInfo Error(ErrorKind kind, std::string message) {
  ErrorInfo error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

// Where an object was sought, for people.
std::string Places(const Pull& pull) {
  if (pull.tried.empty()) return "no other node was named";
  return absl::StrCat("not obtained from ",
                      absl::StrJoin(pull.tried, ", ", [](std::string* out, NodeId node) { out->append(node.Hex()); }));
}

}  // namespace

class ObjectStore::Impl {
 public:
  explicit Impl(ObjectStoreOptions options)
      : options_(options),
        chunks_(options.arena_bytes, options.max_blocks),
        table_(&chunks_),
        pulls_(options.node),
        waiting_(options.max_waiting) {}

  void Create(TimePoint now, WorkerId worker, const CreateObject& message, StoreActions* actions);
  void Seal(const Address& from, const SealObject& message, StoreActions* actions);
  void PullIn(TimePoint now, WorkerId reader, const PullObject& message, StoreActions* actions);
  void Release(WorkerId worker, const ObjectId& id, StoreActions* actions);
  void Free(const ObjectId& id, StoreActions* actions);
  void OwnerGone(const std::vector<ObjectId>& copies, const std::vector<ObjectId>& pulls, StoreActions* actions);
  void TransferDone(const ObjectId& id, bool ok, StoreActions* actions);
  void ExpireWishes(TimePoint now, StoreActions* actions);
  // Ends a turn: those who waited get what became free.
  void ServeWaiting(StoreActions* actions);

  uint64_t used() const { return chunks_.allocator().used(); }
  std::string ListObjects(uint32_t limit) const;
  std::string Remains() const;
  void CheckInvariants() const;

 private:
  friend class ObjectStore;

  void Say(WorkerId worker, Message message, StoreActions* actions) {
    actions->sends.push_back({{options_.node, worker}, std::move(message)});
  }
  void TellOwner(const ObjectRefInfo& ref, bool present, StoreActions* actions) {
    actions->sends.push_back({ref.owner(), ObjectLocation{ref.id, options_.node, present}});
  }
  bool FitsEver(uint64_t size) const { return BlockAllocator::Rounded(size) <= chunks_.allocator().capacity(); }
  bool MakeRoom(uint64_t size, StoreActions* actions);
  void Evict(Copy* copy, StoreActions* actions);
  bool TryCreate(const Wish& wish, StoreActions* actions);
  bool TryStart(const ObjectId& id, StoreActions* actions);
  void GiveTo(Copy* copy, const std::vector<WorkerId>& readers, StoreActions* actions);
  void NextTransfer(Pull* pull, StoreActions* actions);
  void Refuse(Pull* pull, const ErrorInfo& error, NodeId lost_at, StoreActions* actions);
  void GiveUp(Pull* pull, const ErrorInfo& error, NodeId lost_at, StoreActions* actions);
  ErrorInfo Lost(const Pull& pull) const;
  ErrorInfo Full(uint64_t size, bool waited) const;

  const ObjectStoreOptions options_;
  ChunkTable chunks_;
  ObjectTable table_;
  PullManager pulls_;
  RoomQueue waiting_;
};

// ---- room

bool ObjectStore::Impl::MakeRoom(uint64_t size, StoreActions* actions) {
  const BlockAllocator& blocks = chunks_.allocator();
  const uint64_t rounded = BlockAllocator::Rounded(size);
  auto fits = [&] { return blocks.largest_free() >= rounded && blocks.blocks() < options_.max_blocks; };
  if (!fits() && blocks.capacity() - used() + table_.evictable_bytes() + 64 * table_.size() < rounded) return false;
  while (!fits()) {
    Copy* oldest = table_.Oldest();
    if (oldest == nullptr) return false;
    Evict(oldest, actions);
  }
  return true;
}

void ObjectStore::Impl::Evict(Copy* copy, StoreActions* actions) {
  const ObjectRefInfo ref = copy->ref;
  table_.Doom(ref.id);
  TellOwner(ref, false, actions);
}

ErrorInfo ObjectStore::Impl::Full(uint64_t size, bool waited) const {
  const std::string waiting =
      waited ? absl::StrCat(" and nobody released enough within ", options_.room_timeout / 1ms, " ms") : "";
  return Error(ErrorKind::kObjectStoreFull,
               absl::StrCat("no room for an object of ", size, " bytes: the store of node ", options_.node.Hex(), " holds ",
                            used(), " of ", chunks_.allocator().capacity(), " bytes, the longest free range is ",
                            chunks_.allocator().largest_free(), " bytes", waiting,
                            "; drop references that are no longer needed or start the node with a larger object store"));
}

// ---- creation

void ObjectStore::Impl::Create(TimePoint now, WorkerId worker, const CreateObject& message, StoreActions* actions) {
  const Wish wish{now + options_.room_timeout, message.size, worker, message.request, {}};
  if (!FitsEver(message.size)) {
    return Say(worker, ObjectCreated{message.request, 0, Full(message.size, false)}, actions);
  }
  if (SHOAL_BUGGIFY("store.creation_waits")) {
    chunks_.NoteRoom();
  } else if (TryCreate(wish, actions)) {
    return;
  }
  if (!waiting_.Push(wish)) Say(worker, ObjectCreated{message.request, 0, Full(message.size, false)}, actions);
}

bool ObjectStore::Impl::TryCreate(const Wish& wish, StoreActions* actions) {
  if (!chunks_.IsOpen(wish.worker, wish.request) && !MakeRoom(wish.size, actions)) return false;
  const std::optional<uint64_t> offset = chunks_.Create(wish.worker, wish.request, wish.size);
  if (!offset) return false;
  Say(wish.worker, ObjectCreated{wish.request, *offset, {}}, actions);
  return true;
}

void ObjectStore::Impl::Seal(const Address& from, const SealObject& message, StoreActions* actions) {
  const std::optional<uint64_t> chunk = chunks_.Seal(from.worker, message.offset, message.size);
  if (!chunk) return;
  Copy* copy = table_.Add(message.ref, message.offset, message.size, *chunk, /*primary=*/true);
  table_.Pin(copy, from.worker);
  // Its owner hears of it from the creator's reply, unless the creator dies first: then this says where a copy lies that it may free.
  if (message.ref.owner() != from) TellOwner(message.ref, true, actions);
  Pull* pull = pulls_.Find(message.ref.id);
  if (pull == nullptr) return;
  GiveTo(copy, std::exchange(pull->waiters, {}), actions);
  if (pull->block) return;  // the transfer runs to its end, for nobody
  waiting_.RemovePull(message.ref.id);
  pulls_.Erase(message.ref.id);
}

// ---- pulls

void ObjectStore::Impl::GiveTo(Copy* copy, const std::vector<WorkerId>& readers, StoreActions* actions) {
  for (WorkerId reader : readers) {
    table_.Pin(copy, reader);
    Say(reader, ObjectLocal{copy->ref.id, copy->offset, copy->size, {}, {}}, actions);
  }
}

void ObjectStore::Impl::PullIn(TimePoint now, WorkerId reader, const PullObject& message, StoreActions* actions) {
  const ObjectId& id = message.ref.id;
  if (Copy* copy = table_.Find(id)) return GiveTo(copy, {reader}, actions);
  bool is_new = false;
  Pull* pull = pulls_.Join(reader, message, &is_new);
  if (!is_new) return;
  if (pull->untried.empty()) return GiveUp(pull, Lost(*pull), options_.node, actions);
  if (!FitsEver(pull->size)) return GiveUp(pull, Full(pull->size, false), {}, actions);
  if (SHOAL_BUGGIFY("store.pull_waits")) {
    chunks_.NoteRoom();
  } else if (TryStart(id, actions)) {
    return;
  }
  const Wish wish{now + options_.room_timeout, message.size, {}, {}, id};
  if (!waiting_.Push(wish)) GiveUp(pull, Full(pull->size, false), {}, actions);
}

bool ObjectStore::Impl::TryStart(const ObjectId& id, StoreActions* actions) {
  Pull* pull = pulls_.Find(id);
  SHOAL_CHECK(pull != nullptr && !pull->block) << id.Hex();
  if (pull->waiters.empty()) {
    pulls_.Erase(id);
    return true;
  }
  if (!MakeRoom(pull->size, actions)) return false;
  pull->block = chunks_.CreateForTransfer(pull->size);
  SHOAL_CHECK(pull->block) << "there was room for " << pull->size << " bytes a moment ago";
  NextTransfer(pull, actions);
  return true;
}

void ObjectStore::Impl::NextTransfer(Pull* pull, StoreActions* actions) {
  const std::optional<NodeId> from = pulls_.NextLocation(pull);
  if (!from) return GiveUp(pull, Lost(*pull), pull->tried.empty() ? options_.node : pull->tried.back(), actions);
  actions->transfers.push_back({pull->ref.id, *from, *pull->block, pull->size});
}

ErrorInfo ObjectStore::Impl::Lost(const Pull& pull) const {
  return Error(ErrorKind::kObjectLost, absl::StrCat("object ", pull.ref.id.Hex(), " is not in the store of node ",
                                                    options_.node.Hex(), "; ", Places(pull)));
}

void ObjectStore::Impl::Refuse(Pull* pull, const ErrorInfo& error, NodeId lost_at, StoreActions* actions) {
  for (WorkerId reader : std::exchange(pull->waiters, {})) {
    Say(reader, ObjectLocal{pull->ref.id, 0, 0, lost_at, error}, actions);
  }
}

void ObjectStore::Impl::GiveUp(Pull* pull, const ErrorInfo& error, NodeId lost_at, StoreActions* actions) {
  Refuse(pull, error, lost_at, actions);
  if (pull->block) chunks_.AbandonTransfer(*pull->block);
  const ObjectId id = pull->ref.id;
  waiting_.RemovePull(id);
  pulls_.Erase(id);
}

void ObjectStore::Impl::TransferDone(const ObjectId& id, bool ok, StoreActions* actions) {
  Pull* pull = pulls_.Find(id);
  if (pull == nullptr || !pull->block) return;
  if (Copy* copy = table_.Find(id)) {  // it was made here meanwhile
    GiveTo(copy, std::exchange(pull->waiters, {}), actions);
    return GiveUp(pull, {}, {}, actions);
  }
  if (pull->unwanted) return GiveUp(pull, Lost(*pull), options_.node, actions);
  if (!ok && pull->waiters.empty()) return GiveUp(pull, {}, {}, actions);
  if (!ok) return NextTransfer(pull, actions);
  chunks_.Adopt(*pull->block);
  Copy* copy = table_.Add(pull->ref, *pull->block, pull->size, *pull->block, /*primary=*/false);
  TellOwner(pull->ref, true, actions);
  GiveTo(copy, pull->waiters, actions);
  pulls_.Erase(id);
}

// ---- release and the end

void ObjectStore::Impl::Release(WorkerId worker, const ObjectId& id, StoreActions* actions) {
  table_.Unpin(id, worker);
  Copy* copy = table_.Find(id);
  if (copy != nullptr && copy->last_use != 0 && SHOAL_BUGGIFY("store.evict_early")) Evict(copy, actions);
}

void ObjectStore::Impl::Free(const ObjectId& id, StoreActions* actions) {
  table_.Doom(id);
  Pull* pull = pulls_.Find(id);
  if (pull == nullptr) return;
  if (!pull->block) return GiveUp(pull, Lost(*pull), options_.node, actions);
  Refuse(pull, Lost(*pull), options_.node, actions);
  pull->unwanted = true;
}

void ObjectStore::Impl::OwnerGone(const std::vector<ObjectId>& copies, const std::vector<ObjectId>& pulls,
                                  StoreActions* actions) {
  for (const ObjectId& id : copies) table_.Doom(id);
  for (const ObjectId& id : pulls) {
    Pull* pull = pulls_.Find(id);
    const ErrorInfo error =
        Error(ErrorKind::kOwnerDied, absl::StrCat("the owner of object ", id.Hex(), ", process ", pull->ref.owner().ToString(),
                                                  ", died; objects are lost with the process that created them"));
    if (!pull->block) {
      GiveUp(pull, error, {}, actions);
      continue;
    }
    Refuse(pull, error, {}, actions);
    pull->unwanted = true;
  }
}

void ObjectStore::Impl::ExpireWishes(TimePoint now, StoreActions* actions) {
  while (std::optional<Wish> wish = waiting_.TakeOverdue(now)) {
    if (!wish->object) {
      Say(wish->worker, ObjectCreated{wish->request, 0, Full(wish->size, true)}, actions);
    } else if (Pull* pull = pulls_.Find(wish->object)) {
      GiveUp(pull, Full(pull->size, true), {}, actions);
    }
  }
}

void ObjectStore::Impl::ServeWaiting(StoreActions* actions) {
  if (waiting_.empty() || !chunks_.TakeRoom()) return;
  waiting_.ServeInOrder([&](const Wish& wish) {
    return wish.object ? TryStart(wish.object, actions) : TryCreate(wish, actions);
  });
  chunks_.TakeRoom();  // by evictions, for those who were just served
}

// ---- for people

std::string ObjectStore::Impl::ListObjects(uint32_t limit) const {
  std::string rows;
  uint32_t count = 0;
  auto row = [&](const ObjectRefInfo& ref, uint64_t size, const char* state, size_t pins) {
    if (count == limit) return false;
    absl::StrAppend(&rows, count++ == 0 ? "" : ",", "{\"object_id\":\"", ref.id.Hex(), "\",\"node_id\":\"",
                    options_.node.Hex(), "\",\"owner_node_id\":\"", ref.owner_node.Hex(), "\",\"owner_worker_id\":\"",
                    ref.id.owner.Hex(), "\",\"size_bytes\":", size, ",\"state\":\"", state, "\",\"pins\":", pins, "}");
    return true;
  };
  table_.ForEach([&](const Copy& copy) {
    const char* state = copy.doomed ? "leaving" : copy.primary ? "primary" : copy.pinned() ? "secondary" : "evictable";
    size_t pins = copy.transfer_pins;
    for (const auto& [worker, times] : copy.pins) pins += times;
    return row(copy.ref, copy.size, state, pins);
  });
  pulls_.ForEach([&](const Pull& pull) {
    return row(pull.ref, pull.size, pull.block ? "transferring" : "waiting_for_room", pull.waiters.size());
  });
  return absl::StrCat("[", rows, "]");
}

std::string ObjectStore::Impl::Remains() const {
  std::vector<std::string> parts;
  if (table_.size() > 0) {
    std::string example;
    table_.ForEach([&](const Copy& copy) {
      example = absl::StrCat(copy.ref.id.Hex(), copy.primary ? " primary" : " secondary", copy.doomed ? " doomed" : "",
                             copy.pins.empty() ? "" : " pinned by " + copy.pins[0].first.Hex());
      return false;
    });
    parts.push_back(absl::StrCat(table_.size(), " objects in the store (", example, ")"));
  }
  if (pulls_.size() > 0) parts.push_back(absl::StrCat(pulls_.size(), " pulls"));
  if (chunks_.open() > 0) parts.push_back(absl::StrCat(chunks_.open(), " unsealed blocks"));
  if (waiting_.size() > 0) parts.push_back(absl::StrCat(waiting_.size(), " who wait for memory"));
  if (parts.empty() && used() > 0) parts.push_back(absl::StrCat(used(), " bytes of the store in use"));
  return absl::StrJoin(parts, ", ");
}

void ObjectStore::Impl::CheckInvariants() const {
  chunks_.CheckInvariants();
  table_.CheckInvariants();
  size_t waiting = 0;
  pulls_.ForEach([&](const Pull& pull) {
    SHOAL_CHECK(pull.block.has_value() != waiting_.WaitsFor(pull.ref.id)) << "pull of " << pull.ref.id.Hex();
    SHOAL_CHECK(!pull.unwanted || pull.block) << pull.ref.id.Hex();
    if (!pull.block) ++waiting;
    return true;
  });
  SHOAL_CHECK(waiting <= waiting_.size());
}

// ---- the facade

ObjectStore::ObjectStore(ObjectStoreOptions options) : impl_(std::make_unique<Impl>(options)) {}
ObjectStore::~ObjectStore() = default;

void ObjectStore::OnCreateObject(TimePoint now, const Address& from, const CreateObject& message, StoreActions* actions) {
  impl_->Create(now, from.worker, message, actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnSealObject(TimePoint, const Address& from, const SealObject& message, StoreActions* actions) {
  impl_->Seal(from, message, actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnAbortObject(TimePoint, const Address& from, const AbortObject& message, StoreActions* actions) {
  impl_->chunks_.Close(from.worker, message.offset);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnPullObject(TimePoint now, const Address& from, const PullObject& message, StoreActions* actions) {
  impl_->PullIn(now, from.worker, message, actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnReleaseObject(TimePoint, const Address& from, const ReleaseObject& message, StoreActions* actions) {
  impl_->Release(from.worker, message.id, actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnFreeObjects(TimePoint, const Address& from, const FreeObjects& message, StoreActions* actions) {
  for (const ObjectId& id : message.ids) {
    if (!from.worker || from.worker == id.owner) impl_->Free(id, actions);  // nobody frees what is not his
  }
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnWorkerGone(TimePoint, WorkerId worker, StoreActions* actions) {
  impl_->waiting_.RemoveCreationsOf(worker);
  impl_->pulls_.ForgetReader(worker);
  impl_->table_.UnpinAllOf(worker);
  impl_->chunks_.CloseAllOf(worker);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnOwnerGone(TimePoint, const Address& process, StoreActions* actions) {
  impl_->OwnerGone(impl_->table_.OwnedBy(process), impl_->pulls_.OwnedBy(process), actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnNodeGone(TimePoint, NodeId node, StoreActions* actions) {
  impl_->pulls_.ForgetNode(node);
  impl_->OwnerGone(impl_->table_.OwnedOn(node), impl_->pulls_.OwnedOn(node), actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnTransferDone(TimePoint, const ObjectId& object, bool ok, StoreActions* actions) {
  impl_->TransferDone(object, ok, actions);
  impl_->ServeWaiting(actions);
}

void ObjectStore::OnTick(TimePoint now, StoreActions* actions) {
  impl_->ServeWaiting(actions);
  impl_->ExpireWishes(now, actions);
}

std::optional<TimePoint> ObjectStore::NextDeadline() const {
  if (!impl_->waiting_.empty() && impl_->chunks_.room()) return TimePoint{};
  return impl_->waiting_.NextDeadline();
}

std::optional<Block> ObjectStore::PinForTransfer(const ObjectId& object) {
  Copy* copy = impl_->table_.Find(object);
  if (copy == nullptr) return std::nullopt;
  impl_->table_.PinForTransfer(copy);
  return Block{copy->offset, copy->size};
}

void ObjectStore::UnpinAfterTransfer(const ObjectId& object) { impl_->table_.UnpinAfterTransfer(object); }

uint64_t ObjectStore::used_bytes() const { return impl_->used(); }
uint64_t ObjectStore::capacity_bytes() const { return impl_->chunks_.allocator().capacity(); }
uint64_t ObjectStore::objects() const { return impl_->table_.size(); }
std::string ObjectStore::ListObjects(uint32_t limit) const { return impl_->ListObjects(limit); }
std::string ObjectStore::Remains() const { return impl_->Remains(); }
void ObjectStore::CheckInvariants() const { impl_->CheckInvariants(); }

}  // namespace shoal::objectstore
