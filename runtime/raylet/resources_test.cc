#include "runtime/raylet/resources.h"

#include "base/rng.h"
#include "gtest/gtest.h"

namespace shoal::raylet {
namespace {

ResourceSet Gpus(double units) { return ResourceSet::Of({{"GPU", units}}); }

std::optional<Holding> Take(NodeResources* node, const ResourceSet& need) { return node->Take(Strategy{}, need); }

TEST(Resources, AFractionGoesWhereItFitsMostClosely) {
  NodeResources node(Gpus(3));
  Holding a = *Take(&node, Gpus(0.5)), b = *Take(&node, Gpus(0.7));
  EXPECT_EQ(DevicesOf(a), "0");
  EXPECT_EQ(DevicesOf(b), "1");
  Holding c = *Take(&node, Gpus(0.3));
  EXPECT_EQ(DevicesOf(c), "1");
  Holding d = *Take(&node, Gpus(0.0001));
  EXPECT_EQ(DevicesOf(d), "0");
  EXPECT_FALSE(Take(&node, Gpus(2)));
  Holding e = *Take(&node, Gpus(1));
  EXPECT_EQ(DevicesOf(e), "2");
  node.CheckInvariants({&a, &b, &c, &d, &e});
}

TEST(Resources, TenThousandPartsAreOneGpu) {
  NodeResources node(Gpus(1));
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(Take(&node, Gpus(0.0001))) << i;
  EXPECT_FALSE(Take(&node, Gpus(0.0001)));
}

TEST(Resources, TheNumberOfGpusNeedNotBeWhole) {
  ResourceSet total;
  total.Set(kGpu, 15'000);
  NodeResources node(total);
  Holding whole = *Take(&node, Gpus(1)), half = *Take(&node, Gpus(0.5));
  EXPECT_EQ(DevicesOf(whole), "0");
  EXPECT_EQ(DevicesOf(half), "1");
  node.CheckInvariants({&whole, &half});
}

TEST(Resources, AReleaseOfNothingIsHarmless) {
  NodeResources node(ResourceSet::Of({{"CPU", 1}}));
  Holding held = *Take(&node, ResourceSet::Of({{"CPU", 1}}));
  node.LendCpus(&held);
  node.Release(&held);
  node.Release(&held);
  node.LendCpus(&held);
  EXPECT_EQ(node.node().free(), node.node().total());
}

// Whatever is done in whatever order, the sums stay right.
TEST(Resources, RandomLivesAddUp) {
  Rng rng(11);
  NodeResources node(ResourceSet::Of({{"CPU", 8}, {"GPU", 2}, {"memory", 100}}));
  std::vector<Holding> held;
  for (int step = 0; step < 20'000; ++step) {
    const PlacementGroupId group{1 + rng.Below(2)};
    const int32_t index = static_cast<int32_t>(rng.Below(3));
    Strategy strategy;
    switch (rng.Below(9)) {
      case 0:
      case 1:
      case 2: {
        if (rng.Chance(0.5)) {
          strategy.kind = StrategyKind::kPlacementGroup;
          strategy.group = group;
          strategy.bundle = static_cast<int32_t>(rng.Between(-1, 2));
        }
        ResourceSet need;
        need.Set(kCpu, rng.Between(0, 4) * 5'000);
        need.Set(kGpu, rng.Chance(0.5) ? 0 : rng.Between(1, 10'000));
        if (std::optional<Holding> taken = node.Take(strategy, need)) held.push_back(*std::move(taken));
        break;
      }
      case 3:
      case 4:
        if (held.empty()) break;
        std::swap(held[rng.Below(held.size())], held.back());
        node.Release(&held.back());
        held.pop_back();
        break;
      case 5:
        if (!held.empty()) node.LendCpus(&held[rng.Below(held.size())]);
        break;
      case 6:
        if (!held.empty()) node.TakeBackCpus(&held[rng.Below(held.size())]);
        break;
      case 7:
        node.Prepare(FromNanoseconds(step), {{group, index, ResourceSet::Of({{"CPU", 1}, {"GPU", 0.5}})}});
        node.Commit({group, index});
        break;
      default:
        node.Return({group, index});
    }
    std::vector<const Holding*> all;
    for (const Holding& one : held) all.push_back(&one);
    node.CheckInvariants(all);
  }
  for (Holding& one : held) node.Release(&one);
  for (const BundleKey& key : node.BundlesOf(PlacementGroupId{1}, {})) node.Return(key);
  for (const BundleKey& key : node.BundlesOf(PlacementGroupId{2}, {})) node.Return(key);
  EXPECT_EQ(node.node().free(), node.node().total());
}

}  // namespace
}  // namespace shoal::raylet
