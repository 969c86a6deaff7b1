// The head with its surroundings: the machine (scheduler) wired to its store, the network and a socket for the command line.
//
//   auto host = HeadHost::Start({.runtime_dir = dir, .store = std::move(store), .wire = HeadWire{...}}, &loop);
//   loop.Add(host->get());
//
// Writes are applied before anything else of the same turn is carried out. If the store fails, nothing is known of what it holds, so the
// process ends with one sentence; its nanny starts it again from what is on the disk.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "runtime/io/daemon_loop.h"
#include "runtime/io/event_log.h"
#include "runtime/io/head_times.h"
#include "runtime/io/local_hub.h"
#include "runtime/io/network.h"
#include "runtime/io/parcel.h"
#include "scheduler/head.h"

namespace shoal::io {

struct HeadWire {
  KeyPair keys;
  std::string listen_host;
  uint16_t port = 0;
};

struct HeadHostOptions {
  std::string runtime_dir;
  std::unique_ptr<scheduler::MetaStore> store;
  scheduler::HeadOptions machine;
  std::optional<HeadWire> wire;  // nullopt: the only raylet is in this process
  bool keep_events = true;
};

class HeadHost : public LoopPart {
 public:
  static absl::StatusOr<std::unique_ptr<HeadHost>> Start(HeadHostOptions options, DaemonLoop* loop);
  ~HeadHost() override;

  bool Carry() override;
  std::optional<TimePoint> NextDeadline() const override { return machine_->NextDeadline(); }
  void OnTick(TimePoint now) override;

  // Lets a node in without a token, durably: the head's own raylet.
  NodeId Admit(const std::string& node_public_key);
  // The raylet in this process.
  void AttachRaylet(NodeId node, std::function<void(Parcel)> to_raylet);
  void Receive(Parcel parcel) { Route(std::move(parcel)); }

  uint64_t cluster_id() const { return machine_->cluster_id(); }
  uint16_t port() const { return network_ == nullptr ? 0 : network_->port(); }

 private:
  HeadHost(HeadHostOptions options, DaemonLoop* loop);
  absl::Status StartWire();
  absl::Status StartHub();
  void Route(Parcel parcel);
  void ToMachine(Parcel parcel);
  // Hands a message to the machine, and notes how long it took.
  void Decide(const Address& from, Message&& message);
  void ToAdmin(Parcel parcel);
  // Of the tables that the head has beside its machine, or nullopt.
  std::optional<std::string> OwnTable(const ListState& list);
  absl::Status ApplyWrites();
  void UpdateKeys();
  std::string CreateToken(const std::string& ttl_s);
  std::string AddReachability(const std::string& nodes) const;

  HeadHostOptions options_;
  DaemonLoop* const loop_;
  std::unique_ptr<scheduler::Head> machine_;
  scheduler::HeadActions actions_, carrying_;
  EventLog events_;
  HeadTimes times_;
  NodeId local_node_;
  std::function<void(Parcel)> to_raylet_;
  std::map<NodeId, bool> reachable_;
  bool tokens_wait_ = false;       // some token is not expired yet, so the lists must be looked at again
  std::unique_ptr<LocalHub> hub_;
  std::unique_ptr<Network> network_;
};

}  // namespace shoal::io
