#include "python/bindings/worker.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "python/bindings/args.h"
#include "python/bindings/call_threads.h"

namespace shoal::python {
namespace {

// Cancellations that arrived for tasks running here; any thread adds, the running ones look.
struct Interrupts {
  std::mutex mutex;
  std::condition_variable arrived;
  absl::flat_hash_set<TaskId> cancelled;
  std::deque<TaskId> elsewhere;  // of tasks that do not run in the main thread
  TaskId in_main_thread;
  absl::flat_hash_map<TaskId, unsigned long> in_threads;  // Python's identifier of the thread
};
Interrupts& interrupts() {
  static auto* instance = new Interrupts();
  return *instance;
}

pthread_t main_thread;
int cancel_signal = 0;
PyObject* task_variable = nullptr;  // contextvars.ContextVar of the running Task, set in asyncio actors only
PyObject* cancelled_class = nullptr;

// ---- the Task object

struct PyTask {
  PyObject_HEAD
  io::AssignedTask assigned;
  bool finished;
};
PyTask* AsTask(PyObject* object) { return reinterpret_cast<PyTask*>(object); }
extern PyTypeObject task_type;

// Marks the task as the one this thread runs.
class Running {
 public:
  explicit Running(const TaskSpec& spec) : saved_(running_task), main_(IsMainThread()) {
    running_task = {spec.id, spec.attempt, spec.actor, &spec, false};
    std::lock_guard<std::mutex> lock(interrupts().mutex);
    if (main_) {
      interrupts().in_main_thread = spec.id;
    } else {
      interrupts().in_threads[spec.id] = PyThread_get_thread_ident();
    }
  }
  ~Running() {
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
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  RunningTask saved_;
  bool main_;
};

void ForgetCancellation(const TaskId& id) {
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  interrupts().cancelled.erase(id);
}

// Hands results over; large ones are copied into the store without the GIL.
void Finish(const TaskSpec& spec, std::vector<io::NewValue> results, bool exiting, bool final) {
  ForgetCancellation(spec.id);
  std::shared_ptr<io::CoreProcess> core = session.core;
  if (core == nullptr) return;
  uint64_t bytes = 0;
  for (const io::NewValue& result : results) bytes += result.size;
  if (bytes <= kInlineLimitBytes) {
    core->FinishTask(spec, std::move(results), exiting, final);
  } else {
    WithoutGil unlocked;
    core->FinishTask(spec, std::move(results), exiting, final);
  }
}

// What the handler makes of an exception.
struct Failure {
  ErrorInfo error;
  bool final = false;    // not to be retried
  bool exits = false;    // exit_actor(): the worker leaves
};

Failure DescribeError(PyObject* handler, const TaskSpec& spec) {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr && value != nullptr) PyException_SetTraceback(value, traceback);
  Ref type_ref(type), value_ref(value), traceback_ref(traceback);
  const std::string_view options = spec.options.view();
  int kind = 0, final = 0, exits = 0;
  const char *message = nullptr, *detail = nullptr;
  Py_ssize_t message_size = 0, detail_size = 0;
  Ref described(PyObject_CallMethod(handler, "describe", "Osy#", value, spec.name.c_str(), options.data(),
                                    static_cast<Py_ssize_t>(options.size())));
  Failure failure;
  if (described && PyArg_ParseTuple(described.get(), "is#y#pp", &kind, &message, &message_size, &detail, &detail_size,
                                    &final, &exits)) {
    failure.error.kind = static_cast<ErrorKind>(kind);
    failure.error.message.assign(message, static_cast<size_t>(message_size));
    failure.error.detail = Payload(std::string_view(detail, static_cast<size_t>(detail_size)));
    failure.final = final != 0;
    failure.exits = exits != 0;
    return failure;
  }
  PyErr_Clear();
  failure.error = {ErrorKind::kSystem, spec.name + "() failed with an exception that could not be described.", {}};
  return failure;
}

void EncodeNone(io::NewValue* result) {
  auto encoded = std::make_shared<Encoded>();
  encoded->Encode(Py_None);
  *result = {encoded->size(), [encoded](char* to) { encoded->CopyTo(to); }, {}, {}};
}

void FinishWithError(PyObject* handler, const TaskSpec& spec, bool exiting) {
  Failure failure = DescribeError(handler, spec);
  ForgetCancellation(spec.id);
  std::shared_ptr<io::CoreProcess> core = session.core;
  if (core != nullptr) core->FailTask(spec, std::move(failure.error), exiting || failure.exits, failure.final);
}

// The values that a task of several results returned, or null with a Python error set.
Ref Unpack(PyObject* value, const TaskSpec& spec) {
  Ref sequence(PySequence_Tuple(value));
  if (!sequence) {
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s must return %u values because its num_returns says so, not a %.100s.",
                 spec.name.c_str(), spec.num_returns, Py_TYPE(value)->tp_name);
    return {};
  }
  if (PyTuple_GET_SIZE(sequence.get()) != static_cast<Py_ssize_t>(spec.num_returns)) {
    PyErr_Format(PyExc_ValueError, "%s must return %u values because its num_returns says so, not %zd.",
                 spec.name.c_str(), spec.num_returns, PyTuple_GET_SIZE(sequence.get()));
    return {};
  }
  return sequence;
}

// Encodes and hands over what a task returned. Small values are encoded on the stack of this function: `fill` runs
// before it returns.
void FinishWithValue(PyObject* handler, const TaskSpec& spec, Ref value, bool exiting) {
  if (spec.num_returns == 1) {
    Encoded encoded;
    if (!encoded.Encode(value.get())) return FinishWithError(handler, spec, exiting);
    std::vector<io::NewValue> results(1);
    results[0] = {encoded.size(), [&encoded](char* to) { encoded.CopyTo(to); }, encoded.contained(), {}};
    return Finish(spec, std::move(results), exiting, false);
  }
  std::vector<io::NewValue> results(std::max<uint32_t>(spec.num_returns, 1));
  if (spec.num_returns == 0) {
    EncodeNone(&results[0]);
    return Finish(spec, std::move(results), exiting, false);
  }
  Ref values = Unpack(value.get(), spec);
  if (!values) return FinishWithError(handler, spec, exiting);
  std::vector<std::unique_ptr<Encoded>> encoded;
  for (uint32_t i = 0; i < spec.num_returns; ++i) {
    Encoded* one = encoded.emplace_back(std::make_unique<Encoded>()).get();
    if (!one->Encode(PyTuple_GET_ITEM(values.get(), i))) return FinishWithError(handler, spec, exiting);
    results[i] = {one->size(), [one](char* to) { one->CopyTo(to); }, one->contained(), {}};
  }
  Finish(spec, std::move(results), exiting, false);
}

// Calls and gives the arguments up before it returns, so that no reference among them outlives the call here.
Ref CallWithArguments(io::AssignedTask* assigned, PyObject* callable) {
  Ref result;
  if (!RaiseIfCancelled()) {  // between its arrival and the moment when it became the running one
    DecodedArgs arguments;
    if (arguments.Decode(assigned->task.spec, assigned->stored)) result = Ref(arguments.Call(callable, nullptr));
  }
  assigned->stored.clear();
  return result;
}

void RunHere(PyObject* handler, io::AssignedTask* assigned, PyObject* callable, bool exiting) {
  const TaskSpec& spec = assigned->task.spec;
  Ref result;
  {
    Running running(spec);
    result = CallWithArguments(assigned, callable);
    // A signal that was sent while the function ran must be seen while its task is still the running one.
    if (result && PyErr_CheckSignals() < 0) result = Ref();
  }
  if (result) {
    FinishWithValue(handler, spec, std::move(result), exiting);
  } else {
    FinishWithError(handler, spec, exiting);
  }
}

PyObject* NewTask(io::AssignedTask&& assigned) {
  PyTask* task = PyObject_New(PyTask, &task_type);
  if (task == nullptr) return nullptr;
  new (&task->assigned) io::AssignedTask(std::move(assigned));
  task->finished = false;
  return reinterpret_cast<PyObject*>(task);
}

PyObject* handler_object = nullptr;  // what run_worker was given
int call_threads = 1;  // of the actor in this process
ResourceSet* actor_resources = nullptr;  // of the actor in this process, if it is one

PyObject* ToDict(const StringMap& map) {
  Ref dict(PyDict_New());
  for (const auto& [key, text] : map) {
    Ref value(PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size())));
    if (!dict || !value || PyDict_SetItemString(dict.get(), key.c_str(), value.get()) < 0) return nullptr;
  }
  return dict.release();
}

// ---- the loop

class Loop {
 public:
  explicit Loop(PyObject* handler) : handler_(handler) {}

  // The handler fetches its tasks by itself from now on.
  bool handed_over() const { return handed_over_; }
  // Not null: the actor's calls run in these.
  CallThreads* threads() const { return threads_.get(); }

  // False with a Python error set if the handler itself failed.
  bool Run(io::AssignedTask* assigned) {
    switch (assigned->task.spec.kind) {
      case TaskKind::kNormal: return RunNormal(assigned);
      case TaskKind::kActorCreation: return Create(assigned);
      case TaskKind::kActorCall: return RunCall(assigned);
    }
    return true;
  }

 private:
  bool RunNormal(io::AssignedTask* assigned) {
    const TaskSpec& spec = assigned->task.spec;
    PyObject* function = Function(assigned);
    if (function == nullptr) {
      FinishWithError(handler_, spec, false);
      return true;
    }
    if (spec.options.empty()) {
      RunHere(handler_, assigned, function, false);
      return true;
    }
    Ref task(NewTask(std::move(*assigned)));
    return task && Ref(PyObject_CallMethod(handler_, "run_task", "OO", task.get(), function));
  }

  PyObject* Function(io::AssignedTask* assigned) {
    const TaskSpec& spec = assigned->task.spec;
    auto found = functions_.find(spec.function);
    if (found != functions_.end()) return found->second.get();
    // The caller sends it once; if it does not load now (a module is missing, the task is cancelled), it may the next time.
    if (!assigned->task.code.empty()) unloaded_[spec.function] = assigned->task.code;
    const Payload kept = unloaded_[spec.function];
    const std::string_view code = kept.view();
    Running running(spec);
    Ref function(PyObject_CallMethod(handler_, "load", "y#s", code.data(), static_cast<Py_ssize_t>(code.size()),
                                     spec.name.c_str()));
    if (!function) return nullptr;
    unloaded_.erase(spec.function);
    return functions_.emplace(spec.function, std::move(function)).first->second.get();
  }

  // The handler answers with the instance, with None if there is none, with NotImplemented if it fetches the calls by itself.
  bool Create(io::AssignedTask* assigned) {
    if (const ActorSpec* actor = assigned->task.actor.get()) actor_resources = new ResourceSet(actor->shape.resources);
    Ref task(NewTask(std::move(*assigned)));
    if (!task) return false;
    Ref instance(PyObject_CallMethod(handler_, "create", "O", task.get()));
    if (!instance) return false;
    handed_over_ = instance.get() == Py_NotImplemented;
    if (handed_over_ || instance.get() == Py_None) return true;
    instance_ = std::move(instance);
    if (call_threads > 1) {
      auto start = [this] { return static_cast<bool>(Ref(PyObject_CallMethod(handler_, "start_thread", nullptr))); };
      auto run = [this](io::AssignedTask* call) { return PyErr_CheckSignals() == 0 && Run(call); };
      threads_ = std::make_unique<CallThreads>(session.core, call_threads, CallThreads::Calls{std::move(run), std::move(start)});
    }
    return true;
  }

  bool RunCall(io::AssignedTask* assigned) {
    const TaskSpec& spec = assigned->task.spec;
    if (!instance_) {
      const Ref raises(PyObject_CallMethod(handler_, "no_actor", nullptr));
      FinishWithError(handler_, spec, false);
      return true;
    }
    Ref method(Method(spec));
    if (method) {
      RunHere(handler_, assigned, method.get(), false);
    } else {
      FinishWithError(handler_, spec, false);
    }
    return true;
  }

  // The bound method that follows the last dot of the task's name.
  PyObject* Method(const TaskSpec& spec) {
    auto found = names_.find(spec.name);
    if (found == names_.end()) {
      const size_t dot = spec.name.rfind('.');
      Ref name(PyUnicode_InternFromString(spec.name.c_str() + (dot == std::string::npos ? 0 : dot + 1)));
      if (!name) return nullptr;
      found = names_.emplace(spec.name, std::move(name)).first;
    }
    const Ref name = Ref::Borrow(found->second.get());  // what Python runs meanwhile may move the map's entries
    PyObject* method = PyObject_GetAttr(instance_.get(), name.get());
    if (method != nullptr || !PyErr_ExceptionMatches(PyExc_AttributeError)) return method;
    PyErr_Clear();
    return PyObject_CallMethod(handler_, "builtin_method", "OO", instance_.get(), name.get());
  }

  PyObject* handler_;
  absl::flat_hash_map<FunctionId, Ref> functions_;
  absl::flat_hash_map<FunctionId, Payload> unloaded_;
  absl::flat_hash_map<std::string, Ref> names_;
  Ref instance_;
  bool handed_over_ = false;
  std::unique_ptr<CallThreads> threads_;
};
Loop* loop = nullptr;  // of this process; never destroyed, since threads that outlive it may need its functions

// Tells the handler of an assignment that it does not know yet. False with a Python error set if it failed.
bool TellAssignment(io::CoreProcess* core) {
  static uint64_t told = 0;
  const uint64_t current = core->AssignmentVersion();
  if (current == told) return true;
  told = current;
  Ref env_vars(ToDict(core->Assignment().env_vars));
  return env_vars && Ref(PyObject_CallMethod(handler_object, "assigned", "O", env_vars.get()));
}

// serve_calls(): what each thread of an actor does until the process is to exit
PyObject* ServeCalls(PyObject*, PyObject*) {
  if (!loop->threads()->Serve()) return nullptr;
  Py_RETURN_NONE;
}

PyObject* RunWorker(PyObject*, PyObject* handler) {
  if (CoreOrRaise() == nullptr) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  Py_INCREF(handler);
  Py_XSETREF(handler_object, handler);
  loop = new Loop(handler);
  while (!loop->handed_over()) {
    if (loop->threads() != nullptr) return ServeCalls(nullptr, nullptr);
    if (session.core != core) Py_RETURN_NONE;  // a child that the task forked has returned from it
    io::AssignedTask assigned;
    bool more = false;
    {
      WithoutGil unlocked;
      more = core->NextTask(&assigned);
    }
    if (!more) Py_RETURN_NONE;
    if (PyErr_CheckSignals() < 0 || !TellAssignment(core.get()) || !loop->Run(&assigned)) return nullptr;
  }
  return PyObject_CallMethod(handler, "serve", nullptr);
}

// watch_fd(fd): next_tasks returns while it is readable
PyObject* WatchFd(PyObject*, PyObject* fd) {
  if (CoreOrRaise() == nullptr) return nullptr;
  const absl::Status status = session.core->WatchFd(static_cast<int>(PyLong_AsLong(fd)));
  if (status.ok()) Py_RETURN_NONE;
  PyErr_SetString(PyExc_OSError, std::string(status.message()).c_str());
  return nullptr;
}

// next_tasks(seconds or None) -> [Task], perhaps none; None when this process is to exit
PyObject* NextTasks(PyObject*, PyObject* seconds) {
  if (CoreOrRaise() == nullptr) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  std::optional<Duration> timeout;
  if (seconds != Py_None) {
    const double value = PyFloat_AsDouble(seconds);
    if (value == -1 && PyErr_Occurred()) return nullptr;
    timeout = Duration(static_cast<int64_t>(std::clamp(value, 0.0, 1e9) * 1e9));
  }
  static std::vector<io::AssignedTask> arrived;  // of the main thread
  bool more = false;
  if (timeout == Duration::zero()) {
    more = core->NextTasks(timeout, &arrived);
  } else {
    WithoutGil unlocked;
    more = core->NextTasks(timeout, &arrived);
  }
  if (!more) Py_RETURN_NONE;
  if (PyErr_CheckSignals() < 0 || !TellAssignment(core.get())) return nullptr;
  Ref tasks(PyList_New(static_cast<Py_ssize_t>(arrived.size())));
  if (!tasks) return nullptr;
  for (size_t i = 0; i < arrived.size(); ++i) {
    PyObject* task = NewTask(std::move(arrived[i]));
    if (task == nullptr) return nullptr;
    PyList_SET_ITEM(tasks.get(), static_cast<Py_ssize_t>(i), task);
  }
  arrived.clear();
  return tasks.release();
}

// ---- methods of Task

void TaskDealloc(PyObject* object) {
  AsTask(object)->assigned.~AssignedTask();
  PyObject_Free(object);
}

const TaskSpec& SpecOf(PyObject* object) { return AsTask(object)->assigned.task.spec; }

PyObject* TaskName(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).name.c_str()); }
PyObject* TaskMethodName(PyObject* self, void*) {
  const std::string& name = SpecOf(self).name;
  return PyUnicode_FromString(name.substr(name.rfind('.') + 1).c_str());
}
PyObject* TaskHex(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).id.Hex().c_str()); }
PyObject* TaskActorId(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).actor.Hex().c_str()); }
PyObject* TaskGroup(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).concurrency_group.c_str()); }
PyObject* TaskAttempt(PyObject* self, void*) { return PyLong_FromUnsignedLong(SpecOf(self).attempt); }
PyObject* TaskFunction(PyObject* self, void*) { return PyLong_FromUnsignedLongLong(SpecOf(self).function.value); }
PyObject* TaskOptions(PyObject* self, void*) {
  const std::string_view options = SpecOf(self).options.view();
  return PyBytes_FromStringAndSize(options.data(), static_cast<Py_ssize_t>(options.size()));
}
PyObject* TaskCode(PyObject* self, void*) {
  const std::string_view code = AsTask(self)->assigned.task.code.view();
  return PyBytes_FromStringAndSize(code.data(), static_cast<Py_ssize_t>(code.size()));
}
PyObject* TaskIncarnation(PyObject* self, void*) {
  return PyLong_FromUnsignedLongLong(AsTask(self)->assigned.task.actor_incarnation);
}
// (name, namespace, handle bytes, max_task_retries, max_pending_calls) of the actor that this task creates, or None
PyObject* TaskActor(PyObject* self, void*) {
  const ActorSpec* actor = AsTask(self)->assigned.task.actor.get();
  if (actor == nullptr) Py_RETURN_NONE;
  const std::string_view handle = actor->handle.view();
  return Py_BuildValue("(ssy#ii)", actor->name.c_str(), actor->ns.c_str(), handle.data(),
                       static_cast<Py_ssize_t>(handle.size()), actor->max_task_retries, actor->max_pending_calls);
}

PyGetSetDef task_getters[] = {
    {"name", TaskName, nullptr, "Of the function, or Class.method.", nullptr},
    {"method_name", TaskMethodName, nullptr, "What follows the last dot.", nullptr},
    {"task_id", TaskHex, nullptr, nullptr, nullptr},
    {"actor_id", TaskActorId, nullptr, nullptr, nullptr},
    {"concurrency_group", TaskGroup, nullptr, nullptr, nullptr},
    {"attempt", TaskAttempt, nullptr, nullptr, nullptr},
    {"function_id", TaskFunction, nullptr, nullptr, nullptr},
    {"options", TaskOptions, nullptr, nullptr, nullptr},
    {"code", TaskCode, nullptr, nullptr, nullptr},
    {"incarnation", TaskIncarnation, nullptr, nullptr, nullptr},
    {"actor", TaskActor, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

bool TakeFinish(PyObject* self) {
  if (AsTask(self)->finished) {
    PyErr_SetString(PyExc_RuntimeError, "This task has been finished already.");
    return false;
  }
  AsTask(self)->finished = true;
  return true;
}

// arguments() -> (args, kwargs); the task gives up its own hold of them
PyObject* TaskArguments(PyObject* self, PyObject*) {
  DecodedArgs arguments;
  if (!arguments.Decode(SpecOf(self), AsTask(self)->assigned.stored)) return nullptr;
  AsTask(self)->assigned.stored.clear();
  return arguments.ToTuple().release();
}

// run(callable, exiting): the whole task, in this thread
PyObject* TaskRun(PyObject* self, PyObject* args) {
  PyObject* callable = nullptr;
  int exiting = 0;
  if (!PyArg_ParseTuple(args, "Op", &callable, &exiting) || !TakeFinish(self)) return nullptr;
  Ref keep = Ref::Borrow(self);
  RunHere(handler_object, &AsTask(self)->assigned, callable, exiting != 0);
  Py_RETURN_NONE;
}

// call(callable): as run, but the value comes back and finish is left to the caller
PyObject* TaskCall(PyObject* self, PyObject* callable) {
  Running running(SpecOf(self));
  return CallWithArguments(&AsTask(self)->assigned, callable).release();
}

PyObject* TaskFinish(PyObject* self, PyObject* args) {
  PyObject* value = nullptr;
  int exiting = 0;
  if (!PyArg_ParseTuple(args, "Op", &value, &exiting) || !TakeFinish(self)) return nullptr;
  FinishWithValue(handler_object, SpecOf(self), Ref::Borrow(value), exiting != 0);
  Py_RETURN_NONE;
}

PyObject* TaskFail(PyObject* self, PyObject* args) {
  PyObject* error = nullptr;
  int exiting = 0;
  if (!PyArg_ParseTuple(args, "Op", &error, &exiting) || !TakeFinish(self)) return nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  FinishWithError(handler_object, SpecOf(self), exiting != 0);
  Py_RETURN_NONE;
}

PyMethodDef task_methods[] = {
    {"arguments", TaskArguments, METH_NOARGS, "(args, kwargs)"},
    {"run", TaskRun, METH_VARARGS, "run(callable, exiting): calls it in this thread and hands the result over."},
    {"call", TaskCall, METH_O, "call(callable): calls it in this thread with the arguments; finish or fail must follow."},
    {"finish", TaskFinish, METH_VARARGS, "finish(value, exiting)"},
    {"fail", TaskFail, METH_VARARGS, "fail(exception, exiting)"},
    {nullptr, nullptr, 0, nullptr},
};

PyTypeObject task_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal.Task",
};

// ---- module functions

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

// set_concurrency(max_concurrency, {group: size}, threads): what the machine hands out at a time, and the threads that take it
PyObject* SetConcurrency(PyObject*, PyObject* args) {
  int max_concurrency = 1;
  PyObject* dict = nullptr;
  if (!PyArg_ParseTuple(args, "iO!i", &max_concurrency, &PyDict_Type, &dict, &call_threads)) return nullptr;
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) return nullptr;
  std::vector<std::pair<std::string, int32_t>> groups;
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (PyDict_Next(dict, &position, &key, &value)) {
    const char* name = PyUnicode_AsUTF8(key);
    if (name == nullptr) return nullptr;
    groups.emplace_back(name, static_cast<int32_t>(PyLong_AsLong(value)));
  }
  if (PyErr_Occurred() != nullptr) return nullptr;
  core->SetConcurrency(max_concurrency, std::move(groups));
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
  if (!running_task.id || interrupts().cancelled.erase(running_task.id) == 0) Py_RETURN_FALSE;
  running_task.cancelled = true;
  Py_RETURN_TRUE;
}

// is_cancelled() -> True if the running task has been cancelled, however often it is asked
PyObject* IsCancelled(PyObject*, PyObject*) {
  const TaskId id = CurrentTaskId();
  std::lock_guard<std::mutex> lock(interrupts().mutex);
  return PyBool_FromLong(running_task.cancelled || (id && interrupts().cancelled.contains(id)));
}

// assigned_resources() -> {name: amount} of the running task or of the actor; empty elsewhere
PyObject* AssignedResources(PyObject*, PyObject*) {
  Ref dict(PyDict_New());
  if (!dict || !session.is_worker || session.core == nullptr) return dict.release();
  const ResourceSet held = actor_resources != nullptr ? *actor_resources : session.core->Assignment().resources;
  for (const auto& [name, steps] : held.amounts()) {
    Ref amount(PyFloat_FromDouble(static_cast<double>(steps) / ResourceSet::kStepsPerUnit));
    if (!amount || PyDict_SetItemString(dict.get(), name.c_str(), amount.get()) < 0) return nullptr;
  }
  return dict.release();
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
  static const unsigned long main_id = PyThread_get_thread_ident();  // first called by main, see AddWorkerTypes
  return PyThread_get_thread_ident() == main_id;
}

bool RaiseIfCancelled() {
  {
    std::lock_guard<std::mutex> lock(interrupts().mutex);
    if (!running_task.id || interrupts().cancelled.erase(running_task.id) == 0) return false;
  }
  running_task.cancelled = true;
  // The Python side may have aimed the same error at this thread; once is enough.
  PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), nullptr);
  PyErr_SetString(cancelled_class != nullptr ? cancelled_class : PyExc_RuntimeError, "The task was cancelled.");
  return true;
}

void InstallInterrupts() {
  std::weak_ptr<io::CoreProcess> weak = session.core;
  session.core->OnInterrupt([weak](TaskId id) {
    {
      std::lock_guard<std::mutex> lock(interrupts().mutex);
      interrupts().cancelled.insert(id);
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

PyMethodDef worker_methods[] = {
    {"run_worker", RunWorker, METH_O, "run_worker(handler): runs tasks until this process is to exit."},
    {"next_tasks", NextTasks, METH_O, "next_tasks(seconds or None) -> [Task], perhaps none; None when this process is to exit."},
    {"watch_fd", WatchFd, METH_O, "watch_fd(fd): next_tasks returns while it is readable."},
    {"running_task", GetRunningTask, METH_NOARGS, "What runs in this thread, as a dict."},
    {"set_task_variable", SetTaskVariable, METH_O, "The context variable that holds the running Task in asyncio actors."},
    {"set_concurrency", SetConcurrency, METH_VARARGS, "set_concurrency(max_concurrency, groups, threads)"},
    {"serve_calls", ServeCalls, METH_NOARGS, "What each thread of an actor does until the process is to exit."},
    {"next_interrupt", NextInterrupt, METH_NOARGS, "Blocks until a task that runs in no thread of its own is cancelled."},
    {"set_cancel_signal", SetCancelSignal, METH_VARARGS, "set_cancel_signal(number, exception_class)"},
    {"is_cancelled", IsCancelled, METH_NOARGS, "True if the running task has been cancelled."},
    {"assigned_resources", AssignedResources, METH_NOARGS, "What the running task or the actor holds, as a dict."},
    {"cancel_requested", CancelRequested, METH_NOARGS, "True once if the running task has been cancelled."},
    {nullptr, nullptr, 0, nullptr},
};

bool AddWorkerTypes(PyObject* module) {
  IsMainThread();
  task_type.tp_basicsize = sizeof(PyTask);
  task_type.tp_flags = Py_TPFLAGS_DEFAULT;
  task_type.tp_dealloc = TaskDealloc;
  task_type.tp_getset = task_getters;
  task_type.tp_methods = task_methods;
  if (PyType_Ready(&task_type) < 0) return false;
  Py_INCREF(&task_type);
  return PyModule_AddObject(module, "Task", reinterpret_cast<PyObject*>(&task_type)) == 0;
}

}  // namespace shoal::python
