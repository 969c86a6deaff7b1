#include "tests/sim/daemons.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/core_process.h"
#include "tests/sim/describe.h"
#include "tests/sim/head_process.h"
#include "tests/sim/observer.h"
#include "tests/sim/raylet_process.h"

namespace shoal::sim {

struct Daemon::Link {
  Link(uint32_t to, session::SessionOptions options, Rng rng) : machine(to), session(options, rng) {}
  const uint32_t machine;
  session::Session session;
  session::SessionActions actions;
  std::optional<TimePoint> deadline;
};

Daemon::Daemon(Cluster* c, uint32_t process_index, ProcessKind process_kind, uint32_t on_machine)
    : Process(c, process_index, process_kind, on_machine, Address::Raylet(c->NodeOf(on_machine))),
      incarnation_(c->rng().Next() | 1) {}

Daemon::~Daemon() = default;

void Daemon::Dispose() {
  links_.clear();
  dropped_.clear();
  inbox_.clear();
}

// ---- links

void Daemon::MakeLink(uint32_t to_machine) {
  session::SessionOptions options;
  options.cluster_id = kClusterId;
  options.role = machine == 0 ? Role::kHead : Role::kRaylet;
  options.self = cluster.NodeOf(machine);
  options.incarnation = incarnation_;
  options.peer = cluster.NodeOf(to_machine);
  auto link = std::make_unique<Link>(to_machine, options, cluster.rng().Fork());
  Link& made = *link;
  links_[to_machine] = std::move(link);
  made.session.Start(Now(), &made.actions);
  CarryLink(made);
}

void Daemon::SetPeers(const absl::btree_set<uint32_t>& machines) {
  for (auto it = links_.begin(); it != links_.end();) {
    if (machines.contains(it->first)) {
      ++it;
      continue;
    }
    dropped_.push_back(std::move(it->second));
    it = links_.erase(it);
  }
  for (uint32_t to_machine : machines) {
    if (to_machine != machine && !links_.contains(to_machine)) MakeLink(to_machine);
  }
}

bool Daemon::ToMachine(uint32_t to_machine, const Address& from, const Address& to, Message&& message) {
  auto it = links_.find(to_machine);
  if (it == links_.end()) return false;
  Link& link = *it->second;
  if (cluster.trace().verbose()) {
    cluster.trace().Line(cluster.now_ns(), absl::StrCat(cluster.NameOf(index), " => machine ", to_machine, " ",
                                                        Describe(message), " to ", to.ToString()));
  }
  // A peer that takes nothing for so long is given up, and hears so.
  const std::string payload = Encode(Routed{from, to, std::move(message)});
  if (!link.session.Send(Now(), payload, &link.actions)) link.session.Reset(Now(), &link.actions);
  dirty_.push_back(to_machine);
  return true;
}

// Takes everything out of the session's actions: frames leave, the rest waits for its turn in the inbox.
void Daemon::CarryLink(Link& link) {
  for (std::string& frame : link.actions.frames) cluster.SendFrame(machine, link.machine, std::move(frame));
  if (link.actions.reset) inbox_.push_back({link.machine, true, {}});
  for (std::string& payload : link.actions.delivered) inbox_.push_back({link.machine, false, std::move(payload)});
  if (!link.actions.refused.empty()) cluster.observer().Violate("peers_fit_together", link.actions.refused);
  link.actions.Clear();
  link.deadline = link.session.NextDeadline();
}

void Daemon::FlushLinks() {
  for (size_t i = 0; i < dirty_.size(); ++i) {
    auto it = links_.find(dirty_[i]);
    if (it == links_.end()) continue;
    it->second->session.Flush(Now(), &it->second->actions);
    CarryLink(*it->second);
  }
  dirty_.clear();
  HandleInbox();
}

// Handling may send, and sending may bring more into the inbox; the outermost call works it off.
void Daemon::HandleInbox() {
  if (std::exchange(handling_, true)) return;
  for (size_t i = 0; i < inbox_.size() && alive; ++i) {
    Arrival arrival = std::move(inbox_[i]);
    if (arrival.reset) {
      if (cluster.trace().verbose()) {
        cluster.trace().Line(cluster.now_ns(),
                             absl::StrCat(cluster.NameOf(index), " link to machine ", arrival.from_machine, " begins anew"));
      }
      PeerRestarted(arrival.from_machine);
      continue;
    }
    Routed routed;
    const bool whole = Decode(arrival.payload, &routed);
    cluster.observer().Require(whole, "payloads_arrive_intact", cluster.NameOf(index));
    if (!whole) continue;
    if (cluster.trace().verbose()) {
      cluster.trace().Line(cluster.now_ns(), absl::StrCat(cluster.NameOf(index), " <= machine ", arrival.from_machine, " ",
                                                          Describe(routed.message), " from ", routed.from.ToString(),
                                                          " to ", routed.to.ToString()));
    }
    Deliver(routed.from, routed.to, std::move(routed.message));
  }
  inbox_.clear();
  dropped_.clear();
  handling_ = false;
}

void Daemon::OnFrame(uint32_t from_machine, std::string&& frame) {
  auto it = links_.find(from_machine);
  if (cluster.trace().verbose()) {
    const std::string text = DescribeFrame(frame);
    if (!text.empty()) {
      cluster.trace().Line(cluster.now_ns(), absl::StrCat(cluster.NameOf(index), " <- machine ", from_machine, " ", text,
                                                          it == links_.end() ? ", which is not a peer" : ""));
    }
  }
  if (it == links_.end()) return;  // refused by its key
  it->second->session.OnFrame(Now(), frame, &it->second->actions);
  CarryLink(*it->second);
  HandleInbox();
  FlushLinks();
}

// ---- time

void Daemon::Tick() {
  const TimePoint now = Now();
  for (auto& [to_machine, link] : links_) {
    if (!link->deadline || *link->deadline > now) continue;
    link->session.OnTick(now, &link->actions);
    CarryLink(*link);
  }
  HandleInbox();
  const std::optional<TimePoint> deadline = MachineDeadline();
  if (alive && deadline && *deadline <= now) TickMachine();
  FlushLinks();
}

std::optional<TimePoint> Daemon::NextDeadline() const {
  std::optional<TimePoint> deadline = MachineDeadline();
  for (const auto& [to_machine, link] : links_) {
    if (link->deadline && (!deadline || *link->deadline < *deadline)) deadline = link->deadline;
  }
  return deadline;
}

void Daemon::CheckInvariants() const {
  for (const auto& [to_machine, link] : links_) link->session.CheckInvariants();
  CheckMachine();
}

// ---- all processes

std::unique_ptr<Process> RealShells::MakeDaemon(Cluster* cluster, uint32_t index, uint32_t machine) {
  if (machine == 0) return std::make_unique<HeadProcess>(cluster, index, &disk_);
  return std::make_unique<RayletProcess>(cluster, index, machine);
}

std::unique_ptr<Process> RealShells::MakeCore(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine,
                                              WorkerId worker) {
  return std::make_unique<CoreProcess>(cluster, index, kind, machine, worker);
}

}  // namespace shoal::sim
