// Actors as this process uses them: creates them, follows where they are, and sends them calls in order.
//
// Calls leave in the order of submission: a call whose arguments do not exist yet holds back those behind it. A call that was in
// flight when its actor died goes to the next incarnation if it may be retried; else it waits in `lost` for the head's word on whether
// the actor is dead (kActorDied) or comes back (kActorUnavailable). See docs/states/actor_call.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "base/rng.h"
#include "runtime/core_worker/entries.h"
#include "runtime/core_worker/parts.h"
#include "runtime/core_worker/references.h"
#include "runtime/core_worker/task_table.h"

namespace shoal::core_worker {

struct ActorRecord {
  ActorUpdate status;              // what is known; status.actor is its name
  ObjectRefInfo handle;            // the object that stands for it; id 0 if only the name is known
  ObjectEntry* handle_entry = nullptr;  // while that object is known here
  int32_t max_task_retries = 0;
  int32_t max_pending_calls = -1;
  uint64_t next_order = 1;

  bool is_owner = false;
  bool anonymous = false;          // owner: it is to die with its last handle
  std::unique_ptr<ActorSpec> spec;  // owner: until it has lived
  TaskId creation;                 // owner: the task whose result the handle is
  std::vector<ObjectRefInfo> held;  // owner: arguments of the constructor, as long as it may run again
  bool heard_of = false;           // the head has said something
  ActorRecord* instead = nullptr;  // get_if_exists found that one

  List<SubmittedTask> queue;       // not sent
  List<SubmittedTask> in_flight;   // sent to the current incarnation
  List<SubmittedTask> lost;        // sent to one that died, not to be retried
  uint64_t next_sequence = 0;
  uint64_t dead_incarnation = 0;   // this one and earlier ones are dead for sure
  bool closed = false;             // the current incarnation takes no more calls
  bool kill = false, kill_idle = false;  // wished for, until it is dead
  bool dirty = false;

  ActorId id() const { return status.actor; }
  bool dead() const { return status.state == ActorState::kDead; }
  bool reachable() const { return status.state == ActorState::kAlive && !closed; }
  size_t pending() const { return queue.size() + in_flight.size() + lost.size(); }
};

class ActorClient {
 public:
  ActorClient(const CoreWorkerOptions* options, Outbox* outbox, References* references, TaskTable* tasks, Rng rng)
      : options_(*options), outbox_(*outbox), references_(*references), tasks_(*tasks), rng_(rng) {}

  // See CoreWorker.
  ActorId Create(const Turn& t, ActorSpec spec);
  ObjectRefInfo HandleRef(ActorId actor) const;
  void Register(const Turn& t, ActorId actor, const ObjectRefInfo& handle, int32_t max_task_retries,
                int32_t max_pending_calls);
  TaskId Submit(const Turn& t, ActorId actor, TaskSubmission submission);
  bool QueueFull(ActorId actor) const;
  void Kill(const Turn& t, ActorId actor, bool no_restart);
  const ActorUpdate* Status(ActorId actor) const;

  // Events::TaskReady for calls and creations.
  void TaskReady(const Turn& t, SubmittedTask* task);
  void CallGone(ActorRecord* record);
  void Cancel(const Turn& t, SubmittedTask* task, bool recursive);
  // Nobody holds the handle's object any more; before the actor has lived (unwanted) or after.
  void HandleUnwanted(const Turn& t, ObjectEntry* entry);
  void HandleReleased(const Turn& t, ObjectEntry* entry);
  void Flush(const Turn& t) {
    if (!dirty_.empty()) FlushDirty(t);
  }
  bool dirty() const { return !dirty_.empty(); }

  // As Submitter::OnReply.
  bool OnReply(const Turn& t, const Address& from, SubmittedTask* task, TaskReply* reply);
  void OnActorUpdate(const Turn& t, const ActorUpdate& update);
  void OnProcessDied(const Turn& t, const Address& process, bool sure);
  // Its actors may turn out to live: then they are called again, with numbers that start anew.
  void OnNodeDied(const Turn& t, NodeId node);
  void OnRayletLost(const ErrorInfo& error);
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const { return ask_at_; }

  void CheckInvariants() const;

 private:
  ActorRecord* Find(ActorId actor) const;
  ActorRecord* FindOrAdd(ActorId actor);
  static ActorRecord* Target(ActorRecord* record) {
    while (record->instead != nullptr) record = record->instead;
    return record;
  }
  void MarkDirty(ActorRecord* record);
  void FlushDirty(const Turn& t);
  void Pump(const Turn& t, ActorRecord* record);
  void Push(const Turn& t, ActorRecord* record, SubmittedTask* task);
  void SendCreation(const Turn& t, ActorRecord* record);
  void SendKill(const Turn& t, ActorRecord* record);
  void Attach(ActorRecord* record);
  bool AbandonCreation(const Turn& t, ActorRecord* record);
  bool NeedsNews(const ActorRecord* record) const;
  void AskLater(const Turn& t, const ActorRecord* record);
  void UseInstead(const Turn& t, ActorRecord* record, ActorId existing);
  void IncarnationDied(ActorRecord* record, bool sure);
  void ResolveLost(const Turn& t, ActorRecord* record);
  void Lives(const Turn& t, ActorRecord* record);
  void Dies(const Turn& t, ActorRecord* record);
  void ReleaseArguments(ActorRecord* record);
  void FailCalls(const Turn& t, List<SubmittedTask>* calls, const ErrorInfo& error);
  ErrorInfo DeathOf(const ActorRecord* record) const;
  void EraseIfDone(ActorRecord* record);

  const CoreWorkerOptions& options_;
  Outbox& outbox_;
  References& references_;
  TaskTable& tasks_;
  Rng rng_;
  absl::btree_map<ActorId, std::unique_ptr<ActorRecord>> records_;
  absl::flat_hash_map<ActorId, ActorRecord*> by_id_;
  mutable ActorRecord* last_ = nullptr;  // found last
  std::vector<ActorRecord*> dirty_;
  std::optional<TimePoint> ask_at_;      // when the head is asked again about actors without news
};

}  // namespace shoal::core_worker
