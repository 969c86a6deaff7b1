// The simulator's own parts: a simulator that errs would excuse or accuse the wrong ones.
#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/local_clock.h"
#include "tests/sim/network.h"
#include "tests/sim/program.h"

namespace shoal::sim {
namespace {

TEST(EventQueue, EventsOfOneInstantHappenInTheOrderOfAsking) {
  EventQueue queue;
  for (uint32_t i = 0; i < 50; ++i) queue.Push({.time_ns = i % 3, .slot = i});
  std::vector<uint32_t> order;
  int64_t last = 0;
  while (!queue.empty()) {
    const Event event = queue.Pop();
    EXPECT_GE(event.time_ns, last);
    last = event.time_ns;
    if (event.time_ns == 1) order.push_back(event.slot);
  }
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), 17u);
}

TEST(SlotPool, UsesPlacesAgain) {
  SlotPool<std::vector<int>> pool;
  const uint32_t a = pool.Add({1}), b = pool.Add({2});
  EXPECT_NE(a, b);
  EXPECT_EQ(pool.Take(a), std::vector<int>{1});
  EXPECT_EQ(pool.Add({3}), a);
  EXPECT_EQ(pool.used(), 2u);
}

TEST(LocalClock, ADeadlineHasPassedWhenItsTickComes) {
  Rng rng(7);
  for (int i = 0; i < 2'000; ++i) {
    const LocalClock clock(rng.Between(0, 1'000'000'000'000), rng.Between(0, 1'000'000'000'000),
                           rng.Between(-10'000, 10'000));
    const TimePoint deadline = FromNanoseconds(rng.Between(0, 2'000'000'000'000));
    const int64_t global = clock.ToGlobal(deadline);
    EXPECT_GE(clock.ToLocal(global), deadline);
  }
}

TEST(Network, WithoutFaultsEachFrameArrivesOnceInOrder) {
  Network network({}, Rng(1), 3);
  int64_t last = 0;
  for (int i = 0; i < 1'000; ++i) {
    int64_t arrivals[Network::kMaxCopies];
    ASSERT_EQ(network.Send(i * 1'000, 1, 2, 100, arrivals), 1);
    EXPECT_GT(arrivals[0], last);
    last = arrivals[0];
  }
}

TEST(Network, ALossyOneLosesRepeatsAndReordersAboutAsOftenAsAsked) {
  Network network({.loss = 0.3, .duplication = 0.5, .reordering = 0.5}, Rng(1), 3);
  int lost = 0, twice = 0, overtaken = 0;
  int64_t last = 0;
  for (int i = 0; i < 10'000; ++i) {
    int64_t arrivals[Network::kMaxCopies];
    const int copies = network.Send(i * 10'000, 1, 2, 100, arrivals);
    lost += copies == 0;
    twice += copies == 2;
    if (copies > 0) {
      overtaken += arrivals[0] < last;
      last = std::max(last, arrivals[0]);
    }
  }
  EXPECT_NEAR(lost, 3'000, 300);
  EXPECT_NEAR(twice, 3'500, 300);
  EXPECT_GT(overtaken, 500);
}

TEST(Network, ACutIsOneWayAndEndsWithHealing) {
  Network network({}, Rng(1), 3);
  int64_t arrivals[Network::kMaxCopies];
  network.Cut(1, 2, true);
  EXPECT_EQ(network.Send(0, 1, 2, 1, arrivals), 0);
  EXPECT_EQ(network.Send(0, 2, 1, 1, arrivals), 1);
  network.Heal();
  EXPECT_EQ(network.Send(0, 1, 2, 1, arrivals), 1);
}

TEST(Network, AClogHoldsFramesBackUntilItsEnd) {
  Network network({}, Rng(1), 3);
  int64_t arrivals[Network::kMaxCopies];
  network.Clog(1, 2, 1'000'000'000);
  ASSERT_EQ(network.Send(0, 1, 2, 1, arrivals), 1);
  EXPECT_GE(arrivals[0], 1'000'000'000);
}

TEST(Program, ResultsOfNestedTasksCanBeToldInAdvance) {
  EXPECT_EQ(NestedResult(5, 0, 0), 5u);
  EXPECT_EQ(NestedResult(5, 1, 0), 5 + Mix(ChildTag(5, 0)));
  EXPECT_EQ(NestedResult(5, 1, 1), 5 + NestedResult(ChildTag(5, 0), 1, 0));
}

}  // namespace
}  // namespace shoal::sim
