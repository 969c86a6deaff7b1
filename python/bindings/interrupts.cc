#include "python/bindings/interrupts.h"

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "python/bindings/task.h"

namespace shoal::python {
namespace {

// Cancellations that arrived for tasks running here; any thread adds, the running ones look.
struct Interrupts {
  std::mutex mutex;
  std::condition_variable arrived;
  absl::flat_hash_set<TaskId> cancelled;
  std::atomic<bool> any = false;  // cancelled holds some; written with the mutex held
  std::deque<TaskId> elsewhere;  // of tasks that do not run in the main thread
  TaskId in_main_thread;
  absl::flat_hash_map<TaskId, unsigned long> in_threads;  // Python's identifier of the thread

  // True if the task was cancelled, for the one who asks first.
  bool Take(const TaskId& id) {
    const bool taken = id && cancelled.erase(id) > 0;
    any = !cancelled.empty();
    return taken;
  }
};
Interrupts& interrupts() {
  static auto* instance = new Interrupts();
  return *instance;
}

pthread_t main_thread;
int cancel_signal = 0;
PyObject* task_variable = nullptr;  // contextvars.ContextVar of the running Task, set in asyncio actors only
PyObject* cancelled_class = nullptr;

}  // namespace

Running::Running(const TaskSpec& spec) : saved_(running_task), main_(IsMainThread()) {
  running_task = {spec.id, spec.attempt, spec.actor, &spec, false};
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  if (main_) {
    interrupts().in_main_thread = spec.id;
  } else {
    interrupts().in_threads[spec.id] = PyThread_get_thread_ident();
  }
}

Running::~Running() {
  {
    std::lock_guard<std::mutex> lock(interrupts().mutex);
    if (main_) {
      interrupts().in_main_thread = saved_.id;
    } else {
      interrupts().in_threads.erase(running_task.id);
      // A cancellation that came too late must not hit the next call.
      const bool hit = running_task.cancelled || interrupts().cancelled.contains(running_task.id);
      if (hit) PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), nullptr);
    }
  }
  running_task = saved_;
}

void ForgetCancellation(const TaskId& id) {
  if (!interrupts().any) return;
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  interrupts().Take(id);
}

namespace {

// running_task() -> dict of what runs in this thread (or asyncio task); ids are "" if nothing does
PyObject* GetRunningTask(PyObject*, PyObject*) {
  TaskId id = running_task.id;
  uint32_t attempt = running_task.attempt;
  ActorId actor = running_task.actor;
  std::string name = running_task.spec != nullptr ? running_task.spec->name : "";
  PyObject* value = nullptr;
  if (!id && task_variable != nullptr && PyContextVar_Get(task_variable, Py_None, &value) == 0) {
    Ref task(value);
    if (Py_TYPE(task.get()) == &task_type) {
      const TaskSpec& spec = SpecOf(task.get());
      id = spec.id;
      attempt = spec.attempt;
      actor = spec.actor;
      name = spec.name;
    }
  }
  return Py_BuildValue("{s:s,s:I,s:s,s:s}", "task_id", id ? id.Hex().c_str() : "", "attempt", attempt, "actor_id",
                       actor ? actor.Hex().c_str() : "", "name", name.c_str());
}

PyObject* SetTaskVariable(PyObject*, PyObject* variable) {
  Py_INCREF(variable);
  Py_XSETREF(task_variable, variable);
  Py_RETURN_NONE;
}
// next_interrupt() -> hex id of a cancelled task that runs in no thread of its own; blocks. Raises in the threads of the others.
PyObject* NextInterrupt(PyObject*, PyObject*) {
  while (true) {
    TaskId id;
    {
      WithoutGil unlocked;
      std::unique_lock<std::mutex> lock(interrupts().mutex);
      interrupts().arrived.wait(lock, [] { return !interrupts().elsewhere.empty(); });
      id = interrupts().elsewhere.front();
      interrupts().elsewhere.pop_front();
    }
    std::unique_lock<std::mutex> lock(interrupts().mutex);
    const auto found = interrupts().in_threads.find(id);
    if (found == interrupts().in_threads.end()) {
      lock.unlock();
      return PyUnicode_FromString(id.Hex().c_str());
    }
    // Its thread, which needs the GIL to leave the call, is still in it.
    PyThreadState_SetAsyncExc(found->second, cancelled_class);
  }
}

// set_cancel_signal(number, exception class): the signal whose Python handler calls cancel_requested()
PyObject* SetCancelSignal(PyObject*, PyObject* args) {
  int number = 0;
  PyObject* exception = nullptr;
  if (!PyArg_ParseTuple(args, "iO", &number, &exception)) return nullptr;
  Py_INCREF(exception);
  Py_XSETREF(cancelled_class, exception);
  cancel_signal = number;
  main_thread = pthread_self();
  InstallInterrupts();
  Py_RETURN_NONE;
}

// cancel_requested() -> True once if the task that runs in this thread has been cancelled
PyObject* CancelRequested(PyObject*, PyObject*) {
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  if (!interrupts().Take(running_task.id)) Py_RETURN_FALSE;
  running_task.cancelled = true;
  Py_RETURN_TRUE;
}

// is_cancelled() -> True if the running task has been cancelled, however often it is asked
PyObject* IsCancelled(PyObject*, PyObject*) {
  const TaskId id = CurrentTaskId();
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  return PyBool_FromLong(running_task.cancelled || (id && interrupts().cancelled.contains(id)));
}
}  // namespace

TaskId CurrentTaskId() {
  if (running_task.id || task_variable == nullptr) return running_task.id;
  PyObject* value = nullptr;
  if (PyContextVar_Get(task_variable, Py_None, &value) < 0) {
    PyErr_Clear();
    return {};
  }
  Ref task(value);
  return Py_TYPE(task.get()) == &task_type ? SpecOf(task.get()).id : TaskId{};
}

bool IsMainThread() {
  static const unsigned long main_id = PyThread_get_thread_ident();  // first called by main, see AddTaskType
  return PyThread_get_thread_ident() == main_id;
}

bool SetCurrentTask(PyObject* task) {
  const Ref token(PyContextVar_Set(task_variable, task));
  return static_cast<bool>(token);
}

void SetCancelledError() {
  PyErr_SetString(cancelled_class != nullptr ? cancelled_class : PyExc_RuntimeError, "The task was cancelled.");
}

bool RaiseIfCancelled() {
  if (!interrupts().any) return false;
  {
    std::lock_guard<std::mutex> lock(interrupts().mutex);
    if (!interrupts().Take(running_task.id)) return false;
  }
  running_task.cancelled = true;
  // The Python side may have aimed the same error at this thread; once is enough.
  PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), nullptr);
  SetCancelledError();
  return true;
}

void InstallInterrupts() {
  std::weak_ptr<io::CoreProcess> weak = session.core;
  session.core->OnInterrupt([weak](TaskId id) {
    {
      std::lock_guard<std::mutex> lock(interrupts().mutex);
      interrupts().cancelled.insert(id);
      interrupts().any = true;
      if (interrupts().in_main_thread == id) {
        pthread_kill(main_thread, cancel_signal);
      } else {
        interrupts().elsewhere.push_back(id);
        interrupts().arrived.notify_one();
      }
    }
    if (std::shared_ptr<io::CoreProcess> core = weak.lock()) core->Interrupt();
  });
}

PyMethodDef interrupt_methods[] = {
    {"running_task", GetRunningTask, METH_NOARGS, "What runs in this thread, as a dict."},
    {"set_task_variable", SetTaskVariable, METH_O, "The context variable that holds the running Task in asyncio actors."},
    {"next_interrupt", NextInterrupt, METH_NOARGS, "Blocks until a task that runs in no thread of its own is cancelled."},
    {"set_cancel_signal", SetCancelSignal, METH_VARARGS, "set_cancel_signal(number, exception_class)"},
    {"is_cancelled", IsCancelled, METH_NOARGS, "True if the running task has been cancelled."},
    {"cancel_requested", CancelRequested, METH_NOARGS, "True once if the running task has been cancelled."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace shoal::python
