// The sending half of a link: what was accepted and not acknowledged, in order, and when to send it again.
//
//   queue:  | sent, not acknowledged | not sent yet |
//            ^ acked + 1              ^ next          accepted grows to the right
//
// Go-back-N (Tanenbaum, Computer Networks, sliding windows): after a silence, or when the peer misses something,
// everything from acked + 1 counts as not sent. How many bytes may be under way, the budget, is bounded by the window
// and by what the way carries: it starts with a few frames, grows by what is acknowledged (slow start, RFC 5681),
// falls to one frame after a silence, and is halved while round trips take much longer than the shortest one did
// (delay-based, after LEDBAT, RFC 6817). So a slow link has short queues, in which heartbeats still come through.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "runtime/session/frame.h"
#include "runtime/session/ring_queue.h"
#include "runtime/session/session.h"

namespace shoal::session {

class Sender {
 public:
  explicit Sender(const SessionOptions& options);

  // A new link: numbers start at 1, what is queued goes over it.
  void BeginLink();
  // Drops what is queued and begins a link.
  void Clear();
  // False, and nothing is taken, if too much waits.
  bool Accept(std::string&& payload);
  // The peer has everything up to `ack`. False if that was never sent: the frame is not to be trusted.
  bool OnAck(TimePoint now, uint64_t ack);
  // The peer misses what follows its last acknowledgement. Obeyed at most once per round trip.
  void OnGap(TimePoint now);
  // Data frames for what the window allows; with `only_full`, none that could still be filled up. `link` is the
  // header to start from.
  void Pump(TimePoint now, bool only_full, const FrameHeader& link, std::vector<std::string>* frames);
  // Goes back after a silence; then call Pump.
  void OnTick(TimePoint now);
  void OnRoundTrip(Duration round_trip);
  // The last message that is under way. A heartbeat that follows it tells the peer whether it got lost.
  uint64_t last_sent() const { return acked_ + in_flight_; }

  std::optional<TimePoint> ResendAt() const;
  bool HasSendable() const;
  // Sendable bytes are at least one frame.
  bool HasFullFrame() const { return unsent_bytes_ >= options_.batch_bytes && HasSendable(); }
  uint64_t queued_bytes() const { return unsent_bytes_ + in_flight_bytes_; }
  uint32_t WindowRoom() const;
  void CheckInvariants() const;

 private:
  static uint64_t Cost(const std::string& payload) { return payload.size() + kPayloadPrefixBytes; }
  bool MaySend(size_t index) const;
  void GoBack(TimePoint now);
  uint64_t OneFrame() const { return options_.batch_bytes; }
  std::string NextFrame(TimePoint now, const FrameHeader& link);
  Duration Timeout() const;

  const SessionOptions& options_;
  RingQueue<std::string> queue_;  // [0] is message acked_ + 1
  uint64_t acked_ = 0;
  uint64_t highest_sent_ = 0;  // an acknowledgement beyond it is a lie
  size_t in_flight_ = 0;       // queue_[0, in_flight_) are under way
  uint64_t in_flight_bytes_ = 0, unsent_bytes_ = 0;
  uint64_t budget_bytes_;    // for what may be under way, up to window_bytes
  TimePoint last_progress_;  // when something was first under way, acknowledged or sent again
  TimePoint last_gap_;
  uint32_t silences_ = 0;  // timeouts without progress in between
  Duration round_trip_{};  // smoothed; 0: not known
  Duration newest_round_trip_{}, shortest_round_trip_{};
  uint64_t timed_ = 0;     // the message whose acknowledgement is awaited to measure a round trip; 0: none
  TimePoint timed_at_;
};

}  // namespace shoal::session
