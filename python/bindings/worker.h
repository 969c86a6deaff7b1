// The worker's side: take a task, run it, hand its results back.
//
// run_worker(handler) is the loop of a worker's main thread. Ordinary tasks and calls of plain actors run inside it, without a
// Python frame between the ring and the user's function; everything less common is handed to the Python handler
// (shoal/_internal/worker.py) as a Task object, which may run in any thread.
#pragma once

#include <random>

#include "python/bindings/session.h"

namespace shoal::python {

// The task that submits, if this is one: for recursive cancellation. In asyncio actors a context variable knows.
TaskId CurrentTaskId();

bool IsMainThread();
// If the task of this thread has been cancelled: raises TaskCancelledError and returns true.
bool RaiseIfCancelled();

template <class IdType>
IdType NewRandomId() {
  std::random_device device;
  uint64_t value = 0;
  while (value == 0) value = (uint64_t{device()} << 32) | device();
  return IdType{value};
}

extern PyMethodDef worker_methods[];  // ends with a null entry
bool AddWorkerTypes(PyObject* module);
// Routes cancellations of the core to this process's threads. Call once, after connecting as a worker.
void InstallInterrupts();

}  // namespace shoal::python
