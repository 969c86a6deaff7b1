// Small decisions without state: which nodes a label selector means, and what a worker finds in its environment.
#pragma once

#include <string>

#include "runtime/raylet/resources.h"
#include "schema/messages.h"

namespace shoal::raylet {

// True if every line of the selector holds: "x", "!x", "in(a,b)" or "!in(a,b)". A label that is missing is different from every value.
bool LabelsMatch(const StringMap& selector, const StringMap& labels);

// What a worker with this holding is to have in its environment: CUDA_VISIBLE_DEVICES on nodes with GPUs, OMP_NUM_THREADS. What the user
// chose himself (`chosen`) is left alone.
StringMap EnvironmentFor(const Holding& holding, bool node_has_gpus, const StringMap& chosen);

// As a JSON string.
std::string Quoted(const std::string& text);

}  // namespace shoal::raylet
