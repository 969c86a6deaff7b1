// A simulated driver or worker: the shell around one core worker machine. It registers with its raylet, then carries out what the machine
// wishes for, as runtime/io's CoreProcess does with sockets and rings.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#include <utility>
#include <vector>

#include "runtime/core_worker/core_worker.h"
#include "tests/sim/cluster.h"
#include "tests/sim/language.h"

namespace shoal::sim {

class CoreProcess : public Process {
 public:
  CoreProcess(Cluster* cluster, uint32_t index, ProcessKind kind, uint32_t machine, WorkerId worker);
  ~CoreProcess() override;

  // Connects to the raylet; again later if none runs.
  void Connect() override;
  void OnLocalMessage(uint32_t from_process, const Address& from, const Address& to, Message&& message) override;
  void OnDaemonLost(const std::string& reason) override;
  void Tick() override;
  std::optional<TimePoint> NextDeadline() const override;
  void CheckInvariants() const override;
  void Dispose() override;
  core_worker::CoreWorkerActions* Actions() override { return &actions_; }
  void Carry() override;

  core_worker::CoreWorker* machine_or_null() { return core_.get(); }
  Language* language() { return language_.get(); }

 private:
  void Registered(const RegisterWorkerReply& reply);

  std::unique_ptr<core_worker::CoreWorker> core_;
  std::unique_ptr<Language> language_;
  JobId job_;  // drivers choose theirs
  core_worker::CoreWorkerActions actions_;
  core_worker::CoreWorkerActions carrying_actions_;
  bool carrying_ = false;
  std::vector<std::pair<Address, Message>> early_;  // neighbours that heard of this process before it was told who it is
};

}  // namespace shoal::sim
