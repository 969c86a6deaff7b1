// METG of threads that share a table of atomic values and spin until a predecessor's value is there: about the least a task can cost.
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "bench/metg/requests.h"

namespace shoal::metg {
namespace {

// One column after the other, so that threads write different cache lines. 0 means "not yet".
class Table {
 public:
  explicit Table(const Graph& graph) : steps_(static_cast<size_t>(graph.steps())), values_(static_cast<size_t>(graph.width()) * steps_) {}

  void Set(int t, int i, uint32_t value) { At(t, i).store(value, std::memory_order_release); }
  uint32_t Await(int t, int i) {
    while (true) {
      if (const uint32_t value = At(t, i).load(std::memory_order_acquire)) return value;
      __builtin_ia32_pause();
    }
  }

 private:
  std::atomic<uint32_t>& At(int t, int i) { return values_[static_cast<size_t>(i) * steps_ + static_cast<size_t>(t)]; }

  const size_t steps_;
  std::vector<std::atomic<uint32_t>> values_;
};

uint64_t RunColumns(const Graph& graph, int begin, int end, Table* table) {
  uint64_t sum = 0;
  for (int t = 0; t < graph.steps(); ++t) {
    for (int i = begin; i < std::min(end, graph.WidthAt(t)); ++i) {
      std::array<uint32_t, 5> inputs;
      size_t count = 0;
      for (int j : graph.Predecessors(t, i)) inputs[count++] = table->Await(t - 1, j);
      const uint32_t value = Point(t, i, graph.iterations(), {inputs.data(), count});
      table->Set(t, i, value);
      if (graph.IsLeaf(t, i)) sum += value;
    }
  }
  return sum;
}

uint64_t Run(const Graph& graph, int cores) {
  Table table(graph);
  std::vector<uint64_t> sums(static_cast<size_t>(cores));
  std::vector<std::thread> threads;
  for (int k = 0; k < cores; ++k) {
    threads.emplace_back(
        [&, k] { sums[static_cast<size_t>(k)] = RunColumns(graph, k * graph.width() / cores, (k + 1) * graph.width() / cores, &table); });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (uint64_t part : sums) sum += part;
  return sum;
}

}  // namespace
}  // namespace shoal::metg

int main(int argc, char** argv) {
  const shoal::metg::Options options = shoal::metg::OptionsFrom(argc, argv);
  shoal::metg::Serve(options, [&](const shoal::metg::Graph& graph) { return shoal::metg::Run(graph, options.cores); });
}
