// Counts the heap allocations of a program that links allocations.cc.
#pragma once

#include <cstdint>

namespace shoal {

uint64_t Allocations();

}  // namespace shoal
