#include "base/resources.h"

#include <cmath>

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(ResourceSet, TenTenthsOfAGpuAreOneGpu) {
  ResourceSet gpu = ResourceSet::Of({{"GPU", 1}});
  for (int i = 0; i < 10; ++i) gpu -= ResourceSet::Of({{"GPU", 0.1}});
  EXPECT_TRUE(gpu.empty());
}

TEST(ResourceSet, ContainsComparesEveryResource) {
  const ResourceSet node = ResourceSet::Of({{"CPU", 2}, {"memory", 100}});
  EXPECT_TRUE(node.Contains(ResourceSet::Of({{"CPU", 2}})));
  EXPECT_FALSE(node.Contains(ResourceSet::Of({{"CPU", 2.0001}})));
  EXPECT_FALSE(node.Contains(ResourceSet::Of({{"GPU", 0.5}})));
  EXPECT_TRUE(node.Contains(ResourceSet()));
}

TEST(ResourceSet, RefusesWhatCannotBeAnAmount) {
  EXPECT_FALSE(ResourceSet::Parse({{"CPU", -1}}).ok());
  EXPECT_FALSE(ResourceSet::Parse({{"CPU", std::nan("")}}).ok());
  EXPECT_FALSE(ResourceSet::Parse({{"CPU", 0.00001}}).ok());
  EXPECT_FALSE(ResourceSet::Parse({{"GPU", 1.5}}).ok());
  EXPECT_FALSE(ResourceSet::Parse({{"", 1}}).ok());
}

TEST(ResourceSet, PrintsSortedByName) {
  EXPECT_EQ(ResourceSet::Of({{"GPU", 0.5}, {"CPU", 2}}).ToString(), "{CPU: 2, GPU: 0.5}");
}

}  // namespace
}  // namespace shoal
