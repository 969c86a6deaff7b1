// Rows for people: what a core worker knows of its tasks and objects, as JSON objects (schema/actor_messages.h, ListState).
#pragma once

#include <cstdint>
#include <string>

#include "runtime/core_worker/executor.h"
#include "runtime/core_worker/references.h"
#include "runtime/core_worker/submitter.h"

namespace shoal::core_worker {

// Comma-separated, at most `limit`: tasks submitted here, then those of others that are here. With `only`, the rows of that task alone.
std::string DescribeTasks(const References& references, const Executor& executor, const std::string& only, uint32_t limit);
std::string DescribeObjects(const References& references, uint32_t limit);

}  // namespace shoal::core_worker
