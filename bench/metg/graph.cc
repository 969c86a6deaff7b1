#include "bench/metg/graph.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/check.h"

namespace shoal::metg {
namespace {

constexpr int kRandomRows = 16;
constexpr size_t kLanes = 8;  // multiplication and addition take four cycles, and one multiplication can start in each

// x -> multiplier * x + increment modulo 2^64.
struct Linear {
  uint64_t multiplier, increment;
  uint64_t operator()(uint64_t x) const { return multiplier * x + increment; }
};

constexpr Linear kStep{6364136223846793005u, 1442695040888963407u};  // Knuth, MMIX

Linear After(Linear first, Linear then) { return {then.multiplier * first.multiplier, then(first.increment)}; }

// `count` steps at once, by squaring.
Linear Jump(uint32_t count) {
  Linear jump{1, 0};
  for (Linear power = kStep; count > 0; count >>= 1, power = After(power, power)) {
    if (count & 1) jump = After(jump, power);
  }
  return jump;
}

uint64_t Mixed(uint64_t x) {  // the finalizer of SplitMix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

using Lanes = std::array<uint64_t, kLanes>;

Lanes Seeds(int t, int i, std::span<const uint32_t> inputs) {
  uint64_t seed = Mixed(static_cast<uint64_t>(t) << 32 | static_cast<uint32_t>(i));
  for (uint32_t input : inputs) seed = Mixed(seed + input);
  Lanes lanes;
  for (size_t k = 0; k < kLanes; ++k) lanes[k] = seed ^ k;
  return lanes;
}

uint32_t Value(const Lanes& lanes) {
  uint64_t all = 0;
  for (uint64_t lane : lanes) all = Mixed(all + lane);
  return static_cast<uint32_t>(all >> 33) | 1;
}

bool Drawn(int row, int i, int j) {
  return Mixed(static_cast<uint64_t>(row) << 40 | static_cast<uint64_t>(i) << 20 | static_cast<uint64_t>(j)) & 1;
}

bool DependsOn(Pattern pattern, int levels, int row, int i, int j) {
  switch (pattern) {
    case Pattern::kStencil:
      return std::abs(i - j) <= 1;
    case Pattern::kFft:
      return i == j || (i ^ j) == 1 << ((row + levels - 1) % levels);
    case Pattern::kTree:
      return j == i / 2;
    case Pattern::kRandom:
      return i == j || (std::abs(i - j) <= 2 && Drawn(row, i, j));
  }
  return false;
}

}  // namespace

std::optional<Pattern> PatternNamed(std::string_view name) {
  constexpr std::string_view kNames[] = {"stencil", "fft", "tree", "random"};
  const auto* found = std::ranges::find(kNames, name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<Pattern>(found - kNames);
}

Graph::Graph(Pattern pattern, int width, int steps, uint32_t iterations)
    : pattern_(pattern), width_(width), steps_(steps), iterations_(iterations), levels_(std::bit_width(static_cast<unsigned>(width)) - 1) {
  SHOAL_CHECK(width >= 2 && steps >= 1);
  const bool doubles = pattern == Pattern::kFft || pattern == Pattern::kTree;
  SHOAL_CHECK(!doubles || width == 1 << levels_);
  rows_.resize(static_cast<size_t>(pattern == Pattern::kFft ? levels_ : pattern == Pattern::kRandom ? kRandomRows : 1));
  for (size_t row = 0; row < rows_.size(); ++row) {
    for (int i = 0; i < width; ++i) {
      Columns& columns = rows_[row].emplace_back();
      for (int j = 0; j < width; ++j) {
        if (DependsOn(pattern, levels_, static_cast<int>(row), i, j)) columns.at[static_cast<size_t>(columns.count++)] = j;
      }
    }
  }
}

int64_t Graph::Tasks() const {
  int64_t tasks = 0;
  for (int t = 0; t < steps_; ++t) tasks += WidthAt(t);
  return tasks;
}

uint64_t Graph::Checksum() const {
  const Linear jump = Jump(iterations_);
  std::vector<uint32_t> before, row, inputs;
  uint64_t sum = 0;
  for (int t = 0; t < steps_; ++t, before.swap(row)) {
    row.clear();
    for (int i = 0; i < WidthAt(t); ++i) {
      inputs.clear();
      for (int j : Predecessors(t, i)) inputs.push_back(before[static_cast<size_t>(j)]);
      Lanes lanes = Seeds(t, i, inputs);
      for (uint64_t& lane : lanes) lane = jump(lane);
      row.push_back(Value(lanes));
      if (IsLeaf(t, i)) sum += row.back();
    }
  }
  return sum;
}

uint32_t Point(int t, int i, uint32_t iterations, std::span<const uint32_t> inputs) {
  Lanes lanes = Seeds(t, i, inputs);
  for (uint32_t n = 0; n < iterations; ++n) {
    for (uint64_t& lane : lanes) lane = kStep(lane);
  }
  return Value(lanes);
}

}  // namespace shoal::metg

using shoal::metg::Graph;

const Graph* metg_graph_new(const char* pattern, int width, int steps, uint32_t iterations) {
  return new Graph(*shoal::metg::PatternNamed(pattern), width, steps, iterations);
}
void metg_graph_delete(const Graph* graph) { delete graph; }
int metg_graph_width_at(const Graph* graph, int t) { return graph->WidthAt(t); }
int metg_graph_predecessors(const Graph* graph, int t, int i, int* columns) {
  const shoal::metg::Columns& predecessors = graph->Predecessors(t, i);
  std::ranges::copy(predecessors, columns);
  return predecessors.count;
}
bool metg_graph_is_leaf(const Graph* graph, int t, int i) { return graph->IsLeaf(t, i); }
int64_t metg_graph_tasks(const Graph* graph) { return graph->Tasks(); }
uint64_t metg_graph_checksum(const Graph* graph) { return graph->Checksum(); }

uint32_t metg_point(int t, int i, uint32_t iterations, int count, const uint32_t* inputs) {
  return shoal::metg::Point(t, i, iterations, {inputs, static_cast<size_t>(count)});
}
