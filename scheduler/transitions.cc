#include "scheduler/transitions.h"

namespace shoal::scheduler {
namespace {

template <class State>
constexpr Outcome<State> Go(State next) {
  return {Kind::kGo, next};
}
template <class State>
constexpr Outcome<State> Stay() {
  return {Kind::kStay, {}};
}
template <class State>
constexpr Outcome<State> Impossible() {
  return {Kind::kImpossible, {}};
}

constexpr NodeTable MakeNodeTable() {
  using S = NodeState;
  using E = NodeEvent;
  return {
      {S::kExpected, E::kRegisters, Go(S::kRegistered)},
      {S::kExpected, E::kReports, Stay<S>()},
      {S::kExpected, E::kFallsSilent, Go(S::kDead)},
      {S::kExpected, E::kIsReplaced, Go(S::kDead)},
      {S::kRegistered, E::kRegisters, Stay<S>()},
      {S::kRegistered, E::kReports, Go(S::kReady)},
      {S::kRegistered, E::kFallsSilent, Go(S::kDead)},
      {S::kRegistered, E::kIsReplaced, Go(S::kDead)},
      {S::kReady, E::kRegisters, Stay<S>()},
      {S::kReady, E::kReports, Stay<S>()},
      {S::kReady, E::kFallsSilent, Go(S::kDead)},
      {S::kReady, E::kIsReplaced, Go(S::kDead)},
      {S::kDead, E::kRegisters, Go(S::kRegistered)},
      {S::kDead, E::kReports, Stay<S>()},
      {S::kDead, E::kFallsSilent, Impossible<S>()},
      {S::kDead, E::kIsReplaced, Stay<S>()},
  };
}

constexpr ActorTransitionTable MakeActorTable() {
  using S = ActorState;
  using E = ActorEvent;
  return {
      {S::kPending, E::kPlaced, Go(S::kStarting)},
      {S::kPending, E::kStarted, Impossible<S>()},
      {S::kPending, E::kRefused, Impossible<S>()},
      {S::kPending, E::kLost, Impossible<S>()},
      {S::kPending, E::kEnded, Go(S::kDead)},
      {S::kStarting, E::kPlaced, Impossible<S>()},
      {S::kStarting, E::kStarted, Go(S::kAlive)},
      {S::kStarting, E::kRefused, Go(S::kPending)},
      {S::kStarting, E::kLost, Go(S::kRestarting)},
      {S::kStarting, E::kEnded, Go(S::kDead)},
      {S::kAlive, E::kPlaced, Impossible<S>()},
      {S::kAlive, E::kStarted, Stay<S>()},
      {S::kAlive, E::kRefused, Impossible<S>()},
      {S::kAlive, E::kLost, Go(S::kRestarting)},
      {S::kAlive, E::kEnded, Go(S::kDead)},
      {S::kRestarting, E::kPlaced, Go(S::kStarting)},
      {S::kRestarting, E::kStarted, Impossible<S>()},
      {S::kRestarting, E::kRefused, Impossible<S>()},
      {S::kRestarting, E::kLost, Impossible<S>()},
      {S::kRestarting, E::kEnded, Go(S::kDead)},
      {S::kDead, E::kPlaced, Impossible<S>()},
      {S::kDead, E::kStarted, Stay<S>()},
      {S::kDead, E::kRefused, Stay<S>()},
      {S::kDead, E::kLost, Stay<S>()},
      {S::kDead, E::kEnded, Stay<S>()},
  };
}

constexpr GroupTable MakeGroupTable() {
  using S = PlacementGroupStateKind;
  using E = GroupEvent;
  return {
      {S::kPending, E::kPlanned, Go(S::kPreparing)},
      {S::kPending, E::kPrepared, Impossible<S>()},
      {S::kPending, E::kFailed, Impossible<S>()},
      {S::kPending, E::kBundleLost, Impossible<S>()},
      {S::kPending, E::kRemoved, Go(S::kRemoved)},
      {S::kPreparing, E::kPlanned, Impossible<S>()},
      {S::kPreparing, E::kPrepared, Go(S::kCreated)},
      {S::kPreparing, E::kFailed, Go(S::kPending)},
      {S::kPreparing, E::kBundleLost, Impossible<S>()},
      {S::kPreparing, E::kRemoved, Go(S::kRemoved)},
      {S::kCreated, E::kPlanned, Impossible<S>()},
      {S::kCreated, E::kPrepared, Impossible<S>()},
      {S::kCreated, E::kFailed, Impossible<S>()},
      {S::kCreated, E::kBundleLost, Go(S::kRescheduling)},
      {S::kCreated, E::kRemoved, Go(S::kRemoved)},
      {S::kRescheduling, E::kPlanned, Stay<S>()},
      {S::kRescheduling, E::kPrepared, Go(S::kCreated)},
      {S::kRescheduling, E::kFailed, Stay<S>()},
      {S::kRescheduling, E::kBundleLost, Stay<S>()},
      {S::kRescheduling, E::kRemoved, Go(S::kRemoved)},
      {S::kRemoved, E::kPlanned, Impossible<S>()},
      {S::kRemoved, E::kPrepared, Stay<S>()},
      {S::kRemoved, E::kFailed, Stay<S>()},
      {S::kRemoved, E::kBundleLost, Stay<S>()},
      {S::kRemoved, E::kRemoved, Stay<S>()},
  };
}

constexpr JobTransitionTable MakeJobTable() {
  using S = JobState;
  using E = JobEvent;
  return {
      {S::kUnknown, E::kStarts, Go(S::kRunning)},
      {S::kUnknown, E::kFinishes, Go(S::kFinished)},
      {S::kUnknown, E::kDriverLost, Impossible<S>()},
      {S::kRunning, E::kStarts, Stay<S>()},
      {S::kRunning, E::kFinishes, Go(S::kFinished)},
      {S::kRunning, E::kDriverLost, Go(S::kFinished)},
      {S::kFinished, E::kStarts, Stay<S>()},
      {S::kFinished, E::kFinishes, Stay<S>()},
      {S::kFinished, E::kDriverLost, Stay<S>()},
  };
}

}  // namespace

const NodeTable& NodeTransitions() {
  static constexpr NodeTable kTable = MakeNodeTable();
  return kTable;
}
const ActorTransitionTable& ActorTransitions() {
  static constexpr ActorTransitionTable kTable = MakeActorTable();
  return kTable;
}
const GroupTable& GroupTransitions() {
  static constexpr GroupTable kTable = MakeGroupTable();
  return kTable;
}
const JobTransitionTable& JobTransitions() {
  static constexpr JobTransitionTable kTable = MakeJobTable();
  return kTable;
}

const char* NameOf(NodeState state) {
  constexpr const char* kNames[] = {"EXPECTED", "REGISTERED", "ALIVE", "DEAD"};
  return kNames[static_cast<int>(state)];
}
const char* NameOf(ActorState state) {
  constexpr const char* kNames[] = {"PENDING_CREATION", "STARTING", "ALIVE", "RESTARTING", "DEAD"};
  return kNames[static_cast<int>(state)];
}
const char* NameOf(PlacementGroupStateKind state) {
  constexpr const char* kNames[] = {"PENDING", "PREPARING", "CREATED", "RESCHEDULING", "REMOVED"};
  return kNames[static_cast<int>(state)];
}
const char* NameOf(JobState state) {
  constexpr const char* kNames[] = {"UNKNOWN", "RUNNING", "FINISHED"};
  return kNames[static_cast<int>(state)];
}

}  // namespace shoal::scheduler
