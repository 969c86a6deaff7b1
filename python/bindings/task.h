// A task that is to run in this process, as Python sees it, and how it ends: with a value, with an exception.
#pragma once

#include "python/bindings/session.h"

namespace shoal::python {

// What run_worker was given: shoal/_internal/worker.py, Handler.
extern PyObject* handler_object;

struct PyTask {
  PyObject_HEAD
  io::AssignedTask assigned;
  bool finished;
};
extern PyTypeObject task_type;

inline PyTask* AsTask(PyObject* object) { return reinterpret_cast<PyTask*>(object); }
inline const TaskSpec& SpecOf(PyObject* object) { return AsTask(object)->assigned.task.spec; }

// Null with a Python error set.
PyObject* NewTask(io::AssignedTask&& assigned);

// Calls and gives the arguments up before it returns, so that no reference among them outlives the call here.
Ref CallWithArguments(io::AssignedTask* assigned, PyObject* callable);
// The whole task, in this thread.
void RunHere(io::AssignedTask* assigned, PyObject* callable, bool exiting);
// Encodes and hands over what a task returned.
void FinishWithValue(const TaskSpec& spec, Ref value, bool exiting);
// Describes the Python error that is set, clears it, and hands it over.
void FinishWithError(const TaskSpec& spec, bool exiting);

bool AddTaskType(PyObject* module);

}  // namespace shoal::python
