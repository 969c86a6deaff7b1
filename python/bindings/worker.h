// The worker's side: take a task, run it, hand its results back.
//
// run_worker(handler) is the loop of a worker's main thread. Ordinary tasks and calls of plain actors run inside it, without a
// Python frame between the ring and the user's function; everything less common is handed to the Python handler
// (shoal/_internal/worker.py) as a Task object, which may run in any thread.
#pragma once

#include "python/bindings/session.h"

namespace shoal::python {

// The bound method that follows the last dot of the task's name; null with a Python error set.
PyObject* MethodOf(PyObject* instance, const TaskSpec& spec);
// Tells the handler of an assignment that it does not know yet. False with a Python error set if it failed.
bool TellAssignment(io::CoreProcess* core);

extern PyMethodDef worker_methods[];  // ends with a null entry

}  // namespace shoal::python
