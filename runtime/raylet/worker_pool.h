// The processes of this node: workers that were started here, and drivers that came by themselves. Whoever needs a worker (a lease, an actor)
// puts in a claim; the pool answers with an idle worker that fits or starts one.
//
// A worker belongs to one kind (command, environment variables) and one job for life, and to one set of GPUs once it has seen any. It keeps
// what it holds (Worker::held) until it is given back idle or has exited, so that nothing is lent twice while a process dies.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "base/rng.h"
#include "runtime/raylet/parts.h"
#include "runtime/raylet/resources.h"
#include "runtime/raylet/states.h"

namespace shoal::raylet {

struct KindRecord {
  WorkerKind kind;
  uint64_t hash = 0;
};
using KindPtr = std::shared_ptr<const KindRecord>;
KindPtr MakeKind(const WorkerKind& kind);

struct Worker {
  WorkerId id;
  Role role = Role::kWorker;
  JobId job;
  KindPtr kind;                      // null for drivers
  uint32_t pid = 0;
  WorkerState state = WorkerState::kStarting;
  TimePoint since{};                 // of the state
  std::optional<std::string> devices;  // GPUs that it has seen; nullopt: none of its leases said anything
  bool registered = false;
  bool blocked = false;              // its task waits in get
  bool intended = false;             // its end was asked for
  bool kill_when_late = false;       // leaving: SIGKILL after the grace
  LeaseId lease;
  ActorId actor;
  Holding held;
  ErrorKind end_kind = ErrorKind::kWorkerCrashed;
  std::string end_reason;            // why we end it; "" if it is not our doing
};

// Somebody who needs a worker: a lease or an actor, the other id is 0.
struct Claim {
  LeaseId lease;
  ActorId actor;
  JobId job;
  KindPtr kind;
  std::optional<std::string> devices;
};

class WorkerPool {
 public:
  class Events {
   public:
    virtual ~Events() = default;
    // The worker is idle until the callee advances it.
    virtual void WorkerReady(const Turn& t, const Claim& claim, Worker* worker) = 0;
    // No worker of that kind can be started; the claim is gone.
    virtual void ClaimFailed(const Turn& t, const Claim& claim, const ErrorInfo& error) = 0;
    // It will not live on: what it wanted from others can be dropped. It still holds what it holds.
    virtual void WorkerDying(const Turn& t, const Worker& worker) = 0;
  };
  WorkerPool(const RayletOptions* options, Rng rng, Events* events);

  // ---- claims
  void Put(Claim claim);
  void Withdraw(const Claim& claim);
  size_t waiting() const { return waiting_count_; }
  // One worker more than was claimed, so that the first task of a job finds it ready.
  void StartSpare(const Turn& t, JobId job, const KindPtr& kind);

  // ---- processes
  Worker* Find(WorkerId id) const;
  // By its core worker's address; null if it is not registered here.
  Worker* FindRegistered(NodeId self, const Address& address) const;
  Worker* AddDriver(const Turn& t, const RegisterWorker& message, JobId job);
  void Registered(const Turn& t, Worker* worker, uint32_t pid);
  // Back from a lease, what it held already released.
  void GiveBack(const Turn& t, Worker* worker);
  // Tells it to exit; `now` does not wait for what runs. Killed after exit_grace unless `patient`.
  void AskToLeave(const Turn& t, Worker* worker, const std::string& reason, bool now, bool patient);
  void Kill(const Turn& t, Worker* worker, ErrorKind kind, const std::string& reason);
  // Forgets it. The caller has released what it held.
  void Remove(const Turn& t, Worker* worker);
  void StartFailed(const Turn& t, Worker* worker, const ErrorInfo& error);
  // Workers without a lease or actor, started or starting, of a job that ended.
  void EndJob(const Turn& t, JobId job, const std::string& reason);
  void Advanced(const Turn& t, Worker* worker, WorkerEvent event);

  // Matches claims with idle workers, starts and stops processes. Call at the end of each turn.
  void Settle(const Turn& t);
  void Tick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  const absl::btree_map<WorkerId, std::unique_ptr<Worker>>& workers() const { return workers_; }
  // Core workers that can be spoken to.
  std::vector<Worker*> Registered() const;
  Address AddressOf(const Worker& worker) const { return {options_.info.id, worker.id}; }
  void CheckInvariants() const;

 private:
  using Key = std::pair<JobId, uint64_t>;
  struct Queue {
    KindPtr kind;
    std::deque<Claim> claims;
    std::vector<WorkerId> idle;  // the warmest last
    uint32_t starting = 0;
  };
  struct Failures {
    uint32_t failed = 0;  // the process could not be made
    uint32_t died = 0;    // it ended before it registered
  };
  static Key KeyOf(const Claim& claim) { return {claim.job, claim.kind->hash}; }
  static Key KeyOf(const Worker& worker) { return {worker.job, worker.kind->hash}; }

  Queue& QueueOf(const Key& key, const KindPtr& kind);
  void EraseIfEmpty(const Key& key);
  void Start(const Turn& t, const Key& key, Queue* queue);
  void Match(const Turn& t);
  Worker* TakeIdle(Queue* queue, const std::optional<std::string>& devices);
  void StartMissing(const Turn& t);
  // Makes room for another process, if somebody idles.
  void EvictIdle(const Turn& t);
  void CountFailure(const Turn& t, const Worker& worker, bool died, const ErrorInfo& error);
  void FailKind(const Turn& t, uint64_t kind, const ErrorInfo& error);
  void StopIdle(const Turn& t);
  void LeaveStarting(const Worker& worker);
  uint32_t Starting() const;

  const RayletOptions& options_;
  Rng rng_;
  Events& events_;
  absl::btree_map<WorkerId, std::unique_ptr<Worker>> workers_;
  absl::btree_map<Key, Queue> queues_;
  absl::btree_map<uint64_t, Failures> failures_;
  size_t waiting_count_ = 0;
  uint32_t processes_ = 0;  // workers, without drivers
  Key last_started_{};
  Recent<JobId, bool> ended_jobs_{4096};
};

}  // namespace shoal::raylet
