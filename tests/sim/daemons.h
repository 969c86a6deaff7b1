// The simulated shells of the processes that face the network: the head and the raylets. Each has one session per peer machine and
// routes by address as runtime/io does: what is for this process goes into its machine, what is for a local core worker into the channel to
// it, everything else through the session to the node that the address names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/strings/str_cat.h"
#include "runtime/raylet/raylet.h"
#include "runtime/session/session.h"
#include "scheduler/head.h"
#include "tests/sim/cluster.h"

namespace shoal::sim {

inline constexpr uint64_t kClusterId = 0x5ea1;
// Nodes are named by their keys.
inline std::string PublicKeyOf(const ClusterOptions& options, uint32_t machine) {
  return absl::StrCat("key of machine ", machine, " of run ", options.seed);
}

// What the head's disk holds: survives the head process.
struct HeadDisk {
  scheduler::MemoryMetaStore store;
};

// What travels inside a session: who says what to whom.
struct Routed {
  Address from, to;
  Message message;
  template <class V> void Fields(V& v) { v(from, to, message); }
};

class Daemon : public Process {
 public:
  Daemon(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine);
  ~Daemon() override;

  void OnFrame(uint32_t from_machine, std::string&& frame) final;
  void Tick() final;
  std::optional<TimePoint> NextDeadline() const final;
  void CheckInvariants() const final;
  void Dispose() override;
  // What would not be there without jobs.
  virtual std::string Remains() const = 0;

 protected:
  // To another machine; false if this process may not talk to it.
  bool ToMachine(uint32_t to_machine, const Address& from, const Address& to, Message&& message);
  // Ends a turn: what was sent leaves, and what came of it is handled.
  void FlushLinks();
  // These machines may be talked to, and no others.
  void SetPeers(const absl::btree_set<uint32_t>& machines);

  // From a peer, for whomever.
  virtual void Deliver(const Address& from, const Address& to, Message&& message) = 0;
  virtual void PeerRestarted(uint32_t peer_machine) = 0;
  virtual void TickMachine() = 0;
  virtual std::optional<TimePoint> MachineDeadline() const = 0;
  virtual void CheckMachine() const = 0;
  TimePoint Now() const { return cluster.LocalNow(index); }
  const uint64_t incarnation_;

 private:
  struct Link;
  void MakeLink(uint32_t to_machine);
  void CarryLink(Link& link);
  void HandleInbox();

  struct Arrival {
    uint32_t from_machine = 0;
    bool reset = false;
    std::string payload;
  };

  absl::btree_map<uint32_t, std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Link>> dropped_;  // until nothing of them is on the stack
  std::vector<uint32_t> dirty_;                 // peers that were sent something in this turn
  std::vector<Arrival> inbox_;
  bool handling_ = false;
};

// The head and all raylets, with what the head's disk holds.
class RealShells : public Shells {
 public:
  NodeId NameNode(const ClusterOptions& options, uint32_t machine, Rng*) override {
    return scheduler::NodeIdOf(PublicKeyOf(options, machine));
  }
  std::unique_ptr<Process> MakeDaemon(Cluster* cluster, uint32_t index, uint32_t machine) override;
  std::unique_ptr<Process> MakeCore(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine,
                                    WorkerId worker) override;

 private:
  HeadDisk disk_;
};

}  // namespace shoal::sim
