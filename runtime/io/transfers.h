// A raylet's ends of the bulk channel: fetches objects from the nodes it may talk to, and gives them its own.
//
//   auto transfers = Transfers::Start({.keys = keys, .listen_host = "10.0.0.2"}, arena, &loop, {.lookup = ..., .release = ...});
//   (*transfers)->SetPeers(nodes);                              // level: these and no others
//   (*transfers)->Fetch(start_transfer, [&](bool ok) { ... });
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "objectstore/bulk/client.h"
#include "objectstore/bulk/server.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/keys.h"
#include "runtime/raylet/raylet.h"

namespace shoal::io {

struct TransfersOptions {
  KeyPair keys;
  NodeId self;
  std::string listen_host;  // "": gives nothing, since nobody could dial
  uint16_t port = 0;
};

struct TransfersOwner {
  std::function<std::optional<raylet::ObjectBlock>(const ObjectId&)> lookup;  // pins what it finds
  std::function<void(const ObjectId&)> release;
};

class Transfers {
 public:
  // `arena` outlives it.
  static absl::StatusOr<std::unique_ptr<Transfers>> Start(TransfersOptions options, const Arena* arena, DaemonLoop* loop,
                                                          TransfersOwner owner);
  uint16_t port() const { return server_ == nullptr ? 0 : server_->port(); }
  // Fetches from nodes that are no longer named are given up.
  void SetPeers(const std::vector<NodeInfo>& nodes);
  // `done` is called once, later: true if the bytes are in place.
  void Fetch(const raylet::StartTransfer& transfer, std::function<void(bool ok)> done);

 private:
  struct PeerNode {
    std::string public_key, endpoint;
    bulk::BulkKey key;
    std::set<bulk::BulkFetchId> fetches;
  };

  Transfers(TransfersOptions options, DaemonLoop* loop) : options_(std::move(options)), loop_(loop) {}
  void Forget(const PeerNode& peer);

  const TransfersOptions options_;
  DaemonLoop* const loop_;
  std::unique_ptr<bulk::BulkServer> server_;
  std::unique_ptr<bulk::BulkClient> client_;
  std::map<NodeId, PeerNode> peers_;
};

}  // namespace shoal::io
