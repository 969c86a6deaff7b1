// Fetches objects from other nodes into this node's arena. Each block is received at its final
// offset, decrypted there and checked; a connection that breaks is made again and the transfer goes
// on from the first block that is missing. One thread of its own serves all transfers.
//
//   auto client = BulkClient::Start(arena, [&](auto work) { loop->Post(std::move(work)); });
//   (*client)->Fetch({.host = "10.0.0.7", .port = 7001, .key = key, .object = id, .offset = o,
//   .size = n},
//                    [&](const absl::Status& status) { ... });
//
// How a fetch ends, in `done`'s status:
//   OK                the bytes are in place, each block authenticated, the checksum right if one
//   is known NotFound          that node does not have the object, or no longer the same bytes: try
//   another location Unavailable       no connection, or it was lost too often (a wrong key looks
//   like this, too) DeadlineExceeded  the peer is connected but nothing came for stall_timeout
//   DataLoss          bytes that fail authentication or the checksum, or an object of another size
//   ResourceExhausted no memory for the object here, or too many fetches wait
//   Cancelled         Cancel was called
//   InvalidArgument   destination outside the arena, or no address
// Except after OK the destination holds garbage.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/time.h"
#include "objectstore/bulk/bulk.h"
#include "objectstore/shm/arena.h"

namespace shoal::bulk {

struct BulkFetch {
  std::string host;  // numeric address
  uint16_t port = 0;
  BulkKey key;  // shared with that node
  ObjectId object;
  uint64_t offset = 0;    // destination in the arena; ours alone until `done`
  uint64_t size = 0;      // of the object, known to whoever asks for it
  uint64_t checksum = 0;  // see Checksum; 0: unknown
};

struct BulkClientOptions {
  Duration connect_timeout = 3s;
  Duration stall_timeout = 10s;  // without a block
  // Connections in a row that bring no new block before a fetch gives up; the pause before attempt
  // n is n times retry_pause.
  int max_attempts = 4;
  Duration retry_pause = 100ms;
  size_t max_active = 32;      // transfers at a time; others wait in order
  size_t max_waiting = 10000;  // then ResourceExhausted
};

using BulkFetchId = uint64_t;

class BulkClient {
 public:
  using Done = std::function<void(const absl::Status& status)>;

  // `arena` outlives the client and is writable. `post` brings each `done` to the owner's thread.
  static absl::StatusOr<std::unique_ptr<BulkClient>> Start(const Arena* arena, Post post,
                                                           const BulkClientOptions& options = {});
  // In the owner's thread. Joins the transfer thread; `done` of unfinished fetches is not called.
  ~BulkClient();
  BulkClient(const BulkClient&) = delete;
  BulkClient& operator=(const BulkClient&) = delete;

  // Calls `done` exactly once, later. Until then the destination belongs to the fetch. From any
  // thread.
  BulkFetchId Fetch(BulkFetch fetch, Done done);
  // Ends a fetch soon; only `done` says that the destination is free. Nothing if it has ended.
  void Cancel(BulkFetchId id);

 private:
  class Impl;
  explicit BulkClient(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace shoal::bulk
