#include "scheduler/failure_detector.h"

#include <algorithm>

namespace shoal::scheduler {
namespace {

// A tick that comes later than this after its deadline shows that the head did not run.
constexpr Duration kHeldUp = 500ms;

}  // namespace

void FailureDetector::Heard(TimePoint now, NodeId node) {
  auto [it, added] = last_heard_.try_emplace(node, now);
  if (added) {
    checks_.emplace(now + dead_after_, node);
  } else {
    it->second = std::max(it->second, now);
  }
}

std::vector<NodeId> FailureDetector::TakeSilent(TimePoint now) {
  std::vector<NodeId> silent;
  while (!checks_.empty() && checks_.begin()->first <= now) {
    const auto [due, node] = *checks_.begin();
    checks_.erase(checks_.begin());
    auto it = last_heard_.find(node);
    if (it == last_heard_.end()) continue;
    if (now - due > kHeldUp) it->second = std::max(it->second, now - dead_after_ + kHeldUp);
    if (it->second + dead_after_ > now) {
      checks_.emplace(it->second + dead_after_, node);
      continue;
    }
    silent.push_back(node);
    last_heard_.erase(it);
  }
  std::sort(silent.begin(), silent.end());
  return silent;
}

std::optional<TimePoint> FailureDetector::NextDeadline() const {
  if (checks_.empty()) return std::nullopt;
  return checks_.begin()->first;
}

std::optional<TimePoint> FailureDetector::LastHeard(NodeId node) const {
  auto it = last_heard_.find(node);
  if (it == last_heard_.end()) return std::nullopt;
  return it->second;
}

}  // namespace shoal::scheduler
