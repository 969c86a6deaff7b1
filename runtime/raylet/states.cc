#include "runtime/raylet/states.h"

namespace shoal::raylet {
namespace {

constexpr int kNever = -1;
constexpr int kStarting = 0, kIdle = 1, kLeased = 2, kActor = 3, kLeaving = 4, kKilled = 5, kDriver = 6, kGone = 7;

// clang-format off
constexpr int kWorkerTable[kWorkerStates][kWorkerEvents] = {
    //             register   lease    return  host    leave     kill     exit
    /* starting */ {kIdle,    kNever,  kNever, kNever, kKilled,  kKilled, kGone},
    /* idle     */ {kIdle,    kLeased, kNever, kActor, kLeaving, kKilled, kGone},
    /* leased   */ {kLeased,  kNever,  kIdle,  kNever, kLeaving, kKilled, kGone},
    /* actor    */ {kActor,   kNever,  kNever, kNever, kLeaving, kKilled, kGone},
    /* leaving  */ {kLeaving, kNever,  kNever, kNever, kLeaving, kKilled, kGone},
    /* killed   */ {kKilled,  kNever,  kNever, kNever, kKilled,  kKilled, kGone},
    /* driver   */ {kDriver,  kNever,  kNever, kNever, kDriver,  kDriver, kGone},
    /* gone     */ {kNever,   kNever,  kNever, kNever, kGone,    kGone,   kGone},
};

constexpr int kWait = 0, kGrant = 1, kRevoke = 2, kOver = 3;
constexpr int kLeaseTable[kLeaseStates][kLeaseEvents] = {
    //            worker ready  withdraw  revoke   return  expire  owner died  worker died
    /* waiting */ {kGrant,      kOver,    kOver,   kOver,  kNever, kOver,      kNever},
    /* granted */ {kNever,      kNever,   kRevoke, kOver,  kOver,  kOver,      kOver},
    /* revoked */ {kNever,      kNever,   kRevoke, kOver,  kOver,  kOver,      kOver},
    /* gone    */ {kNever,      kOver,    kOver,   kOver,  kOver,  kOver,      kOver},
};
// clang-format on

}  // namespace

bool Advance(WorkerState* state, WorkerEvent event) {
  const int next = kWorkerTable[static_cast<int>(*state)][static_cast<int>(event)];
  if (next == kNever) return false;
  *state = static_cast<WorkerState>(next);
  return true;
}

bool Advance(LeaseState* state, LeaseEvent event) {
  const int next = kLeaseTable[static_cast<int>(*state)][static_cast<int>(event)];
  if (next == kNever) return false;
  *state = static_cast<LeaseState>(next);
  return true;
}

std::string Name(WorkerState state) {
  static constexpr const char* kNames[] = {"starting", "idle", "leased", "actor", "leaving", "killed", "driver", "gone"};
  return kNames[static_cast<int>(state)];
}

std::string Name(LeaseState state) {
  static constexpr const char* kNames[] = {"waiting", "granted", "revoked", "gone"};
  return kNames[static_cast<int>(state)];
}

}  // namespace shoal::raylet
