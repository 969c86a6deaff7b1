// The process-wide side of the SDK: the connection to the node, the functions this program can run, and the loop that a
// worker process runs. Users include runtime/sdk/shoal.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/core_process.h"

namespace shoal {

struct InitOptions {
  // Socket of a raylet, or its runtime directory; "auto": $SHOAL_ADDRESS, else the runtime of this machine; "local": one of its own, started here and
  // stopped with the program. "": $SHOAL_ADDRESS, else the runtime of this machine if one runs and num_cpus is not given, else
  // one of its own.
  std::string address;
  std::string ns;        // namespace of actor names; "" is an anonymous one
  double num_cpus = -1;  // for a runtime of its own; -1: as many as the machine has
  std::string binary;    // the `shoal` program; "": $SHOAL_BINARY, beside this program, or in $PATH
};

namespace internal {

// What a task sees: one argument slot per parameter, either a stored value or bytes packed by the caller.
struct Arguments {
  const io::AssignedTask* task = nullptr;
  // Value of parameter `i`, packed or fetched.
  std::vector<io::Fetched> slots;
};

// Runs a function or method; `instance` is the actor's object or null.
using Invoker = std::function<io::NewValue(void* instance, Arguments& arguments)>;
// Makes an actor's object.
using Creator = std::function<std::shared_ptr<void>(Arguments& arguments)>;

// Called while the program starts, by the templates of task.h and actor.h; the same names exist in every process of
// the program, which is how a worker finds what a driver means. If one comes twice, Init throws.
bool RegisterInvoker(std::string_view name, Invoker invoker);
bool RegisterCreator(std::string_view name, Creator creator);

// The connection. Throws Error if Init was not called.
io::CoreProcess& Core();
// Null when there is no connection (before Init, after Shutdown): references then count nothing.
io::CoreProcess* CoreOrNull();
FunctionId FunctionIdOf(std::string_view name);
// The shape's id, registered with the core once.
ShapeId InternShape(const Shape& shape);
WorkerKind ThisProgram();
// The task that runs in this thread, {} in a driver.
TaskId CurrentTask();

// For a reference that names no object, given to `call`.
[[noreturn]] void ThrowEmptyReference(const char* call);
[[noreturn]] void Throw(const ErrorInfo& error);
[[noreturn]] void Throw(const absl::Status& status);

}  // namespace internal
}  // namespace shoal
