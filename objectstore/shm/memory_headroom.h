// How much more memory this process may take before the kernel starts killing. Needed because
// reserving pages of a memfd does not fail on a machine without memory: the kernel makes room by
// killing somebody.
//
//   if (MemoryHeadroom() < wanted) return absl::ResourceExhaustedError(...);
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal {

// Bytes: the least of what the machine has (MemAvailable) and of what is left in each memory cgroup
// (v2) that this process is in, where file cache counts as free. UINT64_MAX if the kernel tells
// neither. Reads a handful of small files, some tens of microseconds.
uint64_t MemoryHeadroom();

namespace internal {
// The value of a line "key   123 kB" or "key 123", in the file's unit; `missing` if there is none.
uint64_t FindNumber(std::string_view text, std::string_view key, uint64_t missing);
// From the texts of memory.max, memory.current and memory.stat; UINT64_MAX for no limit.
uint64_t CgroupHeadroom(std::string_view max, std::string_view current, std::string_view stat);
}  // namespace internal

}  // namespace shoal
