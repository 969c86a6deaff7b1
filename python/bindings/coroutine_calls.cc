#include "python/bindings/coroutine_calls.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "python/bindings/interrupts.h"
#include "python/bindings/task.h"
#include "python/bindings/worker.h"

namespace shoal::python {
namespace {

// What serve_coroutines was given, and the calls that have not ended.
struct Server {
  PyObject* instance = nullptr;
  PyObject* loop = nullptr;
  PyObject* task_class = nullptr;       // asyncio.Task
  PyObject* cancelled_class = nullptr;  // asyncio.CancelledError
  PyObject* name = nullptr;             // of every asyncio.Task: to number them costs more than to run a short call
  PyObject* keywords = nullptr;         // ("loop", "name")
  absl::flat_hash_map<TaskId, Ref> running;  // asyncio.Tasks: the loop itself holds them weakly
};
Server* server = nullptr;

struct PyCoroutineCall {
  PyObject_HEAD
  PyObject* task;       // Task
  PyObject* coroutine;  // what the method returned; null before the first step and after the last
};
extern PyTypeObject coroutine_call_type;

PyCoroutineCall* AsCall(PyObject* object) { return reinterpret_cast<PyCoroutineCall*>(object); }

// What `await` would step, null without an error for values that nobody awaits.
PyObject* Awaitable(PyObject* value) {
  if (PyCoro_CheckExact(value)) return Py_NewRef(value);
  const PyAsyncMethods* methods = Py_TYPE(value)->tp_as_async;
  if (methods != nullptr && methods->am_await != nullptr) return methods->am_await(value);
  if (!PyGen_CheckExact(value)) return nullptr;
  const Ref code(PyObject_GetAttrString(value, "gi_code"));  // types.coroutine makes awaitable generators
  const Ref flags(code ? PyObject_GetAttrString(code.get(), "co_flags") : nullptr);
  if (!flags) return nullptr;
  return (PyLong_AsLong(flags.get()) & CO_ITERABLE_COROUTINE) != 0 ? Py_NewRef(value) : nullptr;
}

PySendResult End(PyCoroutineCall* call, Ref value, PyObject** result) {
  const TaskSpec& spec = SpecOf(call->task);
  const TaskId id = spec.id;
  Py_CLEAR(call->coroutine);
  if (value) {
    FinishWithValue(spec, std::move(value), false);
  } else {
    if (PyErr_ExceptionMatches(server->cancelled_class)) {
      PyErr_Clear();
      SetCancelledError();
    }
    FinishWithError(spec, false);
  }
  AsTask(call->task)->finished = true;
  const auto ended = server->running.extract(id);  // destroyed last: it holds what holds this call
  *result = Py_NewRef(Py_None);
  return PYGEN_RETURN;
}

// The first step: calls the method.
std::optional<PySendResult> Begin(PyCoroutineCall* call, PyObject** result) {
  if (!SetCurrentTask(call->task)) return End(call, {}, result);
  Ref method(MethodOf(server->instance, SpecOf(call->task)));
  Ref value = method ? CallWithArguments(&AsTask(call->task)->assigned, method.get()) : Ref();
  if (!value) return End(call, {}, result);
  call->coroutine = Awaitable(value.get());
  if (call->coroutine != nullptr) return std::nullopt;
  return End(call, PyErr_Occurred() == nullptr ? std::move(value) : Ref(), result);
}

PySendResult Send(PyObject* object, PyObject* value, PyObject** result) {
  const Ref keep = Ref::Borrow(object);
  PyCoroutineCall* call = AsCall(object);
  if (AsTask(call->task)->finished) {
    PyErr_SetString(PyExc_RuntimeError, "This call has ended already.");
    return PYGEN_ERROR;
  }
  if (call->coroutine == nullptr) {
    if (const std::optional<PySendResult> ended = Begin(call, result)) return *ended;
  }
  PyObject* got = nullptr;
  switch (PyIter_Send(call->coroutine, value, &got)) {
    case PYGEN_NEXT: *result = got; return PYGEN_NEXT;
    case PYGEN_RETURN: return End(call, Ref(got), result);
    case PYGEN_ERROR: break;
  }
  return End(call, {}, result);
}

// As generators answer: what was yielded, or StopIteration.
PyObject* AsYielded(PySendResult step, PyObject* result) {
  if (step == PYGEN_NEXT) return result;
  Py_XDECREF(result);
  if (step == PYGEN_RETURN) PyErr_SetNone(PyExc_StopIteration);
  return nullptr;
}

PyObject* SendMethod(PyObject* self, PyObject* value) {
  PyObject* result = nullptr;
  const PySendResult step = Send(self, value, &result);
  return AsYielded(step, result);
}

PyObject* Next(PyObject* self) { return SendMethod(self, Py_None); }

// What a coroutine returned that has raised StopIteration.
Ref TakeStopValue() {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  const Ref type_ref(type), stop(value), traceback_ref(traceback);
  return Ref(PyObject_GetAttrString(stop.get(), "value"));
}

// throw(exception): how asyncio cancels
PyObject* Throw(PyObject* self, PyObject* args) {
  const Ref keep = Ref::Borrow(self);
  PyCoroutineCall* call = AsCall(self);
  PyObject* result = nullptr;
  if (call->coroutine == nullptr) {  // cancelled before it began
    PyObject* exception = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : Py_None;
    PyObject* type = PyExceptionInstance_Check(exception) ? PyExceptionInstance_Class(exception) : exception;
    PyErr_SetObject(type, type == exception ? nullptr : exception);
    return AsYielded(End(call, {}, &result), result);
  }
  const Ref throws(PyObject_GetAttrString(call->coroutine, "throw"));
  PyObject* yielded = throws ? PyObject_Call(throws.get(), args, nullptr) : nullptr;
  if (yielded != nullptr) return yielded;
  return AsYielded(End(call, PyErr_ExceptionMatches(PyExc_StopIteration) ? TakeStopValue() : Ref(), &result), result);
}

PyObject* Close(PyObject* self, PyObject*) {
  PyObject* coroutine = AsCall(self)->coroutine;
  if (coroutine == nullptr) Py_RETURN_NONE;
  return PyObject_CallMethod(coroutine, "close", nullptr);
}

PyObject* Itself(PyObject* self) { return Py_NewRef(self); }

void Dealloc(PyObject* object) {
  Py_XDECREF(AsCall(object)->coroutine);
  Py_XDECREF(AsCall(object)->task);
  PyObject_Free(object);
}

PyObject* Name(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(AsCall(self)->task).name.c_str()); }

PyMethodDef methods[] = {
    {"send", SendMethod, METH_O, nullptr},
    {"throw", Throw, METH_VARARGS, nullptr},
    {"close", Close, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getters[] = {
    {"__name__", Name, nullptr, nullptr, nullptr},
    {"__qualname__", Name, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyAsyncMethods async_methods = {Itself, nullptr, nullptr, Send};
PyTypeObject coroutine_call_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal.CoroutineCall",
};

// Has the loop run a call. False with a Python error set.
bool Start(io::AssignedTask&& assigned) {
  const TaskId id = assigned.task.spec.id;
  Ref task(NewTask(std::move(assigned)));
  if (!task) return false;
  PyCoroutineCall* call = PyObject_New(PyCoroutineCall, &coroutine_call_type);
  if (call == nullptr) return false;
  call->task = task.release();
  call->coroutine = nullptr;
  const Ref keep(reinterpret_cast<PyObject*>(call));
  PyObject* args[] = {keep.get(), server->loop, server->name};
  Ref running(PyObject_Vectorcall(server->task_class, args, 1, server->keywords));
  if (!running) return false;
  server->running[id] = std::move(running);
  return true;
}

// serve_coroutines(instance, loop, asyncio.Task, asyncio.CancelledError): whose calls start_calls starts, and where
PyObject* ServeCoroutines(PyObject*, PyObject* args) {
  PyObject *instance = nullptr, *loop = nullptr, *task_class = nullptr, *cancelled = nullptr;
  if (!PyArg_ParseTuple(args, "OOOO", &instance, &loop, &task_class, &cancelled)) return nullptr;
  if (server == nullptr) server = new Server();
  for (PyObject* object : {instance, loop, task_class, cancelled}) Py_INCREF(object);
  server->instance = instance;
  server->loop = loop;
  server->task_class = task_class;
  server->cancelled_class = cancelled;
  server->name = PyUnicode_InternFromString("shoal-call");
  server->keywords = Py_BuildValue("(ss)", "loop", "name");
  if (server->name == nullptr || server->keywords == nullptr) return nullptr;
  Py_RETURN_NONE;
}

// start_calls(seconds or None) -> False when this process is to exit
PyObject* StartCalls(PyObject*, PyObject* seconds) {
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
  if (!more) Py_RETURN_FALSE;
  if (PyErr_CheckSignals() < 0 || !TellAssignment(core.get())) return nullptr;
  for (io::AssignedTask& assigned : arrived) {
    if (!Start(std::move(assigned))) return nullptr;
  }
  arrived.clear();
  Py_RETURN_TRUE;
}

// watch_fd(fd): start_calls returns while it is readable
PyObject* WatchFd(PyObject*, PyObject* fd) {
  if (CoreOrRaise() == nullptr) return nullptr;
  const absl::Status status = session.core->WatchFd(static_cast<int>(PyLong_AsLong(fd)));
  if (status.ok()) Py_RETURN_NONE;
  PyErr_SetString(PyExc_OSError, std::string(status.message()).c_str());
  return nullptr;
}

// running_call(hex id of a task) -> its asyncio.Task, or None
PyObject* RunningCall(PyObject*, PyObject* hex) {
  const char* text = PyUnicode_AsUTF8(hex);
  if (text == nullptr) return nullptr;
  const std::string digits = text;
  TaskId id;
  const bool valid = absl::SimpleHexAtoi(digits.substr(0, 16), &id.owner.value) &&
                     absl::SimpleHexAtoi(digits.substr(std::min<size_t>(16, digits.size())), &id.index);
  if (!valid || server == nullptr) Py_RETURN_NONE;
  const auto found = server->running.find(id);
  if (found == server->running.end()) Py_RETURN_NONE;
  return Py_NewRef(found->second.get());
}

}  // namespace

PyMethodDef coroutine_methods[] = {
    {"serve_coroutines", ServeCoroutines, METH_VARARGS, "serve_coroutines(instance, loop, asyncio.Task, asyncio.CancelledError)"},
    {"start_calls", StartCalls, METH_O, "start_calls(seconds or None) -> False when this process is to exit."},
    {"watch_fd", WatchFd, METH_O, "watch_fd(fd): start_calls returns while it is readable."},
    {"running_call", RunningCall, METH_O, "running_call(task id) -> its asyncio.Task, or None."},
    {nullptr, nullptr, 0, nullptr},
};

bool ReadyCoroutineCallType() {
  coroutine_call_type.tp_basicsize = sizeof(PyCoroutineCall);
  coroutine_call_type.tp_flags = Py_TPFLAGS_DEFAULT;
  coroutine_call_type.tp_doc = "A call of an asyncio actor, as the coroutine that its asyncio.Task steps.";
  coroutine_call_type.tp_dealloc = Dealloc;
  coroutine_call_type.tp_methods = methods;
  coroutine_call_type.tp_getset = getters;
  coroutine_call_type.tp_as_async = &async_methods;
  coroutine_call_type.tp_iter = Itself;
  coroutine_call_type.tp_iternext = Next;
  return PyType_Ready(&coroutine_call_type) == 0;
}

}  // namespace shoal::python
