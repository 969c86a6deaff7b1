// The two records everything turns around: an object known here, and a task submitted from here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/inlined_vector.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/types.h"
#include "schema/messages.h"

namespace shoal::core_worker {

struct ActorRecord;
struct Lease;
struct ObjectEntry;
struct ShapeQueue;

// waiting_for_args -> queued -> pushed -> finished (kept for its lineage) or gone; see docs/states/task.md.
enum class TaskState : uint8_t { kWaitingForArgs, kQueued, kPushed, kFinished };

// A task or actor call that this process submitted.
struct SubmittedTask {
  TaskSpec spec;
  TaskState state = TaskState::kWaitingForArgs;
  int32_t retries_left = 0;  // -1: without end
  bool retry_exceptions = false;
  bool cancelled = false;     // a cancellation is on its way to the worker: never retry
  bool force = false;         // ... and the worker is to be killed if it runs this task
  bool in_ready = false;      // its arguments exist, TaskTable::ProcessReady comes to it
  bool holds_args = false;    // spec.refs and spec.nested count as uses
  uint32_t waiting_args = 0;  // references that do not exist yet
  absl::InlinedVector<ObjectEntry*, 1> results;  // null once forgotten
  uint32_t results_left = 0;                     // that are not null

  ShapeQueue* shape = nullptr;   // normal tasks
  Lease* lease = nullptr;        // pushed normal tasks
  ActorRecord* actor = nullptr;  // actor calls and creations
  ObjectEntry* handle = nullptr;  // actor calls: the object that stands for the actor, used until the call has ended
  TimePoint pushed_at;
  uint64_t order = 0;            // of queueing, so that returned tasks find their old place
  List<SubmittedTask>* list = nullptr;  // where it is: a queue, or the tasks in flight at a lease or actor
  SubmittedTask* prev = nullptr;        // its neighbours there
  SubmittedTask* next = nullptr;

  bool pending() const { return state != TaskState::kFinished; }
  bool may_retry() const { return retries_left != 0 && !cancelled; }

  // True if that was the last of its results.
  inline bool Forget(const ObjectEntry* entry);
  void Leave() {
    if (list != nullptr) std::exchange(list, nullptr)->Remove(this);
  }
  void MoveToBackOf(List<SubmittedTask>* to) {
    Leave();
    to->PushBack(this);
    list = to;
  }
  // Before everything that was queued after it.
  void MoveToPlaceIn(List<SubmittedTask>* to) {
    Leave();
    SubmittedTask* at = to->front();
    while (at != nullptr && at->order < order) at = at->next;
    to->Insert(at, this);
    list = to;
  }
};

enum class LocalState : uint8_t { kAbsent, kPulling, kLocal };

// What few objects need.
struct ObjectExtra {
  // Owned: borrowers by (process, registration); processes that asked for the value before it existed.
  absl::btree_set<std::pair<Address, uint64_t>> borrowers;
  std::vector<Address> resolvers;
  // Borrowed: objects kept until the owner confirms; registrations that others made for us.
  std::vector<ObjectId> outers;
  absl::InlinedVector<uint64_t, 1> registrations;
  // Tasks of the executor that wait for the value or its bytes.
  std::vector<TaskId> waiting_here;
  ActorId actor;  // this object stands for that actor
  // Owned: nodes where an attempt that was given up has stored a copy all the same.
  std::vector<NodeId> strays;
  uint32_t losses = 0;
  std::optional<ObjectValue> read_error;  // its bytes cannot be read here, for instance because the store is full
};

// An object that this process owns, borrows, or needs for a task it runs. It is held while local_refs, uses or borrowers
// remain; see docs/states/reference.md.
struct ObjectEntry {
  ObjectRefInfo ref;
  uint32_t local_refs = 0;    // by the language
  uint32_t uses = 0;          // tasks submitted or running here, objects that contain it, inner objects not yet confirmed
  uint32_t lineage_uses = 0;  // finished tasks that would need it again; do not keep the value
  uint32_t pins = 0;          // readers of the local bytes; keep the record, not the reference
  bool owned = false;
  bool registered = false;    // borrowed: AddBorrower was sent
  bool confirmed = false;     // ... and answered, or another process had registered us
  bool resolving = false;     // borrowed: ResolveObject was sent
  bool want_value = false, want_local = false;  // Want returned false
  bool holds_contained = false;
  bool value_freed = false;   // it had a value, nobody held it, lineage could make it again
  bool released = false;      // no reference left; the record waits for pins or a pull to end
  bool in_release_queue = false;
  LocalState local = LocalState::kAbsent;
  LocalBlock block;
  ObjectValue value;          // kPending until known
  SubmittedTask* producer = nullptr;  // owned results: while it is pending, or kept for lineage
  absl::InlinedVector<SubmittedTask*, 1> dependents;  // tasks that wait for this value
  std::unique_ptr<ObjectExtra> extra;

  const ObjectId& id() const { return ref.id; }
  bool known() const { return value.kind != ValueKind::kPending; }
  bool held() const {
    return local_refs != 0 || uses != 0 || (extra != nullptr && !extra->borrowers.empty());
  }
  ObjectExtra& Extra() {
    if (extra == nullptr) extra = std::make_unique<ObjectExtra>();
    return *extra;
  }
};

inline bool SubmittedTask::Forget(const ObjectEntry* entry) {
  results[static_cast<size_t>(entry->id().index - spec.id.index)] = nullptr;
  return --results_left == 0;
}

// What the parts tell each other; the facade routes it.
class Events {
 public:
  virtual ~Events() = default;
  // The value of an object became known (or an error).
  virtual void ValueKnown(const Turn& t, ObjectEntry* entry) = 0;
  // Its bytes are here, or entry->extra->read_error says why not.
  virtual void BytesLocal(const Turn& t, ObjectEntry* entry) = 0;
  // No copy of an owned object is left; `at` is where the last one was.
  virtual void BytesLost(const Turn& t, ObjectEntry* entry, NodeId at) = 0;
  // A known value became unknown again: its bytes were lost, its owner is asked or computes it once more.
  virtual void ValueGone(const Turn& t, ObjectEntry* entry) = 0;
  // An owner confirmed that a borrower is registered (registration 0: this process), or can no longer do so.
  virtual void BorrowConfirmed(const Turn& t, const ObjectId& id, uint64_t registration) = 0;
  // The last reference to an object is gone; the record follows.
  virtual void Released(const Turn& t, ObjectEntry* entry) = 0;
  // Nobody holds an owned object whose task is still pending.
  virtual void ResultUnwanted(const Turn& t, ObjectEntry* entry) = 0;
  // All arguments exist and none is an error.
  virtual void TaskReady(const Turn& t, SubmittedTask* task) = 0;
  // A call left its actor's queue in the middle; those behind it may go on.
  virtual void CallGone(const Turn& t, ActorRecord* actor) = 0;
};

}  // namespace shoal::core_worker
