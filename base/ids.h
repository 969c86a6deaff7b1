// Names of things. Every id is a 64-bit number with a type of its own, so that a node can never be
// passed where a worker is meant; objects and tasks are named by their owner and a counter, so that
// whoever holds a reference knows whom to ask about it.
//
//   WorkerId self = WorkerId{rng.Next()};
//   TaskId task{self, 17};
//   ObjectId first_result = task.Return(0);
//
// A process draws a new WorkerId every time it starts: the id doubles as its incarnation.
// Value 0 means "none" for every id.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal {

template <class Tag>
struct Id {
  uint64_t value = 0;

  explicit operator bool() const { return value != 0; }
  friend auto operator<=>(const Id&, const Id&) = default;
  // Sixteen lower-case hex digits.
  std::string Hex() const { return absl::StrCat(absl::Hex(value, absl::kZeroPad16)); }
  template <class H>
  friend H AbslHashValue(H h, const Id& id) {
    return H::combine(std::move(h), id.value);
  }
  template <class Visitor>
  void Fields(Visitor& v) {
    v(value);
  }
};

using NodeId = Id<struct NodeTag>;      // a machine that has joined; fixed by its public key
using WorkerId = Id<struct WorkerTag>;  // one run of a driver, worker or command-line process
using JobId = Id<struct JobTag>;
using ActorId = Id<struct ActorTag>;
using PlacementGroupId = Id<struct PlacementGroupTag>;
using LeaseId = Id<struct LeaseTag>;
using RequestId = Id<struct RequestTag>;
using FunctionId = Id<struct FunctionTag>;  // hash of a function's or class's serialized code
using ShapeId = Id<struct ShapeTag>;        // hash of a resource shape, see schema/messages.h

struct ObjectId {
  WorkerId owner;
  uint64_t index = 0;  // unique within the owner

  explicit operator bool() const { return index != 0; }
  friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
  std::string Hex() const {
    return absl::StrCat(owner.Hex(), absl::Hex(index, absl::kZeroPad16));
  }
  template <class H>
  friend H AbslHashValue(H h, const ObjectId& id) {
    return H::combine(std::move(h), id.owner.value, id.index);
  }
  template <class Visitor>
  void Fields(Visitor& v) {
    v(owner, index);
  }
};

// A task is named by its first result: its results are index, index + 1, ... A task without results
// still takes one index.
struct TaskId {
  WorkerId owner;
  uint64_t index = 0;

  explicit operator bool() const { return index != 0; }
  ObjectId Return(uint32_t i) const { return ObjectId{owner, index + i}; }
  friend auto operator<=>(const TaskId&, const TaskId&) = default;
  std::string Hex() const {
    return absl::StrCat(owner.Hex(), absl::Hex(index, absl::kZeroPad16));
  }
  template <class H>
  friend H AbslHashValue(H h, const TaskId& id) {
    return H::combine(std::move(h), id.owner.value, id.index);
  }
  template <class Visitor>
  void Fields(Visitor& v) {
    v(owner, index);
  }
};

// Where a process can be reached: its node and itself. The raylet of a node is {node, 0}, the head {0, 0}.
struct Address {
  NodeId node;
  WorkerId worker;

  static Address Head() { return {}; }
  static Address Raylet(NodeId node) { return {node, {}}; }
  bool is_head() const { return !node && !worker; }
  bool is_raylet() const { return node && !worker; }
  friend auto operator<=>(const Address&, const Address&) = default;
  std::string ToString() const {
    return is_head() ? "head" : absl::StrCat(node.Hex(), "/", worker ? worker.Hex() : "raylet");
  }
  template <class H>
  friend H AbslHashValue(H h, const Address& a) {
    return H::combine(std::move(h), a.node.value, a.worker.value);
  }
  template <class Visitor>
  void Fields(Visitor& v) {
    v(node, worker);
  }
};

}  // namespace shoal
