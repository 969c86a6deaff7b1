// The processes that `shoal start` makes, each the same binary in another part: nanny, head, raylet, or head and raylet in one for a
// single driver. Each returns the exit code of its process.
//
//   shoal start ... -> shoal __nanny -> shoal __head
//                                    -> shoal __raylet -> workers
//   shoal start --head --local                          (one process for all of these)
#pragma once

#include "runtime/bin/options.h"

namespace shoal::bin {

int RunNanny(const Options& options);
int RunHead(const Options& options);
int RunRaylet(const Options& options);
int RunLocal(const Options& options);

}  // namespace shoal::bin
