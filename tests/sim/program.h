// What simulated tasks do: a few operations, encoded as the arguments of a task, whose results anybody can compute in advance.
#pragma once

#include <cstdint>

#include "base/fields.h"

namespace shoal::sim {

enum class Op : uint8_t {
  kEcho,         // -> Mix(tag)
  kSum,          // -> tag + the sum of the arguments given as references
  kNested,       // submits `count` tasks (kNested while depth > 0, then kEcho), blocks in get -> NestedResult
  kLarge,        // -> Mix(tag), stored, `size` bytes
  kReturnRef,    // puts Mix(tag) and returns tag with a reference to it inside; size > 0: the inner value is stored
  kReadNested,   // borrows the references inside its arguments, gets them -> tag + their sum
  kRaise,        // user code raises while attempt < count -> Mix(tag)
  kActorInit,    // constructor
  kAppend,       // actor: appends (caller, tag) to its state -> tag
  kHold,         // actor: keeps the references inside its arguments in its state -> tag
  kReadHeld,     // actor: gets what it keeps -> tag + their sum
  kDropHeld,     // actor: lets go of what it keeps -> tag
  kLeave,        // actor: exit_actor
  kIdentity,     // actor: -> its id
};

struct Program {
  Op op = Op::kEcho;
  uint64_t tag = 0;
  int64_t duration_ns = 0;
  uint32_t count = 0;
  uint32_t depth = 0;
  uint64_t size = 0;
  int64_t child_ns = 0;     // duration of the tasks that kNested submits
  uint32_t cpu_hundredths = 100;  // what its shape asks for; normal tasks
  bool at_most_once = false;  // the observer fails the run if this call runs twice
  template <class V> void Fields(V& v) { v(op, tag, duration_ns, count, depth, size, child_ns, cpu_hundredths, at_most_once); }
};

// A value as simulated programs see it: one number. A stored value of any size has this number as its content.
struct Number {
  uint64_t value = 0;
  template <class V> void Fields(V& v) { v(value); }
};

inline uint64_t Mix(uint64_t tag) { return StableHash(Number{tag}) >> 8; }
inline uint64_t ChildTag(uint64_t tag, uint32_t i) { return Mix(tag * 31 + i + 1); }

inline uint64_t NestedResult(uint64_t tag, uint32_t count, uint32_t depth) {
  uint64_t sum = tag;
  for (uint32_t i = 0; i < count; ++i) {
    sum += depth > 0 ? NestedResult(ChildTag(tag, i), count, depth - 1) : Mix(ChildTag(tag, i));
  }
  return sum;
}

}  // namespace shoal::sim
