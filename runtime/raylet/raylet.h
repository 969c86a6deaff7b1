// The raylet: the machine that owns one node. It alone decides about the node's resources: it grants leases on workers, starts and stops
// worker processes, hosts actors and bundles, keeps the directory of the node's object store, and tells everybody who died.
//
//   Raylet raylet({.info = node, .cluster_id = id, .arena_bytes = bytes}, Rng(seed));
//   raylet.Start(now, &actions);
//   raylet.OnMessage(now, from, std::move(message), &actions);   // from a core worker of this node, another raylet, the head
//   for (StartWorkerProcess& start : actions.start_workers) ...
//
// A core worker is known once it has sent RegisterWorker; a worker must have been started here, a driver may come by itself.
// Commands of the head carry its epoch, and lower ones than the highest seen are refused. Without an answer to heartbeats for
// fence_after the raylet fences itself: it kills its actors and grants nothing until the head answers again.
// Protocols: ARCHITECTURE.md; states: docs/states/{worker,lease,object}.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "schema/messages.h"

namespace shoal::raylet {

struct RayletOptions {
  NodeInfo info;                       // id, incarnation, name, endpoints, total resources, labels
  uint64_t cluster_id = 0;
  uint64_t arena_bytes = 0;
  uint32_t max_workers = 1024;         // worker processes at a time, beyond which demands wait
  uint32_t max_starting = 4;           // processes that start at the same time
  // Idle workers kept per kind beyond the number of CPUs are stopped after this.
  Duration idle_worker_timeout = 60s;
  Duration worker_start_timeout = 30s;
  Duration lease_ttl = 60s;            // owners renew at a third of it
  Duration revoke_patience = 10s;      // a revoked lease is returned or renewed before that, or its worker is killed
  Duration demand_ttl = 10s;           // owners repeat what they want each second; who is stopped does not
  Duration heartbeat = 1s;
  Duration report_every = 2s;          // unless something changed, then report_delay after it
  Duration report_delay = 20ms;
  Duration bundle_commit_timeout = 10s;
  Duration exit_grace = 2s;            // between ExitWorker and SIGKILL
};

struct StartWorkerProcess {
  WorkerId worker;
  JobId job;                           // 0: none yet, a worker kept ready
  WorkerKind kind;
};
struct KillWorkerProcess {
  WorkerId worker;
  std::string reason;
};
// Fetch an object's bytes from another node into the arena; answered by OnTransferDone.
struct StartTransfer {
  ObjectId object;
  NodeId from;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct RayletActions {
  std::vector<Send> sends;                     // to core workers of this node, other raylets, the head, or beyond
  std::vector<StartWorkerProcess> start_workers;
  std::vector<KillWorkerProcess> kill_workers; // SIGKILL; OnWorkerExited is still due
  std::vector<StartTransfer> transfers;
  std::vector<ClusterEvent> events;
  std::optional<ClusterNodes> peers;           // these nodes may be talked to, and no others; level
  bool empty() const {
    return sends.empty() && start_workers.empty() && kill_workers.empty() && transfers.empty() && events.empty() && !peers;
  }
  void Clear() {
    sends.clear();
    start_workers.clear();
    kill_workers.clear();
    transfers.clear();
    events.clear();
    peers.reset();
  }
};

struct ObjectBlock {
  uint64_t offset = 0;
  uint64_t size = 0;
};

class Raylet {
 public:
  Raylet(RayletOptions options, Rng rng);
  ~Raylet();
  Raylet(const Raylet&) = delete;
  Raylet& operator=(const Raylet&) = delete;

  // Registers with the head. Call once, before anything else.
  void Start(TimePoint now, RayletActions* actions);
  void OnMessage(TimePoint now, const Address& from, Message&& message, RayletActions* actions);
  // A core worker of this node is gone: its process ended or its connection broke. `how` is for people ("signal 9 (Killed)").
  // Both may be reported, also for one that never registered.
  void OnWorkerExited(TimePoint now, WorkerId worker, const std::string& how, RayletActions* actions);
  // The process could not be started; kRuntimeEnvSetup or kSystem.
  void OnWorkerStartFailed(TimePoint now, WorkerId worker, const ErrorInfo& error, RayletActions* actions);
  // The link to another raylet or to the head (node 0) began anew (runtime/session): what was in flight is lost. A raylet is taken for
  // dead and met again, since its process may be another one; the head is told everything again.
  void OnPeerReset(TimePoint now, NodeId node, RayletActions* actions);
  // `ok`: the bytes are in place. Else that node does not have them or cannot be reached.
  void OnTransferDone(TimePoint now, const ObjectId& object, bool ok, RayletActions* actions);
  // A message came for a core worker that this node does not have; answers `from` with its death.
  void OnUndeliverable(TimePoint now, const Address& from, const Address& to, RayletActions* actions);
  void OnTick(TimePoint now, RayletActions* actions);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;

  // ---- for the server of the bulk channel: finds a sealed object and keeps it until Unpin.
  std::optional<ObjectBlock> PinForTransfer(const ObjectId& object);
  void UnpinAfterTransfer(const ObjectId& object);

  // Where the driver of a job is; worker 0 if unknown. For output of workers.
  Address DriverOf(JobId job) const;
  // For the lines that a worker prints: "(square pid=17, node=ab12)".
  std::string LogPrefixOf(WorkerId worker) const;
  JobId JobOf(WorkerId worker) const;
  // What would not be here on a node without jobs (leases, workers beyond idle ones, objects, bundles, demands), in words; "" if nothing.
  std::string Remains() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::raylet
