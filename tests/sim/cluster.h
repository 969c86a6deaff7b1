// A whole cluster in one thread: machines, the processes on them, local channels and a network between, all driven by one event
// queue. The same seed gives the same run to the last event.
//
//   Cluster cluster(options, &shells, &trace);   // shells: make the processes, see daemons.h; toys in cluster_test.cc
//   cluster.Start();
//   cluster.RunUntil(60'000'000'000);
//
// Machine 0 is the head's; the others have a raylet each, which starts workers. A process is known by its index, which is never used
// again: a restarted raylet is another process on the same machine.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/rng.h"
#include "runtime/core_worker/core_worker.h"
#include "schema/messages.h"
#include "tests/sim/arena.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/language.h"
#include "tests/sim/local_clock.h"
#include "tests/sim/network.h"
#include "tests/sim/observer.h"
#include "tests/sim/trace.h"

namespace shoal::sim {

class Cluster;

struct ClusterOptions {
  uint64_t seed = 1;
  uint32_t nodes = 5;
  uint32_t protected_nodes = 2;     // the first ones: drivers live there, and faults leave their raylets alive
  int32_t cpus_min = 1, cpus_max = 4;
  uint64_t store_bytes = 64 << 20;
  NetworkOptions network;
  int64_t drift_ppm_max = 0;        // clocks of machines run up to this fast or slow
  int64_t local_delay_ns_max = 100'000;
  int64_t worker_start_ns_max = 50'000'000;
  uint32_t check_every = 64;        // CheckInvariants after every so many events of a process
};

enum class ProcessKind : uint8_t { kHead, kRaylet, kDriver, kWorker };

// What every simulated process has. Subclasses hold the machine.
class Process {
 public:
  Process(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine, Address address);
  virtual ~Process() = default;

  virtual void OnLocalMessage(uint32_t from_process, const Address& from, const Address& to, Message&& message) = 0;
  virtual void OnFrame(uint32_t, std::string&&) {}
  virtual void Tick() = 0;
  virtual std::optional<TimePoint> NextDeadline() const = 0;
  virtual void CheckInvariants() const = 0;
  // After death: frees what it held. The object itself stays, so that its index keeps its meaning.
  virtual void Dispose() = 0;
  // Daemons: the process begins; a child of this machine has ended, after everything it had said.
  virtual void Boot() {}
  virtual void OnChildExited(uint32_t) {}
  // Core processes: connect to the daemon; it died; wishes to fill in and have carried out.
  virtual void Connect() {}
  virtual void OnDaemonLost(const std::string&) {}
  virtual core_worker::CoreWorkerActions* Actions() { return nullptr; }
  virtual void Carry() {}

  Cluster& cluster;
  const uint32_t index;
  const ProcessKind kind;
  const uint32_t machine;
  Address address;
  LocalClock clock;
  bool alive = true;
  bool paused = false;
  int64_t paused_at_ns = -1;
  int64_t resumed_at_ns = -1;
  int64_t busy_until_ns = 0;   // a slow process takes its time
  int64_t tick_at_ns = -1;     // when the tick event comes that counts; -1: none
  uint32_t handled = 0;
  std::deque<Event> backlog;   // what came while it was paused or busy
  std::function<void(Language*)> on_up;  // drivers: registered; gone
  std::function<void()> on_down;
};

// Makes the processes, so that the cluster itself knows no machine.
class Shells {
 public:
  virtual ~Shells() = default;
  // What the node of a machine is called.
  virtual NodeId NameNode(const ClusterOptions&, uint32_t, Rng* rng) { return rng->NewId<NodeId>(); }
  // The head (machine 0) or a raylet. What the head keeps on disk is the business of the shells.
  virtual std::unique_ptr<Process> MakeDaemon(Cluster* cluster, uint32_t index, uint32_t machine) = 0;
  virtual std::unique_ptr<Process> MakeCore(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine,
                                            WorkerId worker) = 0;
};

struct MachineState {
  NodeId node;
  uint32_t daemon = 0;         // its head or raylet now; 0: none runs
  int64_t drift_ppm = 0;
  double slowness = 1;         // factor on the time of all work
  int64_t handling_ns_max = 0;  // a slow machine needs up to this long per event
  int64_t cpu_steps = 0;
  uint64_t raylet_deaths = 0;
  std::unique_ptr<SimArena> arena;
  std::vector<uint32_t> children;  // live core processes
};

class Cluster {
 public:
  Cluster(const ClusterOptions& options, Shells* shells, Trace* trace);
  ~Cluster();

  // Starts the head and all raylets.
  void Start();
  // Handles events until none is left before `time_ns`, or `stop` says so (asked every so often), or a rule is violated.
  void RunUntil(int64_t time_ns, const std::function<bool()>& stop = nullptr);

  // ---- time, work, chance
  int64_t now_ns() const { return now_ns_; }
  TimePoint LocalNow(uint32_t process) const { return processes_[process]->clock.ToLocal(now_ns_); }
  // Calls `then` unless the process has died by then; it waits while the process is paused or busy.
  void After(uint32_t process, int64_t delay_ns, std::function<void()> then);
  // The same for faults and checks, which happen outside of all processes.
  void At(int64_t time_ns, std::function<void()> then);
  int64_t WorkTime(uint32_t process, int64_t ns) const;
  Rng& rng() { return rng_; }
  Network& network() { return network_; }
  Observer& observer() { return observer_; }
  Trace& trace() { return trace_; }
  const ClusterOptions& options() const { return options_; }

  // ---- core processes
  // A driver on a raylet's machine; it tries until it is registered.
  uint32_t StartDriver(uint32_t machine, int64_t at_ns, std::function<void(Language*)> on_up,
                       std::function<void()> on_down);
  // As the raylet wishes.
  uint32_t StartWorker(uint32_t machine, WorkerId worker);
  core_worker::CoreWorkerActions* ActionsOf(uint32_t process) { return processes_[process]->Actions(); }
  void Flush(uint32_t process) { processes_[process]->Carry(); }
  SimArena& ArenaOf(uint32_t process) { return *machines_[processes_[process]->machine].arena; }

  // ---- local channels and the network
  // Over the unix socket or ring between two processes of a machine: reliable, in order.
  void SendLocal(uint32_t from_process, uint32_t to_process, const Address& from, const Address& to, Message message);
  // Hands over at once what is still in the channel; the reader heard of the writer's death.
  void DrainChannel(uint32_t from_process, uint32_t to_process);
  void SendFrame(uint32_t from_machine, uint32_t to_machine, std::string frame);
  // Core process of that id, also when it is dead; 0 if there never was one.
  uint32_t IndexOf(WorkerId worker) const;
  // Live core process with that id on a machine; 0 if there is none.
  uint32_t FindCore(uint32_t machine, WorkerId worker) const;
  uint32_t MachineOfNode(NodeId node) const;  // 0 is the head's machine, also for unknown nodes

  // ---- life and death
  // At once, as by SIGKILL. Core processes: their raylet hears of it a little later.
  void KillProcess(uint32_t process, const std::string& why);
  // An orderly exit: everything said before has been said.
  void LeaveProcess(uint32_t process);
  void KillDaemon(uint32_t machine, int64_t restart_after_ns);
  void PauseProcess(uint32_t process, int64_t for_ns);
  void PauseMachine(uint32_t machine, int64_t for_ns);
  bool PausedWithin(uint32_t process, int64_t window_ns) const;
  uint64_t deaths() const { return deaths_; }
  // True if a raylet died within the last `window_ns`; the others may not have heard of it.
  bool RayletDiedWithin(int64_t window_ns) const {
    return last_raylet_death_ns_ >= 0 && last_raylet_death_ns_ + window_ns > now_ns_;
  }
  uint64_t RayletDeaths(uint32_t machine) const { return machines_[machine].raylet_deaths; }
  bool RayletDiedOn(uint32_t machine) const { return machines_[machine].raylet_deaths > 0; }

  // ---- looking around
  Process& process(uint32_t index) { return *processes_[index]; }
  const Process& process(uint32_t index) const { return *processes_[index]; }
  size_t process_count() const { return processes_.size(); }
  MachineState& machine(uint32_t index) { return machines_[index]; }
  uint32_t machine_count() const { return static_cast<uint32_t>(machines_.size()); }
  Address AddressOf(uint32_t process) const { return processes_[process]->address; }
  uint32_t MachineOf(uint32_t process) const { return processes_[process]->machine; }
  NodeId NodeOf(uint32_t machine) const { return machines_[machine].node; }
  int64_t CpuStepsOf(uint32_t machine) const { return machines_[machine].cpu_steps; }
  int64_t LargestMachineSteps() const;  // of CPU
  int64_t TotalSteps() const;           // of CPU, of all machines
  // No fault is part of this run.
  void NothingGoesWrong() { calm_ = true; }
  bool calm() const { return calm_; }
  std::string NameOf(uint32_t process) const;
  // Some machine where drivers may live.
  uint32_t DriverMachine(Rng& rng) const { return 1 + static_cast<uint32_t>(rng.Below(options_.protected_nodes)); }
  // The head or raylet that runs there now; null for none.
  Process* daemon(uint32_t machine) {
    return machines_[machine].daemon == 0 ? nullptr : processes_[machines_[machine].daemon].get();
  }
  uint64_t events() const { return trace_.events(); }
  void CheckAllInvariants() const;
  // Sets the tick of a process by its machine's deadline; call after every call into a machine.
  void Reschedule(Process& process);

 private:
  struct Channel {
    uint32_t from = 0, to = 0;
    int64_t last_arrival_ns = 0;
    struct Entry {
      Address from, to;
      Message message;
    };
    std::deque<Entry> entries;
  };
  struct Frame {
    uint32_t from_machine = 0;
    std::string bytes;
  };

  void StartDaemon(uint32_t machine);
  Process& Adopt(std::unique_ptr<Process> process);
  uint32_t StartCore(ProcessKind kind, uint32_t machine, WorkerId worker, int64_t delay_ns);
  void Dispatch(const Event& event);
  void Handle(Process& process, const Event& event);
  void HandleChannel(Process& process, Channel& channel);
  void Wake(Process& process);
  void Forget(const Event& event);
  LocalClock NewClock(uint32_t machine);

  ClusterOptions options_;
  Shells& shells_;
  Trace& trace_;
  Rng rng_;
  Observer observer_;
  Network network_;
  EventQueue queue_;
  int64_t now_ns_ = 0;
  std::vector<MachineState> machines_;
  absl::flat_hash_map<NodeId, uint32_t> machine_of_node_;
  absl::flat_hash_map<WorkerId, uint32_t> index_of_worker_;
  std::vector<uint32_t> graveyard_;  // dead, to be disposed of when no frame of theirs is on the stack
  std::vector<std::unique_ptr<Process>> processes_;  // [0] is nobody
  std::vector<std::unique_ptr<Channel>> channels_;
  absl::flat_hash_map<uint64_t, uint32_t> channel_of_;  // from << 32 | to
  SlotPool<Frame> frames_;
  SlotPool<std::function<void()>> callbacks_;
  uint64_t deaths_ = 0;
  bool calm_ = false;
  int64_t last_raylet_death_ns_ = -1;
};

}  // namespace shoal::sim
