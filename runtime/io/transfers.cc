#include "runtime/io/transfers.h"

#include <cstdio>
#include <utility>

#include "runtime/io/node_resources.h"

namespace shoal::io {

absl::StatusOr<std::unique_ptr<Transfers>> Transfers::Start(TransfersOptions options, const Arena* arena, DaemonLoop* loop,
                                                            TransfersOwner owner) {
  std::unique_ptr<Transfers> transfers(new Transfers(std::move(options), loop));
  EventLoop* const events = &loop->events();
  const bulk::Post post = [events](std::function<void()> work) { events->Post(std::move(work)); };
  absl::StatusOr<std::unique_ptr<bulk::BulkClient>> client = bulk::BulkClient::Start(arena, post);
  if (!client.ok()) return client.status();
  transfers->client_ = *std::move(client);
  if (transfers->options_.listen_host.empty()) return transfers;

  bulk::BulkServerOwner server_owner;
  server_owner.post = post;
  server_owner.lookup = [lookup = owner.lookup](const ObjectId& id) -> std::optional<bulk::BulkSource> {
    const std::optional<raylet::ObjectBlock> block = lookup(id);
    if (!block) return std::nullopt;
    return bulk::BulkSource{.offset = block->offset, .size = block->size};
  };
  server_owner.release = owner.release;
  absl::StatusOr<std::unique_ptr<bulk::BulkServer>> server = bulk::BulkServer::Start(
      {.host = transfers->options_.listen_host, .port = transfers->options_.port}, arena, std::move(server_owner));
  if (!server.ok()) return server.status();
  transfers->server_ = *std::move(server);
  return transfers;
}

void Transfers::Forget(const PeerNode& peer) {
  if (server_ != nullptr) server_->RemoveKey(peer.key.id);
  for (const bulk::BulkFetchId fetch : peer.fetches) client_->Cancel(fetch);
}

void Transfers::SetPeers(const std::vector<NodeInfo>& nodes) {
  std::map<NodeId, PeerNode> before = std::exchange(peers_, {});
  for (const NodeInfo& node : nodes) {
    if (node.id == options_.self) continue;
    const auto known = before.find(node.id);
    if (known != before.end() && known->second.public_key == node.public_key) {
      known->second.endpoint = node.bulk_endpoint;
      peers_[node.id] = std::move(known->second);
      before.erase(known);
      continue;
    }
    const absl::StatusOr<bulk::BulkKey> key = SharedBulkKey(options_.keys, node.public_key);
    if (!key.ok()) continue;  // whatever calls itself a node: no transfers
    PeerNode& peer = peers_[node.id];
    peer.public_key = node.public_key;
    peer.endpoint = node.bulk_endpoint;
    peer.key = *key;
    if (server_ != nullptr) server_->AddKey(peer.key);
  }
  for (const auto& [node, peer] : before) Forget(peer);
}

void Transfers::Fetch(const raylet::StartTransfer& transfer, std::function<void(bool ok)> done) {
  const auto it = peers_.find(transfer.from);
  const absl::StatusOr<HostPort> endpoint =
      ParseHostPort(it == peers_.end() ? "" : it->second.endpoint);
  if (!endpoint.ok()) {
    loop_->events().Post([done = std::move(done)] { done(false); });
    return;
  }
  bulk::BulkFetch fetch;
  fetch.host = endpoint->host;
  fetch.port = endpoint->port;
  fetch.key = it->second.key;
  fetch.object = transfer.object;
  fetch.offset = transfer.offset;
  fetch.size = transfer.size;
  auto id = std::make_shared<bulk::BulkFetchId>(0);
  *id = client_->Fetch(std::move(fetch), [this, id, transfer, done = std::move(done)](const absl::Status& status) {
    if (const auto peer = peers_.find(transfer.from); peer != peers_.end()) peer->second.fetches.erase(*id);
    if (!status.ok()) {
      std::fprintf(stderr, "object %s did not come from node %s: %s\n", transfer.object.Hex().c_str(),
                   transfer.from.Hex().c_str(), std::string(status.message()).c_str());
    }
    done(status.ok());
  });
  it->second.fetches.insert(*id);
}

}  // namespace shoal::io
