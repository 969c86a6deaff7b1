// A machine whose workers take no time: what its raylet would say to the head, over a link of its own with a key of its own.
//
//   Node node({.info = info, .keys = keys, .cluster_id = id, .head = head, .context = context}, &loop, &owners);
//   node.Dial();                                  // registers, beats, reports, grants, starts actors, prepares bundles
//
// Levels are repeated as the raylet does: a beat each second, a report 20 ms after a change and every two seconds.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/network.h"
#include "schema/messages.h"

namespace shoal::head_load {

// Who asked for what nodes grant, and the processes that speak through a node.
class Owners {
 public:
  virtual ~Owners() = default;
  virtual void Granted(const Address& owner, ShapeId shape, uint32_t count) = 0;
  // A lease is over: its time has come, or its node went away.
  virtual void Ended(const Address& owner, ShapeId shape) = 0;
  virtual void Receive(const Address& process, Message&& message) = 0;
};

struct NodeOptions {
  NodeInfo info;
  io::KeyPair keys;
  uint64_t cluster_id = 0;
  io::Peer head;
  std::shared_ptr<const io::ZmqContext> context;
  Duration hold{};  // how long a lease is kept
};

class Node {
 public:
  Node(NodeOptions options, io::DaemonLoop* loop, Owners* owners);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void Dial();
  // The machine goes away: politely, or without a word. It may dial again, as another incarnation.
  void Leave(bool politely);
  bool in_cluster() const { return in_cluster_; }
  NodeId id() const { return options_.info.id; }

  // This driver runs here.
  Address AddDriver(JobId job, WorkerId worker);
  // Says it as the raylet, or for a process of this node.
  void Say(const Message& message, WorkerId from = {});

 private:
  static constexpr size_t kNoWorker = SIZE_MAX;
  struct ActorAt {
    size_t worker;  // index in report_.workers
    uint64_t incarnation;
    ResourceSet resources;
  };

  void Receive(const Address& to, const std::string& bytes);
  void On(RegisterNodeReply&& reply);
  void On(GrantLeases&& message);
  void On(StartActor&& message);
  void On(StopActor&& message);
  void On(PrepareBundles&& message);
  void On(CommitBundles&& message);
  void On(ReturnBundles&& message);
  template <class M>
  void On(M&&) {}  // of no consequence here

  // An idle worker now in that state; kNoWorker if there is none or no room.
  size_t Start(const ResourceSet& resources, const char* state);
  void Idle(size_t worker, const ResourceSet& resources);
  bool Take(const ResourceSet& resources);
  void EndLeases();
  void Changed();
  void Report();
  void Beat();
  // `work` after `delay`, unless it has left by then.
  void After(Duration delay, std::function<void()> work);

  NodeOptions options_;
  io::DaemonLoop* const loop_;
  Owners* const owners_;
  std::unique_ptr<io::Network> network_;
  std::shared_ptr<bool> present_;  // of this incarnation
  bool in_cluster_ = false;
  bool report_due_ = false;
  TimePoint reported_{};
  NodeReport report_;  // but for its leases, actors and bundles
  std::vector<JobInfo> jobs_;
  std::deque<std::pair<TimePoint, size_t>> ends_;  // of leases: when, and which worker is free then
  bool end_due_ = false;
  std::vector<size_t> idle_;         // workers
  std::vector<LeaseReport> leases_;  // by worker; of an idle one without owner
  absl::flat_hash_map<ActorId, ActorAt> actors_;
  absl::flat_hash_map<PlacementGroupId, std::vector<std::pair<Bundle, bool>>> bundles_;  // and whether it is committed
  uint64_t last_lease_ = 0;
};

}  // namespace shoal::head_load
