#include "schema/cluster_nodes.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

NodeInfo Node(uint64_t id, uint64_t incarnation = 1) { return {.id = NodeId{id}, .incarnation = incarnation}; }

ClusterNodes News(std::vector<NodeInfo> nodes, std::vector<NodeId> gone, const std::vector<NodeInfo>& result) {
  ClusterNodes news{.epoch = 3, .nodes = std::move(nodes), .whole = false, .gone = std::move(gone)};
  for (const NodeInfo& node : result) news.digest += DigestOf(node);
  return news;
}

TEST(ClusterNodesTest, NewsAddReplaceAndRemove) {
  ClusterNodes level;
  ASSERT_TRUE(TakeOver({.epoch = 3, .nodes = {Node(1), Node(2), Node(3)}}, &level));
  const ClusterNodes news = News({Node(2, 7), Node(4)}, {NodeId{1}}, {Node(2, 7), Node(3), Node(4)});
  for (int times = 0; times < 2; ++times) {
    ASSERT_TRUE(TakeOver(ClusterNodes(news), &level));
    ASSERT_EQ(level.nodes.size(), 3u);
    EXPECT_EQ(level.nodes[0].incarnation, 7u);
    EXPECT_EQ(level.nodes[2].id, NodeId{4});
    EXPECT_TRUE(level.whole);
  }
}

TEST(ClusterNodesTest, WhoMissedNewsIsTold) {
  ClusterNodes level;
  ASSERT_TRUE(TakeOver({.nodes = {Node(1)}}, &level));
  EXPECT_FALSE(TakeOver(News({}, {}, {Node(1), Node(2)}), &level)) << "2 was missed";
  EXPECT_FALSE(TakeOver(News({}, {}, {Node(1, 2)}), &level)) << "another incarnation was missed";
  EXPECT_EQ(level.nodes.size(), 1u);
}

}  // namespace
}  // namespace shoal
