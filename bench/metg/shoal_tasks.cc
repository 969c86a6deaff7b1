// METG of the C++ SDK: each point is a task, and gets its predecessors as references.
#include <vector>

#include "bench/metg/requests.h"
#include "runtime/sdk/shoal.h"

namespace shoal::metg {
namespace {

using Ref = ObjectRef<uint32_t>;

template <class... Inputs>
uint32_t RunPoint(int t, int i, uint32_t iterations, Inputs... inputs) {
  const std::array<uint32_t, sizeof...(Inputs)> all{inputs...};
  return Point(t, i, iterations, all);
}

template <class... Inputs>
Ref Submit(int t, int i, uint32_t iterations, const ObjectRef<Inputs>&... inputs) {
  static const Task<RunPoint<Inputs...>> task;
  return task.Remote(t, i, iterations, inputs...);
}

Ref SubmitPoint(const Graph& graph, int t, int i, const std::vector<Ref>& before) {
  const Columns& from = graph.Predecessors(t, i);
  const auto input = [&](size_t k) -> const Ref& { return before[static_cast<size_t>(from.at[k])]; };
  const uint32_t n = graph.iterations();
  switch (from.count) {
    case 0:
      return Submit(t, i, n);
    case 1:
      return Submit(t, i, n, input(0));
    case 2:
      return Submit(t, i, n, input(0), input(1));
    case 3:
      return Submit(t, i, n, input(0), input(1), input(2));
    case 4:
      return Submit(t, i, n, input(0), input(1), input(2), input(3));
    default:
      return Submit(t, i, n, input(0), input(1), input(2), input(3), input(4));
  }
}

uint64_t Run(const Graph& graph) {
  std::vector<Ref> before, row, leaves;
  for (int t = 0; t < graph.steps(); ++t, before.swap(row)) {
    row.clear();
    for (int i = 0; i < graph.WidthAt(t); ++i) {
      row.push_back(SubmitPoint(graph, t, i, before));
      if (graph.IsLeaf(t, i)) leaves.push_back(row.back());
    }
  }
  uint64_t sum = 0;
  for (const uint32_t value : Get(leaves)) sum += value;
  return sum;
}

}  // namespace
}  // namespace shoal::metg

int main(int argc, char** argv) {
  const shoal::metg::Options options = shoal::metg::OptionsFrom(argc, argv);
  shoal::Init(argc, argv, {.address = "local", .num_cpus = static_cast<double>(options.cores)});
  shoal::metg::Serve(options, shoal::metg::Run);
}
