// Which task runs in which thread, and how a cancellation reaches it.
//
// The main thread gets a signal, whose Python handler raises; other threads get an exception set; a call of an asyncio actor, which runs
// in no thread of its own, is handed to Python (next_interrupt).
#pragma once

#include "python/bindings/session.h"

namespace shoal::python {

// Marks the task as the one this thread runs.
class Running {
 public:
  explicit Running(const TaskSpec& spec);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  RunningTask saved_;
  bool main_;
};

// The task that submits, if this is one: for recursive cancellation. In asyncio actors a context variable knows.
TaskId CurrentTaskId();

bool IsMainThread();
// If the task of this thread has been cancelled: raises TaskCancelledError and returns true.
bool RaiseIfCancelled();
// The task that runs in the current asyncio context. False with a Python error set.
bool SetCurrentTask(PyObject* task);
// Raises TaskCancelledError.
void SetCancelledError();
// The task has ended.
void ForgetCancellation(const TaskId& id);
// Routes cancellations of the core to this process's threads. Call once, after connecting as a worker.
void InstallInterrupts();

extern PyMethodDef interrupt_methods[];  // ends with a null entry

}  // namespace shoal::python
