// The simulated shells of the processes that face the network: the head and the raylets. Each has one session per peer machine and
// routes by address as runtime/io does: what is for this process goes into its machine, what is for a local core worker into the channel to
// it, everything else through the session to the node that the address names.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "runtime/raylet/raylet.h"
#include "runtime/session/session.h"
#include "scheduler/head.h"
#include "tests/sim/cluster.h"

namespace shoal::sim {

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

  virtual void Boot() = 0;
  void OnFrame(uint32_t from_machine, std::string&& frame) final;
  void Tick() final;
  std::optional<TimePoint> NextDeadline() const final;
  void CheckInvariants() const final;

 protected:
  // From anywhere to anywhere: the one router.
  void Route(const Address& from, const Address& to, Message&& message);
  virtual void Deliver(const Address& from, Message&& message) = 0;  // to the machine of this process
  virtual void ToLocalCore(const Address& from, const Address& to, Message&& message) = 0;
  virtual void PeerRestarted(uint32_t machine) = 0;
  virtual void TickMachine() = 0;
  virtual std::optional<TimePoint> MachineDeadline() const = 0;
  virtual void CheckMachine() const = 0;
  TimePoint Now() const { return cluster.LocalNow(index); }
  void DropSessions() { links_.clear(); }
  const uint64_t incarnation_;

 private:
  struct Link;
  Link& LinkTo(uint32_t machine);
  void CarryLink(uint32_t machine, Link& link);

  absl::btree_map<uint32_t, std::unique_ptr<Link>> links_;
};

}  // namespace shoal::sim
