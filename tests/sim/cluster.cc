#include "tests/sim/cluster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/describe.h"

namespace shoal::sim {
namespace {

constexpr int64_t kExitNoticeNsMax = 5'000'000;
constexpr uint32_t kStopEvery = 256;  // events between questions whether to stop

}  // namespace

Process::Process(Cluster* c, uint32_t process_index, ProcessKind process_kind, uint32_t on_machine, Address at)
    : cluster(*c), index(process_index), kind(process_kind), machine(on_machine), address(at) {}

Cluster::Cluster(const ClusterOptions& options, Shells* shells, Trace* trace)
    : options_(options),
      shells_(*shells),
      trace_(*trace),
      rng_(options.seed),
      observer_(this),
      network_(options.network, rng_.Fork(), options.nodes + 1) {
  processes_.push_back(nullptr);
  machines_.resize(options.nodes + 1);
  for (uint32_t m = 0; m < machines_.size(); ++m) {
    MachineState& machine = machines_[m];
    if (m > 0) machine.node = shells_.NameNode(options_, m, &rng_);
    if (options.drift_ppm_max > 0) machine.drift_ppm = rng_.Between(-options.drift_ppm_max, options.drift_ppm_max);
    machine.cpu_steps = rng_.Between(options.cpus_min, options.cpus_max) * ResourceSet::kStepsPerUnit;
    machine.arena = std::make_unique<SimArena>(&observer_);
    machine_of_node_[machine.node] = m;
  }
}

Cluster::~Cluster() {
  for (auto& process : processes_) {
    if (process != nullptr) process->Dispose();
  }
}

int64_t Cluster::LargestMachineSteps() const {
  int64_t most = 0;
  for (uint32_t m = 1; m < machines_.size(); ++m) most = std::max(most, machines_[m].cpu_steps);
  return most;
}

int64_t Cluster::TotalSteps() const {
  int64_t sum = 0;
  for (uint32_t m = 1; m < machines_.size(); ++m) sum += machines_[m].cpu_steps;
  return sum;
}

void Cluster::Start() {
  StartDaemon(0);
  for (uint32_t m = 1; m < machines_.size(); ++m) {
    At(static_cast<int64_t>(rng_.Below(20'000'000)), [this, m] {
      if (machines_[m].daemon == 0) StartDaemon(m);
    });
  }
}

LocalClock Cluster::NewClock(uint32_t machine) {
  return LocalClock(now_ns_, static_cast<int64_t>(rng_.Below(1'000'000'000'000)) + 1, machines_[machine].drift_ppm);
}

Process& Cluster::Adopt(std::unique_ptr<Process> process) {
  process->clock = NewClock(process->machine);
  processes_.push_back(std::move(process));
  return *processes_.back();
}

void Cluster::StartDaemon(uint32_t m) {
  const uint32_t index = static_cast<uint32_t>(processes_.size());
  MachineState& machine = machines_[m];
  if (m > 0) machine.arena = std::make_unique<SimArena>(&observer_);
  Process& process = Adopt(shells_.MakeDaemon(this, index, m));
  machine.daemon = index;
  trace_.Note(now_ns_, absl::StrCat("start ", NameOf(index)));
  process.Boot();
  Reschedule(process);
}

uint32_t Cluster::StartCore(ProcessKind kind, uint32_t machine, WorkerId worker, int64_t delay_ns) {
  const uint32_t index = static_cast<uint32_t>(processes_.size());
  Process& process = Adopt(shells_.MakeCore(this, index, kind, machine, worker));
  index_of_worker_[worker] = index;
  machines_[machine].children.push_back(index);
  After(index, delay_ns, [&process] { process.Connect(); });
  return index;
}

uint32_t Cluster::StartDriver(uint32_t machine, int64_t at_ns, std::function<void(Language*)> on_up,
                              std::function<void()> on_down) {
  const uint32_t index =
      StartCore(ProcessKind::kDriver, machine, rng_.NewId<WorkerId>(), std::max<int64_t>(at_ns - now_ns_, 0));
  processes_[index]->on_up = std::move(on_up);
  processes_[index]->on_down = std::move(on_down);
  return index;
}

uint32_t Cluster::StartWorker(uint32_t machine, WorkerId worker) {
  const int64_t delay = static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(options_.worker_start_ns_max)));
  return StartCore(ProcessKind::kWorker, machine, worker,
                   static_cast<int64_t>(static_cast<double>(delay) * machines_[machine].slowness));
}

// ---- the loop

void Cluster::RunUntil(int64_t time_ns, const std::function<bool()>& stop) {
  uint32_t handled = 0;
  while (!queue_.empty() && queue_.next_time_ns() <= time_ns && observer_.violations().empty()) {
    if (stop && ++handled % kStopEvery == 0 && stop()) return;
    const Event event = queue_.Pop();
    now_ns_ = event.time_ns;
    Dispatch(event);
    while (!graveyard_.empty()) {
      const uint32_t dead = graveyard_.back();
      graveyard_.pop_back();
      processes_[dead]->Dispose();
    }
  }
  if (queue_.empty() || queue_.next_time_ns() > time_ns) now_ns_ = std::max(now_ns_, time_ns);
}

void Cluster::Forget(const Event& event) {
  if (event.kind == EventKind::kCallback) callbacks_.Take(event.slot);
  if (event.kind == EventKind::kFrame) frames_.Take(event.slot);
}

void Cluster::Dispatch(const Event& event) {
  uint32_t index = event.process;
  if (event.kind == EventKind::kFrame) index = machines_[event.process].daemon;
  if (index == 0) {
    if (event.kind == EventKind::kCallback && event.process == 0) return callbacks_.Take(event.slot)();
    return Forget(event);
  }
  Process& process = *processes_[index];
  if (!process.alive) return Forget(event);
  if (event.kind == EventKind::kWake) return Wake(process);
  if (event.kind == EventKind::kTick && event.time_ns != process.tick_at_ns) return;
  if (process.paused || !process.backlog.empty() || process.busy_until_ns > now_ns_) {
    if (!process.paused && process.backlog.empty()) {
      queue_.Push({.time_ns = process.busy_until_ns, .kind = EventKind::kWake, .process = index});
    }
    process.backlog.push_back(event);
    return;
  }
  Handle(process, event);
}

void Cluster::Wake(Process& process) {
  while (process.alive && !process.paused && !process.backlog.empty()) {
    if (process.busy_until_ns > now_ns_) {
      queue_.Push({.time_ns = process.busy_until_ns, .kind = EventKind::kWake, .process = process.index});
      return;
    }
    const Event event = process.backlog.front();
    process.backlog.pop_front();
    Handle(process, event);
  }
  if (process.alive) return;
  for (const Event& event : process.backlog) Forget(event);
  process.backlog.clear();
}

void Cluster::Handle(Process& process, const Event& event) {
  const int64_t handling = machines_[process.machine].handling_ns_max;
  if (handling > 0) {
    process.busy_until_ns = now_ns_ + static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(handling)));
  }
  switch (event.kind) {
    case EventKind::kTick:
      process.tick_at_ns = -1;
      trace_.Add(now_ns_, 1, 0, process.index, 0);
      process.Tick();
      break;
    case EventKind::kFrame: {
      Frame frame = frames_.Take(event.slot);
      trace_.Add(now_ns_, 2, frame.from_machine, process.index, StableHash(frame.bytes));
      process.OnFrame(frame.from_machine, std::move(frame.bytes));
      break;
    }
    case EventKind::kChannel:
      HandleChannel(process, *channels_[event.slot]);
      break;
    case EventKind::kCallback:
      trace_.Add(now_ns_, 3, 0, process.index, 0);
      callbacks_.Take(event.slot)();
      break;
    case EventKind::kWake:
      break;
  }
  if (!process.alive) return;
  if (++process.handled % options_.check_every == 0) process.CheckInvariants();
  Reschedule(process);
}

void Cluster::HandleChannel(Process& process, Channel& channel) {
  if (channel.entries.empty()) return;  // drained
  Channel::Entry entry = std::move(channel.entries.front());
  channel.entries.pop_front();
  trace_.Add(now_ns_, 4, channel.from, process.index, StableHash(entry.message));
  if (trace_.verbose()) {
    trace_.Line(now_ns_, absl::StrCat(NameOf(channel.from), " -> ", NameOf(process.index), " ",
                                      Describe(entry.message), " to ", entry.to.ToString()));
  }
  process.OnLocalMessage(channel.from, entry.from, entry.to, std::move(entry.message));
}

void Cluster::Reschedule(Process& process) {
  if (!process.alive) return;
  const std::optional<TimePoint> deadline = process.NextDeadline();
  if (!deadline) {
    process.tick_at_ns = -1;
    return;
  }
  const int64_t at = std::max(process.clock.ToGlobal(*deadline), now_ns_ + 1);
  if (process.tick_at_ns == at || at == INT64_MAX) return;
  process.tick_at_ns = at;
  queue_.Push({.time_ns = at, .kind = EventKind::kTick, .process = process.index});
}

void Cluster::After(uint32_t process, int64_t delay_ns, std::function<void()> then) {
  queue_.Push({.time_ns = now_ns_ + std::max<int64_t>(delay_ns, 0),
               .kind = EventKind::kCallback,
               .process = process,
               .slot = callbacks_.Add(std::move(then))});
}

void Cluster::At(int64_t time_ns, std::function<void()> then) { After(0, time_ns - now_ns_, std::move(then)); }

int64_t Cluster::WorkTime(uint32_t process, int64_t ns) const {
  return static_cast<int64_t>(static_cast<double>(ns) * machines_[processes_[process]->machine].slowness);
}

// ---- channels and frames

void Cluster::SendLocal(uint32_t from_process, uint32_t to_process, const Address& from, const Address& to,
                        Message message) {
  if (!processes_[to_process]->alive) return;
  auto [it, inserted] = channel_of_.try_emplace(static_cast<uint64_t>(from_process) << 32 | to_process, 0);
  if (inserted) {
    it->second = static_cast<uint32_t>(channels_.size());
    channels_.push_back(std::make_unique<Channel>());
    channels_.back()->from = from_process;
    channels_.back()->to = to_process;
  }
  Channel& channel = *channels_[it->second];
  const int64_t delay = 1'000 + static_cast<int64_t>(rng_.Below(static_cast<uint64_t>(options_.local_delay_ns_max)));
  channel.last_arrival_ns = std::max(channel.last_arrival_ns, now_ns_ + delay);
  channel.entries.push_back({from, to, std::move(message)});
  queue_.Push({.time_ns = channel.last_arrival_ns,
               .kind = EventKind::kChannel,
               .process = to_process,
               .slot = it->second});
}

void Cluster::DrainChannel(uint32_t from_process, uint32_t to_process) {
  auto it = channel_of_.find(static_cast<uint64_t>(from_process) << 32 | to_process);
  if (it == channel_of_.end()) return;
  Channel& channel = *channels_[it->second];
  Process& process = *processes_[to_process];
  while (process.alive && !channel.entries.empty()) HandleChannel(process, channel);
}

void Cluster::SendFrame(uint32_t from_machine, uint32_t to_machine, std::string frame) {
  int64_t arrivals[Network::kMaxCopies];
  const int copies = network_.Send(now_ns_, from_machine, to_machine, frame.size(), arrivals);
  for (int i = 0; i < copies; ++i) {
    Frame copy{from_machine, i + 1 == copies ? std::move(frame) : frame};
    queue_.Push({.time_ns = arrivals[i],
                 .kind = EventKind::kFrame,
                 .process = to_machine,
                 .slot = frames_.Add(std::move(copy))});
  }
}

uint32_t Cluster::IndexOf(WorkerId worker) const {
  auto it = index_of_worker_.find(worker);
  return it == index_of_worker_.end() ? 0 : it->second;
}

uint32_t Cluster::FindCore(uint32_t machine, WorkerId worker) const {
  const uint32_t index = IndexOf(worker);
  return index != 0 && processes_[index]->alive && processes_[index]->machine == machine ? index : 0;
}

uint32_t Cluster::MachineOfNode(NodeId node) const {
  auto it = machine_of_node_.find(node);
  return it == machine_of_node_.end() ? 0 : it->second;
}

// ---- life and death

void Cluster::KillProcess(uint32_t index, const std::string& why) {
  if (!processes_[index]->alive) return;
  ++deaths_;
  trace_.Note(now_ns_, absl::StrCat("kill ", NameOf(index), ": ", why));
  LeaveProcess(index);
}

void Cluster::LeaveProcess(uint32_t index) {
  Process& process = *processes_[index];
  if (!process.alive) return;
  process.alive = false;
  graveyard_.push_back(index);
  observer_.OnProcessDied(index);
  if (process.kind != ProcessKind::kDriver && process.kind != ProcessKind::kWorker) return;
  if (trace_.verbose()) trace_.Line(now_ns_, absl::StrCat("exit ", NameOf(index)));
  MachineState& machine = machines_[process.machine];
  machine.children.erase(std::remove(machine.children.begin(), machine.children.end(), index), machine.children.end());
  if (machine.daemon != 0) {
    // The raylet reads what the process had written before it sees the end of it.
    int64_t at = now_ns_ + static_cast<int64_t>(rng_.Below(kExitNoticeNsMax));
    auto it = channel_of_.find(static_cast<uint64_t>(index) << 32 | machine.daemon);
    if (it != channel_of_.end()) at = std::max(at, channels_[it->second]->last_arrival_ns + 1);
    After(machine.daemon, at - now_ns_, [this, index, daemon = machine.daemon] {
      processes_[daemon]->OnChildExited(index);
    });
  }
  if (process.on_down) process.on_down();
}

void Cluster::KillDaemon(uint32_t m, int64_t restart_after_ns) {
  MachineState& machine = machines_[m];
  if (machine.daemon == 0) return;
  if (m > 0) {
    ++machine.raylet_deaths;
    last_raylet_death_ns_ = now_ns_;
  }
  const uint32_t index = std::exchange(machine.daemon, 0);
  KillProcess(index, "fault");
  const std::vector<uint32_t> children = machine.children;
  for (uint32_t child : children) {
    At(now_ns_ + static_cast<int64_t>(rng_.Below(kExitNoticeNsMax)), [this, child] {
      Process& process = *processes_[child];
      if (!process.alive) return;
      if (process.paused) return KillProcess(child, "its raylet died");
      process.OnDaemonLost("its raylet died");
    });
  }
  At(now_ns_ + std::max(restart_after_ns, 4 * kExitNoticeNsMax), [this, m] {
    if (machines_[m].daemon == 0) StartDaemon(m);
  });
}

void Cluster::PauseProcess(uint32_t index, int64_t for_ns) {
  Process& process = *processes_[index];
  if (!process.alive || process.paused) return;
  process.paused = true;
  process.paused_at_ns = now_ns_;
  trace_.Note(now_ns_, absl::StrCat("pause ", NameOf(index), " for ", for_ns / 1'000'000, " ms"));
  At(now_ns_ + for_ns, [this, index] {
    Process& p = *processes_[index];
    p.paused = false;
    p.resumed_at_ns = now_ns_;
    queue_.Push({.time_ns = now_ns_, .kind = EventKind::kWake, .process = index});
  });
}

void Cluster::PauseMachine(uint32_t m, int64_t for_ns) {
  MachineState& machine = machines_[m];
  if (machine.daemon != 0) PauseProcess(machine.daemon, for_ns);
  for (uint32_t child : machine.children) PauseProcess(child, for_ns);
}

bool Cluster::PausedWithin(uint32_t index, int64_t window_ns) const {
  const Process& process = *processes_[index];
  if (process.paused || (process.resumed_at_ns >= 0 && process.resumed_at_ns + window_ns > now_ns_)) return true;
  const uint32_t daemon = machines_[process.machine].daemon;
  return daemon != 0 && daemon != index && PausedWithin(daemon, window_ns);
}

// ---- looking around

std::string Cluster::NameOf(uint32_t index) const {
  const Process& process = *processes_[index];
  static constexpr const char* kKinds[] = {"head", "raylet", "driver", "worker"};
  return absl::StrCat(kKinds[static_cast<int>(process.kind)], " ", index, "@", process.machine);
}

void Cluster::CheckAllInvariants() const {
  for (const auto& process : processes_) {
    if (process != nullptr && process->alive) process->CheckInvariants();
  }
}

}  // namespace shoal::sim
