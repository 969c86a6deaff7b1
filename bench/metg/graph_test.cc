#include "bench/metg/graph.h"

#include <functional>

#include "gtest/gtest.h"

namespace shoal::metg {
namespace {

using Compute = std::function<uint32_t(int t, int i, uint32_t iterations, std::vector<uint32_t> inputs)>;

uint32_t Honest(int t, int i, uint32_t iterations, const std::vector<uint32_t>& inputs) { return Point(t, i, iterations, inputs); }

// The leaves' sum when each point is computed by `compute`.
uint64_t Walk(const Graph& graph, const Compute& compute) {
  std::vector<uint32_t> before, row;
  uint64_t sum = 0;
  for (int t = 0; t < graph.steps(); ++t, before.swap(row)) {
    row.clear();
    for (int i = 0; i < graph.WidthAt(t); ++i) {
      std::vector<uint32_t> inputs;
      for (int j : graph.Predecessors(t, i)) inputs.push_back(before[static_cast<size_t>(j)]);
      row.push_back(compute(t, i, graph.iterations(), inputs));
      if (graph.IsLeaf(t, i)) sum += row.back();
    }
  }
  return sum;
}

// Honest everywhere but at point (3, 2).
Compute WithFault(const Compute& fault) {
  return [fault](int t, int i, uint32_t iterations, const std::vector<uint32_t>& inputs) {
    return t == 3 && i == 2 ? fault(t, i, iterations, inputs) : Honest(t, i, iterations, inputs);
  };
}

class MetgGraph : public testing::TestWithParam<Pattern> {
 protected:
  const Graph graph_{GetParam(), /*width=*/8, /*steps=*/40, /*iterations=*/37};
};

TEST_P(MetgGraph, ChecksumByJumpsIsTheWalkedOne) { EXPECT_EQ(Walk(graph_, Honest), graph_.Checksum()); }

TEST_P(MetgGraph, OneWrongInputShows) {
  const Compute stale = [](int t, int i, uint32_t iterations, std::vector<uint32_t> inputs) {
    inputs[0] += 2;
    return Point(t, i, iterations, inputs);
  };
  EXPECT_NE(Walk(graph_, WithFault(stale)), graph_.Checksum());
}

TEST_P(MetgGraph, OneIterationLessShows) {
  const Compute lazy = [](int t, int i, uint32_t iterations, const std::vector<uint32_t>& inputs) {
    return Point(t, i, iterations - 1, inputs);
  };
  EXPECT_NE(Walk(graph_, WithFault(lazy)), graph_.Checksum());
}

TEST_P(MetgGraph, EveryPointHasASuccessorOrIsALeaf) {
  for (int t = 0; t + 1 < graph_.steps(); ++t) {
    std::vector<bool> used(static_cast<size_t>(graph_.WidthAt(t)));
    for (int i = 0; i < graph_.WidthAt(t + 1); ++i) {
      for (int j : graph_.Predecessors(t + 1, i)) used.at(static_cast<size_t>(j)) = true;
    }
    for (int i = 0; i < graph_.WidthAt(t); ++i) EXPECT_NE(used[static_cast<size_t>(i)], graph_.IsLeaf(t, i)) << t << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, MetgGraph, testing::Values(Pattern::kStencil, Pattern::kFft, Pattern::kTree, Pattern::kRandom));

}  // namespace
}  // namespace shoal::metg
