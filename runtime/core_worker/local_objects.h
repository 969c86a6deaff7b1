// Values and bytes that this process waits for: asks owners what an object is, and the raylet to make its bytes local.
#pragma once

#include <optional>

#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/references.h"

namespace shoal::core_worker {

class LocalObjects {
 public:
  LocalObjects(const CoreWorkerOptions* options, Outbox* outbox, Events* events, References* references)
      : options_(*options), outbox_(*outbox), events_(*events), references_(*references) {}

  // See CoreWorker::Want.
  bool Want(const Turn& t, const ObjectRefInfo& ref, bool local_bytes);
  // Has the owner asked if the value is unknown and the object not our own.
  void Resolve(const Turn& t, ObjectEntry* entry);
  // Starts a pull unless one runs or the bytes are here.
  void Pull(const Turn& t, ObjectEntry* entry);
  std::optional<LocalBlock> Acquire(ObjectEntry* entry);
  void Unpin(const Turn& t, ObjectEntry* entry);
  // A value became known: goes on with what Want wished for.
  void ValueKnown(const Turn& t, ObjectEntry* entry);
  void Sealed(ObjectEntry* entry, LocalBlock block);
  // Others' stored bytes could perhaps not be read where they were said to be: asks the owner again.
  void Doubt(const Turn& t, const ObjectRefInfo& ref);

  void OnObjectResolved(const Turn& t, ObjectResolved&& message);
  void OnObjectLocal(const Turn& t, const ObjectLocal& message);

  // True if a reader can go on: inline, an error, or local.
  static bool Readable(const ObjectEntry* entry) {
    return entry->known() && (entry->value.kind != ValueKind::kStored ||
                              entry->local == LocalState::kLocal || ReadError(entry) != nullptr);
  }
  static const ObjectValue* ReadError(const ObjectEntry* entry) {
    return entry->extra != nullptr && entry->extra->read_error ? &*entry->extra->read_error : nullptr;
  }

 private:
  void Lost(const Turn& t, ObjectEntry* entry, NodeId at);
  void AskAgain(const Turn& t, ObjectEntry* entry, NodeId at);

  const CoreWorkerOptions& options_;
  Outbox& outbox_;
  Events& events_;
  References& references_;
};

}  // namespace shoal::core_worker
