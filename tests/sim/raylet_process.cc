#include "tests/sim/raylet_process.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"

namespace shoal::sim {
namespace {

constexpr int64_t kHoldForNs = 2'000'000'000;
constexpr int64_t kWatchFetchNs = 700'000'000;
constexpr uint64_t kHalfWritten = 0x6861'6c66;  // what a block holds while bytes arrive

}  // namespace

NodeInfo RayletProcess::Info() const {
  NodeInfo info;
  info.id = address.node;
  info.incarnation = incarnation_;
  info.name = absl::StrCat("machine", machine);
  info.control_endpoint = info.bulk_endpoint = absl::StrCat("machine", machine, ":1");
  info.public_key = PublicKeyOf(cluster.options(), machine);
  info.total.Set(kCpu, cluster.CpuStepsOf(machine));
  return info;
}

void RayletProcess::Boot() {
  raylet::RayletOptions options;
  options.info = Info();
  options.cluster_id = kClusterId;
  options.arena_bytes = cluster.options().store_bytes;
  raylet_ = std::make_unique<raylet::Raylet>(options, cluster.rng().Fork());
  SetPeers({0});
  raylet_->Start(Now(), &actions_);
  Carry();
  FlushLinks();
}

void RayletProcess::Dispose() {
  raylet_.reset();
  actions_.Clear();
  fetches_.clear();
  held_.clear();
  Daemon::Dispose();
}

// ---- routing

void RayletProcess::Route(const Address& from, const Address& to, Message&& message) {
  if (to == address) return raylet_->OnMessage(Now(), from, std::move(message), &actions_);
  if (to.node != address.node) return ToPeer(from, to, std::move(message), cluster.now_ns() + kHoldForNs);
  const uint32_t core = cluster.FindCore(machine, to.worker);
  if (core == 0) return raylet_->OnUndeliverable(Now(), from, to, &actions_);
  cluster.SendLocal(index, core, from, to, std::move(message));
}

// A node may be named by one that knows it already; whoever writes to one that stays unknown is told that it is dead.
void RayletProcess::ToPeer(const Address& from, const Address& to, Message&& message, int64_t held_until_ns) {
  const uint32_t to_machine = to.is_head() ? 0 : cluster.MachineOfNode(to.node);
  const bool known = to.is_head() || to_machine != 0;
  if (known && ToMachine(to_machine, from, to, std::move(message))) return;
  if (cluster.now_ns() >= held_until_ns) return raylet_->OnUndeliverable(Now(), from, to, &actions_);
  if (held_.empty()) {
    cluster.After(index, kHoldForNs, [this] {
      RetryHeld();
      Carry();
      FlushLinks();
    });
  }
  held_.push_back({held_until_ns, from, to, std::move(message)});
}

void RayletProcess::RetryHeld() {
  for (Held& one : std::exchange(held_, {})) ToPeer(one.from, one.to, std::move(one.message), one.until_ns);
}

void RayletProcess::OnLocalMessage(uint32_t, const Address& from, const Address& to, Message&& message) {
  Route(from, to, std::move(message));
  Carry();
  FlushLinks();
}

void RayletProcess::Deliver(const Address& from, const Address& to, Message&& message) {
  if (to.node != address.node) return;
  Route(from, to, std::move(message));
  Carry();
}

void RayletProcess::PeerRestarted(uint32_t peer_machine) {
  raylet_->OnPeerReset(Now(), cluster.NodeOf(peer_machine), &actions_);
  Carry();
}

void RayletProcess::OnChildExited(uint32_t child) {
  raylet_->OnWorkerExited(Now(), cluster.AddressOf(child).worker, "signal 9 (Killed)", &actions_);
  Carry();
  FlushLinks();
}

void RayletProcess::TickMachine() {
  raylet_->OnTick(Now(), &actions_);
  Carry();
}

void RayletProcess::Carry() {
  if (std::exchange(carrying_, true)) return;  // the loop below comes to it
  while (alive && !actions_.empty()) {
    raylet::RayletActions actions = std::exchange(actions_, {});
    if (actions.peers) {
      absl::btree_set<uint32_t> machines{0};
      for (const NodeInfo& node : actions.peers->nodes) {
        const uint32_t peer = cluster.MachineOfNode(node.id);
        if (peer != 0 && peer != machine) machines.insert(peer);
      }
      SetPeers(machines);
      RetryHeld();
    }
    for (const ClusterEvent& event : actions.events) {
      if (cluster.trace().verbose()) {
        cluster.trace().Line(cluster.now_ns(), absl::StrCat(cluster.NameOf(index), ": ", event.subject, " ", event.from,
                                                            " -> ", event.to, " ", event.reason));
      }
    }
    for (Send& send : actions.sends) {
      if (const auto* died = std::get_if<NodeDied>(&send.message)) cluster.observer().OnDeclaredDead(died->node);
      Route(address, send.to, std::move(send.message));
    }
    CarryProcesses(&actions);
    for (const raylet::StartTransfer& wish : actions.transfers) StartFetch(wish);
  }
  carrying_ = false;
}

void RayletProcess::CarryProcesses(raylet::RayletActions* actions) {
  for (const raylet::StartWorkerProcess& start : actions->start_workers) cluster.StartWorker(machine, start.worker);
  for (const raylet::KillWorkerProcess& kill : actions->kill_workers) {
    const uint32_t victim = cluster.FindCore(machine, kill.worker);
    if (victim != 0) cluster.KillProcess(victim, kill.reason);
  }
}

// ---- the bulk channel

void RayletProcess::StartFetch(const raylet::StartTransfer& wish) {
  const uint64_t fetch = next_fetch_++;
  const uint32_t from = cluster.MachineOfNode(wish.from);
  const uint32_t source = from == 0 ? 0 : cluster.machine(from).daemon;
  fetches_[fetch] = {wish, source};
  cluster.ArenaOf(index).Write(wish.offset, wish.size, kHalfWritten);
  const bool reachable = source != 0 && !cluster.network().IsCut(machine, from) && !cluster.network().IsCut(from, machine);
  if (!reachable) {
    return cluster.After(index, 1'000'000, [this, fetch] {
      EndFetch(fetch, std::nullopt);
      FlushLinks();
    });
  }
  const int64_t asks_at = cluster.network().Transfer(cluster.now_ns(), machine, from, 64);
  cluster.After(source, asks_at - cluster.now_ns(), [this, source, fetch, wish] {
    static_cast<RayletProcess&>(cluster.process(source)).ServeFetch(index, fetch, wish.object, wish.size);
  });
  WatchFetch(fetch);
}

// Runs in the source: pins the object until the bytes have gone.
void RayletProcess::ServeFetch(uint32_t reader, uint64_t fetch, const ObjectId& object, uint64_t size) {
  auto end = [this, reader, fetch](std::optional<uint64_t> number) {
    auto& process = static_cast<RayletProcess&>(cluster.process(reader));
    process.EndFetch(fetch, number);
    process.FlushLinks();
  };
  const uint32_t to = cluster.MachineOf(reader);
  std::optional<raylet::ObjectBlock> block = raylet_->PinForTransfer(object);
  if (block && block->size != size) {
    raylet_->UnpinAfterTransfer(object);
    block.reset();
  }
  const int64_t arrives = cluster.network().Transfer(cluster.now_ns(), machine, to, block ? size : 64) - cluster.now_ns();
  if (!block) return cluster.After(reader, arrives, [end] { end(std::nullopt); });
  const uint64_t number = cluster.ArenaOf(index).Read(block->offset, block->size, object);
  cluster.After(index, arrives, [this, object, block = *block, number] {
    const uint64_t again = cluster.ArenaOf(index).Read(block.offset, block.size, object);
    cluster.observer().Require(again == number, "pinned_bytes_stay", object.Hex());
    raylet_->UnpinAfterTransfer(object);
  });
  cluster.After(reader, arrives, [end, number] { end(number); });
}

void RayletProcess::WatchFetch(uint64_t fetch) {
  cluster.After(index, kWatchFetchNs, [this, fetch] {
    auto it = fetches_.find(fetch);
    if (it == fetches_.end()) return;
    const Process& source = cluster.process(it->second.source);
    const bool broken = !source.alive || cluster.network().IsCut(machine, source.machine) ||
                        cluster.network().IsCut(source.machine, machine);
    if (!broken) return WatchFetch(fetch);
    EndFetch(fetch, std::nullopt);
    FlushLinks();
  });
}

void RayletProcess::EndFetch(uint64_t fetch, std::optional<uint64_t> number) {
  auto it = fetches_.find(fetch);
  if (it == fetches_.end()) return;
  const raylet::StartTransfer wish = it->second.wish;
  fetches_.erase(it);
  if (number) cluster.ArenaOf(index).Write(wish.offset, wish.size, *number);
  raylet_->OnTransferDone(Now(), wish.object, number.has_value(), &actions_);
  Carry();
}

}  // namespace shoal::sim
