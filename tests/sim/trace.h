// The fingerprint of a run: every delivery and fault goes into one hash, so that two runs of a seed can be compared by one number;
// on request the same lines are printed for people.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "base/fields.h"

namespace shoal::sim {

class Trace {
 public:
  // Lines go to `out` (not owned); null: only the hash is kept.
  explicit Trace(std::FILE* out = nullptr) : out_(out) {}

  void Add(int64_t time_ns, uint64_t kind, uint64_t from, uint64_t to, uint64_t content) {
    for (uint64_t word : {static_cast<uint64_t>(time_ns), kind, from, to, content}) {
      hash_ = (hash_ ^ word) * 0x9e3779b97f4a7c15;
      hash_ ^= hash_ >> 31;
    }
    ++events_;
  }
  bool verbose() const { return out_ != nullptr; }
  void Line(int64_t time_ns, const std::string& text) {
    if (out_ == nullptr) return;
    std::fprintf(out_, "%13.6f %s\n", static_cast<double>(time_ns) * 1e-6, text.c_str());
  }
  // As Line, and part of the fingerprint: faults and what workloads see.
  void Note(int64_t time_ns, const std::string& text) {
    Add(time_ns, 0x6e6f7465, 0, 0, StableHash(text));
    Line(time_ns, text);
  }

  uint64_t hash() const { return hash_; }
  uint64_t events() const { return events_; }

 private:
  std::FILE* out_;
  uint64_t hash_ = 0x5eed;
  uint64_t events_ = 0;
};

}  // namespace shoal::sim
