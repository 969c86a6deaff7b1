// The network between machines: it may lose, repeat, reorder, delay and withhold frames, per direction of each link.
// One options struct names every fault, as in TigerBeetle's packet simulator.
//
//   Network network(options, rng.Fork(), machines);
//   int64_t arrivals[Network::kMaxCopies];
//   int copies = network.Send(now_ns, from, to, frame.size(), arrivals);   // 0: lost
#pragma once

#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace shoal::sim {

struct NetworkOptions {
  double loss = 0;              // chance that a frame is lost, 0 to 0.3
  double duplication = 0;       // chance that it arrives twice, 0 to 0.5
  double reordering = 0;        // chance that it may overtake earlier ones
  int64_t delay_ns_min = 50'000;
  int64_t delay_ns_mean = 200'000;  // on top of the minimum, exponential
  double bytes_per_ns = 1.0;
};

class Network {
 public:
  static constexpr int kMaxCopies = 2;

  Network(const NetworkOptions& options, Rng rng, uint32_t machines);

  // When the copies of a frame sent now arrive; returns how many. Does not look at what is clogged: see HeldUntil.
  int Send(int64_t now_ns, uint32_t from, uint32_t to, size_t bytes, int64_t* arrivals_ns);
  // Loses, repeats and reorders nothing any more, and opens what is cut or clogged.
  void Heal();

  // Frames from -> to vanish while cut. For a two-way cut, cut both.
  void Cut(uint32_t from, uint32_t to, bool cut) { Of(from, to).cut = cut; }
  // Frames from -> to wait until then.
  void Clog(uint32_t from, uint32_t to, int64_t until_ns);
  bool IsCut(uint32_t from, uint32_t to) const { return links_[from * machines_ + to].cut; }

  // A bulk transfer runs over its own connection: it is late or broken off, never wrong. Returns the time of arrival.
  int64_t Transfer(int64_t now_ns, uint32_t from, uint32_t to, uint64_t bytes);

  const NetworkOptions& options() const { return options_; }
  uint64_t sent() const { return sent_; }
  uint64_t lost() const { return lost_; }

 private:
  struct Link {
    bool cut = false;
    int64_t clogged_until_ns = 0;
    int64_t last_arrival_ns = 0;
  };
  Link& Of(uint32_t from, uint32_t to) { return links_[from * machines_ + to]; }
  int64_t Arrival(Link& link, int64_t now_ns, size_t bytes);
  int64_t Exponential(int64_t mean_ns);

  NetworkOptions options_;
  Rng rng_;
  uint32_t machines_;
  std::vector<Link> links_;
  uint64_t sent_ = 0, lost_ = 0;
};

}  // namespace shoal::sim
