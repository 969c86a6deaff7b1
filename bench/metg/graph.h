// The task graphs of METG, and the work that each task does: the one definition for all systems, in C++ and, through the C functions at
// the end, in Python.
//
// A graph has `steps` rows of at most `width` points. Point (t, i) is one task; it depends on points of row t - 1:
//
//   stencil  i - 1, i, i + 1
//   fft      i and its partner of a butterfly, at distance 1, 2, 4, ... width / 2, 1, ...
//   tree     i / 2; rows double from one point to `width`
//   random   i, and each of its four nearest neighbours with probability 1/2, drawn anew for 16 rows and then repeated
//
// The patterns are those of Task Bench (Slaughter et al., SC 2020). A task folds its place and its inputs into seeds and walks `iterations`
// steps of linear congruential generators from there, as many side by side as keep a core's multiplier busy: so one task cannot overlap with the
// next inside of a core, and no compiler shortens the walk. A checker can jump, for n steps together are linear too; so whether every task
// got the right inputs and did its work is known in a moment.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace shoal::metg {

enum class Pattern { kStencil, kFft, kTree, kRandom };

std::optional<Pattern> PatternNamed(std::string_view name);

// Columns of the row before, in rising order.
struct Columns {
  int count = 0;
  std::array<int, 5> at{};
  const int* begin() const { return at.data(); }
  const int* end() const { return at.data() + count; }
};

class Graph {
 public:
  // fft and tree need a width that is a power of two.
  Graph(Pattern pattern, int width, int steps, uint32_t iterations);

  Pattern pattern() const { return pattern_; }
  int width() const { return width_; }
  int steps() const { return steps_; }
  uint32_t iterations() const { return iterations_; }

  int WidthAt(int t) const { return pattern_ == Pattern::kTree && t < levels_ ? 1 << t : width_; }
  const Columns& Predecessors(int t, int i) const {
    return t == 0 ? none_ : rows_[static_cast<size_t>(t) % rows_.size()][static_cast<size_t>(i)];
  }
  // No point depends on this one, so its value belongs to the checksum.
  bool IsLeaf(int t, int i) const { return t == steps_ - 1 || (pattern_ == Pattern::kTree && 2 * i >= WidthAt(t + 1)); }
  int64_t Tasks() const;
  // The sum of the leaves' values, computed in sequence and with jumps.
  uint64_t Checksum() const;

 private:
  const Pattern pattern_;
  const int width_, steps_;
  const uint32_t iterations_;
  const int levels_;                        // log2 of the width
  std::vector<std::vector<Columns>> rows_;  // predecessors of row t are rows_[t mod size]
  const Columns none_{};
};

// What task (t, i) does: burns `iterations` and returns a number of 31 bits that is never 0.
uint32_t Point(int t, int i, uint32_t iterations, std::span<const uint32_t> inputs);

}  // namespace shoal::metg

// For Python, by ctypes.
extern "C" {
const shoal::metg::Graph* metg_graph_new(const char* pattern, int width, int steps, uint32_t iterations);
void metg_graph_delete(const shoal::metg::Graph* graph);
int metg_graph_width_at(const shoal::metg::Graph* graph, int t);
int metg_graph_predecessors(const shoal::metg::Graph* graph, int t, int i, int* columns);
bool metg_graph_is_leaf(const shoal::metg::Graph* graph, int t, int i);
int64_t metg_graph_tasks(const shoal::metg::Graph* graph);
uint64_t metg_graph_checksum(const shoal::metg::Graph* graph);
uint32_t metg_point(int t, int i, uint32_t iterations, int count, const uint32_t* inputs);
}
