// A message in one line of a trace: its name and the ids by which one follows a task, a lease, an object or an actor with grep.
#pragma once

#include <string>
#include <string_view>

#include "schema/messages.h"

namespace shoal::sim {

std::string Describe(const Message& message);
// A frame that makes or ends a link; "" for those within one.
std::string DescribeFrame(std::string_view frame);

}  // namespace shoal::sim
