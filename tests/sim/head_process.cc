#include "tests/sim/head_process.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"

namespace shoal::sim {

void HeadProcess::Boot() {
  absl::StatusOr<std::vector<scheduler::StoreRow>> rows = disk_.store.Load();
  SHOAL_CHECK(rows.ok()) << rows.status();
  scheduler::HeadOptions options;
  options.cluster_id = kClusterId;
  head_ = std::make_unique<scheduler::Head>(options, *std::move(rows), cluster.rng().Fork());
  absl::btree_set<uint32_t> machines;
  for (uint32_t m = 1; m < cluster.machine_count(); ++m) machines.insert(m);
  SetPeers(machines);
  head_->Start(Now(), &actions_);
  for (uint32_t m : machines) {
    const NodeId node = head_->Admit(Now(), PublicKeyOf(cluster.options(), m), &actions_);
    SHOAL_CHECK(node == cluster.NodeOf(m)) << "a node is named by its key";
  }
  Carry();
  FlushLinks();
}

void HeadProcess::Dispose() {
  head_.reset();
  actions_.Clear();
  Daemon::Dispose();
}

void HeadProcess::Deliver(const Address& from, const Address& to, Message&& message) {
  if (!to.is_head()) return;
  head_->OnMessage(Now(), from, std::move(message), &actions_);
  Carry();
}

void HeadProcess::PeerRestarted(uint32_t peer_machine) {
  head_->OnPeerReset(Now(), cluster.NodeOf(peer_machine), &actions_);
  Carry();
}

void HeadProcess::TickMachine() {
  head_->OnTick(Now(), &actions_);
  Carry();
}

void HeadProcess::Carry() {
  if (actions_.empty()) return;
  scheduler::HeadActions actions = std::exchange(actions_, {});
  const absl::Status written = disk_.store.Apply(actions.writes);
  SHOAL_CHECK(written.ok()) << written;
  for (const ClusterEvent& event : actions.events) {
    if (cluster.trace().verbose()) {
      cluster.trace().Line(cluster.now_ns(), absl::StrCat("head: ", event.subject, " ", event.from, " -> ", event.to, " ",
                                                          event.reason));
    }
  }
  for (Send& send : actions.sends) {
    if (const auto* died = std::get_if<NodeDied>(&send.message)) cluster.observer().OnDeclaredDead(died->node);
    ToMachine(cluster.MachineOfNode(send.to.node), Address::Head(), send.to, std::move(send.message));
  }
}

}  // namespace shoal::sim
