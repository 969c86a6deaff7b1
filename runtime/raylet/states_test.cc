// The tables are total, and the machine follows them: every pair of state and event is either a transition or ruled out.
#include "runtime/raylet/states.h"

#include "gtest/gtest.h"

namespace shoal::raylet {
namespace {

template <class State, class Event>
int CountDefined(int states, int events) {
  int defined = 0;
  for (int s = 0; s < states; ++s) {
    for (int e = 0; e < events; ++e) {
      State state = static_cast<State>(s);
      const bool allowed = Advance(&state, static_cast<Event>(e));
      EXPECT_GE(static_cast<int>(state), 0);
      EXPECT_LT(static_cast<int>(state), states) << s << " " << e;
      EXPECT_TRUE(allowed || static_cast<int>(state) == s) << "an impossible event changed state " << s;
      defined += allowed ? 1 : 0;
    }
  }
  return defined;
}

TEST(States, EveryPairIsDefined) {
  EXPECT_EQ((CountDefined<WorkerState, WorkerEvent>(kWorkerStates, kWorkerEvents)), 34);
  EXPECT_EQ((CountDefined<LeaseState, LeaseEvent>(kLeaseStates, kLeaseEvents)), 21);
  for (int s = 0; s < kWorkerStates; ++s) EXPECT_FALSE(Name(static_cast<WorkerState>(s)).empty());
  for (int s = 0; s < kLeaseStates; ++s) EXPECT_FALSE(Name(static_cast<LeaseState>(s)).empty());
}

TEST(States, NothingComesBackFromTheDead) {
  for (int e = 0; e < kWorkerEvents; ++e) {
    WorkerState killed = WorkerState::kKilled, gone = WorkerState::kGone;
    Advance(&killed, static_cast<WorkerEvent>(e));
    Advance(&gone, static_cast<WorkerEvent>(e));
    EXPECT_TRUE(killed == WorkerState::kKilled || killed == WorkerState::kGone);
    EXPECT_EQ(gone, WorkerState::kGone);
  }
  for (int e = 0; e < kLeaseEvents; ++e) {
    LeaseState gone = LeaseState::kGone;
    Advance(&gone, static_cast<LeaseEvent>(e));
    EXPECT_EQ(gone, LeaseState::kGone);
  }
}

TEST(States, AnActorsWorkerServesNobodyElse) {
  for (WorkerEvent event : {WorkerEvent::kLease, WorkerEvent::kReturn, WorkerEvent::kHost}) {
    WorkerState actor = WorkerState::kActor;
    EXPECT_FALSE(Advance(&actor, event));
  }
}

}  // namespace
}  // namespace shoal::raylet
