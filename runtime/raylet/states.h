// The lives of a worker process and of a lease, as tables: what each event makes of each state. Drawn in docs/states/worker.md and lease.md.
#pragma once

#include <cstdint>
#include <string>

namespace shoal::raylet {

enum class WorkerState : uint8_t {
  kStarting,  // a process was asked for and has not registered
  kIdle,      // waits for work
  kLeased,    // an owner pushes tasks to it
  kActor,     // is or becomes an actor; never used for anything else
  kLeaving,   // was told to exit
  kKilled,    // a SIGKILL was asked for
  kDriver,    // a driver or admin: not a child of the raylet
  kGone,
};
inline constexpr int kWorkerStates = 8;

enum class WorkerEvent : uint8_t { kRegister, kLease, kReturn, kHost, kLeave, kKill, kExit };
inline constexpr int kWorkerEvents = 7;

enum class LeaseState : uint8_t {
  kWaiting,  // holds resources, waits for a worker
  kGranted,  // the owner may push
  kRevoked,  // the owner was asked to return it
  kGone,
};
inline constexpr int kLeaseStates = 4;

enum class LeaseEvent : uint8_t {
  kWorkerReady,
  kWithdraw,  // the owner wants fewer
  kRevoke,
  kReturn,
  kExpire,
  kOwnerDied,
  kWorkerDied,
};
inline constexpr int kLeaseEvents = 7;

// False for what cannot happen; then *state is left alone.
bool Advance(WorkerState* state, WorkerEvent event);
bool Advance(LeaseState* state, LeaseEvent event);

std::string Name(WorkerState state);
std::string Name(LeaseState state);

}  // namespace shoal::raylet
