// Shapes, objects, tasks and references: what core workers say to each other. See schema/messages.h for the rules.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "base/ids.h"
#include "base/payload.h"
#include "base/resources.h"
#include "base/time.h"

namespace shoal {

// Raised when peers of another version could misunderstand each other.
inline constexpr uint32_t kProtocolVersion = 1;
// Results and arguments up to this size travel inside messages; larger ones live in the object store.
inline constexpr uint64_t kInlineLimitBytes = 100 * 1024;
// Inline values that ride in one message together, at most; what goes beyond is fetched or stored by itself.
inline constexpr uint64_t kInlineTotalBytes = 1024 * 1024;
// What else may make a message large is limited where a program hands it over (schema/limits.h).
inline constexpr size_t kMostContained = 100'000;  // references inside one value, or inside the arguments of one task
inline constexpr uint32_t kMostReturns = 100'000;  // results of one task
// So that every message fits into a link of any kind: ring, unix socket, session.
inline constexpr size_t kMostMessageBytes = size_t{32} << 20;

using StringMap = std::vector<std::pair<std::string, std::string>>;  // sorted by key

enum class Role : uint8_t { kHead, kRaylet, kDriver, kWorker, kAdmin };

enum class ErrorKind : uint8_t {
  kNone,
  kApplication,        // user code raised; detail holds the language's serialized exception
  kWorkerCrashed,      // the process died under the task
  kNodeDied,
  kActorDied,          // final
  kActorUnavailable,   // may come back; the call may or may not have run
  kTaskCancelled,
  kObjectLost,
  kOwnerDied,
  kObjectStoreFull,
  kOutOfMemory,
  kPlacementGroupRemoved,
  kUnschedulable,      // can never run as asked
  kRuntimeEnvSetup,
  kPendingCallsLimit,
  kNameTaken,
  kNotFound,
  kInvalidArgument,
  kSystem,
};

struct ErrorInfo {
  ErrorKind kind = ErrorKind::kNone;
  std::string message;  // one sentence: the cause and the fix
  Payload detail;       // kApplication: serialized exception
  explicit operator bool() const { return kind != ErrorKind::kNone; }
  template <class V> void Fields(V& v) { v(kind, message, detail); }
};

// ---- scheduling requests

enum class StrategyKind : uint8_t { kDefault, kSpread, kNodeAffinity, kPlacementGroup };

struct Strategy {
  StrategyKind kind = StrategyKind::kDefault;
  NodeId node;               // kNodeAffinity
  bool soft = false;         // kNodeAffinity: another node will do if that one is gone or full
  PlacementGroupId group;    // kPlacementGroup
  int32_t bundle = -1;       // kPlacementGroup: -1 is any bundle
  template <class V> void Fields(V& v) { v(kind, node, soft, group, bundle); }
};

// How the raylet makes a worker process.
struct WorkerKind {
  std::vector<std::string> command;  // empty: fork from the Python zygote; else this program in worker mode
  StringMap env_vars;                // runtime_env
  template <class V> void Fields(V& v) { v(command, env_vars); }
};

// What a task needs of its worker. Tasks of one shape share leases.
struct Shape {
  JobId job;
  ResourceSet resources;
  Strategy strategy;
  StringMap labels;  // label selector: value is "x", "!x", "in(a,b)" or "!in(a,b)"
  WorkerKind worker;
  int32_t priority = 0;
  ShapeId id() const { return ShapeId{StableHash(*this)}; }
  template <class V> void Fields(V& v) { v(job, resources, strategy, labels, worker, priority); }
};

// ---- objects and tasks

// All that is needed to find an object: its name names the owner process, this adds the owner's node.
struct ObjectRefInfo {
  ObjectId id;
  NodeId owner_node;
  Address owner() const { return {owner_node, id.owner}; }
  friend bool operator==(const ObjectRefInfo&, const ObjectRefInfo&) = default;
  template <class V> void Fields(V& v) { v(id, owner_node); }
};

enum class ValueKind : uint8_t { kPending, kInline, kStored, kError };

// The value of an object, or where it is.
struct ObjectValue {
  ValueKind kind = ValueKind::kPending;
  Payload data;                         // kInline
  uint64_t size = 0;                    // kStored
  std::vector<NodeId> locations;        // kStored: nodes that hold a copy, the primary first
  ErrorInfo error;                      // kError
  std::vector<ObjectRefInfo> contained;  // references serialized inside the value
  template <class V> void Fields(V& v) { v(kind, data, size, locations, error, contained); }
};

// A top-level argument given as a reference. The caller pushes a task only when each of them exists; small values it
// knows ride along, large ones are pulled by the receiving node.
struct ArgRef {
  ObjectRefInfo ref;
  ObjectValue value;  // kPending if the receiver has to ask the owner
  template <class V> void Fields(V& v) { v(ref, value); }
};

enum class TaskKind : uint8_t { kNormal, kActorCreation, kActorCall };

struct TaskSpec {
  TaskId id;
  TaskKind kind = TaskKind::kNormal;
  uint32_t attempt = 0;
  uint32_t num_returns = 1;
  JobId job;
  NodeId owner_node;
  FunctionId function;                // which code; for an actor call the class
  std::string name;                   // function or "Class.method", for people; the method follows the last dot
  Payload args;                       // positional and keyword arguments, serialized by the language
  std::vector<ArgRef> refs;           // top-level references, by position inside args
  std::vector<ObjectRefInfo> nested;  // references inside other arguments
  TaskId parent;
  ActorId actor;
  std::string concurrency_group;
  Payload options;                    // opaque to the machines: the language's own per-task settings
  Address caller() const { return {owner_node, id.owner}; }
  template <class V> void Fields(V& v) {
    v(id, kind, attempt, num_returns, job, owner_node, function, name, args, refs, nested, parent, actor,
      concurrency_group, options);
  }
};

// Caller -> worker. `code` is there the first time this caller sends this function to this worker.
struct PushTask {
  TaskSpec spec;
  Payload code;
  LeaseId lease;                    // normal tasks: refused unless the worker holds this lease
  uint64_t actor_incarnation = 0;   // actor calls: refused by any other incarnation
  uint64_t sequence = 0;            // actor calls: 0, 1, 2, ... per caller and incarnation
  template <class V> void Fields(V& v) { v(spec, code, lease, actor_incarnation, sequence); }
};

enum class TaskOutcome : uint8_t {
  kFinished,   // results hold values or errors
  kCancelled,  // did not run, or stopped
  kRefused,    // did not run: stale lease or incarnation, or the worker is leaving; push it elsewhere
};

// Worker -> caller. A result of kind kError that holds no error is the same error as the first result.
struct TaskReply {
  TaskId task;
  uint32_t attempt = 0;
  TaskOutcome outcome = TaskOutcome::kFinished;
  std::vector<ObjectValue> results;
  bool worker_exiting = false;  // exit_actor, max_calls: nothing more may be pushed
  bool final = false;           // an application error that retry_exceptions does not cover: do not retry
  template <class V> void Fields(V& v) { v(task, attempt, outcome, results, worker_exiting, final); }
};

// Caller -> worker: give back up to `count` tasks of this lease that have not started, newest first.
struct ReclaimTasks {
  LeaseId lease;
  uint32_t count = 0;
  template <class V> void Fields(V& v) { v(lease, count); }
};

// Worker -> caller: these never started here; push them elsewhere. Sent on ReclaimTasks, and unasked when the
// worker blocks in get, so that a task never waits behind one that waits for it.
struct TasksReturned {
  LeaseId lease;
  std::vector<TaskId> tasks;
  template <class V> void Fields(V& v) { v(lease, tasks); }
};

struct CancelTask {
  TaskId task;
  bool force = false;      // kill the worker if it runs
  bool recursive = true;   // and the tasks that it submitted
  template <class V> void Fields(V& v) { v(task, force, recursive); }
};

// Anybody -> owner: what is this object? Answered by ObjectResolved as soon as it exists. `lost_at` says that a copy
// was not found there, so that the owner drops that location and, with no copy left, recomputes.
struct ResolveObject {
  ObjectId id;
  Address requester;
  NodeId lost_at;
  template <class V> void Fields(V& v) { v(id, requester, lost_at); }
};

struct ObjectResolved {
  ObjectId id;
  ObjectValue value;
  template <class V> void Fields(V& v) { v(id, value); }
};

// Reference counting across processes. `borrower` holds the object until RemoveBorrower or its death. The sender
// keeps whatever kept the object alive until BorrowerAdded arrives. The owner keeps a set of (borrower, registration):
// 0 is the borrower's own, any other one was made for it by the worker whose result carries the reference. So a
// removal never undoes a registration that the borrower has not heard of yet, and every message may come twice.
struct AddBorrower {
  ObjectId id;
  Address borrower;
  Address reply_to;
  uint64_t registration = 0;
  template <class V> void Fields(V& v) { v(id, borrower, reply_to, registration); }
};

struct BorrowerAdded {
  ObjectId id;
  Address borrower;
  bool found = true;  // false: the owner had already freed it
  uint64_t registration = 0;
  template <class V> void Fields(V& v) { v(id, borrower, found, registration); }
};

struct RemoveBorrower {
  ObjectId id;
  Address borrower;
  uint64_t registration = 0;
  template <class V> void Fields(V& v) { v(id, borrower, registration); }
};

// Anybody -> owner: a node now holds, or no longer holds, a copy.
struct ObjectLocation {
  ObjectId id;
  NodeId node;
  bool present = true;
  template <class V> void Fields(V& v) { v(id, node, present); }
};

}  // namespace shoal
