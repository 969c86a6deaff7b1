// A raylet with its surroundings: the machine (runtime/raylet) wired to its socket, its worker processes, the arena, the bulk channel
// and the links to the head and to other raylets.
//
//   RayletHostOptions options{.runtime_dir = dir, .info = node, .cluster_id = id, .arena_bytes = bytes};
//   options.wire = {{.keys = keys, .head = head, .listen_host = "10.0.0.2"}};        // or options.to_head, in the head's process
//   auto host = RayletHost::Start(std::move(options), &loop);
//   loop.Add(host->get());
//
// One router (Route) decides by address: this machine, a core worker here, another node's raylet, the head. What comes from elsewhere
// for a core worker is passed on unopened. Everything runs in the loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "objectstore/shm/arena.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/event_log.h"
#include "runtime/io/local_hub.h"
#include "runtime/io/network.h"
#include "runtime/io/parcel.h"
#include "runtime/io/transfers.h"
#include "runtime/io/worker_processes.h"
#include "runtime/raylet/raylet.h"

namespace shoal::io {

// How the raylet reaches a head in another process, and others reach the raylet.
struct RayletWire {
  KeyPair keys;
  Peer head;
  std::string listen_host;     // "": dials out only
  std::string advertise_host;  // what others dial; "": listen_host
  uint16_t port = 0, bulk_port = 0;
};

struct RayletHostOptions {
  std::string runtime_dir;
  NodeInfo info;               // without incarnation and endpoints
  uint64_t cluster_id = 0;
  uint64_t arena_bytes = 0;
  std::string python;          // for the zygote; "": $SHOAL_PYTHON or python3
  std::optional<RayletWire> wire;
  std::function<void(Parcel)> to_head;  // without a wire: the head in this process
  bool keep_events = true;
  std::function<void()> registered;     // once, when the head has let this node in
};

class RayletHost : public LoopPart {
 public:
  // Listens, and registers with the head in the first turn of the loop.
  static absl::StatusOr<std::unique_ptr<RayletHost>> Start(RayletHostOptions options, DaemonLoop* loop);
  ~RayletHost() override;

  bool Carry() override;
  std::optional<TimePoint> NextDeadline() const override { return machine_->NextDeadline(); }
  void OnTick(TimePoint now) override { machine_->OnTick(now, &actions_); }

  // From the head in this process.
  void Receive(Parcel parcel) { Route(std::move(parcel)); }
  // On SIGCHLD.
  void ReapOrphans() { workers_->ReapOrphans(); }

  // Tells the head that this node leaves, kills the workers, and calls `left` when the head has had time to hear it.
  void Leave(std::function<void()> left);

  const std::string& socket_path() const { return socket_path_; }
  NodeId node() const { return options_.info.id; }

 private:
  struct Held {
    TimePoint until;
    Parcel parcel;
  };

  RayletHost(RayletHostOptions options, DaemonLoop* loop);
  absl::Status StartWire();
  absl::Status StartHub();
  void StartWorkers();
  void StartMachine();

  void Route(Parcel parcel);
  void ToMachine(Parcel parcel);
  void ToWorker(Parcel parcel);
  void ToPeer(Parcel parcel);
  void ToHead(Parcel parcel);
  void Hold(Parcel parcel);
  void RetryHeld();

  absl::Status Admit(const RegisterWorker& hello, uint32_t pid);
  void OnGone(WorkerId worker, const std::string& why);
  void OnExited(WorkerId worker, const std::string& how);
  void OnLines(WorkerId worker, bool is_stderr, std::vector<std::string> lines);
  void KillWorker(const raylet::KillWorkerProcess& kill);
  void StartTransfer(const raylet::StartTransfer& transfer);
  void SetPeers(const ClusterNodes& cluster);
  std::string DescribeHost() const;

  RayletHostOptions options_;
  DaemonLoop* const loop_;
  const std::string socket_path_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<raylet::Raylet> machine_;
  raylet::RayletActions actions_, carrying_;
  EventLog events_;
  bool head_reachable_ = false;
  bool leaving_ = false;
  std::set<WorkerId> admins_;
  std::deque<Held> held_;          // for nodes that nobody has told us of yet
  std::map<Address, uint64_t> dropped_lines_;  // by driver that does not read
  // After what they report into; destroyed first.
  std::unique_ptr<WorkerProcesses> workers_;
  std::unique_ptr<LocalHub> hub_;
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<Network> network_;
};

}  // namespace shoal::io
