// Small things that the parts of a raylet share: the turn, the outbox, and memory of what is gone.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "runtime/raylet/raylet.h"
#include "schema/messages.h"

namespace shoal::raylet {

// One call into the machine: when, and where wishes go.
struct Turn {
  TimePoint now;
  RayletActions* actions;
};

// A new message to fill in; the reference is good until the next Post.
template <class M>
M& Post(const Turn& t, const Address& to) {
  Send& send = t.actions->sends.emplace_back();
  send.to = to;
  return send.message.Become<M>();
}

inline void Note(const Turn& t, std::string subject, std::string from, std::string to, std::string reason) {
  ClusterEvent& event = t.actions->events.emplace_back();
  event.subject = std::move(subject);
  event.from = std::move(from);
  event.to = std::move(to);
  event.reason = std::move(reason);
}

inline ErrorInfo MakeError(ErrorKind kind, std::string message) {
  ErrorInfo error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

// The earlier of two deadlines, either of which may not exist.
inline void Earliest(std::optional<TimePoint>* deadline, std::optional<TimePoint> other) {
  if (other && (!*deadline || *other < **deadline)) *deadline = other;
}

// Remembers the last `limit` keys that were put in, for questions about what is gone.
template <class Key, class Value>
class Recent {
 public:
  explicit Recent(size_t limit) : limit_(limit) {}

  Value& Put(const Key& key, Value value) {
    auto [it, inserted] = by_key_.try_emplace(key, std::move(value));
    if (!inserted) return it->second = std::move(value);
    order_.push_back(key);
    if (order_.size() > limit_) {
      by_key_.erase(order_.front());
      order_.pop_front();
      it = by_key_.find(key);
    }
    return it->second;
  }
  const Value* Find(const Key& key) const {
    auto it = by_key_.find(key);
    return it == by_key_.end() ? nullptr : &it->second;
  }
  size_t size() const { return by_key_.size(); }

 private:
  const size_t limit_;
  absl::btree_map<Key, Value> by_key_;
  std::deque<Key> order_;
};

}  // namespace shoal::raylet
