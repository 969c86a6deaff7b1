#include "runtime/core_worker/local_objects.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::core_worker {

bool LocalObjects::Want(const Turn& t, const ObjectRefInfo& ref, bool local_bytes) {
  ObjectEntry* entry = references_.Find(ref.id);
  if (entry == nullptr || entry->released) return true;  // nobody holds it: Lookup says null
  if (entry->known() && (!local_bytes || Readable(entry))) return true;
  entry->want_value = true;
  if (local_bytes) entry->want_local = true;
  if (entry->known()) {
    Pull(t, entry);
    return Readable(entry);
  }
  Resolve(t, entry);
  return false;
}

void LocalObjects::Resolve(const Turn& t, ObjectEntry* entry) {
  if (entry->owned || entry->known() || entry->resolving) return;
  entry->resolving = true;
  ResolveObject& ask = outbox_.Post<ResolveObject>(t, entry->ref.owner());
  ask.id = entry->id();
  ask.requester = options_.self;
}

void LocalObjects::Pull(const Turn& t, ObjectEntry* entry) {
  if (entry->local != LocalState::kAbsent || entry->value.kind != ValueKind::kStored) return;
  if (ReadError(entry) != nullptr) return;
  entry->local = LocalState::kPulling;
  PullObject& pull = outbox_.Post<PullObject>(t, outbox_.raylet());
  pull.ref = entry->ref;
  pull.size = entry->value.size;
  pull.locations = entry->value.locations;
}

std::optional<LocalBlock> LocalObjects::Acquire(ObjectEntry* entry) {
  if (entry == nullptr || entry->local != LocalState::kLocal) return std::nullopt;
  ++entry->pins;
  return entry->block;
}

void LocalObjects::Unpin(const Turn& t, ObjectEntry* entry) {
  if (entry == nullptr || entry->pins == 0) return;
  if (--entry->pins > 0 || entry->local != LocalState::kLocal) {
    if (entry->pins == 0) references_.EraseIfDone(entry);
    return;
  }
  // The primary copy stays anyway, so a later read may find it at once; others become evictable.
  const bool primary = entry->owned && entry->value.kind == ValueKind::kStored &&
                       !entry->value.locations.empty() &&
                       entry->value.locations.front() == options_.self.node;
  if (primary && !entry->released) return;
  outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = entry->id();
  entry->local = LocalState::kAbsent;
  references_.EraseIfDone(entry);
}

void LocalObjects::Sealed(ObjectEntry* entry, LocalBlock block) {
  entry->local = LocalState::kLocal;
  entry->block = block;
}

void LocalObjects::ValueKnown(const Turn& t, ObjectEntry* entry) {
  if (!entry->want_value) return;
  if (entry->want_local && !Readable(entry)) return Pull(t, entry);
  entry->want_value = entry->want_local = false;
  t.actions->ready.push_back(entry->id());
}

void LocalObjects::OnObjectResolved(const Turn& t, ObjectResolved&& message) {
  ObjectEntry* entry = references_.Find(message.id);
  if (entry == nullptr || entry->owned || !entry->resolving) return;
  if (message.value.kind == ValueKind::kPending) return;
  entry->resolving = false;
  entry->value = std::move(message.value);
  events_.ValueKnown(t, entry);
}

void LocalObjects::OnObjectLocal(const Turn& t, const ObjectLocal& message) {
  ObjectEntry* entry = references_.Find(message.id);
  if (entry == nullptr || entry->local != LocalState::kPulling) return;
  if (!message.error) {
    entry->local = LocalState::kLocal;
    entry->block = {message.offset, message.size};
    if (entry->released) {
      if (entry->pins == 0) {
        outbox_.Post<ReleaseObject>(t, outbox_.raylet()).id = entry->id();
        entry->local = LocalState::kAbsent;
      }
      return references_.EraseIfDone(entry);
    }
    return events_.BytesLocal(t, entry);
  }
  entry->local = LocalState::kAbsent;
  if (entry->released) return references_.EraseIfDone(entry);
  if (message.error.kind == ErrorKind::kObjectLost) return Lost(t, entry, message.lost_at);
  entry->Extra().read_error = ErrorValue(message.error);
  events_.BytesLocal(t, entry);
}

void LocalObjects::Lost(const Turn& t, ObjectEntry* entry, NodeId at) {
  if (entry->value.kind != ValueKind::kStored) return;
  if (++entry->Extra().losses > options_.max_pull_attempts) {
    entry->extra->read_error = ErrorValue(MakeError(
        ErrorKind::kObjectLost,
        absl::StrCat("object ", entry->id().Hex(), " could not be read from any node in ",
                     options_.max_pull_attempts, " attempts, last from node ", at.Hex())));
    return events_.BytesLocal(t, entry);
  }
  if (entry->owned) {
    references_.LoseLocation(t, entry, at);
    // Elsewhere there is another copy; or it is being computed again, then ValueKnown goes on.
    if (entry->value.kind == ValueKind::kStored) Pull(t, entry);
    return;
  }
  entry->value = ObjectValue{};
  AskAgain(t, entry, at);
}

void LocalObjects::AskAgain(const Turn& t, ObjectEntry* entry, NodeId at) {
  entry->resolving = true;
  ResolveObject& ask = outbox_.Post<ResolveObject>(t, entry->ref.owner());
  ask.id = entry->id();
  ask.requester = options_.self;
  ask.lost_at = at;
  events_.ValueGone(t, entry);
}

void LocalObjects::Doubt(const Turn& t, const ObjectRefInfo& ref) {
  ObjectEntry* entry = references_.Find(ref.id);
  if (entry == nullptr || entry->owned || entry->released || entry->local != LocalState::kAbsent) return;
  if (entry->value.kind != ValueKind::kStored || ReadError(entry) != nullptr) return;
  entry->value = ObjectValue{};
  AskAgain(t, entry, NodeId{});
}

}  // namespace shoal::core_worker
