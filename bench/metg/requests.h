// What metg.py says to a program that runs graphs: a line per graph on standard input, "stencil 100 5000" for pattern, steps and iterations.
// The program answers each with a line, "0.0123 456789": the seconds it took and the leaves' sum.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <string>

#include "bench/metg/graph.h"

namespace shoal::metg {

struct Options {
  int cores, width;
};

// PROGRAM CORES WIDTH; a worker process of Shoal has neither.
inline Options OptionsFrom(int argc, char** argv) { return argc == 3 ? Options{std::atoi(argv[1]), std::atoi(argv[2])} : Options{0, 0}; }

// The next graph, nothing at the end of the input.
inline std::optional<Graph> NextGraph(const Options& options) {
  std::string pattern;
  int steps;
  uint32_t iterations;
  if (!(std::cin >> pattern >> steps >> iterations)) return std::nullopt;
  const auto known = PatternNamed(pattern);
  if (!known) return std::nullopt;
  return Graph(*known, options.width, steps, iterations);
}

inline void Answer(double seconds, uint64_t checksum) {
  std::printf("%.9f %llu\n", seconds, static_cast<unsigned long long>(checksum));
  std::fflush(stdout);
}

class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

// Answers all requests: `run` computes a graph and returns the leaves' sum.
inline void Serve(const Options& options, const std::function<uint64_t(const Graph&)>& run) {
  while (const std::optional<Graph> graph = NextGraph(options)) {
    const Stopwatch stopwatch;
    const uint64_t checksum = run(*graph);
    Answer(stopwatch.Seconds(), checksum);
  }
}

}  // namespace shoal::metg
