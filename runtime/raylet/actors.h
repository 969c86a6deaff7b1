// The actors that live on this node: each has a worker of its own and its resources for life. The head says which should be here; one is known by
// its id and incarnation, so that orders may come twice, late or after its end.
//
//   StartActor -> waiting for a worker -> becoming (BecomeActor sent) -> alive (ActorReady came) -> its worker exited: ActorExited
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "runtime/raylet/parts.h"
#include "runtime/raylet/resources.h"
#include "runtime/raylet/worker_pool.h"

namespace shoal::raylet {

enum class ActorStage : uint8_t { kWaiting, kBecoming, kAlive, kFailed };

struct ActorRecord {
  ActorSpec spec;
  uint64_t incarnation = 0;
  ActorStage stage = ActorStage::kWaiting;
  Holding held;               // kWaiting; later the worker's
  Claim claim;                // kWaiting
  WorkerId worker;            // later
  bool intended = false;      // its end was ordered, or it left by itself
  std::string reason;
  std::optional<StartActor> next;  // a newer incarnation, to be started when this one is gone
};

class Actors {
 public:
  Actors(const RayletOptions* options, WorkerPool* pool, NodeResources* resources);

  // ---- from the head
  void OnStart(const Turn& t, StartActor&& message, bool may_start);
  void OnStop(const Turn& t, const StopActor& message);
  // ---- from workers
  void OnReady(const Turn& t, Worker* worker, const ActorReady& message);
  // It leaves by itself and is not to be restarted (exit_actor).
  void OnLeaving(Worker* worker);

  // ---- what happened
  void WorkerReady(const Turn& t, const Claim& claim, Worker* worker);
  void ClaimFailed(const Turn& t, const Claim& claim, const ErrorInfo& error);
  // It has exited and what it held is released. `may_start` as in OnStart.
  void WorkerGone(const Turn& t, const Worker& worker, const std::string& how, bool may_start);
  void BundleGone(const Turn& t, const BundleKey& key);
  // Non-detached ones end with their job.
  void JobEnded(const Turn& t, JobId job, const std::string& reason);
  // All of them, at once.
  void KillAll(const Turn& t, const std::string& reason);

  const ActorRecord* Find(ActorId id) const {
    auto it = actors_.find(id);
    return it == actors_.end() ? nullptr : &it->second;
  }
  bool IsDetached(const Worker& worker) const;
  const absl::btree_map<ActorId, ActorRecord>& all() const { return actors_; }
  void CheckInvariants() const;

 private:
  void Refuse(const Turn& t, const StartActor& message, ErrorKind kind, const std::string& why);
  void ReportExit(const Turn& t, ActorId actor, uint64_t incarnation, bool intended, ErrorKind kind,
                  const std::string& why);
  void ReportStarted(const Turn& t, const ActorRecord& actor);
  // Ends it: patiently after its queued calls, or now. Without a worker it is gone on return.
  void End(const Turn& t, ActorId id, ErrorKind kind, const std::string& reason, bool patient, bool kill);

  const RayletOptions& options_;
  WorkerPool& pool_;
  NodeResources& resources_;
  const bool has_gpus_;
  absl::btree_map<ActorId, ActorRecord> actors_;
  Recent<ActorId, ActorExited> ended_{16'384};  // the newest incarnation that was here, and how it ended
};

}  // namespace shoal::raylet
