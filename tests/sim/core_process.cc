#include "tests/sim/core_process.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::sim {

CoreProcess::CoreProcess(Cluster* c, uint32_t process_index, ProcessKind process_kind, uint32_t on_machine,
                         WorkerId worker)
    : Process(c, process_index, process_kind, on_machine, {c->NodeOf(on_machine), worker}) {
  if (process_kind == ProcessKind::kDriver) job_ = c->rng().NewId<JobId>();
}

CoreProcess::~CoreProcess() = default;

void CoreProcess::Connect() {
  if (core_ != nullptr) return;
  const uint32_t raylet = cluster.machine(machine).daemon;
  if (raylet == 0) {
    if (kind == ProcessKind::kWorker) return cluster.KillProcess(index, "its raylet is gone");
    return cluster.After(index, 200'000'000, [this] { Connect(); });
  }
  RegisterWorker hello;
  hello.worker = address.worker;
  hello.role = kind == ProcessKind::kDriver ? Role::kDriver : Role::kWorker;
  hello.pid = index;
  hello.job = job_;
  hello.ns = "sim";
  hello.entrypoint = "simulated";
  cluster.SendLocal(index, raylet, address, Address::Raylet(address.node), std::move(hello));
}

void CoreProcess::Registered(const RegisterWorkerReply& reply) {
  if (core_ != nullptr) return;
  if (reply.error) {
    if (kind == ProcessKind::kWorker) return cluster.KillProcess(index, "registration refused");
    return cluster.After(index, 200'000'000, [this] { Connect(); });
  }
  core_worker::CoreWorkerOptions options;
  options.self = address;
  options.job = job_ = reply.job;
  options.role = kind == ProcessKind::kDriver ? Role::kDriver : Role::kWorker;
  core_ = std::make_unique<core_worker::CoreWorker>(options, cluster.rng().Fork());
  language_ = std::make_unique<Language>(&cluster, index, core_.get(), cluster.rng().Fork());
  if (on_up) on_up(language_.get());
  Carry();
}

void CoreProcess::OnLocalMessage(uint32_t, const Address& from, const Address&, Message&& message) {
  if (core_ == nullptr) {
    auto* reply = std::get_if<RegisterWorkerReply>(&message);
    if (reply == nullptr) {
      early_.emplace_back(from, std::move(message));
      return;
    }
    Registered(*reply);
    if (core_ == nullptr) return;
    for (auto& [sender, early] : std::exchange(early_, {})) {
      core_->OnMessage(cluster.LocalNow(index), sender, std::move(early), &actions_);
    }
    return Carry();
  }
  if (auto* died = std::get_if<WorkerDied>(&message); died != nullptr && died->worker.node == address.node) {
    // What the dead one still wrote into its ring comes before the news of its death.
    const uint32_t other = cluster.IndexOf(died->worker.worker);
    if (other != 0 && other != index) cluster.DrainChannel(other, index);
    if (!alive) return;
  }
  core_->OnMessage(cluster.LocalNow(index), from, std::move(message), &actions_);
  Carry();
}

void CoreProcess::OnDaemonLost(const std::string& reason) {
  if (core_ == nullptr) {
    if (kind == ProcessKind::kDriver) {
      Connect();
    } else {
      cluster.KillProcess(index, reason);
    }
    return;
  }
  core_->OnRayletLost(cluster.LocalNow(index), reason, &actions_);
  Carry();
  if (alive) cluster.KillProcess(index, reason);
}

void CoreProcess::Tick() {
  if (core_ == nullptr) return;
  core_->OnTick(cluster.LocalNow(index), &actions_);
  Carry();
}

std::optional<TimePoint> CoreProcess::NextDeadline() const {
  return core_ == nullptr ? std::nullopt : core_->NextDeadline();
}

void CoreProcess::CheckInvariants() const {
  if (core_ != nullptr) core_->CheckInvariants();
}

void CoreProcess::Dispose() {
  language_.reset();
  core_.reset();
  actions_.Clear();
  early_.clear();
}

void CoreProcess::Carry() {
  if (carrying_) return;  // the loop below comes to it
  carrying_ = true;
  bool leave = false;
  while (alive && !actions_.empty()) {
    std::swap(actions_, carrying_actions_);
    for (Send& send : carrying_actions_.sends) {
      const bool neighbour = send.to.node == address.node && send.to.worker;
      uint32_t to = neighbour ? cluster.FindCore(machine, send.to.worker) : 0;
      if (to == 0) to = cluster.machine(machine).daemon;  // which says so if that neighbour is dead
      if (to != 0) cluster.SendLocal(index, to, address, send.to, std::move(send.message));
    }
    leave = leave || carrying_actions_.exit.has_value();
    language_->CarryOut(&carrying_actions_);
    carrying_actions_.Clear();
  }
  carrying_ = false;
  if (leave && alive) {
    cluster.LeaveProcess(index);
  } else if (alive) {
    cluster.Reschedule(*this);
  }
}

}  // namespace shoal::sim
