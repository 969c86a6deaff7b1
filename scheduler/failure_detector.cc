#include "scheduler/failure_detector.h"

#include <algorithm>

namespace shoal::scheduler {
namespace {

// A tick that comes later than this after its deadline shows that the head did not run.
constexpr Duration kHeldUp = 500ms;

}  // namespace

bool FailureDetector::Heard(TimePoint now, NodeId node) {
  auto [it, added] = last_heard_.try_emplace(node, now);
  if (added) {
    checks_.emplace(now + dead_after_, node);
    suspect_checks_.emplace(now + suspect_after_, node);
    return false;
  }
  it->second = std::max(it->second, now);
  if (suspects_.erase(node) == 0) return false;
  suspect_checks_.emplace(now + suspect_after_, node);
  return true;
}

std::vector<NodeId> FailureDetector::TakeSuspects(TimePoint now) {
  std::vector<NodeId> found;
  while (!suspect_checks_.empty() && suspect_checks_.begin()->first <= now) {
    const NodeId node = suspect_checks_.begin()->second;
    suspect_checks_.erase(suspect_checks_.begin());
    auto it = last_heard_.find(node);
    if (it == last_heard_.end() || suspects_.contains(node)) continue;
    if (it->second + suspect_after_ > now) {
      suspect_checks_.emplace(it->second + suspect_after_, node);
    } else {
      suspects_.insert(node);
      found.push_back(node);
    }
  }
  return found;
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
    Forget(node);
  }
  std::sort(silent.begin(), silent.end());
  return silent;
}

std::optional<TimePoint> FailureDetector::NextDeadline() const {
  std::optional<TimePoint> next;
  if (!checks_.empty()) next = checks_.begin()->first;
  if (!suspect_checks_.empty() && (!next || suspect_checks_.begin()->first < *next)) next = suspect_checks_.begin()->first;
  return next;
}

}  // namespace shoal::scheduler
