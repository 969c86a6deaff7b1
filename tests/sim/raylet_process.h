// The simulated raylet: the shell around one raylet::Raylet, its workers and the bulk channel.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "runtime/raylet/raylet.h"
#include "tests/sim/daemons.h"

namespace shoal::sim {

class RayletProcess final : public Daemon {
 public:
  RayletProcess(Cluster* c, uint32_t process_index, uint32_t on_machine)
      : Daemon(c, process_index, ProcessKind::kRaylet, on_machine) {}

  void Boot() override;
  void OnLocalMessage(uint32_t from_process, const Address& from, const Address& to, Message&& message) override;
  void OnChildExited(uint32_t child) override;
  void Dispose() override;
  std::string Remains() const override { return raylet_ == nullptr ? "" : raylet_->Remains(); }

 protected:
  void Deliver(const Address& from, const Address& to, Message&& message) override;
  void PeerRestarted(uint32_t peer_machine) override;
  void TickMachine() override;
  std::optional<TimePoint> MachineDeadline() const override {
    return raylet_ == nullptr ? std::nullopt : raylet_->NextDeadline();
  }
  void CheckMachine() const override {
    if (raylet_ != nullptr) raylet_->CheckInvariants();
  }

 private:
  struct Fetch {
    raylet::StartTransfer wish;
    uint32_t source = 0;  // process
  };

  // For a node that is no peer, or not yet one.
  struct Held {
    int64_t until_ns = 0;
    Address from, to;
    Message message;
  };

  NodeInfo Info() const;
  void Route(const Address& from, const Address& to, Message&& message);
  void ToPeer(const Address& from, const Address& to, Message&& message, int64_t held_until_ns);
  void RetryHeld();
  void Carry() override;
  void CarryProcesses(raylet::RayletActions* actions);
  // The bulk channel. A fetch ends once: with the bytes, or because the source is gone, cut off, or does not have them.
  void StartFetch(const raylet::StartTransfer& wish);
  void ServeFetch(uint32_t reader, uint64_t fetch, const ObjectId& object, uint64_t size);
  void WatchFetch(uint64_t fetch);
  void EndFetch(uint64_t fetch, std::optional<uint64_t> number);

  std::unique_ptr<raylet::Raylet> raylet_;
  raylet::RayletActions actions_;
  bool carrying_ = false;
  std::deque<Held> held_;
  uint64_t next_fetch_ = 1;
  absl::btree_map<uint64_t, Fetch> fetches_;
};

}  // namespace shoal::sim
