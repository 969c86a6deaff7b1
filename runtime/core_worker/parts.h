// Small things that the parts of a core worker share: the turn, the outbox, pools and lists that do not allocate once warm.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "runtime/core_worker/types.h"
#include "schema/messages.h"

namespace shoal::core_worker {

// One call into the machine: when, and where wishes go.
struct Turn {
  TimePoint now;
  CoreWorkerActions* actions;
};

// Where messages leave. What a process says to itself (an actor that calls its own handle) comes back to the machine at the
// end of the turn, so that no part needs a second path for it.
class Outbox {
 public:
  explicit Outbox(Address self) : self_(self), raylet_(Address::Raylet(self.node)) {}

  // A new message to fill in; the reference is good until the next Post.
  template <class M>
  M& Post(const Turn& t, const Address& to) {
    Send& send = to == self_ ? loopback_.emplace_back() : t.actions->sends.emplace_back();
    send.to = to;
    if constexpr (std::is_same_v<M, std::variant_alternative_t<0, MessageVariant>>) {
      return std::get<0>(send.message);  // a new variant holds the first kind already
    } else {
      return send.message.Become<M>();
    }
  }
  const Address& self() const { return self_; }
  const Address& raylet() const { return raylet_; }
  std::vector<Send>& loopback() { return loopback_; }

 private:
  const Address self_;
  const Address raylet_;
  std::vector<Send> loopback_;
};

// Objects at fixed addresses; memory is kept for reuse.
template <class T>
class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  // Everything must have been deleted, or must be trivial to forget: the owner's table does it.
  ~Pool() = default;

  template <class... Args>
  T* New(Args&&... args) {
    if (free_.empty()) AddChunk();
    void* at = free_.back();
    free_.pop_back();
    return new (at) T(std::forward<Args>(args)...);
  }
  void Delete(T* object) {
    object->~T();
    free_.push_back(object);
  }

 private:
  struct Slot {
    alignas(T) unsigned char bytes[sizeof(T)];
  };
  static constexpr size_t kChunk = 64;

  void AddChunk() {
    chunks_.push_back(std::make_unique<Slot[]>(kChunk));
    for (size_t i = kChunk; i-- > 0;) free_.push_back(&chunks_.back()[i]);
  }

  std::vector<std::unique_ptr<Slot[]>> chunks_;
  std::vector<void*> free_;
};

// A queue through T::prev and T::next: removal from the middle is free, and nothing is allocated.
template <class T>
class List {
 public:
  bool empty() const { return first_ == nullptr; }
  size_t size() const { return size_; }
  T* front() const { return first_; }
  T* back() const { return last_; }

  void PushBack(T* item) { Insert(nullptr, item); }
  // Before `next`; at the end if that is null.
  void Insert(T* next, T* item) {
    T* prev = next == nullptr ? last_ : next->prev;
    item->prev = prev;
    item->next = next;
    (prev == nullptr ? first_ : prev->next) = item;
    (next == nullptr ? last_ : next->prev) = item;
    ++size_;
  }
  void Remove(T* item) {
    (item->prev == nullptr ? first_ : item->prev->next) = item->next;
    (item->next == nullptr ? last_ : item->next->prev) = item->prev;
    item->prev = item->next = nullptr;
    --size_;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
  size_t size_ = 0;
};

// The name under which the worker that ran an attempt registers the caller as a borrower of what the results contain.
inline uint64_t ResultRegistration(const TaskId& task, uint32_t attempt) {
  return (task.index << 16) | (attempt & 0xffff);
}

inline ErrorInfo MakeError(ErrorKind kind, std::string message) {
  ErrorInfo error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

inline ObjectValue ErrorValue(const ErrorInfo& error) {
  ObjectValue value;
  value.kind = ValueKind::kError;
  value.error = error;
  return value;
}

}  // namespace shoal::core_worker
