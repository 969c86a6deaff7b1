// Small decisions without state: what a worker finds in its environment.
#pragma once

#include <string>

#include "runtime/raylet/resources.h"
#include "schema/messages.h"

namespace shoal::raylet {

// What a worker with this holding is to have in its environment: CUDA_VISIBLE_DEVICES on nodes with GPUs, OMP_NUM_THREADS. What the user
// chose himself (`chosen`) is left alone.
StringMap EnvironmentFor(const Holding& holding, bool node_has_gpus, const StringMap& chosen);

}  // namespace shoal::raylet
