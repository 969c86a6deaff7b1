// Gives sealed objects of this node to other nodes. Listens on one TCP port and does all its work,
// encryption included, in one thread of its own; the owner (the raylet's loop) is asked where an
// object is and told when its bytes are no longer needed.
//
//   auto server = BulkServer::Start({.port = 0}, arena, {
//       .post = [&](auto work) { loop->Post(std::move(work)); },
//       .lookup = [&](const ObjectId& id) { return table.PinForTransfer(id); },
//       .release = [&](const ObjectId& id) { table.Unpin(id); }});
//   (*server)->AddKey(key_shared_with_that_node);
//
// A connection gets nothing, not even whether an object exists, before it has proved that it holds
// a key that was added. Connections that do not prove it within five seconds, or do not read for
// thirty, are closed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "objectstore/bulk/bulk.h"
#include "objectstore/shm/arena.h"

namespace shoal::bulk {

// Where a sealed object lies in the arena. `checksum` (see Checksum) is optional, 0 for unknown:
// the client compares it with what arrived.
struct BulkSource {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t checksum = 0;
};

struct BulkServerOptions {
  std::string host = "0.0.0.0";  // numeric address to listen on; "::" for both families
  uint16_t port = 0;             // 0: the kernel chooses
  size_t max_connections = 256;  // more are closed as they come
};

// All three are needed. lookup and release run in the owner's thread.
struct BulkServerOwner {
  Post post;
  // Finds a sealed object and keeps its bytes from being evicted until `release`; nullopt: not
  // here.
  std::function<std::optional<BulkSource>(const ObjectId&)> lookup;
  // Called exactly once for each lookup that found something, also when the transfer failed.
  std::function<void(const ObjectId&)> release;
};

class BulkServer {
 public:
  // `arena` outlives the server. Unavailable if the port cannot be had (the message names it).
  static absl::StatusOr<std::unique_ptr<BulkServer>> Start(const BulkServerOptions& options,
                                                           const Arena* arena,
                                                           BulkServerOwner owner);
  // In the owner's thread. Joins the transfer thread, then releases what was in transfer.
  ~BulkServer();
  BulkServer(const BulkServer&) = delete;
  BulkServer& operator=(const BulkServer&) = delete;

  uint16_t port() const;
  // Connections with this key are let in from now on. Replaces a key of the same id, closing its
  // connections. From any thread.
  void AddKey(const BulkKey& key);
  // No more, and those that exist are closed: a node that was removed gets not one byte further.
  void RemoveKey(uint64_t id);

 private:
  class Impl;
  explicit BulkServer(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace shoal::bulk
