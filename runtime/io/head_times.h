// How fast the head decides: what its machine took for each call, and of that for each lease it granted. `shoal list head`.
#pragma once

#include <cstddef>
#include <vector>

#include "base/histogram.h"
#include "base/time.h"
#include "runtime/io/json.h"
#include "schema/messages.h"

namespace shoal::io {

class HeadTimes {
 public:
  // One call of the machine, after which `sends` has more than `before`.
  void Add(Duration took, const std::vector<Send>& sends, size_t before);
  // One row; times in microseconds.
  Json Describe() const;
  void StartAnew() { *this = {}; }

 private:
  Histogram turns_;
  Histogram decisions_;  // of a turn that granted n leases, n times its nth part
};

}  // namespace shoal::io
