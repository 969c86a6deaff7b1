// A link of 1 Mbit/s: everything arrives, in about the time that it takes and not much more, and the ends stay reachable behind what is queued.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "runtime/session/session.h"
#include "runtime/session/session_test_util.h"

namespace shoal::session {
namespace {

constexpr int64_t kNanosecondsPerByte = 8000;
constexpr Duration kLatency = 20ms;

// One direction: frames one after the other, each as long as its bytes take.
struct Wire {
  void Take(TimePoint now, std::string frame) {
    free_at = std::max(free_at, now) + Duration(static_cast<int64_t>(frame.size()) * kNanosecondsPerByte);
    bytes += frame.size();
    frames.emplace_back(free_at + kLatency, std::move(frame));
  }
  TimePoint NextArrival() const { return frames.empty() ? TimePoint::max() : frames.front().first; }

  std::deque<std::pair<TimePoint, std::string>> frames;
  TimePoint free_at;
  uint64_t bytes = 0;
};

struct SlowLink {
  SlowLink() {
    for (int end : {0, 1}) {
      sessions[end].Start(now, &actions);
      Carry(end);
    }
  }
  void Carry(int end) {
    for (std::string& frame : actions.frames) wires[end].Take(now, std::move(frame));
    delivered[end] += actions.delivered.size();
    if (actions.reachable && !*actions.reachable) ++cut[end];
    if (actions.reset) ++resets;
    actions.Clear();
  }
  void Step() {
    TimePoint next = std::min(wires[0].NextArrival(), wires[1].NextArrival());
    for (const Session& session : sessions) next = std::min(next, *session.NextDeadline());
    now = std::max(now, next);
    for (int end : {0, 1}) {
      Wire& wire = wires[1 - end];
      while (wire.NextArrival() <= now) {
        const std::string frame = std::move(wire.frames.front().second);
        wire.frames.pop_front();
        sessions[end].OnFrame(now, frame, &actions);
        Carry(end);
      }
      if (*sessions[end].NextDeadline() > now) continue;
      sessions[end].OnTick(now, &actions);
      Carry(end);
    }
  }

  TimePoint now = FromNanoseconds(1'000'000'000);
  Session sessions[2] = {{OptionsOf(0, 100), Rng(1)}, {OptionsOf(1, 200), Rng(2)}};
  SessionActions actions;
  Wire wires[2];  // from this end
  uint64_t delivered[2] = {}, cut[2] = {}, resets = 0;
};

TEST(SlowLink, CarriesALotWithoutRepeatingItselfOrLookingCut) {
  SlowLink link;
  constexpr size_t kMessages = 100, kBytes = 60'000;
  while (!link.sessions[0].established() || !link.sessions[1].established()) link.Step();
  for (size_t i = 0; i < kMessages; ++i) {
    ASSERT_TRUE(link.sessions[0].Send(link.now, std::string(kBytes, 'x'), &link.actions));
  }
  link.Carry(0);
  const TimePoint start = link.now;
  while (link.delivered[1] < kMessages && link.now < start + 200s) link.Step();
  EXPECT_EQ(link.delivered[1], kMessages);
  EXPECT_LE(link.now - start, 60s) << "the bytes alone take 48 s";
  EXPECT_LE(link.wires[0].bytes, kMessages * kBytes * 11 / 10);
  EXPECT_EQ(link.cut[0] + link.cut[1] + link.resets, 0u);
}

}  // namespace
}  // namespace shoal::session
