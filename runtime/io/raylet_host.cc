#include "runtime/io/raylet_host.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/json.h"

namespace shoal::io {
namespace {

// A node that a message names may be news that is still on its way to us.
constexpr Duration kHoldFor = 2s;
constexpr size_t kMaxHeld = 10'000;
// Between the end of a worker's connection and that of its process, so that its death is told with its cause.
constexpr Duration kExitGrace = 50ms;
constexpr Duration kKillGrace = 1s;
constexpr Duration kLinger = 150ms;  // for the last word to the head; without it the head waits for our silence
constexpr size_t kMaxUnsentForLogs = size_t{1} << 20;

}  // namespace

RayletHost::RayletHost(RayletHostOptions options, DaemonLoop* loop)
    : options_(std::move(options)),
      loop_(loop),
      socket_path_(options_.runtime_dir + "/raylet.sock"),
      events_(options_.keep_events ? options_.runtime_dir + "/logs/events-raylet.jsonl" : "") {}

RayletHost::~RayletHost() = default;

absl::StatusOr<std::unique_ptr<RayletHost>> RayletHost::Start(RayletHostOptions options, DaemonLoop* loop) {
  std::unique_ptr<RayletHost> host(new RayletHost(std::move(options), loop));
  absl::StatusOr<std::unique_ptr<Arena>> arena = Arena::Create(host->options_.arena_bytes);
  if (!arena.ok()) return arena.status();
  host->arena_ = *std::move(arena);
  host->options_.info.incarnation = RandomSeed();
  if (host->options_.wire) {
    const absl::Status wired = host->StartWire();
    if (!wired.ok()) return wired;
  } else {
    host->head_reachable_ = true;
  }
  host->StartMachine();
  host->StartWorkers();
  const absl::Status listening = host->StartHub();
  if (!listening.ok()) return listening;
  host->machine_->Start(MonotonicNow(), &host->actions_);
  return host;
}

absl::Status RayletHost::StartWire() {
  const RayletWire& wire = *options_.wire;
  TransfersOwner owner;
  owner.lookup = [this](const ObjectId& id) { return machine_->PinForTransfer(id); };
  owner.release = [this](const ObjectId& id) { machine_->UnpinAfterTransfer(id); };
  absl::StatusOr<std::unique_ptr<Transfers>> transfers =
      Transfers::Start({.keys = wire.keys, .self = node(), .listen_host = wire.listen_host, .port = wire.bulk_port},
                       arena_.get(), loop_, std::move(owner));
  if (!transfers.ok()) return transfers.status();
  transfers_ = *std::move(transfers);

  NetworkHandlers handlers;
  handlers.deliver = [this](const Address& from, const Address& to, std::string message) {
    Route({.from = from, .to = to, .body = std::move(message)});
  };
  handlers.peer_reset = [this](NodeId peer) { machine_->OnPeerReset(MonotonicNow(), peer, &actions_); };
  handlers.peer_reachable = [this](NodeId peer, bool reachable) {
    if (!peer) head_reachable_ = reachable;
  };
  handlers.refused = [](NodeId peer, const std::string& why) {
    std::fprintf(stderr, "%s: %s\n", peer ? absl::StrCat("node ", peer.Hex()).c_str() : "the head", why.c_str());
  };
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Start({.keys = wire.keys,
                                                                     .cluster_id = options_.cluster_id,
                                                                     .role = Role::kRaylet,
                                                                     .self = node(),
                                                                     .incarnation = options_.info.incarnation,
                                                                     .listen_host = wire.listen_host,
                                                                     .port = wire.port},
                                                                    &loop_->events(), std::move(handlers));
  if (!network.ok()) return network.status();
  network_ = *std::move(network);
  network_->SetPeers({wire.head});

  const std::string host = wire.advertise_host.empty() ? wire.listen_host : wire.advertise_host;
  auto endpoint = [&host](uint16_t port) {
    if (port == 0) return std::string();
    return absl::StrCat(host.find(':') == std::string::npos ? host : absl::StrCat("[", host, "]"), ":", port);
  };
  options_.info.control_endpoint = endpoint(network_->port());
  options_.info.bulk_endpoint = endpoint(transfers_->port());
  options_.info.public_key = wire.keys.public_key;
  options_.info.tier = network_->port() == 0 ? ConnectivityTier::kDialsOut : ConnectivityTier::kDirect;
  return absl::OkStatus();
}

void RayletHost::StartMachine() {
  raylet::RayletOptions options;
  options.info = options_.info;
  options.cluster_id = options_.cluster_id;
  options.arena_bytes = arena_->size();
  machine_ = std::make_unique<raylet::Raylet>(std::move(options), Rng(RandomSeed()));
}

void RayletHost::StartWorkers() {
  WorkerProcessesHandlers handlers;
  handlers.exited = [this](WorkerId worker, const std::string& how) { OnExited(worker, how); };
  handlers.failed = [this](WorkerId worker, const ErrorInfo& error) {
    machine_->OnWorkerStartFailed(MonotonicNow(), worker, error, &actions_);
  };
  handlers.lines = [this](WorkerId worker, bool is_stderr, std::vector<std::string> lines) {
    OnLines(worker, is_stderr, std::move(lines));
  };
  workers_ = std::make_unique<WorkerProcesses>(
      WorkerProcessesOptions{.runtime_dir = options_.runtime_dir, .raylet_socket = socket_path_, .python = options_.python},
      loop_, std::move(handlers));
}

absl::Status RayletHost::StartHub() {
  LocalHubHandlers handlers;
  handlers.admit = [this](const RegisterWorker& hello, uint32_t pid) { return Admit(hello, pid); };
  handlers.receive = [this](WorkerId from, const Address& to, std::string bytes) {
    Route({.from = {node(), from}, .to = to, .body = std::move(bytes)});
  };
  handlers.gone = [this](WorkerId worker, const std::string& why) { OnGone(worker, why); };
  handlers.unreachable = [this](WorkerId asker, WorkerId peer) {
    machine_->OnUndeliverable(MonotonicNow(), {node(), asker}, {node(), peer}, &actions_);
  };
  absl::StatusOr<std::unique_ptr<LocalHub>> hub = LocalHub::Listen(socket_path_, node(), loop_, std::move(handlers));
  if (!hub.ok()) return hub.status();
  hub_ = *std::move(hub);
  return absl::OkStatus();
}

// ---- carrying out

bool RayletHost::Carry() {
  if (actions_.empty()) return false;
  // What is carried out may call the machine, which then wishes anew.
  std::swap(actions_, carrying_);
  if (carrying_.peers) SetPeers(*carrying_.peers);
  for (Send& send : carrying_.sends) {
    Route({.from = Address::Raylet(node()), .to = send.to, .body = std::move(send.message)});
  }
  for (const raylet::StartWorkerProcess& start : carrying_.start_workers) workers_->Start(start.worker, start.job, start.kind);
  for (const raylet::KillWorkerProcess& kill : carrying_.kill_workers) KillWorker(kill);
  for (const raylet::StartTransfer& transfer : carrying_.transfers) StartTransfer(transfer);
  events_.Add(carrying_.events);
  carrying_.Clear();
  return true;
}

void RayletHost::Route(Parcel parcel) {
  if (!parcel.to.node) return ToHead(std::move(parcel));
  if (parcel.to.node != node()) return ToPeer(std::move(parcel));
  if (parcel.to.is_raylet()) return ToMachine(std::move(parcel));
  ToWorker(std::move(parcel));
}

void RayletHost::ToMachine(Parcel parcel) {
  const Address from = parcel.from;
  absl::StatusOr<Message> message = std::move(parcel).TakeMessage();
  if (!message.ok()) return;  // a worker's own fault; what it wanted does not happen
  if (const auto* list = std::get_if<ListState>(&*message); list != nullptr && list->kind == "host") {
    return Route({.from = Address::Raylet(node()), .to = from, .body = ListStateReply{list->request, {}, DescribeHost()}});
  }
  machine_->OnMessage(MonotonicNow(), from, *std::move(message), &actions_);
}

void RayletHost::ToWorker(Parcel parcel) {
  const Address from = parcel.from, to = parcel.to;
  const auto* message = std::get_if<Message>(&parcel.body);
  const auto* reply = message == nullptr ? nullptr : std::get_if<RegisterWorkerReply>(message);
  const bool welcome = reply != nullptr && !reply->error;
  if (!hub_->Send(to.worker, from, std::move(parcel).TakeBytes())) {
    return machine_->OnUndeliverable(MonotonicNow(), from, to, &actions_);
  }
  if (welcome) hub_->SendArena(to.worker, arena_->fd());
}

void RayletHost::ToHead(Parcel parcel) {
  if (leaving_) return;  // it has had our last word
  if (!network_) return options_.to_head(std::move(parcel));
  const Address from = parcel.from, to = parcel.to;
  const absl::Status sent = network_->Send(NodeId{}, from, to, std::move(parcel).TakeBytes());
  // Better to begin anew, which everybody hears of, than to lose one message unheard.
  if (absl::IsResourceExhausted(sent)) network_->Reset(NodeId{});
}

void RayletHost::Leave(std::function<void()> left) {
  if (leaving_) return;
  ToHead({.from = Address::Raylet(node()), .to = Address::Head(), .body = NodeDied{node(), "it was stopped"}});
  leaving_ = true;
  workers_->KillAll();
  loop_->timers().After(head_reachable_ ? kLinger : Duration{}, std::move(left));
}

void RayletHost::ToPeer(Parcel parcel) {
  if (!network_) return machine_->OnUndeliverable(MonotonicNow(), parcel.from, parcel.to, &actions_);
  const NodeId peer = parcel.to.node;
  const Address from = parcel.from, to = parcel.to;
  std::string bytes = std::move(parcel).TakeBytes();
  const absl::Status sent = network_->Send(peer, from, to, bytes);
  if (absl::IsResourceExhausted(sent)) {
    network_->Reset(peer);
  } else if (!sent.ok()) {
    Hold({.from = from, .to = to, .body = std::move(bytes)});
  }
}

void RayletHost::Hold(Parcel parcel) {
  if (held_.size() >= kMaxHeld) {
    return machine_->OnUndeliverable(MonotonicNow(), parcel.from, parcel.to, &actions_);
  }
  if (held_.empty()) loop_->timers().After(kHoldFor, [this] { RetryHeld(); });
  held_.push_back({MonotonicNow() + kHoldFor, std::move(parcel)});
}

// The nodes may be known now; whoever writes to one that still is not is told that it is dead.
void RayletHost::RetryHeld() {
  const TimePoint now = MonotonicNow();
  std::deque<Held> held = std::exchange(held_, {});
  for (Held& one : held) {
    const Address from = one.parcel.from, to = one.parcel.to;
    const absl::Status sent = network_->Send(to.node, from, to, std::get<std::string>(one.parcel.body));
    if (sent.ok()) continue;
    if (one.until <= now) {
      machine_->OnUndeliverable(now, from, to, &actions_);
    } else {
      held_.push_back(std::move(one));
    }
  }
  if (!held_.empty()) loop_->timers().At(held_.front().until, [this] { RetryHeld(); });
}

void RayletHost::SetPeers(const ClusterNodes& cluster) {
  if (options_.registered) std::exchange(options_.registered, nullptr)();
  if (!network_) return;
  std::vector<Peer> peers = {options_.wire->head};
  for (const NodeInfo& other : cluster.nodes) {
    if (other.id == node()) continue;
    peers.push_back({.node = other.id, .endpoint = other.control_endpoint, .public_key = other.public_key});
  }
  network_->SetPeers(std::move(peers));
  transfers_->SetPeers(cluster.nodes);
  if (!held_.empty()) RetryHeld();
}

void RayletHost::StartTransfer(const raylet::StartTransfer& transfer) {
  if (!transfers_) return machine_->OnTransferDone(MonotonicNow(), transfer.object, false, &actions_);
  transfers_->Fetch(transfer, [this, object = transfer.object](bool ok) {
    machine_->OnTransferDone(MonotonicNow(), object, ok, &actions_);
  });
}

// ---- core workers

absl::Status RayletHost::Admit(const RegisterWorker& hello, uint32_t) {
  const Address from{node(), hello.worker};
  if (hello.role == Role::kAdmin) {
    admins_.insert(hello.worker);
    RegisterWorkerReply reply;
    reply.node = node();
    reply.cluster_id = options_.cluster_id;
    hub_->Send(hello.worker, Address::Raylet(node()), EncodeMessage(reply));
    return absl::OkStatus();
  }
  if (hello.role != Role::kDriver && hello.role != Role::kWorker) {
    return absl::PermissionDeniedError("only drivers, workers and the command line connect here");
  }
  // The first Python worker will be wanted soon.
  if (hello.role == Role::kDriver && hello.worker_kind.command.empty()) workers_->WarmPython();
  machine_->OnMessage(MonotonicNow(), from, RegisterWorker(hello), &actions_);
  return absl::OkStatus();
}

void RayletHost::OnGone(WorkerId worker, const std::string& why) {
  if (admins_.erase(worker) > 0) return;
  if (!workers_->Has(worker)) return machine_->OnWorkerExited(MonotonicNow(), worker, why, &actions_);
  loop_->timers().After(kExitGrace, [this, worker, why] {
    if (workers_->Has(worker)) machine_->OnWorkerExited(MonotonicNow(), worker, why, &actions_);
  });
  loop_->timers().After(kKillGrace, [this, worker] { workers_->Kill(worker); });
}

void RayletHost::OnExited(WorkerId worker, const std::string& how) {
  hub_->Drain(worker);
  hub_->Close(worker);
  machine_->OnWorkerExited(MonotonicNow(), worker, how, &actions_);
}

void RayletHost::KillWorker(const raylet::KillWorkerProcess& kill) {
  if (workers_->Has(kill.worker)) return workers_->Kill(kill.worker);
  // A driver is not ours to kill; without its connection it ends by itself.
  hub_->Close(kill.worker);
  machine_->OnWorkerExited(MonotonicNow(), kill.worker, kill.reason, &actions_);
}

void RayletHost::OnLines(WorkerId worker, bool is_stderr, std::vector<std::string> lines) {
  const JobId job = machine_->JobOf(worker);
  const Address driver = machine_->DriverOf(job);
  if (!driver.worker) return;  // the file has them
  if (driver.node == node() && hub_->UnsentBytes(driver.worker) > kMaxUnsentForLogs) {
    dropped_lines_[driver] += lines.size();
    return;
  }
  if (const auto dropped = dropped_lines_.find(driver); dropped != dropped_lines_.end()) {
    lines.push_back(absl::StrCat("... ", dropped->second, " lines of this job's workers were not shown: the driver did not read"));
    dropped_lines_.erase(dropped);
  }
  LogLines message;
  message.job = job;
  message.prefix = machine_->LogPrefixOf(worker);
  message.is_stderr = is_stderr;
  message.lines = std::move(lines);
  Route({.from = Address::Raylet(node()), .to = driver, .body = std::move(message)});
}

// One row of what the machine does not know.
std::string RayletHost::DescribeHost() const {
  Json row = Json::Object();
  row.Set("node_id", node().Hex()).Set("name", options_.info.name).Set("pid", static_cast<int>(getpid()));
  row.Set("cluster_id", absl::StrCat(absl::Hex(options_.cluster_id, absl::kZeroPad16)));
  row.Set("head_reachable", head_reachable_).Set("control_endpoint", options_.info.control_endpoint);
  row.Set("bulk_endpoint", options_.info.bulk_endpoint).Set("connections", static_cast<uint64_t>(hub_->connections()));
  row.Set("worker_processes", static_cast<uint64_t>(workers_->size())).Set("arena_bytes", arena_->size());
  return Json::Array().Append(std::move(row)).ToString();
}

}  // namespace shoal::io
