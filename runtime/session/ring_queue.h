// A queue whose memory is reused: it grows by doubling and does not allocate once it is warm.
//
//   RingQueue<std::string> queue;
//   queue.push_back("first");
//   queue[0];           // the oldest
//   queue.pop_front();
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"

namespace shoal::session {

template <class T>
class RingQueue {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return slots_[(head_ + i) & (slots_.size() - 1)]; }
  const T& operator[](size_t i) const { return slots_[(head_ + i) & (slots_.size() - 1)]; }

  void push_back(T&& value) {
    if (size_ == slots_.size()) Grow();
    (*this)[size_] = std::move(value);
    ++size_;
  }
  void pop_front() {
    SHOAL_CHECK(size_ > 0);
    slots_[head_] = T();
    head_ = (head_ + 1) & (slots_.size() - 1);
    --size_;
  }
  // Gives the memory back, too: what was queued for a peer that is gone may have been a lot.
  void clear() {
    slots_ = std::vector<T>();
    head_ = size_ = 0;
  }

 private:
  static constexpr size_t kFirstSlots = 64;  // a power of two, as every later number

  void Grow() {
    std::vector<T> larger(slots_.empty() ? kFirstSlots : slots_.size() * 2);
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    slots_ = std::move(larger);
    head_ = 0;
  }

  std::vector<T> slots_;
  size_t head_ = 0, size_ = 0;
};

}  // namespace shoal::session
