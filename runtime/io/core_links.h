// The rings between this process and its neighbours on the node. One ring pair per direction of first use: whoever speaks
// first makes one and has the raylet hand it to the other side; each direction then stays on one ring, so
// messages of a sender arrive in order.
//
// Not thread-safe: CoreProcess guards it with its mutex. HasInput alone may be called without it by the polling thread.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/io/doorbell.h"
#include "runtime/io/fd.h"
#include "runtime/io/ring.h"
#include "schema/messages.h"

namespace shoal::io {

class CoreLinks {
 public:
  // `connect(peer, ring memfd)` asks the raylet to hand our new ring pair to `peer`.
  using Connect = std::function<void(WorkerId peer, const UniqueFd& ring)>;
  using Deliver = std::function<void(WorkerId from, Message&& message)>;

  explicit CoreLinks(Connect connect) : connect_(std::move(connect)) {}

  // Queues and writes; never blocks. What the ring has no room for waits here, in order.
  void Send(WorkerId peer, const Message& message);
  // The raylet's answers: the doorbell of a peer we asked for, its refusal, a ring pair that a peer made.
  void OnConnected(WorkerId peer, DoorbellHandle doorbell);
  void OnRefused(WorkerId peer);
  absl::Status OnOffered(WorkerId peer, UniqueFd ring, DoorbellHandle doorbell);
  // Reads what is left of a peer that died, then forgets it.
  void OnDied(WorkerId peer, const Deliver& deliver);

  // Reads at most `budget` messages; true if there was any.
  bool Receive(size_t budget, const Deliver& deliver);
  // Writes what had to wait; true while something still waits.
  bool Flush();
  // Rings the doorbells of peers that were written to since the last call and sleep.
  void RingDoorbells();
  // True if some ring holds a message.
  bool HasInput() const;

 private:
  struct Link {
    WorkerId peer;
    std::unique_ptr<RingPair> made;     // by this side
    std::unique_ptr<RingPair> offered;  // by the peer
    RingPair* out = nullptr;            // the one we send on, once usable
    std::unique_ptr<DoorbellHandle> doorbell;
    std::deque<std::string> waiting;
    bool asked = false;
    bool dirty = false;
  };

  Link& LinkTo(WorkerId peer);
  // Finds or asks for a ring to send on.
  void Open(Link& link);
  bool Write(Link& link, const Message& message);
  // Its doorbell is rung with the next RingDoorbells.
  void MarkDirty(Link& link);
  size_t ReceiveFrom(Link& link, RingPair* pair, size_t budget, const Deliver& deliver);

  Connect connect_;
  absl::flat_hash_map<WorkerId, std::unique_ptr<Link>> by_peer_;
  std::vector<Link*> links_;   // the same, in order of first contact
  std::vector<Link*> dirty_;   // written to since RingDoorbells
  Link* last_ = nullptr;       // found last
  size_t waiting_links_ = 0;
};

}  // namespace shoal::io
