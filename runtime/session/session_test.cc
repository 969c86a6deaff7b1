#include "runtime/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "runtime/session/frame.h"
#include "runtime/session/session_test_util.h"

namespace shoal::session {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// One end, its owner, and what it has said and heard so far.
struct Side {
  explicit Side(SessionOptions options, uint64_t seed = 1) : session(options, Rng(seed)) {
    session.Start(now, &actions);
    Take();
  }
  void Take() {
    for (std::string& frame : actions.frames) out.push_back(std::move(frame));
    if (actions.reset) {
      ++resets;
      delivered.clear();
    }
    for (std::string& payload : actions.delivered) delivered.push_back(std::move(payload));
    if (actions.reachable) reachable.push_back(*actions.reachable);
    if (!actions.refused.empty()) refused.push_back(actions.refused);
    actions.Clear();
    session.CheckInvariants();
  }
  void Hear(const std::string& frame) {
    session.OnFrame(now, frame, &actions);
    Take();
  }
  bool Send(std::string payload) {
    const bool taken = session.Send(now, std::move(payload), &actions);
    Take();
    return taken;
  }
  void Flush() {
    session.Flush(now, &actions);
    Take();
  }
  void Reset() {
    session.Reset(now, &actions);
    Take();
  }
  void TickAt(TimePoint t) {
    now = t;
    session.OnTick(now, &actions);
    Take();
  }

  TimePoint now = FromNanoseconds(1'000'000'000);
  Session session;
  SessionActions actions;
  std::deque<std::string> out;
  std::vector<std::string> delivered, refused;
  std::vector<bool> reachable;
  int resets = 0;
};

FrameHeader HeaderOf(const std::string& frame) {
  std::string_view body;
  return ParseFrame(frame, &body).value();
}
size_t CountKind(const std::deque<std::string>& frames, FrameKind kind) {
  return static_cast<size_t>(
      std::count_if(frames.begin(), frames.end(), [&](const std::string& f) { return HeaderOf(f).kind == kind; }));
}

// Carries frames until both are silent.
void Exchange(Side& a, Side& b) {
  while (!a.out.empty() || !b.out.empty()) {
    for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      std::deque<std::string> frames;
      frames.swap(from->out);
      for (const std::string& frame : frames) to->Hear(frame);
    }
  }
}

struct Pair {
  Side head{OptionsOf(0, 100), 1};
  Side node{OptionsOf(1, 200), 2};
};

TEST(Session, EndsFindEachOtherAndAreReachable) {
  Pair p;
  EXPECT_FALSE(p.head.session.established());
  Exchange(p.head, p.node);
  EXPECT_TRUE(p.head.session.established());
  EXPECT_TRUE(p.node.session.established());
  EXPECT_EQ(p.head.session.peer_incarnation(), 200u);
  EXPECT_EQ(p.node.session.peer_incarnation(), 100u);
  EXPECT_THAT(p.head.reachable, ElementsAre(true));
  EXPECT_EQ(p.head.resets + p.node.resets, 0);
}

TEST(Session, WhatIsSentBeforeThePeerAnswersArrives) {
  Pair p;
  p.head.Send("early");
  EXPECT_EQ(p.head.session.window_room(), 0u);
  Exchange(p.head, p.node);
  EXPECT_THAT(p.node.delivered, ElementsAre("early"));
}

TEST(Session, SmallMessagesShareAFrameUntilTheTurnEnds) {
  Pair p;
  Exchange(p.head, p.node);
  for (int i = 0; i < 1000; ++i) p.head.Send("0123456789");
  EXPECT_EQ(p.head.out.size(), 0u);
  p.head.Flush();
  EXPECT_EQ(p.head.out.size(), 1u);
  Exchange(p.head, p.node);
  EXPECT_EQ(p.node.delivered.size(), 1000u);
}

TEST(Session, AFullFrameDoesNotWaitAndALargeMessageTravelsAlone) {
  Pair p;
  Exchange(p.head, p.node);
  for (int i = 0; i < 70; ++i) p.head.Send(std::string(1000, 'x'));
  EXPECT_EQ(p.head.out.size(), 1u);
  EXPECT_LE(p.head.out.front().size(), OptionsOf(0, 1).batch_bytes);
  p.head.Send(std::string(1 << 20, 'y'));
  Exchange(p.head, p.node);
  p.head.Flush();
  Exchange(p.head, p.node);
  ASSERT_EQ(p.node.delivered.size(), 71u);
  EXPECT_EQ(p.node.delivered.back().size(), size_t{1} << 20);
}

TEST(Session, ATurnThatIsNeverFlushedGoesOutWithTheNextTick) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("small");
  ASSERT_LE(*p.head.session.NextDeadline(), p.head.now);
  p.head.TickAt(p.head.now);
  Exchange(p.head, p.node);
  EXPECT_THAT(p.node.delivered, ElementsAre("small"));
}

TEST(Session, TheWindowIsVisibleAndTheQueueBounded) {
  SessionOptions options = OptionsOf(0, 100);
  options.window = 10;
  options.max_queued_bytes = 200;
  options.batch_bytes = 1;
  Side head(options, 1);
  Side node(OptionsOf(1, 200), 2);
  Exchange(head, node);
  EXPECT_EQ(head.session.window_room(), 10u);
  int taken = 0;
  while (head.Send("0123456789")) ++taken;
  EXPECT_EQ(CountKind(head.out, FrameKind::kData), 10u);
  EXPECT_EQ(head.session.window_room(), 0u);
  EXPECT_GT(taken, 10);
  EXPECT_LT(taken, 40);
  Exchange(head, node);  // acknowledgements open the window
  for (int i = 0; i < 20; ++i) {
    node.TickAt(node.now + 5ms);
    Exchange(head, node);
  }
  EXPECT_EQ(node.delivered.size(), static_cast<size_t>(taken));
  EXPECT_EQ(head.session.queued_bytes(), 0u);
  EXPECT_TRUE(head.Send("again"));
}

TEST(Session, AcknowledgesAtOnceAfterManyAndSoonAfterFew) {
  Pair p;
  Exchange(p.head, p.node);
  for (int i = 0; i < 64; ++i) p.head.Send("m");
  p.head.Flush();
  Exchange(p.head, p.node);
  EXPECT_EQ(p.head.session.queued_bytes(), 0u);
  p.head.Send("one more");
  p.head.Flush();
  Exchange(p.head, p.node);
  EXPECT_GT(p.head.session.queued_bytes(), 0u);
  ASSERT_EQ(*p.node.session.NextDeadline(), p.node.now + 5ms);
  p.node.TickAt(p.node.now + 5ms);
  Exchange(p.head, p.node);
  EXPECT_EQ(p.head.session.queued_bytes(), 0u);
}

TEST(Session, RepeatsAfterSilenceAndLessOftenTheLongerItLasts) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("lost");
  p.head.Flush();
  p.head.out.clear();
  const TimePoint start = p.head.now;
  p.head.TickAt(start + 99ms);
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 0u);
  p.head.TickAt(start + 101ms);
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 1u);
  p.head.TickAt(start + 300ms);
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 1u);
  p.head.TickAt(start + 302ms);
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 2u);
  Exchange(p.head, p.node);
  EXPECT_THAT(p.node.delivered, ElementsAre("lost"));
}

TEST(Session, ASilentPeerIsSentOneFrameAndNotTheWholeWindow) {
  Pair p;
  Exchange(p.head, p.node);
  for (int i = 0; i < 1000; ++i) p.head.Send(std::string(1000, 'x'));
  p.head.Flush();
  EXPECT_GT(p.head.out.size(), 2u);
  p.head.out.clear();
  p.head.TickAt(p.head.now + 2500ms);
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 1u);
  Exchange(p.head, p.node);
  EXPECT_EQ(p.node.delivered.size(), 1000u) << "acknowledgements bring the rest";
}

TEST(Session, AGapIsRepeatedWithoutWaitingForSilence) {
  SessionOptions options = OptionsOf(0, 100);
  options.batch_bytes = 1;
  Side head(options, 1);
  Side node(OptionsOf(1, 200), 2);
  Exchange(head, node);
  head.now = node.now = head.now + 50ms;
  for (const char* m : {"1", "2", "3"}) head.Send(m);
  head.out.pop_front();
  Exchange(head, node);
  EXPECT_THAT(node.delivered, ElementsAre("1", "2", "3"));
}

TEST(Session, AHeartbeatShowsThatTheLastMessagesWereLost) {
  Pair p;
  Exchange(p.head, p.node);
  const TimePoint start = p.head.now;
  p.head.TickAt(start + 500ms);
  p.head.Send(std::string(5 << 20, 'x'));  // would be repeated after five seconds of silence
  p.head.Flush();
  p.head.out.clear();
  p.head.TickAt(start + 1500ms);
  p.node.now = p.head.now;
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 0u);
  Exchange(p.head, p.node);
  EXPECT_EQ(p.node.delivered.size(), 1u);
}

TEST(Session, LongRoundTripsShrinkWhatIsUnderWay) {
  Pair p;
  Exchange(p.head, p.node);
  for (int i = 0; i < 3000; ++i) p.head.Send(std::string(1000, 'x'));
  p.head.Flush();
  const auto bytes_under_way = [&] {
    size_t bytes = 0;
    for (const std::string& frame : p.head.out) bytes += frame.size();
    return bytes;
  };
  const size_t at_first = bytes_under_way();
  EXPECT_LE(at_first, 300'000u);
  Exchange(p.head, p.node);
  EXPECT_EQ(p.node.delivered.size(), 3000u) << "acknowledgements let more go";
  for (int i = 0; i < 12; ++i) {  // each heartbeat comes back two seconds late
    p.head.TickAt(p.head.now + 1s);
    p.head.now = p.node.now = p.head.now + 2s;
    Exchange(p.head, p.node);
  }
  for (int i = 0; i < 3000; ++i) p.head.Send(std::string(1000, 'x'));
  p.head.Flush();
  EXPECT_LE(bytes_under_way(), 70'000u);
}

TEST(Session, DuplicatesAndOldFramesAreNotDelivered) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("once");
  p.head.Flush();
  const std::string copy = p.head.out.front();
  Exchange(p.head, p.node);
  p.node.Hear(copy);
  EXPECT_THAT(p.node.delivered, ElementsAre("once"));
  EXPECT_EQ(CountKind(p.node.out, FrameKind::kAck), 1u) << "whoever repeats has missed an acknowledgement";
}

TEST(Session, ANewProcessAtTheOtherEndIsAReset) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("for the old process");
  p.head.Flush();
  const std::string late = p.head.out.front();
  p.head.out.clear();
  Side reborn(OptionsOf(1, 201), 3);
  Exchange(p.head, reborn);
  EXPECT_EQ(p.head.resets, 1);
  EXPECT_EQ(reborn.resets, 0);
  EXPECT_EQ(p.head.session.peer_incarnation(), 201u);
  EXPECT_EQ(p.head.session.queued_bytes(), 0u);
  reborn.Hear(late);
  EXPECT_TRUE(reborn.delivered.empty());
  p.head.Send("for the new one");
  p.head.Flush();
  Exchange(p.head, reborn);
  EXPECT_THAT(reborn.delivered, ElementsAre("for the new one"));
}

// The peer forgot the link, not itself: for instance, it was told to speak to us only then.
TEST(Session, ALinkThatOnlyWeWereInCarriedNothingAndIsNoReset) {
  Pair p;
  p.head.Send("waits");
  p.node.Hear(p.head.out.front());
  p.head.Hear(p.node.out.back());  // the offer: we are in a link
  ASSERT_TRUE(p.head.session.established());
  EXPECT_EQ(CountKind(p.head.out, FrameKind::kData), 0u) << "nothing is said before the peer is in it, too";
  p.head.out.clear();
  Side again(OptionsOf(1, 200), 4);
  Exchange(p.head, again);
  EXPECT_EQ(p.head.resets, 0);
  EXPECT_THAT(again.delivered, ElementsAre("waits"));
}

TEST(Session, WhatWaitsInALinkThatOnlyWeWereInIsNotForAnotherProcess) {
  Pair p;
  p.node.Hear(p.head.out.front());
  p.head.Hear(p.node.out.back());
  p.head.Send("for 200");
  p.head.out.clear();
  Side reborn(OptionsOf(1, 201), 4);
  Exchange(p.head, reborn);
  EXPECT_EQ(p.head.resets, 1);
  EXPECT_TRUE(reborn.delivered.empty());
}

TEST(Session, AProcessThatWasReplacedStaysOut) {
  Pair p;
  Exchange(p.head, p.node);
  Side reborn(OptionsOf(1, 201), 3);
  Exchange(p.head, reborn);
  p.node.Send("from the grave");
  p.node.Flush();
  Exchange(p.head, p.node);
  EXPECT_TRUE(p.head.delivered.empty());
  EXPECT_EQ(p.node.resets, 1);
  EXPECT_EQ(p.head.session.peer_incarnation(), 201u);
  ASSERT_EQ(p.node.refused.size(), 1u);
  EXPECT_THAT(p.node.refused[0], HasSubstr("newer process"));
  EXPECT_EQ(p.head.resets, 1);
  EXPECT_TRUE(p.head.refused.empty());
}

TEST(Session, ResetTellsBothSidesAndNothingOldFollows) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("before");
  p.head.Flush();
  const std::string late = p.head.out.front();
  p.node.Send("answer to something old");
  p.node.Flush();
  p.head.Reset();
  p.head.Send("after");
  p.head.out.pop_front();
  Exchange(p.head, p.node);
  p.head.Flush();
  Exchange(p.head, p.node);
  EXPECT_EQ(p.head.resets, 1);
  EXPECT_EQ(p.node.resets, 1);
  EXPECT_TRUE(p.head.delivered.empty());
  p.node.Hear(late);
  EXPECT_THAT(p.node.delivered, ElementsAre("after"));
}

TEST(Session, AResetBeforeTheFirstLinkDropsWhatWaits) {
  Pair p;
  p.head.Send("given up");
  p.head.Reset();
  EXPECT_EQ(p.head.resets, 1);
  Exchange(p.head, p.node);
  EXPECT_TRUE(p.node.delivered.empty());
  EXPECT_EQ(p.node.resets, 0);
}

TEST(Session, ACutOfOneDirectionIsNoticedOnBothSides) {
  Pair p;
  Exchange(p.head, p.node);
  const TimePoint start = p.head.now;
  for (TimePoint t = start; t < start + 5s; t += 100ms) {
    p.head.TickAt(t);
    p.node.TickAt(t);
    while (!p.head.out.empty()) {  // the way back is cut
      p.node.Hear(p.head.out.front());
      p.head.out.pop_front();
    }
    p.node.out.clear();
  }
  EXPECT_THAT(p.head.reachable, ElementsAre(true, false));
  EXPECT_THAT(p.node.reachable, ElementsAre(true, false));
  p.head.TickAt(p.head.now + 1s);
  p.node.TickAt(p.head.now);
  Exchange(p.head, p.node);
  EXPECT_THAT(p.head.reachable, ElementsAre(true, false, true));
  EXPECT_THAT(p.node.reachable, ElementsAre(true, false, true));
  EXPECT_EQ(p.head.resets + p.node.resets, 0) << "a cut is no reset";
}

TEST(Session, AnEchoThatComesTooLateDoesNotMakeReachable) {
  Pair p;
  p.head.out.clear();
  p.head.TickAt(p.head.now + 10s);
  EXPECT_THAT(p.head.reachable, ElementsAre(false)) << "nobody ever answered";
  Exchange(p.head, p.node);
  EXPECT_THAT(p.head.reachable, ElementsAre(false, true));
}

struct MisfitCase {
  const char* name;
  void (*change)(SessionOptions*);
  const char* says;
};
class SessionMisfit : public testing::TestWithParam<MisfitCase> {};

TEST_P(SessionMisfit, IsRefusedInOneSentenceOnBothSides) {
  Side head(OptionsOf(0, 100), 1);
  SessionOptions options = OptionsOf(1, 200);
  GetParam().change(&options);
  Side node(options, 2);
  for (int i = 0; i < 5; ++i) {
    Exchange(head, node);
    head.TickAt(head.now + 2s);
    node.TickAt(node.now + 2s);
  }
  ASSERT_EQ(head.refused.size(), 1u);
  ASSERT_EQ(node.refused.size(), 1u);
  EXPECT_THAT(head.refused[0], HasSubstr(GetParam().says));
  EXPECT_THAT(node.refused[0], HasSubstr(GetParam().says));
  EXPECT_FALSE(head.session.established());
  EXPECT_FALSE(node.session.established());
}

INSTANTIATE_TEST_SUITE_P(
    All, SessionMisfit,
    testing::Values(MisfitCase{"Version", [](SessionOptions* o) { o->protocol_version = 2; }, "protocol version"},
                    MisfitCase{"Cluster", [](SessionOptions* o) { o->cluster_id = 1; }, "cluster"},
                    MisfitCase{"Node", [](SessionOptions* o) { o->self = NodeId{8}; }, "node"},
                    MisfitCase{"Peer", [](SessionOptions* o) { o->peer = NodeId{9}; }, "0000000000000009"},
                    MisfitCase{"Role", [](SessionOptions* o) { o->role = Role::kHead; }, "something else"}),
    [](const auto& misfit) { return misfit.param.name; });

TEST(Session, APeerThatWasUpgradedIsLetIn) {
  Side head(OptionsOf(0, 100), 1);
  SessionOptions old = OptionsOf(1, 200);
  old.protocol_version = 2;
  Side node(old, 2);
  Exchange(head, node);
  Side upgraded(OptionsOf(1, 201), 3);
  Exchange(head, upgraded);
  EXPECT_TRUE(head.session.established());
}

TEST(Session, WhoIsNoLongerWantedIsToldSo) {
  Pair p;
  Exchange(p.head, p.node);
  p.node.Send("x");
  p.node.Flush();
  p.node.Hear(RefusalOf(p.node.out.front(), "this machine was removed from the cluster"));
  ASSERT_EQ(p.node.refused.size(), 1u);
  EXPECT_THAT(p.node.refused[0], HasSubstr("was removed from the cluster"));
  EXPECT_EQ(RefusalOf("garbage", "why"), "");
}

TEST(Session, AnAcknowledgementOfWhatWasNeverSentIsIgnored) {
  Pair p;
  Exchange(p.head, p.node);
  p.head.Send("x");
  p.head.Flush();
  p.node.Send("y");
  p.node.Flush();
  std::string frame = p.node.out.front();
  const uint64_t lie = 1000;
  frame.replace(offsetof(FrameHeader, ack), sizeof(lie), reinterpret_cast<const char*>(&lie), sizeof(lie));
  p.head.Hear(frame);
  EXPECT_TRUE(p.head.delivered.empty());
  EXPECT_GT(p.head.session.queued_bytes(), 0u);
}

TEST(Session, GarbageDoesNoHarm) {
  Rng rng(5);
  Pair p;
  Exchange(p.head, p.node);
  for (int round = 0; round < 50'000; ++round) {
    std::string frame(rng.Below(200), '\0');
    for (char& c : frame) c = static_cast<char>(rng.Next());
    if (frame.size() > 8 && rng.Chance(0.9)) {  // a header that is read on
      std::memcpy(frame.data(), &kFrameMagic, sizeof(kFrameMagic));
      frame[4] = static_cast<char>(rng.Between(0, 9));
    }
    p.head.Hear(frame);
    p.head.out.clear();
  }
  EXPECT_TRUE(p.head.delivered.empty());
  EXPECT_EQ(p.head.resets, 0);
  p.head.Send("still there");
  p.head.Flush();
  Exchange(p.head, p.node);
  EXPECT_THAT(p.node.delivered, ElementsAre("still there"));
}

// The peer itself is broken here, so that nothing is promised but that this end lives.
TEST(Session, MutatedFramesOfThePeerDoNotKill) {
  Rng rng(6);
  for (int life = 0; life < 50; ++life) {
    Pair p;
    std::vector<std::string> seen;
    for (int round = 0; round < 300; ++round) {
      for (auto [from, to] : {std::pair(&p.head, &p.node), std::pair(&p.node, &p.head)}) {
        from->Send(std::string(rng.Below(50), 'p'));
        from->TickAt(from->now + Duration(rng.Between(0, 20'000'000)));
        for (; !from->out.empty(); from->out.pop_front()) {
          seen.push_back(from->out.front());
          if (rng.Chance(0.5)) to->Hear(from->out.front());
        }
        std::string frame = seen[rng.Below(seen.size())];
        for (uint64_t flips = rng.Below(4); flips > 0; --flips) {
          frame[rng.Below(frame.size())] = static_cast<char>(rng.Next());
        }
        if (rng.Chance(0.2)) frame.resize(rng.Below(frame.size() + 1));
        to->Hear(frame);
      }
    }
  }
}

}  // namespace
}  // namespace shoal::session
