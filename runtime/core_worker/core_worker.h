// The core worker: the machine inside every driver and worker that owns what this process creates. It gives tasks their
// names, finds workers for them and pushes them there, counts references, calls actors in order, and runs what others push.
//
//   CoreWorker core({.self = me, .job = job, .role = Role::kDriver}, Rng(seed));
//   ShapeId shape = core.RegisterShape(Shape{.job = job, .resources = ResourceSet::Of({{"CPU", 1}})});
//   TaskId task = core.SubmitTask(now, {.spec = ..., .shape = shape, .code = code}, &actions);   // holds its results once
//   CarryOut(&actions);                                   // deliver actions.sends, then actions.Clear()
//   if (!core.Want(now, core.RefOf(task.Return(0)), /*local_bytes=*/true, &actions)) ...   // wait for actions.ready
//   const ObjectValue* value = core.Lookup(task.Return(0));
//   core.RemoveLocalReference(now, task.Return(0), &actions);
//
// One thread at a time drives it; nothing blocks. `actions` is filled, never read. Errors of tasks and objects
// are values (ObjectValue::error). Protocols: ARCHITECTURE.md; states: docs/states/task.md, reference.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/rng.h"
#include "runtime/core_worker/types.h"
#include "schema/messages.h"

namespace shoal::core_worker {

class CoreWorker {
 public:
  CoreWorker(CoreWorkerOptions options, Rng rng);
  ~CoreWorker();
  CoreWorker(const CoreWorker&) = delete;
  CoreWorker& operator=(const CoreWorker&) = delete;

  const CoreWorkerOptions& options() const;
  Address self() const { return options().self; }

  // ---- objects
  // A new object with this small value and one local reference. The references inside it live as long as it does.
  ObjectRefInfo PutInline(TimePoint now, Payload data, std::vector<ObjectRefInfo> contained,
                          CoreWorkerActions* actions);
  // For large values: take a name, have the raylet make a block (CreateObject), write it, then PutStored, which seals it and
  // gives it one local reference. Until then the name means nothing; an abandoned one needs no undoing here.
  ObjectId NewObjectId();
  ObjectRefInfo PutStored(TimePoint now, ObjectId id, uint64_t offset, uint64_t size,
                          std::vector<ObjectRefInfo> contained, CoreWorkerActions* actions);
  // How others find an object that this process owns.
  ObjectRefInfo RefOf(const ObjectId& owned) const;

  // ---- references held by the language. Each Add or Adopt, and each result of a new task, wants one Remove.
  // For a reference that this process holds already (a copy of it).
  void AddLocalReference(const ObjectRefInfo& ref);
  // For a reference that was deserialized: from the value of `outer`, or from arguments of a task (nullopt). Becomes a
  // borrower if need be, and keeps `outer` until the owner has confirmed.
  void AdoptBorrowed(TimePoint now, const ObjectRefInfo& ref, std::optional<ObjectId> outer,
                     CoreWorkerActions* actions);
  // Unknown ids are ignored.
  void RemoveLocalReference(TimePoint now, const ObjectId& id, CoreWorkerActions* actions);

  // ---- values
  // The value or error; null while it is unknown. Stored values: see AcquireBlock. Valid until the next call that is not const.
  const ObjectValue* Lookup(const ObjectId& id) const;
  bool Ready(const ObjectId& id) const { return Lookup(id) != nullptr; }
  // Starts to find out: asks the owner, pulls stored bytes to this node. True if there is nothing to wait for: the value is
  // known and, with `local_bytes`, inline, an error, or local. Else the id comes once in actions.ready. The caller
  // must hold a reference. Safe to repeat; a later call with `local_bytes` widens the wish.
  bool Want(TimePoint now, const ObjectRefInfo& ref, bool local_bytes, CoreWorkerActions* actions);
  // As Want for each, with `local_bytes`; how many from the front are here.
  size_t WantAll(TimePoint now, absl::Span<const ObjectRefInfo> refs, CoreWorkerActions* actions);
  // Where the bytes of a stored object lie, pinned until a ReleaseBlock for each Acquire; nullopt if they are not local.
  // A pin outlives the references to the object.
  std::optional<LocalBlock> AcquireBlock(const ObjectId& id);
  void ReleaseBlock(TimePoint now, const ObjectId& id, CoreWorkerActions* actions);

  // ---- tasks
  // Once per shape, before the first task of it; idempotent.
  ShapeId RegisterShape(const Shape& shape);
  // Each result object (task.Return(i), also Return(0) of a task without results) starts with one local reference.
  // Never fails: what goes wrong becomes the results' error.
  TaskId SubmitTask(TimePoint now, TaskSubmission submission, CoreWorkerActions* actions);
  // The name of the task that makes this object; "" if it is not a result of a task of this process.
  std::string_view NameOfMaker(const ObjectId& result) const;
  // By any result. Does nothing if the task has finished or is not ours. `force` kills the worker under a running normal task.
  void CancelTask(TimePoint now, const ObjectId& result, bool force, bool recursive,
                  CoreWorkerActions* actions);

  // ---- actors
  // Draws spec.id if it is 0 and fills in owner and creation's name and kind; the language sets creation.function, args,
  // refs, nested. ActorHandleRef(id) starts with one local reference; an anonymous actor is killed after its last call when no
  // reference to that object is left anywhere. That object becomes ready when the actor first lives, or cannot.
  ActorId CreateActor(TimePoint now, ActorSpec spec, CoreWorkerActions* actions);
  // The object that stands for the actor: id 0 if it is unknown here. A serialized handle carries it as a contained reference.
  ObjectRefInfo ActorHandleRef(ActorId actor) const;
  // For a handle that came from elsewhere, before the first call through it; idempotent. `handle` may be empty (named actors).
  void RegisterActorHandle(TimePoint now, ActorId actor, ObjectRefInfo handle, int32_t max_task_retries,
                           int32_t max_pending_calls, CoreWorkerActions* actions);
  // Calls start in the order of submission. submission.max_retries counts if it is not 0, else the handle's.
  TaskId SubmitActorCall(TimePoint now, ActorId actor, TaskSubmission submission, CoreWorkerActions* actions);
  // True if max_pending_calls is reached: a call now would fail with kPendingCallsLimit.
  bool ActorQueueFull(ActorId actor) const;
  void KillActor(TimePoint now, ActorId actor, bool no_restart, CoreWorkerActions* actions);
  // What is known of an actor; null for one that is not registered here.
  const ActorUpdate* ActorStatus(ActorId actor) const;

  // ---- running tasks of others (actions.execute)
  // Results in order of num_returns: kInline, kError, or kStored with `size` set and its block at offsets[i] (sealed by the
  // machine under the name task.Return(i) of the caller; `offsets` may be empty if none is stored). For kActorCreation an
  // error in results[0] says that the constructor failed. `worker_exiting`: take no more tasks, then actions.exit.
  // `final`: an application error that is not to be retried.
  void TaskFinished(TimePoint now, const TaskId& task, uint32_t attempt, std::vector<ObjectValue> results,
                    absl::Span<const uint64_t> offsets, bool worker_exiting, bool final,
                    CoreWorkerActions* actions);
  // A running task begins (true) or ends (false) to wait in get; nests. While blocked, normal tasks that have not started go
  // back to their callers and the raylet lends the CPUs out.
  void SetBlocked(TimePoint now, bool blocked, CoreWorkerActions* actions);
  // Actors: how many calls may run at once, over all groups not named ("" group) and per group; before the creation task finishes.
  void SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups);

  // ---- input
  void OnMessage(TimePoint now, const Address& from, Message&& message, CoreWorkerActions* actions);
  // The two hot ones, for a reader of rings.
  void OnPushTask(TimePoint now, const Address& from, PushTask&& push, CoreWorkerActions* actions);
  void OnTaskReply(TimePoint now, const Address& from, TaskReply&& reply, CoreWorkerActions* actions);
  // The connection to the raylet broke: this process can only leave. Everything pending fails with kNodeDied.
  void OnRayletLost(TimePoint now, const std::string& reason, CoreWorkerActions* actions);
  void OnTick(TimePoint now, CoreWorkerActions* actions);
  std::optional<TimePoint> NextDeadline() const;

  // ---- for tests and people
  void CheckInvariants() const;
  struct Counters {
    uint64_t objects = 0;         // entries of the object table
    uint64_t pending_tasks = 0;   // submitted here, no reply accepted yet, actor calls included
    uint64_t leases = 0;
    uint64_t queued_here = 0;     // pushed by others, not started
    uint64_t running_here = 0;
    uint64_t unsent_replies = 0;  // wait for the confirmation of borrowed references
    uint64_t lineage_tasks = 0;
    uint64_t tasks_submitted = 0, tasks_finished = 0, tasks_retried = 0;
  };
  Counters counters() const;
  // Rows for ListState kinds "tasks" and "objects": JSON objects, comma-separated, at most `limit`.
  std::string DescribeTasks(uint32_t limit) const;
  std::string DescribeObjects(uint32_t limit) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::core_worker
