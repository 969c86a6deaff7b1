// METG of MPI: a rank per core owns a block of columns and sends each value to the ranks whose next row needs it.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "bench/metg/requests.h"

namespace shoal::metg {
namespace {

struct Transfer {
  int column, from, to;
};

class Rank {
 public:
  explicit Rank(const Graph& graph) : graph_(graph), before_(static_cast<size_t>(graph.width())), row_(before_.size()) {
    MPI_Comm_rank(MPI_COMM_WORLD, &self_);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks_);
    for (int t = 0; t < graph.steps(); ++t) plan_.push_back(TransfersBefore(t));
  }

  // The sum of this rank's leaves.
  uint64_t Run() {
    uint64_t sum = 0;
    for (int t = 0; t < graph_.steps(); ++t, before_.swap(row_)) {
      Exchange(plan_[static_cast<size_t>(t)]);
      for (int i = Begin(self_); i < std::min(Begin(self_ + 1), graph_.WidthAt(t)); ++i) {
        const uint32_t value = Compute(t, i);
        row_[static_cast<size_t>(i)] = value;
        if (graph_.IsLeaf(t, i)) sum += value;
      }
    }
    return sum;
  }

 private:
  int Begin(int rank) const { return rank * graph_.width() / ranks_; }

  bool Needs(int rank, int t, int column) const {
    for (int i = Begin(rank); i < std::min(Begin(rank + 1), graph_.WidthAt(t)); ++i) {
      const Columns& from = graph_.Predecessors(t, i);
      if (std::find(from.begin(), from.end(), column) != from.end()) return true;
    }
    return false;
  }

  // This rank's part in what row t needs of the row before.
  std::vector<Transfer> TransfersBefore(int t) const {
    std::vector<Transfer> transfers;
    for (int from = 0; from < ranks_; ++from) {
      for (int to = 0; to < ranks_; ++to) {
        if (from == to || (from != self_ && to != self_)) continue;
        for (int j = Begin(from); j < Begin(from + 1); ++j) {
          if (Needs(to, t, j)) transfers.push_back({j, from, to});
        }
      }
    }
    return transfers;
  }

  void Exchange(const std::vector<Transfer>& transfers) {
    requests_.clear();
    for (const auto& [column, from, to] : transfers) {
      uint32_t* value = &before_[static_cast<size_t>(column)];
      if (from == self_) {
        MPI_Isend(value, 1, MPI_UINT32_T, to, column, MPI_COMM_WORLD, &requests_.emplace_back());
      } else {
        MPI_Irecv(value, 1, MPI_UINT32_T, from, column, MPI_COMM_WORLD, &requests_.emplace_back());
      }
    }
    MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  }

  uint32_t Compute(int t, int i) const {
    std::array<uint32_t, 5> inputs;
    size_t count = 0;
    for (int j : graph_.Predecessors(t, i)) inputs[count++] = before_[static_cast<size_t>(j)];
    return Point(t, i, graph_.iterations(), {inputs.data(), count});
  }

  const Graph& graph_;
  int self_ = 0, ranks_ = 1;
  std::vector<uint32_t> before_, row_;
  std::vector<std::vector<Transfer>> plan_;  // by step
  std::vector<MPI_Request> requests_;
};

// Rank 0 reads the requests, the others hear of them here; a pattern of -1 is the end.
std::optional<Graph> NextGraphOfAll(const Options& options) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::optional<Graph> graph = rank == 0 ? NextGraph(options) : std::nullopt;
  int request[3] = {-1, 0, 0};
  if (graph)
    std::ranges::copy(std::array{static_cast<int>(graph->pattern()), graph->steps(), static_cast<int>(graph->iterations())}, request);
  MPI_Bcast(request, 3, MPI_INT, 0, MPI_COMM_WORLD);
  if (request[0] < 0) return std::nullopt;
  return Graph(static_cast<Pattern>(request[0]), options.width, request[1], static_cast<uint32_t>(request[2]));
}

void ServeAll(const Options& options) {
  while (const std::optional<Graph> graph = NextGraphOfAll(options)) {
    Rank rank(*graph);
    MPI_Barrier(MPI_COMM_WORLD);
    const Stopwatch stopwatch;
    const uint64_t part = rank.Run();
    uint64_t sum = 0;
    MPI_Reduce(&part, &sum, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Barrier(MPI_COMM_WORLD);
    int self;
    MPI_Comm_rank(MPI_COMM_WORLD, &self);
    if (self == 0) Answer(stopwatch.Seconds(), sum);
  }
}

}  // namespace
}  // namespace shoal::metg

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  shoal::metg::ServeAll(shoal::metg::OptionsFrom(argc, argv));
  MPI_Finalize();
}
