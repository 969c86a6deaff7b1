// The name of a task in front of what it prints, as for Python: "(Square pid=17, node=ab12) hello" on the driver.
//
// A raylet reads a worker's output as lines of a process; it does not see which task runs. So a worker's stdio and iostreams begin each
// line with the name of the running task between two marks (runtime/io/log_capture.h), and the driver moves the name into the
// prefix. Costs nothing until something is printed. What is written past them, by write(2), comes without a name.
#pragma once

#include <string>

namespace shoal::internal {

// Once, in a worker, before it prints.
void NameOutput();

// What runs in this thread, for the marks; null: nothing, or an actor, whose prefix names it already.
inline thread_local const std::string* printing_task = nullptr;

// A line as the driver prints it.
std::string WithPrefix(const std::string& prefix, const std::string& line);

}  // namespace shoal::internal
