// Creations and pulls that wait for memory, first come first served, each until its deadline.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "base/ids.h"
#include "base/time.h"

namespace shoal::objectstore {

// Either a creation (worker, request) or a pull (object).
struct Wish {
  TimePoint deadline;
  uint64_t size = 0;
  WorkerId worker;
  RequestId request;
  ObjectId object;
};

class RoomQueue {
 public:
  explicit RoomQueue(uint32_t limit) : limit_(limit) {}

  // False if too many wait. A wish that waits already is not entered twice.
  bool Push(const Wish& wish);
  // For every wish in order: `serve(wish)` says whether it is served. Stops after a few that were not, so that a long queue costs
  // little each time a little memory becomes free.
  template <class Serve>
  void ServeInOrder(Serve&& serve) {
    int refused = 0;
    for (auto it = wishes_.begin(); it != wishes_.end() && refused < kRefusals;) {
      const auto [place, wish] = *it;
      if (!serve(wish)) {
        ++refused;
      } else if (wishes_.erase(place) > 0) {  // serving may have removed it, or others
        known_.erase(KeyOf(wish));
      }
      it = wishes_.upper_bound(place);
    }
  }
  // The oldest wish, if its time is over.
  std::optional<Wish> TakeOverdue(TimePoint now);
  void RemovePull(const ObjectId& object) {
    if (WaitsFor(object)) RemoveIf([&](const Wish& wish) { return wish.object == object; });
  }
  void RemoveCreationsOf(WorkerId worker) {
    RemoveIf([&](const Wish& wish) { return !wish.object && wish.worker == worker; });
  }

  bool empty() const { return wishes_.empty(); }
  size_t size() const { return wishes_.size(); }
  bool WaitsFor(const ObjectId& object) const { return known_.contains({WorkerId{}, RequestId{}, object}); }
  std::optional<TimePoint> NextDeadline() const {
    if (wishes_.empty()) return std::nullopt;
    return wishes_.begin()->second.deadline;
  }

 private:
  static constexpr int kRefusals = 16;
  using Key = std::tuple<WorkerId, RequestId, ObjectId>;
  static Key KeyOf(const Wish& wish) {
    if (wish.object) return {WorkerId{}, RequestId{}, wish.object};
    return {wish.worker, wish.request, ObjectId{}};
  }
  template <class Matches>
  void RemoveIf(Matches&& matches) {
    for (auto it = wishes_.begin(); it != wishes_.end();) {
      if (!matches(it->second)) {
        ++it;
        continue;
      }
      known_.erase(KeyOf(it->second));
      it = wishes_.erase(it);
    }
  }

  const uint32_t limit_;
  uint64_t next_ = 1;
  absl::btree_map<uint64_t, Wish> wishes_;  // by arrival, so by deadline too
  absl::btree_set<Key> known_;
};

inline bool RoomQueue::Push(const Wish& wish) {
  if (known_.contains(KeyOf(wish))) return true;
  if (wishes_.size() >= limit_) return false;
  known_.insert(KeyOf(wish));
  wishes_.emplace(next_++, wish);
  return true;
}

inline std::optional<Wish> RoomQueue::TakeOverdue(TimePoint now) {
  auto it = wishes_.begin();
  if (it == wishes_.end() || it->second.deadline > now) return std::nullopt;
  const Wish wish = it->second;
  known_.erase(KeyOf(wish));
  wishes_.erase(it);
  return wish;
}

}  // namespace shoal::objectstore
