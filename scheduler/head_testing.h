// A head with imagined raylets around it, for tests: scenes in ten lines.
//
//   TEST_P(HeadTest, GrantsElsewhere) {
//     Join(1, 4);                                     // node 1 with 4 CPUs, registered and reported
//     Spill(Driver(1), Cpus(1), 2);
//     GrantLeases ask = Take<GrantLeases>(Raylet(1));
//   }
//
// Every scene runs twice: with each message delivered once, and with each delivered twice, where the second may bring repeated
// answers and nothing that starts something. At the end of each scene all messages must have been taken and all invariants hold.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler/head.h"
#include "schema/cluster_nodes.h"

namespace shoal::scheduler {

class HeadTest : public testing::TestWithParam<bool> {
 protected:
  HeadTest() { Start(1); }
  void TearDown() override {
    if (IsSkipped()) return;
    for (const Send& send : sent_) ADD_FAILURE() << "not expected: " << MessageName(send.message) << " to " << send.to.ToString();
    head_->CheckInvariants();
  }

  // ---- names
  static NodeId N(uint64_t n) { return NodeId{n}; }
  static Address Raylet(uint64_t n) { return Address::Raylet(N(n)); }
  // Process p of node n. Drivers are processes 1, and belong to job n.
  static Address P(uint64_t n, uint64_t p) { return {N(n), WorkerId{n * 1000 + p}}; }
  static Address Driver(uint64_t n) { return P(n, 1); }
  static JobId Job(uint64_t n) { return JobId{n}; }
  static Shape Cpus(double cpus, uint64_t job = 1) {
    Shape shape;
    shape.job = Job(job);
    if (cpus > 0) shape.resources = ResourceSet::Of({{"CPU", cpus}});
    return shape;
  }
  static Shape InGroup(Shape shape, uint64_t group, int32_t bundle = -1) {
    shape.strategy.kind = StrategyKind::kPlacementGroup;
    shape.strategy.group = PlacementGroupId{group};
    shape.strategy.bundle = bundle;
    return shape;
  }
  static Shape OnNode(Shape shape, uint64_t n, bool soft = false) {
    shape.strategy = {.kind = StrategyKind::kNodeAffinity, .node = N(n), .soft = soft};
    return shape;
  }

  // ---- the head's life
  void Start(uint64_t seed) {
    head_ = std::make_unique<Head>(options_, *store_.Load(), Rng(seed));
    head_->Start(now_, &actions_);
    Carry();
  }
  // kill -9 and another one; what was under way is gone.
  void Restart() {
    sent_.clear();
    Start(2);
  }
  void Advance(Duration by, Duration step = 250ms) {
    const TimePoint until = now_ + by;
    while (now_ < until) {
      now_ = std::min(now_ + step, until);
      for (auto& [n, node] : nodes_) {
        if (node.beats) Beat(n);
      }
      for (int rounds = 0; head_->NextDeadline() && *head_->NextDeadline() <= now_; ++rounds) {
        ASSERT_LT(rounds, 10) << "the head asks to be called again and again";
        head_->OnTick(now_, &actions_);
        Carry();
      }
    }
  }

  // ---- nodes
  struct Imagined {
    NodeInfo info;
    NodeReport report;
    bool beats = true;
  };
  Imagined& Node(uint64_t n) { return nodes_[n]; }
  void Register(uint64_t n, double cpus, uint64_t incarnation = 1, StringMap labels = {}) {
    Imagined& node = nodes_[n];
    node = {};
    node.info.id = N(n);
    node.info.incarnation = incarnation;
    node.info.name = "node" + std::to_string(n);
    node.info.total = ResourceSet::Of({{"CPU", cpus}});
    node.info.labels = std::move(labels);
    node.report.node = N(n);
    node.report.incarnation = incarnation;
    node.report.available = node.info.total;
    node.report.workers.push_back({Driver(n).worker, Role::kDriver, Job(n), 1, "driver"});
    for (uint64_t p = 2; p < 6; ++p) node.report.workers.push_back({P(n, p).worker, Role::kWorker, Job(n), 1, "leased"});
    Say(Raylet(n), RegisterNode{node.info, 0});
    const RegisterNodeReply reply = Take<RegisterNodeReply>(Raylet(n));
    EXPECT_EQ(reply.epoch, head_->epoch());
  }
  // A node that was given up is told so before it may join again.
  void ReturnFromDeath(uint64_t n) {
    nodes_[n].beats = true;
    Say(Raylet(n), RegisterNode{nodes_[n].info, 0});
    Take<RegisterNodeReply>(Raylet(n));
    if (!GetParam()) {
      for (const NodeInfo& node : members_[n].nodes) EXPECT_NE(node.id, N(n)) << "it must see that it was given up";
    }
    RegisterAgain(n);
  }
  // Registers the same process again, as after a broken link or a new head.
  void RegisterAgain(uint64_t n) {
    Say(Raylet(n), RegisterNode{nodes_[n].info, 0});
    Take<RegisterNodeReply>(Raylet(n));
  }
  void Report(uint64_t n) {
    ++nodes_[n].report.version;
    Say(Raylet(n), NodeReport(nodes_[n].report));
  }
  void SetFree(uint64_t n, double cpus) {
    nodes_[n].report.available = cpus > 0 ? ResourceSet::Of({{"CPU", cpus}}) : ResourceSet{};
    Report(n);
  }
  void Join(uint64_t n, double cpus, StringMap labels = {}) {
    Register(n, cpus, 1, std::move(labels));
    Report(n);
  }
  void JoinAgain(uint64_t n) {
    RegisterAgain(n);
    Report(n);
  }
  void Beat(uint64_t n) {
    const NodeInfo& info = nodes_[n].info;
    Say(Raylet(n), Heartbeat{info.id, info.incarnation, ToNanoseconds(now_)});
    beats_answered_[n] = Drop<HeartbeatAck>(Raylet(n));
  }
  // No more beats from there: the head finds it dead.
  void Kill(uint64_t n) {
    nodes_[n].beats = false;
    Advance(options_.dead_after + 1s);
    EXPECT_GT(Drop<NodeDied>(), 0u) << "nobody was told of the death";
  }
  void StartJob(uint64_t n) {
    Say(Raylet(n), shoal::StartJob{{Job(n), Driver(n), "ns", "main.py", "me", {}}});
    Drop<shoal::StartJob>();
  }

  // ---- talking
  void Say(const Address& from, Message message) {
    Message again = message;
    head_->OnMessage(now_, from, std::move(message), &actions_);
    Carry();
    if (!GetParam()) return;
    const size_t before = sent_.size();
    head_->OnMessage(now_, from, std::move(again), &actions_);
    Carry();
    for (size_t i = before; i < sent_.size(); ++i) {
      const Message& repeated = sent_[i].message;
      const bool starts_something = std::holds_alternative<StartActor>(repeated) || std::holds_alternative<GrantLeases>(repeated) ||
                                    std::holds_alternative<PrepareBundles>(repeated) ||
                                    std::holds_alternative<NodeDied>(repeated);
      EXPECT_FALSE(starts_something) << "a repeated message led to " << MessageName(repeated);
    }
    sent_.resize(before);
  }
  void Spill(const Address& owner, const Shape& shape, uint32_t wanted, uint64_t version = 1,
             std::vector<LocalityHint> hints = {}) {
    Say(Raylet(owner.node.value), SpillDemand{owner, {shape, wanted, version, std::move(hints)}});
  }
  void Reset(uint64_t n) {
    head_->OnPeerReset(now_, N(n), &actions_);
    Carry();
    Drop<shoal::StartJob>();
  }
  // The oldest message of that kind to that address; a failure if there is none.
  template <class M>
  M Take(const Address& to) {
    for (auto it = sent_.begin(); it != sent_.end(); ++it) {
      if (it->to != to || !std::holds_alternative<M>(it->message)) continue;
      M message = std::get<M>(std::move(it->message));
      sent_.erase(it);
      return message;
    }
    ADD_FAILURE() << "no " << MessageName(Message(M{})) << " to " << to.ToString() << "; there are: " << Pending();
    return M{};
  }
  // All of a kind, from any address: (to, message).
  template <class M>
  std::vector<std::pair<Address, M>> TakeAll() {
    std::vector<std::pair<Address, M>> taken;
    std::vector<Send> rest;
    for (Send& send : sent_) {
      if (std::holds_alternative<M>(send.message)) {
        taken.emplace_back(send.to, std::get<M>(std::move(send.message)));
      } else {
        rest.push_back(std::move(send));
      }
    }
    sent_ = std::move(rest);
    return taken;
  }
  // Of those to that address, or all; how many there were.
  template <class M>
  size_t Drop(std::optional<Address> to = {}) {
    const size_t before = sent_.size();
    sent_.erase(std::remove_if(sent_.begin(), sent_.end(),
                               [&](const Send& send) {
                                 return std::holds_alternative<M>(send.message) && (!to || send.to == *to);
                               }),
                sent_.end());
    return before - sent_.size();
  }
  void ExpectSilence() { EXPECT_TRUE(sent_.empty()) << "there are: " << Pending(); }
  std::string Pending() const {
    std::string text;
    for (const Send& send : sent_) text += std::string(MessageName(send.message)) + " to " + send.to.ToString() + ", ";
    return text;
  }
  std::string List(const std::string& kind, const std::string& argument = "") {
    Say(Driver(1), ListState{RequestId{7}, kind, argument, 1000});
    const ListStateReply reply = Take<ListStateReply>(Driver(1));
    EXPECT_FALSE(reply.error) << reply.error.message;
    return reply.json;
  }

  // ---- what raylets do
  // Node n answers the request with yes; its report then counts it.
  void Grant(uint64_t n, const GrantLeases& ask, uint32_t granted) {
    for (uint32_t i = 0; i < granted; ++i) nodes_[n].report.available -= ask.shape.resources;
    Say(Raylet(n), GrantLeasesReply{ask.request, granted,
                                    granted == ask.count ? ErrorInfo{} : ErrorInfo{ErrorKind::kUnschedulable, "full", {}}});
  }
  // Starts the actor that the head wants on node n in a process p.
  StartActor StartOn(uint64_t n, uint64_t p = 5) {
    StartActor start = Take<StartActor>(Raylet(n));
    nodes_[n].report.actors.push_back({start.spec.id, start.incarnation, P(n, p).worker, true});
    nodes_[n].report.available -= start.spec.shape.resources;
    Say(Raylet(n), ActorStarted{start.spec.id, start.incarnation, P(n, p), {}});
    return start;
  }
  void ForgetActor(uint64_t n, ActorId actor) {
    auto& actors = nodes_[n].report.actors;
    for (auto it = actors.begin(); it != actors.end();) it = it->actor == actor ? actors.erase(it) : it + 1;
  }
  void Exit(uint64_t n, const StartActor& start, bool intended) {
    ForgetActor(n, start.spec.id);
    nodes_[n].report.available += start.spec.shape.resources;
    Say(Raylet(n), ActorExited{start.spec.id, start.incarnation, intended, {ErrorKind::kWorkerCrashed, "signal 9", {}}});
  }
  ActorSpec Actor(uint64_t id, const Address& owner) {
    ActorSpec spec;
    spec.id = ActorId{id};
    spec.job = Job(owner.node.value);
    spec.owner = owner;
    spec.shape.job = spec.job;
    spec.placement = ResourceSet::Of({{"CPU", 1}});
    spec.creation.name = "Counter";
    return spec;
  }
  PlacementGroupSpec Group(uint64_t id, const Address& owner, PackStrategy strategy, std::vector<double> cpus) {
    PlacementGroupSpec spec;
    spec.id = PlacementGroupId{id};
    spec.job = Job(owner.node.value);
    spec.owner = owner;
    spec.strategy = strategy;
    for (double c : cpus) spec.bundles.push_back(ResourceSet::Of({{"CPU", c}}));
    return spec;
  }
  // Every node that is asked prepares; commits are taken. Then the group is created.
  void PrepareAll(uint64_t id) {
    for (auto& [to, ask] : TakeAll<PrepareBundles>()) {
      for (const Bundle& bundle : ask.bundles) {
        nodes_[to.node.value].report.available -= bundle.resources;
        nodes_[to.node.value].report.bundles.push_back({bundle.group, bundle.index, true});
      }
      Say(to, BundlesPrepared{ask.request, PlacementGroupId{id}, true});
    }
    EXPECT_GT(Drop<CommitBundles>(), 0u);
  }

  void Carry() {
    for (StoreWrite& write : actions_.writes) all_writes_.push_back(write);
    ASSERT_TRUE(store_.Apply(actions_.writes).ok());
    for (Send& send : actions_.sends) {
      if (auto* nodes = std::get_if<ClusterNodes>(&send.message)) {
        ++tellings_;
        EXPECT_TRUE(TakeOver(std::move(*nodes), &members_[send.to.node.value])) << "news that do not lead to what is";
      } else {
        sent_.push_back(std::move(send));
      }
    }
    for (ClusterEvent& event : actions_.events) events_.push_back(std::move(event));
    actions_.Clear();
  }

  HeadOptions options_{.cluster_id = 5};
  TimePoint now_ = FromNanoseconds(1'000'000'000);
  MemoryMetaStore store_;
  std::unique_ptr<Head> head_;
  HeadActions actions_;
  std::vector<Send> sent_;
  std::vector<StoreWrite> all_writes_;
  std::vector<ClusterEvent> events_;
  std::map<uint64_t, Imagined> nodes_;
  std::map<uint64_t, ClusterNodes> members_;  // what each raylet was told
  uint64_t tellings_ = 0;                     // of members
  std::map<uint64_t, size_t> beats_answered_;
};

}  // namespace shoal::scheduler
