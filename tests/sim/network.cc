#include "tests/sim/network.h"

#include <algorithm>

namespace shoal::sim {

Network::Network(const NetworkOptions& options, Rng rng, uint32_t machines)
    : options_(options), rng_(rng), machines_(machines), links_(static_cast<size_t>(machines) * machines) {}

// An integer stand-in for the exponential distribution (sum of geometric halves), so that no platform's libm decides a trace.
int64_t Network::Exponential(int64_t mean_ns) {
  if (mean_ns <= 0) return 0;
  const uint64_t bits = rng_.Next();
  const int64_t halves = __builtin_ctzll(bits | (1ull << 20));
  return (halves * mean_ns + static_cast<int64_t>((bits >> 32) % static_cast<uint64_t>(mean_ns))) * 2 / 3;
}

int64_t Network::Arrival(Link& link, int64_t now_ns, size_t bytes) {
  int64_t at = std::max(now_ns, link.clogged_until_ns) + options_.delay_ns_min +
               Exponential(options_.delay_ns_mean) +
               static_cast<int64_t>(static_cast<double>(bytes) / options_.bytes_per_ns);
  const bool overtakes = options_.reordering > 0 && rng_.Chance(options_.reordering);
  if (!overtakes) at = std::max(at, link.last_arrival_ns + 1);
  link.last_arrival_ns = std::max(link.last_arrival_ns, at);
  return at;
}

int Network::Send(int64_t now_ns, uint32_t from, uint32_t to, size_t bytes, int64_t* arrivals_ns) {
  ++sent_;
  Link& link = Of(from, to);
  if (link.cut || (options_.loss > 0 && rng_.Chance(options_.loss))) {
    ++lost_;
    return 0;
  }
  arrivals_ns[0] = Arrival(link, now_ns, bytes);
  if (options_.duplication == 0 || !rng_.Chance(options_.duplication)) return 1;
  arrivals_ns[1] = Arrival(link, now_ns, bytes);
  return 2;
}

int64_t Network::Transfer(int64_t now_ns, uint32_t from, uint32_t to, uint64_t bytes) {
  const Link& link = Of(from, to);
  return std::max(now_ns, link.clogged_until_ns) + 2 * options_.delay_ns_min + Exponential(options_.delay_ns_mean) +
         static_cast<int64_t>(static_cast<double>(bytes) / options_.bytes_per_ns);
}

void Network::Clog(uint32_t from, uint32_t to, int64_t until_ns) {
  Link& link = Of(from, to);
  link.clogged_until_ns = std::max(link.clogged_until_ns, until_ns);
}

void Network::Heal() {
  options_.loss = options_.duplication = options_.reordering = 0;
  for (Link& link : links_) {
    link.cut = false;
    link.clogged_until_ns = 0;
  }
}

}  // namespace shoal::sim
