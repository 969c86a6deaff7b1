// Standing with the head: registration, heartbeats, its epoch, and the fence. The fence counts from the sending of the newest beat that was
// answered, so that it falls before the head, which counts from the arrival of the newest beat, gives the node up.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/raylet/parts.h"

namespace shoal::raylet {

class HeadLink {
 public:
  explicit HeadLink(const RayletOptions* options) : options_(*options) {}

  void Start(const Turn& t) { Register(t); }
  // True if the node was let in: everything is to be stated anew.
  bool OnReply(const Turn& t, const RegisterNodeReply& message);
  void OnAck(const Turn& t, const HeartbeatAck& message);
  // The link began anew.
  void OnReset(const Turn& t);
  // For each order of the head: false if it comes from an older life of the head. A newer life is registered with.
  bool Accept(const Turn& t, uint64_t epoch);
  // The head no longer counts this node among the living.
  void OnExpelled(const Turn& t) { OnReset(t); }

  // True once, when the fence falls: actors must be killed.
  bool FallsNow(TimePoint now);
  void Tick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;

  // The head's word is fresh enough to grant leases and run actors.
  bool live(TimePoint now) const { return answered_ && now < *answered_ + fence_after_; }
  // Something that it said was missed: it states everything anew to whoever registers.
  void RegisterAnew(const Turn& t) {
    if (registered_) Register(t);
  }
  bool registered() const { return registered_; }
  uint64_t epoch() const { return epoch_; }

 private:
  void Register(const Turn& t);
  void Beat(const Turn& t);

  const RayletOptions& options_;
  uint64_t epoch_ = 0;
  bool registered_ = false;
  Duration fence_after_{};
  std::optional<TimePoint> answered_;       // when the newest answered beat was sent
  std::optional<TimePoint> asked_;          // the oldest registration without an answer
  TimePoint next_register_{};
  TimePoint next_beat_{};
};

}  // namespace shoal::raylet
