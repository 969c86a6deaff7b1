// Label selectors: what a shape demands of a node's labels. A selector is a map from key to condition:
//   "x"         the label is x                   "!x"         it is absent or not x
//   "in(a,b)"   it is one of these               "!in(a,b)"   it is absent or none of these
#pragma once

#include <string>
#include <string_view>

#include "schema/task_messages.h"

namespace shoal {

bool LabelMatches(const std::string& condition, const std::string* value);
// True if every condition holds. `labels` is sorted by key.
bool LabelsMatch(const StringMap& selector, const StringMap& labels);
// The first condition that does not hold, in words; "" if all do.
std::string LabelMismatch(const StringMap& selector, const StringMap& labels);

}  // namespace shoal
