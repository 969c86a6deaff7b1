// The policies by themselves: bitmap, labels, fit index, plans for bundles.
#include <algorithm>
#include <set>

#include "gtest/gtest.h"
#include "scheduler/policy/bitmap.h"
#include "scheduler/policy/fit_index.h"
#include "scheduler/policy/plan_bundles.h"
#include "schema/labels.h"

namespace shoal::scheduler {
namespace {

ResourceSet Cpu(double n) { return ResourceSet::Of({{"CPU", n}}); }

TEST(Bitmap, AgreesWithASetUnderRandomOperations) {
  Rng rng(7);
  for (uint32_t size : {1u, 63u, 64u, 65u, 4096u, 4097u, 10'000u}) {
    Bitmap bitmap;
    bitmap.Resize(size);
    std::set<uint32_t> set;
    for (int i = 0; i < 3000; ++i) {
      const uint32_t x = static_cast<uint32_t>(rng.Below(size));
      if (rng.Chance(0.5)) {
        EXPECT_EQ(bitmap.Set(x), set.insert(x).second);
      } else {
        bitmap.Clear(x);
        set.erase(x);
      }
      const uint32_t from = static_cast<uint32_t>(rng.Below(size));
      const auto next = set.lower_bound(from);
      ASSERT_EQ(bitmap.Next(from), next == set.end() ? Bitmap::kNone : *next);
      ASSERT_EQ(bitmap.NextCyclic(from), set.empty() ? Bitmap::kNone : next == set.end() ? *set.begin() : *next);
      ASSERT_EQ(bitmap.count(), set.size());
      ASSERT_EQ(bitmap.Test(x), set.contains(x));
    }
  }
}

TEST(Bitmap, ASearchBeyondTheEndGoesRound) {
  Bitmap bitmap;
  bitmap.Resize(64);
  EXPECT_EQ(bitmap.NextCyclic(1000), Bitmap::kNone);
  bitmap.Set(3);
  EXPECT_EQ(bitmap.NextCyclic(64), 3u);
}

TEST(Labels, ConditionsMeanWhatTheySay) {
  const std::string a = "a";
  EXPECT_TRUE(LabelMatches("a", &a));
  EXPECT_FALSE(LabelMatches("b", &a));
  EXPECT_FALSE(LabelMatches("a", nullptr));
  EXPECT_TRUE(LabelMatches("!b", &a));
  EXPECT_TRUE(LabelMatches("!b", nullptr)) << "an absent label is not b";
  EXPECT_FALSE(LabelMatches("!a", &a));
  EXPECT_TRUE(LabelMatches("in(b, a)", &a));
  EXPECT_FALSE(LabelMatches("in(b,c)", &a));
  EXPECT_FALSE(LabelMatches("in()", &a));
  EXPECT_TRUE(LabelMatches("!in(b,c)", &a));
  EXPECT_FALSE(LabelMatches("!in(a)", &a));
  EXPECT_EQ(LabelMismatch({{"zone", "b"}}, {{"zone", "a"}}), "label zone is \"a\", wanted b");
}

TEST(FitIndex, KnowsWhereWhatFitsAsRoomComesAndGoes) {
  FitIndex index;
  const uint32_t small = index.AddNode(Cpu(1), {}), large = index.AddNode(Cpu(8), {});
  const NeedId two = index.Intern({.resources = Cpu(2)});
  EXPECT_FALSE(index.AnyFits(two)) << "nothing before the first report";
  index.SetAvailable(small, Cpu(1));
  index.SetAvailable(large, Cpu(8));
  EXPECT_TRUE(index.TakeGrew());
  EXPECT_FALSE(index.Fits(two, small));
  EXPECT_TRUE(index.CouldFit(two, large));
  EXPECT_FALSE(index.CouldFit(two, small));
  index.Take(large, two, 4);
  EXPECT_FALSE(index.AnyFits(two));
  EXPECT_FALSE(index.TakeGrew());
  index.Give(large, two, 1);
  EXPECT_TRUE(index.Fits(two, large));
  EXPECT_TRUE(index.TakeGrew());
  index.Exclude(large, two);
  EXPECT_FALSE(index.AnyFits(two));
  bool never = true;
  EXPECT_EQ(index.WhyNot(two, large, &never), "it refused just now");
  EXPECT_FALSE(never);
  EXPECT_EQ(index.WhyNot(two, small, &never), "it has 1 CPU in all, 2 wanted");
  EXPECT_TRUE(never);
  index.RemoveNode(large);
  EXPECT_EQ(index.AddNode(Cpu(4), {}), large) << "slots are used again";
  index.SetAvailable(large, Cpu(4));
  EXPECT_TRUE(index.Fits(two, large)) << "and know nothing of who was there before";
  index.CheckInvariants();
}

TEST(FitIndex, ANeedIsSharedByItsUsersAndDroppedWithTheLast) {
  FitIndex index;
  index.SetAvailable(index.AddNode(Cpu(1), {}), Cpu(1));
  const NeedId a = index.Intern({.resources = Cpu(1)}), b = index.Intern({.resources = Cpu(1)});
  EXPECT_EQ(a, b);
  EXPECT_NE(index.Intern({.resources = Cpu(1), .salt = 3}), a);
  index.Release(a);
  EXPECT_TRUE(index.AnyFits(b));
  index.Release(b);
  index.CheckInvariants();
}

TEST(FitIndex, RandomUseKeepsItsInvariants) {
  Rng rng(11);
  FitIndex index;
  std::vector<uint32_t> nodes;
  std::vector<NeedId> needs;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t what = rng.Below(6);
    if (what == 0 || nodes.empty()) {
      nodes.push_back(index.AddNode(Cpu(static_cast<double>(rng.Between(1, 8))), {{"zone", rng.Chance(0.5) ? "a" : "b"}}));
    } else if (what == 1 || needs.empty()) {
      Need need{.resources = Cpu(static_cast<double>(rng.Between(1, 4)))};
      if (rng.Chance(0.3)) need.labels = {{"zone", "a"}};
      needs.push_back(index.Intern(need));
    } else if (what == 2 && nodes.size() > 5) {
      index.RemoveNode(nodes.back());
      nodes.pop_back();
    } else if (what == 3 && needs.size() > 5) {
      index.Release(needs.back());
      needs.pop_back();
    } else if (what == 4) {
      index.SetAvailable(nodes[rng.Below(nodes.size())], Cpu(static_cast<double>(rng.Between(1, 8))));
    } else if (const uint32_t slot = index.BetterOfTwo(needs[rng.Below(needs.size())], rng); slot != FitIndex::kNone) {
      index.Take(slot, needs[0], 1);
    }
    if (i % 50 == 0) index.CheckInvariants();
  }
}

TEST(FitIndex, BetterOfTwoPrefersTheEmptyNode) {
  FitIndex index;
  const uint32_t busy = index.AddNode(Cpu(100), {}), idle = index.AddNode(Cpu(100), {});
  index.SetAvailable(busy, Cpu(2));
  index.SetAvailable(idle, Cpu(100));
  const NeedId one = index.Intern({.resources = Cpu(1)});
  Rng rng(3);
  int to_idle = 0;
  for (int i = 0; i < 1000; ++i) to_idle += index.BetterOfTwo(one, rng) == idle ? 1 : 0;
  EXPECT_GT(to_idle, 650);  // three of four pairs contain it
}

// ---- bundles

class Plans : public testing::Test {
 protected:
  uint32_t Node(double cpus, StringMap labels = {}) {
    const uint32_t slot = index_.AddNode(Cpu(cpus), labels);
    index_.SetAvailable(slot, Cpu(cpus));
    return slot;
  }
  std::optional<std::vector<uint32_t>> Plan(PackStrategy strategy, std::vector<Need> bundles, std::vector<uint32_t> held = {}) {
    BundlePlan plan;
    plan.strategy = strategy;
    plan.held = std::move(held);
    Need sum;
    for (const Need& bundle : bundles) {
      plan.needs.push_back(index_.Intern(bundle));
      sum.resources += bundle.resources;
      sum.labels.insert(sum.labels.end(), bundle.labels.begin(), bundle.labels.end());
    }
    plan.all_in_one = index_.Intern(sum);
    auto slots = PlanBundles(index_, plan, rng_);
    index_.CheckInvariants();
    return slots;
  }
  static std::vector<Need> Bundles(std::vector<double> cpus) {
    std::vector<Need> needs;
    for (double c : cpus) needs.push_back({.resources = Cpu(c)});
    return needs;
  }

  FitIndex index_;
  Rng rng_{5};
};

TEST_F(Plans, AreThoughtThroughWithoutATrace) {
  Node(4);
  index_.TakeGrew();
  EXPECT_TRUE(Plan(PackStrategy::kPack, Bundles({2, 2})).has_value());
  EXPECT_TRUE(Plan(PackStrategy::kPack, Bundles({2, 2})).has_value()) << "nothing was taken";
  EXPECT_FALSE(Plan(PackStrategy::kPack, Bundles({2, 2, 1})).has_value());
  EXPECT_FALSE(index_.TakeGrew()) << "a plan must not look like room that has become free";
}

TEST_F(Plans, StrictSpreadIsFoundWheneverItExists) {
  // Bundle 0 fits on both, bundle 1 on one only: greed would take the wrong one half of the time.
  Node(4, {{"zone", "a"}});
  Node(4, {{"zone", "b"}});
  for (int i = 0; i < 20; ++i) {
    std::vector<Need> bundles = Bundles({1, 1});
    bundles[1].labels = {{"zone", "a"}};
    ASSERT_TRUE(Plan(PackStrategy::kStrictSpread, bundles).has_value());
  }
  EXPECT_FALSE(Plan(PackStrategy::kStrictSpread, Bundles({1, 1, 1})).has_value());
}

TEST_F(Plans, StrictSpreadAvoidsTheNodesOfBundlesThatStay) {
  const uint32_t held = Node(4);
  EXPECT_FALSE(Plan(PackStrategy::kStrictSpread, Bundles({1}), {held}).has_value());
  const uint32_t other = Node(4);
  EXPECT_EQ(Plan(PackStrategy::kStrictSpread, Bundles({1}), {held}), (std::vector<uint32_t>{other}));
}

TEST_F(Plans, StrictPackGoesToOneNodeOrNowhere) {
  Node(3);
  EXPECT_FALSE(Plan(PackStrategy::kStrictPack, Bundles({2, 2})).has_value());
  const uint32_t large = Node(4);
  EXPECT_EQ(Plan(PackStrategy::kStrictPack, Bundles({2, 2})), (std::vector<uint32_t>{large, large}));
}

TEST_F(Plans, PackPlacesTheLargestFirst) {
  Node(2);
  const uint32_t large = Node(4);
  const auto slots = Plan(PackStrategy::kPack, Bundles({1, 1, 4}));
  ASSERT_TRUE(slots.has_value());
  EXPECT_EQ((*slots)[2], large);
}

TEST_F(Plans, SpreadReusesNodesOnlyIfItMust) {
  for (int i = 0; i < 6; ++i) Node(2);
  const auto six = Plan(PackStrategy::kSpread, Bundles({1, 1, 1, 1, 1, 1}));
  ASSERT_TRUE(six.has_value());
  EXPECT_EQ(std::set<uint32_t>(six->begin(), six->end()).size(), 6u);
  EXPECT_TRUE(Plan(PackStrategy::kSpread, Bundles(std::vector<double>(12, 1))).has_value());
  EXPECT_FALSE(Plan(PackStrategy::kSpread, Bundles(std::vector<double>(13, 1))).has_value());
}

}  // namespace
}  // namespace shoal::scheduler
