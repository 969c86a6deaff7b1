// The simulated head: the shell around one scheduler::Head.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "scheduler/head.h"
#include "tests/sim/daemons.h"

namespace shoal::sim {

class HeadProcess final : public Daemon {
 public:
  HeadProcess(Cluster* c, uint32_t process_index, HeadDisk* disk)
      : Daemon(c, process_index, ProcessKind::kHead, 0), disk_(*disk) {}

  void Boot() override;
  void OnLocalMessage(uint32_t, const Address&, const Address&, Message&&) override {}  // nobody else lives there
  void Dispose() override;
  std::string Remains() const override { return head_ == nullptr ? "" : head_->Remains(); }

 protected:
  void Deliver(const Address& from, const Address& to, Message&& message) override;
  void PeerRestarted(uint32_t peer_machine) override;
  void TickMachine() override;
  std::optional<TimePoint> MachineDeadline() const override {
    return head_ == nullptr ? std::nullopt : head_->NextDeadline();
  }
  void CheckMachine() const override {
    if (head_ != nullptr) head_->CheckInvariants();
  }

 private:
  void Carry() override;

  HeadDisk& disk_;
  std::unique_ptr<scheduler::Head> head_;
  scheduler::HeadActions actions_;
};

}  // namespace shoal::sim
