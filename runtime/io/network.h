// The links of one daemon (head or raylet) to the daemons of other machines: ZeroMQ with CURVE below, one session
// (runtime/session) per peer above. One TCP port, or none for a machine that only dials out.
//
//   auto network = Network::Start({.keys = keys, .cluster_id = id, .role = Role::kRaylet, .self = node, .incarnation = mine}, loop, {
//       .deliver = [&](Address from, Address to, std::string message) { ... }, ...});
//   (*network)->SetPeers({{.node = other, .endpoint = "10.0.0.7:6380", .public_key = key}});
//   (*network)->Send(other, from, to, EncodeMessage(message));
//
// Who a peer is follows from its key alone: a connection whose key is not among SetPeers and SetTokens is refused in
// the handshake and no byte of it reaches a handler; an `Address` that a peer gives as sender must lie on its node.
// Everything runs in the loop's thread; ZeroMQ has its I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/io/event_loop.h"
#include "runtime/io/keys.h"
#include "schema/messages.h"

namespace shoal::io {

class ZmqContext;

struct NetworkOptions {
  KeyPair keys;
  uint64_t cluster_id = 0;
  Role role = Role::kRaylet;
  NodeId self;                // 0: the head
  uint64_t incarnation = 0;
  std::string listen_host;    // numeric; "": dial out only
  uint16_t port = 0;          // 0: the kernel chooses
  uint32_t protocol_version = kProtocolVersion;
  // Shared by the networks of one process that dial only; null: one of its own.
  std::shared_ptr<const ZmqContext> context;
};

struct Peer {
  NodeId node;                // 0: the head
  std::string endpoint;       // "host:port" to dial; "": waits for the peer to dial
  std::string public_key;     // CURVE, Z85
};

// A join token that may connect; `refusal` is said to one that is spent or expired.
struct TokenKey {
  std::string public_key;
  std::string refusal;
};

// Called from the loop. They may call the network, but not destroy it.
struct NetworkHandlers {
  std::function<void(const Address& from, const Address& to, std::string message)> deliver;
  // The link began anew: what was in flight in both directions is lost (SessionActions::reset).
  std::function<void(NodeId peer)> peer_reset;
  std::function<void(NodeId peer, bool reachable)> peer_reachable;
  // That peer refuses us or we refuse it: version, cluster, revoked key. One sentence.
  std::function<void(NodeId peer, const std::string& why)> refused;
  // Head only: a machine shows a token and its own public key; the answer is its node id, or why not.
  std::function<absl::StatusOr<NodeId>(const std::string& token_public_key, const std::string& node_public_key)> enrol;
};

class Network {
 public:
  // Unavailable if the port cannot be had (the message names it).
  static absl::StatusOr<std::unique_ptr<Network>> Start(NetworkOptions options, EventLoop* loop, NetworkHandlers handlers);
  // Drops what is unsent.
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  uint16_t port() const;  // 0: does not listen
  // Level: these and no others. A peer that is no longer named is cut off within a second.
  void SetPeers(std::vector<Peer> peers);
  void SetTokens(std::vector<TokenKey> tokens);
  // Queues. Nothing was queued unless the result is OK: NotFound for a peer that is not named, ResourceExhausted if
  // too much waits for it, InvalidArgument for a message over 32 MiB.
  absl::Status Send(NodeId peer, const Address& from, const Address& to, std::string message);
  // Gives up what waits for the peer and starts over: both sides get peer_reset.
  void Reset(NodeId peer);

 private:
  class Impl;
  explicit Network(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a machine learns when it joins.
struct Enrolment {
  NodeId node;
  uint64_t cluster_id = 0;
};

// Shows the token to the head at "host:port" and has `node_public_key` let in. Blocks until the answer or `timeout`.
// Errors are one sentence each: PermissionDenied (unknown, used or expired token), Unavailable (nobody answers
// there, or not the head of the token's cluster), FailedPrecondition (another protocol version).
absl::StatusOr<Enrolment> Enrol(const std::string& endpoint, const JoinToken& token, const std::string& node_public_key,
                                Duration timeout = 10s);

}  // namespace shoal::io
