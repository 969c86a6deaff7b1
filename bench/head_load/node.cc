#include "bench/head_load/node.h"

#include <algorithm>
#include <variant>

#include "base/rng.h"
#include "runtime/io/clock.h"
#include "schema/codec.h"

namespace shoal::head_load {
namespace {

constexpr Duration kBeatEvery = 1s;
constexpr Duration kReportEvery = 2s;
constexpr Duration kReportDelay = 20ms;

}  // namespace

Node::Node(NodeOptions options, io::DaemonLoop* loop, Owners* owners) : options_(std::move(options)), loop_(loop), owners_(owners) {}

Node::~Node() = default;

void Node::Dial() {
  options_.info.incarnation = io::RandomSeed() | 1;
  present_ = std::make_shared<bool>(true);
  report_ = {.node = id(), .incarnation = options_.info.incarnation, .available = options_.info.total};
  const auto cpus = static_cast<size_t>(options_.info.total.GetUnits(kCpu));
  leases_.assign(cpus, {});
  idle_.clear();
  Rng rng(io::RandomSeed());
  for (size_t i = 0; i < cpus; ++i) {
    report_.workers.push_back({rng.NewId<WorkerId>(), Role::kWorker, {}, 1, "idle"});
    idle_.push_back(i);
  }
  for (const JobInfo& job : jobs_) report_.workers.push_back({job.driver.worker, Role::kDriver, job.id, 1, "driver"});
  io::NetworkHandlers handlers;
  handlers.deliver = [this](const Address&, const Address& to, std::string bytes) { Receive(to, bytes); };
  // A new link: register, as the raylet does.
  handlers.peer_reset = [this](NodeId) { Say(RegisterNode{options_.info}); };
  network_ = *io::Network::Start({.keys = options_.keys,
                                  .cluster_id = options_.cluster_id,
                                  .self = id(),
                                  .incarnation = options_.info.incarnation,
                                  .context = options_.context},
                                 &loop_->events(), std::move(handlers));
  network_->SetPeers({options_.head});
  Say(RegisterNode{options_.info});
}

void Node::Leave(bool politely) {
  if (politely) Say(NodeDied{id(), "it was stopped"});
  present_.reset();
  in_cluster_ = report_due_ = end_due_ = false;
  for (const LeaseReport& lease : leases_) {
    if (lease.lease) owners_->Ended(lease.owner, lease.shape);
  }
  leases_.clear();
  ends_.clear();
  actors_.clear();
  bundles_.clear();
  // What was said last is flushed by the loop before it ends the link.
  loop_->timers().After(politely ? Duration(50ms) : Duration(0), [network = std::shared_ptr<io::Network>(std::move(network_))] {});
}

Address Node::AddDriver(JobId job, WorkerId worker) {
  const Address driver{id(), worker};
  jobs_.push_back({.id = job, .driver = driver, .ns = "load", .entrypoint = "head_load"});
  report_.workers.push_back({driver.worker, Role::kDriver, job, 1, "driver"});
  Say(StartJob{jobs_.back()});
  Changed();
  return driver;
}

void Node::Say(const Message& message, WorkerId from) {
  if (network_ == nullptr) return;
  const absl::Status sent = network_->Send(NodeId{}, {id(), from}, Address::Head(), EncodeMessage(message));
  if (absl::IsResourceExhausted(sent)) network_->Reset(NodeId{});
}

void Node::After(Duration delay, std::function<void()> work) {
  loop_->timers().After(delay, [work = std::move(work), present = std::weak_ptr<bool>(present_)] {
    if (!present.expired()) work();
  });
}

// ---- what the head says

void Node::Receive(const Address& to, const std::string& bytes) {
  absl::StatusOr<Message> message = DecodeMessage(bytes);
  if (!message.ok()) return;
  if (to.worker) return owners_->Receive(to, *std::move(message));
  std::visit([this](auto&& m) { On(std::move(m)); }, *std::move(message));
}

void Node::On(RegisterNodeReply&&) {
  if (std::exchange(in_cluster_, true)) return Report();
  for (const JobInfo& job : jobs_) Say(StartJob{job});
  Report();
  Beat();
}

void Node::On(GrantLeases&& message) {
  GrantLeasesReply reply{message.request, 0, {}};
  const ShapeId shape = message.shape.id();
  const TimePoint until = io::MonotonicNow() + options_.hold;
  for (; reply.granted < message.count; ++reply.granted) {
    const size_t worker = Start(message.shape.resources, "leased");
    if (worker == kNoWorker) break;
    leases_[worker] = {LeaseId{++last_lease_}, shape, message.owner, report_.workers[worker].worker, message.shape.resources};
    ends_.emplace_back(until, worker);
  }
  if (reply.granted < message.count) reply.refused = {ErrorKind::kUnschedulable, "no room is left on this node", {}};
  Say(reply);
  if (reply.granted == 0) return;
  owners_->Granted(message.owner, shape, reply.granted);
  if (!std::exchange(end_due_, true)) After(options_.hold, [this] { EndLeases(); });
}

void Node::EndLeases() {
  end_due_ = false;
  const TimePoint now = io::MonotonicNow();
  while (!ends_.empty() && ends_.front().first <= now) {
    const size_t worker = ends_.front().second;
    ends_.pop_front();
    const LeaseReport lease = std::exchange(leases_[worker], {});
    Idle(worker, lease.resources);
    owners_->Ended(lease.owner, lease.shape);
  }
  if (ends_.empty()) return;
  end_due_ = true;
  After(ends_.front().first - now, [this] { EndLeases(); });
}

void Node::On(StartActor&& message) {
  ActorStarted reply{message.spec.id, message.incarnation, {}, {}};
  const size_t worker = Start(message.spec.shape.resources, "actor");
  if (worker == kNoWorker) {
    reply.error = {ErrorKind::kUnschedulable, "no room is left on this node", {}};
  } else {
    reply.address = {id(), report_.workers[worker].worker};
    actors_[message.spec.id] = {worker, message.incarnation, message.spec.shape.resources};
  }
  Say(reply);
}

void Node::On(StopActor&& message) {
  const auto it = actors_.find(message.actor);
  if (it == actors_.end()) return;
  Idle(it->second.worker, it->second.resources);
  Say(ActorExited{message.actor, it->second.incarnation, true, {ErrorKind::kActorDied, "it was stopped", {}}});
  actors_.erase(it);
}

void Node::On(PrepareBundles&& message) {
  BundlesPrepared reply{message.request, {}, true};
  ResourceSet all;
  for (const Bundle& bundle : message.bundles) all += bundle.resources;
  if (!message.bundles.empty()) reply.group = message.bundles.front().group;
  reply.ok = Take(all);
  if (reply.ok) {
    for (const Bundle& bundle : message.bundles) bundles_[bundle.group].push_back({bundle, false});
  }
  Say(reply);
}

void Node::On(CommitBundles&& message) {
  for (auto& [bundle, committed] : bundles_[message.group]) {
    committed = committed || std::count(message.indices.begin(), message.indices.end(), bundle.index) > 0;
  }
  Changed();
}

void Node::On(ReturnBundles&& message) {
  auto& held = bundles_[message.group];
  for (auto it = held.begin(); it != held.end();) {
    const bool named = message.indices.empty() || std::count(message.indices.begin(), message.indices.end(), it->first.index) > 0;
    if (named) report_.available += it->first.resources;
    it = named ? held.erase(it) : it + 1;
  }
  if (held.empty()) bundles_.erase(message.group);
  Changed();
}

// ---- its resources

bool Node::Take(const ResourceSet& resources) {
  if (!report_.available.Contains(resources)) return false;
  report_.available -= resources;
  Changed();
  return true;
}

size_t Node::Start(const ResourceSet& resources, const char* state) {
  if (idle_.empty() || !Take(resources)) return kNoWorker;
  const size_t worker = idle_.back();
  idle_.pop_back();
  report_.workers[worker].state = state;
  return worker;
}

void Node::Idle(size_t worker, const ResourceSet& resources) {
  report_.available += resources;
  report_.workers[worker].state = "idle";
  idle_.push_back(worker);
  Changed();
}

// ---- levels

void Node::Changed() {
  if (!in_cluster_ || std::exchange(report_due_, true)) return;
  After(kReportDelay, [this] {
    if (report_due_) Report();
  });
}

void Node::Report() {
  report_due_ = false;
  ++report_.version;
  report_.leases.clear();
  report_.actors.clear();
  report_.bundles.clear();
  for (const LeaseReport& lease : leases_) {
    if (lease.lease) report_.leases.push_back(lease);
  }
  for (const auto& [actor, at] : actors_) report_.actors.push_back({actor, at.incarnation, report_.workers[at.worker].worker, true});
  for (const auto& [group, held] : bundles_) {
    for (const auto& [bundle, committed] : held) report_.bundles.push_back({group, bundle.index, committed});
  }
  Say(report_);
  reported_ = io::MonotonicNow();
}

void Node::Beat() {
  const TimePoint now = io::MonotonicNow();
  Say(Heartbeat{id(), options_.info.incarnation, ToNanoseconds(now)});
  if (now - reported_ >= kReportEvery) Report();
  After(kBeatEvery, [this] { Beat(); });
}

}  // namespace shoal::head_load
