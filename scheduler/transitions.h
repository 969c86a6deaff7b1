// The lifecycles of the head's records as tables: state x event -> what follows. Drawn in docs/states; scheduler/transitions_test.cc
// demands that every pair is defined. The tables are obeyed, not only documented: records change state through Next().
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/check.h"
#include "schema/messages.h"

namespace shoal::scheduler {

enum class Kind : uint8_t {
  kUndefined,
  kGo,          // to `next`
  kStay,        // heard, nothing changes
  kImpossible,  // whoever raises it has to look first
};

template <class State>
struct Outcome {
  Kind kind = Kind::kUndefined;
  State next{};
};

template <class State, class Event, int kStates, int kEvents>
class Table {
 public:
  struct Row {
    State state;
    Event event;
    Outcome<State> outcome;
  };
  constexpr Table(std::initializer_list<Row> rows) {
    for (const Row& row : rows) cells_[static_cast<int>(row.state)][static_cast<int>(row.event)] = row.outcome;
  }
  constexpr Outcome<State> At(int state, int event) const { return cells_[state][event]; }
  // The state after `event`; SHOAL_CHECKs that it can happen.
  State Next(State state, Event event) const {
    const Outcome<State> outcome = cells_[static_cast<int>(state)][static_cast<int>(event)];
    SHOAL_CHECK(outcome.kind == Kind::kGo || outcome.kind == Kind::kStay)
        << "event " << static_cast<int>(event) << " in state " << static_cast<int>(state);
    return outcome.kind == Kind::kGo ? outcome.next : state;
  }
  static constexpr int states() { return kStates; }
  static constexpr int events() { return kEvents; }

 private:
  Outcome<State> cells_[kStates][kEvents] = {};
};

// ---- nodes

enum class NodeState : uint8_t { kExpected, kRegistered, kReady, kDead };
enum class NodeEvent : uint8_t { kRegisters, kReports, kFallsSilent, kIsReplaced };
const char* NameOf(NodeState state);
using NodeTable = Table<NodeState, NodeEvent, 4, 4>;
const NodeTable& NodeTransitions();

// ---- actors (states: schema/actor_messages.h)

enum class ActorEvent : uint8_t {
  kPlaced,    // StartActor was sent
  kStarted,   // its constructor is done
  kRefused,   // no room after all, or StartActor was lost: place it again
  kLost,      // process or node died, restarts are left
  kEnded,     // final: killed, constructor failed, no restarts left, owner gone, ...
};
const char* NameOf(ActorState state);
using ActorTransitionTable = Table<ActorState, ActorEvent, 5, 5>;
const ActorTransitionTable& ActorTransitions();

// ---- placement groups (states: schema/actor_messages.h)

enum class GroupEvent : uint8_t {
  kPlanned,     // PrepareBundles was sent
  kPrepared,    // all bundles are reserved
  kFailed,      // one was not: everything of this attempt goes back
  kBundleLost,  // a node or a bundle on it is gone
  kRemoved,
};
const char* NameOf(PlacementGroupStateKind state);
using GroupTable = Table<PlacementGroupStateKind, GroupEvent, 5, 5>;
const GroupTable& GroupTransitions();

// ---- jobs

enum class JobState : uint8_t { kUnknown, kRunning, kFinished };
enum class JobEvent : uint8_t { kStarts, kFinishes, kDriverLost };
const char* NameOf(JobState state);
using JobTransitionTable = Table<JobState, JobEvent, 3, 3>;
const JobTransitionTable& JobTransitions();

}  // namespace shoal::scheduler
