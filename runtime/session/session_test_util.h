// Two ends and a network between them that loses, repeats, reorders and delays frames by a seed, and checks what
// sessions promise:
//
//   World world(seed, {.loss = 0.2, .duplication = 0.2, .reordering = 0.5});
//   world.Run(5000);                      // steps: ends send, reset and restart as they like
//   world.Heal();
//   world.Settle();                       // now everything must arrive
//
// A segment is what one end sends between two resets of its own. The promise: between two resets of a receiver, what
// arrives is the beginning of one segment, in order and without holes, and never of an older segment than before.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "runtime/session/session.h"

namespace shoal::session {

struct Faults {
  double loss = 0, duplication = 0, reordering = 0;
  double restart = 0;  // chance per step and end
  double reset = 0;
  Duration delay_max = 2ms;
};

// What a message says about itself.
struct Label {
  uint64_t segment = 0, index = 0;
  std::string padding;
  template <class V>
  void Fields(V& v) {
    v(segment, index, padding);
  }
};

inline SessionOptions OptionsOf(int end, uint64_t incarnation) {
  const NodeId head{0}, node{7};
  return {.cluster_id = 99,
          .role = end == 0 ? Role::kHead : Role::kRaylet,
          .self = end == 0 ? head : node,
          .incarnation = incarnation,
          .peer = end == 0 ? node : head};
}

class World {
 public:
  World(uint64_t seed, Faults faults) : rng_(seed), faults_(faults) {
    for (int end : {0, 1}) Boot(end);
  }

  // Sends, steps time from event to event, and injects faults.
  void Run(int steps);
  void Heal() { faults_ = {}; }
  // Until nothing waits at either end; fails the check if that does not come.
  void Settle();
  void Restart(int end);
  void Reset(int end);
  bool SendOne(int end);

  uint64_t delivered() const { return delivered_; }
  uint64_t resets() const { return resets_; }
  // The first thing that was not as promised; "" if all was.
  const std::string& violation() const { return violation_; }
  Session& session(int end) { return *ends_[end].session; }

 private:
  struct End {
    std::unique_ptr<Session> session;
    uint64_t incarnation = 0;
    uint64_t segment = 0, sent = 0;           // of this end as sender
    uint64_t from_segment = 0, expected = 0;  // as receiver, since its last reset; 0: nothing yet
    uint64_t oldest_allowed = 0;              // segments before it are over for this receiver
  };

  void Boot(int end);
  void Carry(int end, SessionActions* actions);
  void Take(int end, const std::string& payload);
  void BeginSegment(int end);
  void Step();
  TimePoint NextTime() const;
  void Violate(std::string what) {
    if (violation_.empty()) violation_ = std::move(what);
  }

  Rng rng_;
  Faults faults_;
  TimePoint now_ = FromNanoseconds(1'000'000'000);
  End ends_[2];
  std::multimap<TimePoint, std::pair<int, std::string>> flying_;  // arrival -> receiver, frame
  uint64_t incarnations_ = 0, segments_ = 0;
  uint64_t delivered_ = 0, resets_ = 0;
  std::string violation_;
};

}  // namespace shoal::session
