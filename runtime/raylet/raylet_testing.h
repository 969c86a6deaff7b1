// One raylet, its head, its core workers and its neighbours, as a test sees them.
//
//   TestNode node({{"CPU", 2}});                       // registered with the head
//   Address driver = node.Driver();
//   node.Demand(driver, CpuShape(1), 2);
//   node.StartWorkers();                               // every process asked for registers
//   EXPECT_EQ(node.Sent<LeaseGranted>(driver).size(), 2u);
//
// Every step checks the machine's invariants.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "runtime/raylet/raylet.h"

namespace shoal::raylet {

inline constexpr NodeId kNode{0xa};
inline constexpr JobId kJob{0x10b};

inline Shape ShapeOf(std::vector<std::pair<std::string, double>> amounts, JobId job = kJob) {
  Shape shape;
  shape.job = job;
  shape.resources = ResourceSet::Of(std::move(amounts));
  return shape;
}
inline Shape CpuShape(double cpus, JobId job = kJob) { return ShapeOf({{"CPU", cpus}}, job); }

inline NodeInfo OtherNode(uint64_t id, uint64_t incarnation = 1) {
  NodeInfo info;
  info.id = NodeId{id};
  info.incarnation = incarnation;
  return info;
}

class TestNode {
 public:
  explicit TestNode(std::vector<std::pair<std::string, double>> total, bool registered = true,
                    RayletOptions options = {})
      : options_(Complete(std::move(options), std::move(total))), raylet(options_, Rng(7)) {
    raylet.Start(now, &actions);
    Collect();
    if (registered) Admit(1);
  }

  // ---- steps
  void Admit(uint64_t new_epoch) {
    RegisterNodeReply reply;
    reply.epoch = epoch = new_epoch;
    reply.fence_after = 6s;
    FromHead(std::move(reply));
    Nodes({});
  }
  template <class M>
  void Deliver(const Address& from, M message) {
    raylet.OnMessage(now, from, Message(std::move(message)), &actions);
    Collect();
  }
  template <class M>
  void FromHead(M message) {
    Deliver(Address::Head(), std::move(message));
  }
  template <class M>
  void Order(M message) {  // with the epoch
    message.epoch = epoch;
    FromHead(std::move(message));
  }
  void Nodes(std::vector<NodeInfo> others) {
    ClusterNodes nodes;
    nodes.epoch = epoch;
    nodes.nodes = std::move(others);
    nodes.nodes.push_back(options_.info);
    FromHead(std::move(nodes));
  }
  // The head answers the newest beat.
  void Beat() {
    HeartbeatAck ack;
    ack.epoch = epoch;
    for (const Send& send : sends) {
      if (const auto* beat = std::get_if<Heartbeat>(&send.message)) ack.sent_at_ns = beat->sent_at_ns;
    }
    FromHead(ack);
  }
  // Time passes, tick by tick, with the head answering every beat if `answered`.
  void Pass(Duration duration, bool answered = true) {
    const TimePoint end = now + duration;
    int ticks = 0;
    while (true) {
      const std::optional<TimePoint> deadline = raylet.NextDeadline();
      if (!deadline || *deadline > end) break;
      SHOAL_CHECK(++ticks < 100'000) << "the raylet ticks without end";
      now = std::max(now, *deadline);
      const size_t before = sends.size();
      raylet.OnTick(now, &actions);
      Collect();
      const bool beat = std::any_of(sends.begin() + static_cast<ptrdiff_t>(before), sends.end(), [](const Send& send) {
        return std::holds_alternative<Heartbeat>(send.message);
      });
      if (answered && beat) Beat();
    }
    now = end;
  }
  Address Driver(JobId job = kJob) {
    RegisterWorker hello;
    hello.worker = WorkerId{++next_driver_};
    hello.role = Role::kDriver;
    hello.job = job;
    hello.ns = "space";
    const Address address{kNode, hello.worker};
    Deliver(address, std::move(hello));
    return address;
  }
  void Register(WorkerId worker) {
    RegisterWorker hello;
    hello.worker = worker;
    hello.pid = 100;
    Deliver({kNode, worker}, std::move(hello));
  }
  // Every process that was asked for comes up, and those asked for because of that.
  void StartWorkers() {
    while (!starting.empty()) {
      const WorkerId worker = starting.front().worker;
      starting.erase(starting.begin());
      Register(worker);
    }
  }
  void Exit(WorkerId worker, const std::string& how = "exit code 0") {
    raylet.OnWorkerExited(now, worker, how, &actions);
    Collect();
  }
  // Every process that was to be killed dies, and those to be killed because of that.
  void BuryKilled() {
    while (!killed.empty()) {
      const WorkerId worker = killed.front().worker;
      killed.erase(killed.begin());
      Exit(worker, "signal 9 (Killed)");
    }
  }
  void Demand(const Address& owner, const Shape& shape, uint32_t wanted) {
    LeaseDemand demand;
    demand.shape = shape;
    demand.wanted = wanted;
    demand.version = ++version_;
    Deliver(owner, std::move(demand));
  }
  void Return(const Address& owner, LeaseId lease, bool kill = false) {
    ReturnLease message;
    message.lease = lease;
    message.kill_worker = kill;
    Deliver(owner, message);
  }

  // Takes over what the machine wished for; only needed after calls that are not steps of this class.
  void Collect() {
    raylet.CheckInvariants();
    for (Send& send : actions.sends) sends.push_back(std::move(send));
    for (StartWorkerProcess& start : actions.start_workers) starting.push_back(std::move(start));
    for (KillWorkerProcess& kill : actions.kill_workers) {
      std::erase_if(starting, [&](const StartWorkerProcess& start) { return start.worker == kill.worker; });
      killed.push_back(std::move(kill));
    }
    for (StartTransfer& transfer : actions.transfers) transfers.push_back(transfer);
    if (actions.peers) peers = std::move(actions.peers);
    actions.Clear();
  }


  // ---- what it said
  template <class M>
  std::vector<M> Sent(const Address& to) const {
    std::vector<M> found;
    for (const Send& send : sends) {
      if (send.to != to) continue;
      if (const M* message = std::get_if<M>(&send.message)) found.push_back(*message);
    }
    return found;
  }
  template <class M>
  std::vector<M> ToHead() const {
    return Sent<M>(Address::Head());
  }
  void Forget() {
    sends.clear();
    killed.clear();
  }
  // A driver with that many leases of one CPU.
  std::vector<LeaseGranted> Leases(const Address& owner, uint32_t count, const Shape& shape) {
    const size_t before = Sent<LeaseGranted>(owner).size();
    Demand(owner, shape, count);
    StartWorkers();
    std::vector<LeaseGranted> granted = Sent<LeaseGranted>(owner);
    granted.erase(granted.begin(), granted.begin() + static_cast<ptrdiff_t>(before));
    return granted;
  }
  double Free(const std::string& resource = "CPU") {
    Pass(50ms);
    return ToHead<NodeReport>().back().available.GetUnits(resource);
  }

  TimePoint now = FromNanoseconds(5'000'000'000);
  RayletActions actions;
  std::vector<Send> sends;
  std::vector<StartWorkerProcess> starting;
  std::vector<KillWorkerProcess> killed;
  std::vector<StartTransfer> transfers;
  std::optional<ClusterNodes> peers;
  uint64_t epoch = 0;

 private:
  static RayletOptions Complete(RayletOptions options, std::vector<std::pair<std::string, double>> total) {
    options.info.id = kNode;
    options.info.incarnation = 1;
    options.info.total = ResourceSet::Of(std::move(total));
    options.cluster_id = 77;
    options.arena_bytes = 64 << 20;
    return options;
  }
  const RayletOptions options_;
  uint64_t next_driver_ = 0xd000;
  uint64_t version_ = 0;

 public:
  Raylet raylet;
};

}  // namespace shoal::raylet
