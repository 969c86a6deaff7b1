// What happens next in a simulation: a binary heap of small events ordered by (time, sequence), so that two
// events of one instant happen in the order in which they were asked for, in every run.
//
//   EventQueue queue;
//   queue.Push({.time_ns = 5'000, .kind = EventKind::kTick, .process = 3});
//   while (!queue.empty()) Handle(queue.Pop());
//
// Events carry numbers only; what they mean (a frame, a callback) lies in the pools of the cluster.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"

namespace shoal::sim {

enum class EventKind : uint8_t {
  kTick,      // a machine's deadline; stale ones are told by time
  kFrame,     // a session frame arrives at a raylet or the head; slot: the frame
  kChannel,   // the oldest message of a local channel arrives; slot: the channel
  kCallback,  // slot: a function of a workload, a fault or the language runtime
  kWake,      // a paused or busy process goes on with its inbox
};

struct Event {
  int64_t time_ns = 0;      // global simulated time
  uint64_t sequence = 0;    // filled in by Push
  EventKind kind = EventKind::kTick;
  uint32_t process = 0;     // whom it is for; frames: the machine, whoever is its daemon then
  uint32_t slot = 0;
};

class EventQueue {
 public:
  EventQueue() { heap_.reserve(1024); }

  void Push(Event event) {
    event.sequence = next_sequence_++;
    heap_.push_back(event);
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }
  // The earliest event; the queue must not be empty.
  Event Pop() {
    SHOAL_CHECK(!heap_.empty());
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    const Event event = heap_.back();
    heap_.pop_back();
    return event;
  }
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  int64_t next_time_ns() const { return heap_.front().time_ns; }

 private:
  static bool Later(const Event& a, const Event& b) {
    return a.time_ns != b.time_ns ? a.time_ns > b.time_ns : a.sequence > b.sequence;
  }

  std::vector<Event> heap_;
  uint64_t next_sequence_ = 0;
};

// Values at fixed numbers, whose places are used again.
template <class T>
class SlotPool {
 public:
  uint32_t Add(T value) {
    if (free_.empty()) {
      slots_.push_back(std::move(value));
      return static_cast<uint32_t>(slots_.size() - 1);
    }
    const uint32_t slot = free_.back();
    free_.pop_back();
    slots_[slot] = std::move(value);
    return slot;
  }
  T Take(uint32_t slot) {
    T value = std::move(slots_[slot]);
    slots_[slot] = T{};
    free_.push_back(slot);
    return value;
  }
  size_t used() const { return slots_.size() - free_.size(); }

 private:
  std::vector<T> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace shoal::sim
