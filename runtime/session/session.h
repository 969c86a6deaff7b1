// One end of a link between two daemons (head or raylet) over a transport that may lose, repeat, reorder and delay
// frames, and whose other end may die and come back. What is sent arrives once and in order at the incarnation that
// it was sent to, or not at all, and then the sender is told. ZeroMQ and the simulator are transports.
//
//   Session session({.cluster_id = id, .role = Role::kRaylet, .self = me, .incarnation = mine, .peer = them}, Rng(seed));
//   session.Start(now, &actions);
//   if (!session.Send(now, message, &actions)) ...        // the queue is full: the peer is slow or away
//   session.OnFrame(now, bytes, &actions);
//   for (std::string& frame : actions.frames) transport.Send(frame);
//   if (actions.reset) ...                                // before what was delivered
//   for (std::string& payload : actions.delivered) ...
//   actions.Clear();
//
// Frames start with a fixed little-endian header (frame.h). Hello carries protocol version, cluster id, role, node,
// incarnation and a link number; then sequence numbers, cumulative acks (by 64 messages or 5 ms), go-back-N after
// 100 ms of silence, a window that the caller can see, and echoing heartbeats, which expose cuts of one direction.
// Several small payloads share a frame. States: docs/states/session.md. Nothing received is trusted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "schema/messages.h"

namespace shoal::session {

struct SessionOptions {
  uint64_t cluster_id = 0;
  Role role = Role::kRaylet;   // kHead or kRaylet
  NodeId self;                 // 0: the head
  uint64_t incarnation = 0;    // of this process: another one in each run, in no particular order, never 0
  NodeId peer;                 // who must be at the other end; 0: the head
  uint32_t protocol_version = kProtocolVersion;

  uint32_t window = 8192;                            // messages sent and not acknowledged
  uint64_t window_bytes = uint64_t{32} << 20;
  uint64_t max_queued_bytes = uint64_t{256} << 20;   // accepted by Send, beyond the window
  uint32_t batch_bytes = 64 * 1024;                  // payloads that share a frame
  uint32_t ack_every = 64;
  Duration ack_after = 5ms;
  Duration resend_after = 100ms;  // or two round trips; plus what the bytes under way take at 1 Mbit/s
  Duration heartbeat = 1s;
  Duration unreachable_after = 4s;                   // without an echo of a heartbeat
};

struct SessionActions {
  std::vector<std::string> frames;     // to the peer, in this order; any may be lost
  std::vector<std::string> delivered;  // payloads from the peer
  // The link begins anew: the peer is another process, or one side gave the link up. What was sent and not
  // acknowledged is lost and will not arrive, as is what the other side had sent; nothing of the old link comes
  // after this. Happened before `delivered`.
  bool reset = false;
  std::optional<bool> reachable;       // changed: an echo came in time, or none did
  std::string refused;                 // the peer and we do not fit (version, cluster, node): why, in one sentence; nothing will pass
  bool empty() const {
    return frames.empty() && delivered.empty() && !reset && !reachable && refused.empty();
  }
  void Clear() {
    frames.clear();
    delivered.clear();
    reset = false;
    reachable.reset();
    refused.clear();
  }
};

// The answer to a frame of somebody whom no session speaks to any more: its session reports `refused` with this
// sentence. "" if it was no frame.
std::string RefusalOf(std::string_view frame, const std::string& sentence);

class Session {
 public:
  Session(SessionOptions options, Rng rng);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Says hello. Call once, before anything else.
  void Start(TimePoint now, SessionActions* actions);
  // Takes a message for delivery, now or when the peer answers. False, and nothing is taken, if max_queued_bytes
  // wait already. Small messages may be held back for the rest of the turn: call Flush when it ends.
  bool Send(TimePoint now, std::string payload, SessionActions* actions);
  void Flush(TimePoint now, SessionActions* actions);
  // Gives up what is queued or in flight, as after a death of the peer: both sides get `reset`. `actions` must hold
  // nothing delivered.
  void Reset(TimePoint now, SessionActions* actions);
  void OnFrame(TimePoint now, std::string_view frame, SessionActions* actions);
  void OnTick(TimePoint now, SessionActions* actions);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;

  bool established() const;           // hellos were exchanged
  bool reachable() const;
  uint64_t peer_incarnation() const;  // 0: not known yet
  uint64_t queued_bytes() const;      // accepted and not acknowledged
  uint32_t window_room() const;       // messages that may be sent at once

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::session
