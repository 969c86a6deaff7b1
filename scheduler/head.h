// The head: the machine that knows all nodes and decides where what runs that a raylet cannot place by itself. It places spilled lease
// demands, actors and placement groups, restarts actors, declares nodes dead, and keeps jobs, names, node keys and join tokens.
//
//   Head head({.cluster_id = id}, store.Load(), Rng(seed));
//   head.Start(now, &actions);
//   head.OnMessage(now, Address::Raylet(node), std::move(message), &actions);
//   store.Apply(actions.writes);                     // first, see meta_store.h
//   for (Send& send : actions.sends) ...
//
// Levels: raylets repeat what they hold and want (NodeReport, SpillDemand, StartJob), the head repeats what should be (ClusterNodes,
// StartActor, StopActor), so that lost messages and a new head are repaired by the next round. After a start the head grants
// nothing on a node before that node's first report.
// Protocols: ARCHITECTURE.md; states: docs/states/{node,actor,placement_group,job}.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/rng.h"
#include "base/time.h"
#include "scheduler/meta_store.h"
#include "schema/messages.h"

namespace shoal::scheduler {

struct HeadOptions {
  uint64_t cluster_id = 0;         // 0: as stored, or drawn at the first start
  // A raylet fences itself `fence_after` after sending its newest answered heartbeat; a node without a heartbeat for `dead_after` is dead.
  // dead_after > fence_after * 1.01 (drift) + 1 s, so that never two incarnations of an actor live.
  Duration fence_after = 6s;
  Duration dead_after = 10s;
  Duration refresh = 2s;           // levels are repeated this often
  Duration rpc_timeout = 2s;       // an unanswered GrantLeases, StartActor or PrepareBundles is taken back or repeated
};

struct HeadActions {
  std::vector<StoreWrite> writes;
  std::vector<Send> sends;
  std::vector<ClusterEvent> events;
  bool keys_changed = false;       // AllowedKeys() says something new
  bool empty() const { return writes.empty() && sends.empty() && events.empty() && !keys_changed; }
  void Clear() {
    writes.clear();
    sends.clear();
    events.clear();
    keys_changed = false;
  }
};

// Who may connect, by CURVE public key (Z85). Spent and expired tokens are let in so far as to be told why they are refused.
enum class KeyUse : uint8_t { kNode, kToken, kSpentToken };
struct AllowedKey {
  std::string public_key;
  KeyUse use = KeyUse::kNode;
  NodeId node;                     // kNode
};

class Head {
 public:
  // `stored` is MetaStore::Load() of the head before this one, or empty.
  Head(HeadOptions options, std::vector<StoreRow> stored, Rng rng);
  ~Head();
  Head(const Head&) = delete;
  Head& operator=(const Head&) = delete;

  // Takes the next epoch. Call once, before anything else.
  void Start(TimePoint now, HeadActions* actions);
  // `from` is who the transport says it is: a raylet, or a core worker of a node whose raylet carried its message.
  void OnMessage(TimePoint now, const Address& from, Message&& message, HeadActions* actions);
  // The raylet of that node is another process, or what was sent to it may be lost: state anew.
  void OnPeerReset(TimePoint now, NodeId node, HeadActions* actions);
  void OnTick(TimePoint now, HeadActions* actions);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;

  // ---- joining; `unix_s` is wall-clock time, since tokens outlive a reboot
  // A key pair was drawn for a token (its secret half goes to the person who asked); it admits one node until it expires.
  void AddToken(TimePoint now, const std::string& token_public_key, int64_t expires_unix_s, HeadActions* actions);
  // A node shows a token and its own public key. InvalidArgument in one sentence for a token that is unknown, used by another node or
  // expired. Repeating it with the same pair is not an error: the answer may have been lost.
  absl::StatusOr<NodeId> Enrol(TimePoint now, int64_t unix_s, const std::string& token_public_key,
                               const std::string& node_public_key, HeadActions* actions);
  // Lets a node in without a token: the head's own raylet.
  NodeId Admit(TimePoint now, const std::string& node_public_key, HeadActions* actions);
  std::vector<AllowedKey> AllowedKeys(int64_t unix_s) const;

  uint64_t cluster_id() const;
  uint64_t epoch() const;
  // What would not be here in a head without jobs (leases, actors, groups, jobs, demands), in words; "" if nothing.
  std::string Remains() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// How a node is named: from its key, so that it keeps its name and nobody else can take it.
NodeId NodeIdOf(const std::string& node_public_key);

}  // namespace shoal::scheduler
