// The core worker of a driver or worker process: the pure machine (runtime/core_worker) wired to its raylet's socket,
// to the rings of its neighbours and to the node's arena. The Python bindings and the C++ SDK stand on this class.
//
//   absl::StatusOr<std::unique_ptr<CoreProcess>> core = CoreProcess::Connect({.raylet_socket = path});
//   TaskId task = (*core)->SubmitTask(std::move(submission));
//   std::vector<Fetched> values;
//   absl::Status status = (*core)->Get(refs, /*timeout=*/std::nullopt, &values);
//
// Threads. Every public method may be called from any thread. One mutex guards the machine; it is never held while a
// thread sleeps. Whoever waits (Get, Wait, NextTask) drives the machine itself: it reads the rings, takes its own reply and
// returns without a hop to another thread. When nobody waits for longer than a millisecond, one background thread takes
// over; it costs nothing while idle.
//
// Errors of operation are statuses: Unavailable (the raylet is gone, with the reason), DeadlineExceeded (timeout),
// ResourceExhausted (object store full), Cancelled (Interrupt). Errors of a task are values (ObjectValue::error).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/core_worker/core_worker.h"
#include "schema/messages.h"

namespace shoal::io {

struct CoreProcessOptions {
  std::string raylet_socket;  // path of the raylet's unix socket
  Role role = Role::kDriver;
  WorkerId worker;            // workers: given by the raylet; drivers: leave 0, one is drawn
  JobId job;                  // workers: given; drivers: leave 0
  std::string ns;             // namespace; "" draws an anonymous one
  std::string entrypoint;     // for people
  WorkerKind worker_kind;     // drivers: how this job's workers are made
  Duration connect_timeout = 10s;
};

// Sealed bytes in the node's arena, readable until this object and its copies are gone.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  const char* data() const { return block_ ? block_->data : nullptr; }
  size_t size() const { return block_ ? block_->size : 0; }
  explicit operator bool() const { return block_ != nullptr; }

 private:
  friend class CoreProcess;
  struct Block {
    const char* data = nullptr;
    size_t size = 0;
    std::shared_ptr<const void> arena;  // keeps the mapping
    std::function<void()> release;
    ~Block() {
      if (release) release();
    }
  };
  std::shared_ptr<const Block> block_;
};

// What Get hands out for one reference: exactly one of inline data, pinned bytes or an error.
struct Fetched {
  ErrorInfo error;
  Payload data;
  PinnedBytes bytes;
  std::vector<ObjectRefInfo> contained;
  std::string_view view() const {
    return bytes ? std::string_view(bytes.data(), bytes.size()) : data.view();
  }
};

// A task to run, with its stored arguments pinned; `stored[i]` belongs to spec.refs[i] and is empty where the value rides inline.
struct AssignedTask {
  core_worker::ExecuteTask task;
  std::vector<PinnedBytes> stored;
};

// A result ready to be stored: written once by `fill` into `size` bytes, or an error.
struct NewValue {
  uint64_t size = 0;
  std::function<void(char*)> fill;
  std::vector<ObjectRefInfo> contained;
  ErrorInfo error;
};

// A new actor and the reference that stands for it: an anonymous actor lives as long as somebody holds that one. The caller
// of CreateActor gets one count of it.
struct CreatedActor {
  ActorId actor;
  ObjectRefInfo life;
};

class CoreProcess {
 public:
  static absl::StatusOr<std::unique_ptr<CoreProcess>> Connect(CoreProcessOptions options);
  // Ends the connection, which tells the raylet, and joins the background thread.
  ~CoreProcess();
  CoreProcess(const CoreProcess&) = delete;
  CoreProcess& operator=(const CoreProcess&) = delete;

  Address self() const;
  JobId job() const;
  const std::string& ns() const;

  // ---- objects
  // Values up to kInlineLimitBytes stay in this process, larger ones go to the node's store. The caller gets one reference.
  absl::StatusOr<ObjectRefInfo> Put(NewValue value);
  // One entry per reference, in order, errors as values. nullopt: no timeout. On DeadlineExceeded nothing is fetched, and the message
  // names the first object that was missing.
  absl::Status Get(absl::Span<const ObjectRefInfo> refs, std::optional<Duration> timeout,
                   std::vector<Fetched>* values);
  // As Get for values that are here already; false if one is not, without waiting.
  bool TryGet(absl::Span<const ObjectRefInfo> refs, std::vector<Fetched>* values);
  // Sets ready[i] for each reference that has a value or an error; returns when `count` of them have, or at the timeout.
  // With `fetch_local` stored objects count once they are in this node's store.
  absl::Status Wait(absl::Span<const ObjectRefInfo> refs, size_t count, std::optional<Duration> timeout,
                    bool fetch_local, std::vector<bool>* ready);
  // Calls `done` once, from some thread and with no lock held, when the object has a value or an error.
  void OnReady(const ObjectRefInfo& ref, std::function<void()> done);

  // ---- references held by the language
  void AddReference(const ObjectRefInfo& ref);
  void RemoveReference(const ObjectId& id);
  // For a reference found inside the value of `outer` (or inside arguments, then nullopt); counts as one AddReference.
  void AdoptReference(const ObjectRefInfo& ref, std::optional<ObjectId> outer);

  // ---- tasks and actors (see runtime/core_worker/core_worker.h for the structs)
  // What is too large (schema/limits.h) is an InvalidArgument, and nothing has happened.
  absl::StatusOr<ShapeId> RegisterShape(const Shape& shape);
  absl::StatusOr<TaskId> SubmitTask(core_worker::TaskSubmission submission);
  absl::StatusOr<CreatedActor> CreateActor(ActorSpec spec);
  absl::StatusOr<TaskId> SubmitActorCall(ActorId actor, core_worker::TaskSubmission submission);
  // For a handle that came from elsewhere; `life` is the reference it carries, empty for named actors.
  void RegisterActorHandle(ActorId actor, const ObjectRefInfo& life, int32_t max_task_retries,
                           int32_t max_pending_calls);
  // True if max_pending_calls is reached.
  bool ActorQueueFull(ActorId actor);
  void CancelTask(const ObjectId& result, bool force, bool recursive);
  void KillActor(ActorId actor, bool no_restart);
  absl::StatusOr<FindActorReply> GetActor(const std::string& name, const std::string& ns, Duration timeout);
  // Blocks until the actor is alive or dead, or its creation failed (then the update's error says why).
  absl::StatusOr<ActorUpdate> WaitActor(ActorId actor, std::optional<Duration> timeout);

  // ---- placement groups and state
  absl::Status CreatePlacementGroup(PlacementGroupSpec spec);
  void RemovePlacementGroup(PlacementGroupId group);
  // Blocks until created or removed; on timeout the last known state.
  absl::StatusOr<PlacementGroupUpdate> WaitPlacementGroup(PlacementGroupId group, std::optional<Duration> timeout);
  // Rows as JSON (ListState in schema/messages.h). `to` is the head or a raylet.
  absl::StatusOr<std::string> ListState(Address to, const std::string& kind, const std::string& argument,
                                        Duration timeout = 10s);

  // ---- worker side
  // Blocks until a task is to be run; false when the process is to exit.
  bool NextTask(AssignedTask* task);
  // For processes in which several threads run tasks: one that is to be run now, and how many more are; false if there is none.
  bool TryNextTask(AssignedTask* task, size_t* left);
  // Blocks until TryNextTask would find a task; false when the process is to exit.
  bool AwaitTask();
  // Called when a task is to be run and no thread waits for one: from any thread, with this object's mutex held, so it may neither
  // call this object nor wait for anybody who does.
  void OnUnclaimedTask(std::function<void()> wake);
  // For a thread that also waits for a descriptor, such as an event loop of its own: as soon as there are any, all tasks that
  // are to be run; none if WatchFd's descriptor is readable or the timeout has passed (0: a look, without waiting).
  // False when the process is to exit.
  bool NextTasks(std::optional<Duration> timeout, std::vector<AssignedTask>* tasks);
  // The descriptor that ends the waits of NextTasks while it is readable. Once; it must outlive this object.
  absl::Status WatchFd(int fd);
  // Results in order of num_returns. Large values are written straight into the store.
  // `final`: an application error in them is not to be retried.
  void FinishTask(const TaskSpec& spec, std::vector<NewValue> results, bool worker_exiting, bool final = false);
  // All its results are this error. A long text loses its middle; a detail that does not fit into a message is left out.
  void FailTask(const TaskSpec& spec, ErrorInfo error, bool worker_exiting, bool final = false);
  // Actors, before the creation task finishes: calls at once, outside of groups and in each group.
  void SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups);
  // What this worker was given last (lease, environment, resources), and a number that grows with each.
  AssignLease Assignment();
  uint64_t AssignmentVersion() const;
  // Called, from some thread and with no lock held, when a running task is cancelled.
  void OnInterrupt(std::function<void(TaskId)> interrupt);
  // Called with lines that workers of this job printed.
  void OnLogLines(std::function<void(const LogLines&)> print);
  // Before the connection ends: lines that workers here have printed arrive.
  void CatchUpOnLogs();
  // The calling task waits outside of Get (for example in an actor's own lock): lend its CPUs meanwhile.
  void SetBlocked(bool blocked);

  // Makes blocked calls of this process return Cancelled once, for signals such as Ctrl-C.
  void Interrupt();

 private:
  class Impl;
  explicit CoreProcess(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // pinned bytes may outlive the connection
};

}  // namespace shoal::io
