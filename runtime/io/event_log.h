// The stream of state changes (ClusterEvent) as lines of JSON in a file, for `shoal why`, the timeline and people. The file is begun anew,
// keeping one older, at kMaxBytes; a full disk costs events and nothing else.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/fd.h"
#include "schema/messages.h"

namespace shoal::io {

class EventLog {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  // "": keeps nothing.
  explicit EventLog(std::string file) : file_(std::move(file)) {}
  // Stamps them with the wall clock.
  void Add(const std::vector<ClusterEvent>& events);

 private:
  const std::string file_;
  UniqueFd fd_;
  size_t bytes_ = 0;
};

}  // namespace shoal::io
