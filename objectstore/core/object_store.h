// The directory of one node's object store: which objects lie where in the arena, who reads them, and which bytes are on their way from other
// nodes. It hands out blocks and never touches a byte; clients write and read the shared arena, the bulk channel fills it.
//
//   ObjectStore store({.node = node, .arena_bytes = bytes});
//   store.OnCreateObject(now, worker, create, &actions);       // -> ObjectCreated with an offset, at once or when there is room
//   store.OnSealObject(now, worker, seal, &actions);           // readable by everybody, pinned once for its creator
//   store.OnPullObject(now, reader, pull, &actions);           // -> ObjectLocal, after actions.transfers if it lies elsewhere
//   store.OnTransferDone(now, object, /*ok=*/true, &actions);
//   CarryOut(&actions);                                        // send actions.sends in order, start actions.transfers, Clear()
//
// Who must call what:
//  - Every Transfer is answered by exactly one OnTransferDone, and nobody writes to its block afterwards. There is one at a time per object.
//    The shell fails a transfer whose source is gone, so that OnTransferDone(false) comes soon.
//  - OnWorkerGone once a local process can no longer write to the arena (it has exited); OnOwnerGone for every core worker anywhere that
//    died, its own node's included; OnNodeGone for a node that is dead or no longer spoken to.
//  - A send to an owner that nobody can deliver (its process or node is gone) is OnOwnerGone. Each primary copy of a foreign object
//    is announced to its owner by ObjectLocation, so copies that no owner knows of are found that way or freed by it.
// A block that several objects are sealed in (a chunk) is closed by AbortObject, by sealing all of it, or by the death of its creator, and
// reused when the last object in it is gone.
// Handlers may be called twice and for things that are gone. States: docs/states/object.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "schema/messages.h"

namespace shoal::objectstore {

struct ObjectStoreOptions {
  NodeId node;
  uint64_t arena_bytes = 0;
  // How long a creation or a pull waits for others to release memory before it fails with kObjectStoreFull.
  Duration room_timeout = 10s;
  // Creations and pulls that wait for memory at a time; more fail at once.
  uint32_t max_waiting = 10'000;
  // Blocks in the arena at a time; more is a full store.
  uint32_t max_blocks = 4'000'000;
};

// Fetch an object's bytes from another node into [offset, offset + size) of the arena.
struct Transfer {
  ObjectId object;
  NodeId from;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct StoreActions {
  std::vector<Send> sends;
  std::vector<Transfer> transfers;
  bool empty() const { return sends.empty() && transfers.empty(); }
  void Clear() {
    sends.clear();
    transfers.clear();
  }
};

struct Block {
  uint64_t offset = 0;
  uint64_t size = 0;
  friend bool operator==(const Block&, const Block&) = default;
};

class ObjectStore {
 public:
  explicit ObjectStore(ObjectStoreOptions options);
  ~ObjectStore();
  ObjectStore(const ObjectStore&) = delete;
  ObjectStore& operator=(const ObjectStore&) = delete;

  // ---- messages of core workers of this node; `from` is the sender
  void OnCreateObject(TimePoint now, const Address& from, const CreateObject& message, StoreActions* actions);
  // A block that was not created for `from` is ignored. Sealing an id again replaces the older copy for new readers.
  void OnSealObject(TimePoint now, const Address& from, const SealObject& message, StoreActions* actions);
  void OnAbortObject(TimePoint now, const Address& from, const AbortObject& message, StoreActions* actions);
  void OnPullObject(TimePoint now, const Address& from, const PullObject& message, StoreActions* actions);
  void OnReleaseObject(TimePoint now, const Address& from, const ReleaseObject& message, StoreActions* actions);
  // From the owner, on any node.
  void OnFreeObjects(TimePoint now, const Address& from, const FreeObjects& message, StoreActions* actions);

  // ---- what happened
  // Its unsealed blocks, pins and wishes go.
  void OnWorkerGone(TimePoint now, WorkerId worker, StoreActions* actions);
  // Its objects go as soon as nobody reads them.
  void OnOwnerGone(TimePoint now, const Address& process, StoreActions* actions);
  // As OnOwnerGone for all processes there; nothing is sought there any more by the pulls of now.
  void OnNodeGone(TimePoint now, NodeId node, StoreActions* actions);
  void OnTransferDone(TimePoint now, const ObjectId& object, bool ok, StoreActions* actions);
  void OnTick(TimePoint now, StoreActions* actions);
  std::optional<TimePoint> NextDeadline() const;

  // ---- for the server of the bulk channel: a sealed object, kept until one UnpinAfterTransfer per PinForTransfer
  std::optional<Block> PinForTransfer(const ObjectId& object);
  // What its going makes room for is served at the next OnTick, which is then due at once.
  void UnpinAfterTransfer(const ObjectId& object);

  // ---- for reports and people
  uint64_t used_bytes() const;      // blocks handed out, rounded up to 64 bytes each
  uint64_t capacity_bytes() const;
  uint64_t objects() const;         // sealed ones, also those that only wait for their readers to leave
  // Rows of ListState "objects": a JSON array of objects, at most `limit`.
  std::string ListObjects(uint32_t limit) const;
  // What would not be here without jobs, in words; "" if nothing is.
  std::string Remains() const;
  void CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::objectstore
