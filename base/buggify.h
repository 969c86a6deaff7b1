// Faults compiled into test builds (-DSHOAL_BUGGIFY=ON), nothing at all in release builds.
//
//   if (SHOAL_BUGGIFY("raylet.refuse_grant")) return Refuse(request);   // a rare branch, made common by the seed
//   if (!SHOAL_DELIBERATE_BUG("session.lost_ack")) SendAck();           // a defect, switched on by name to test the tests
//
// A buggify point is active in a quarter of all seeds and then fires a quarter of the time, as in
// FoundationDB; a deliberate bug is off unless its name is set. Both are per thread, so that simulations can run side by side.
#pragma once

#include <string>

#include "base/rng.h"

namespace shoal {

// Switches buggify points on for this thread until DisableBuggify(); all decisions come from the seed.
void EnableBuggify(uint64_t seed);
void DisableBuggify();
// Names the one deliberate bug that is on in this thread; "" for none.
void SetDeliberateBug(std::string name);

namespace internal {
bool BuggifyFires(const char* name);
bool DeliberateBugIs(const char* name);
}  // namespace internal
}  // namespace shoal

#ifdef SHOAL_BUGGIFY_ENABLED
#define SHOAL_BUGGIFY(name) ::shoal::internal::BuggifyFires(name)
#define SHOAL_DELIBERATE_BUG(name) ::shoal::internal::DeliberateBugIs(name)
#else
#define SHOAL_BUGGIFY(name) false
#define SHOAL_DELIBERATE_BUG(name) false
#endif
