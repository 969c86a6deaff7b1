#include "python/bindings/task.h"

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "python/bindings/args.h"
#include "python/bindings/interrupts.h"

namespace shoal::python {

PyObject* handler_object = nullptr;

namespace {

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

Failure DescribeError(const TaskSpec& spec) {
  PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr && value != nullptr) PyException_SetTraceback(value, traceback);
  Ref type_ref(type), value_ref(value), traceback_ref(traceback);
  const std::string_view options = spec.options.view();
  int kind = 0, final = 0, exits = 0;
  const char *message = nullptr, *detail = nullptr;
  Py_ssize_t message_size = 0, detail_size = 0;
  Ref described(PyObject_CallMethod(handler_object, "describe", "Osy#", value, spec.name.c_str(), options.data(),
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

}  // namespace

void FinishWithError(const TaskSpec& spec, bool exiting) {
  Failure failure = DescribeError(spec);
  ForgetCancellation(spec.id);
  std::shared_ptr<io::CoreProcess> core = session.core;
  if (core != nullptr) core->FailTask(spec, std::move(failure.error), exiting || failure.exits, failure.final);
}

// Small values are encoded on the stack of this function: `fill` runs before it returns.
void FinishWithValue(const TaskSpec& spec, Ref value, bool exiting) {
  if (spec.num_returns == 1) {
    Encoded encoded;
    if (!encoded.Encode(value.get())) return FinishWithError(spec, exiting);
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
  if (!values) return FinishWithError(spec, exiting);
  std::vector<std::unique_ptr<Encoded>> encoded;
  for (uint32_t i = 0; i < spec.num_returns; ++i) {
    Encoded* one = encoded.emplace_back(std::make_unique<Encoded>()).get();
    if (!one->Encode(PyTuple_GET_ITEM(values.get(), i))) return FinishWithError(spec, exiting);
    results[i] = {one->size(), [one](char* to) { one->CopyTo(to); }, one->contained(), {}};
  }
  Finish(spec, std::move(results), exiting, false);
}

Ref CallWithArguments(io::AssignedTask* assigned, PyObject* callable) {
  Ref result;
  if (!RaiseIfCancelled()) {  // between its arrival and the moment when it became the running one
    DecodedArgs arguments;
    if (arguments.Decode(assigned->task.spec, assigned->stored)) result = Ref(arguments.Call(callable, nullptr));
  }
  assigned->stored.clear();
  return result;
}

void RunHere(io::AssignedTask* assigned, PyObject* callable, bool exiting) {
  const TaskSpec& spec = assigned->task.spec;
  Ref result;
  {
    Running running(spec);
    result = CallWithArguments(assigned, callable);
    // A signal that was sent while the function ran must be seen while its task is still the running one.
    if (result && PyErr_CheckSignals() < 0) result = Ref();
  }
  if (result) {
    FinishWithValue(spec, std::move(result), exiting);
  } else {
    FinishWithError(spec, exiting);
  }
}

PyObject* NewTask(io::AssignedTask&& assigned) {
  PyTask* task = PyObject_New(PyTask, &task_type);
  if (task == nullptr) return nullptr;
  new (&task->assigned) io::AssignedTask(std::move(assigned));
  task->finished = false;
  return reinterpret_cast<PyObject*>(task);
}

namespace {

// ---- methods of Task

void TaskDealloc(PyObject* object) {
  AsTask(object)->assigned.~AssignedTask();
  PyObject_Free(object);
}

PyObject* TaskName(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).name.c_str()); }
PyObject* TaskHex(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).id.Hex().c_str()); }
PyObject* TaskActorId(PyObject* self, void*) { return PyUnicode_FromString(SpecOf(self).actor.Hex().c_str()); }
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
    {"task_id", TaskHex, nullptr, nullptr, nullptr},
    {"actor_id", TaskActorId, nullptr, nullptr, nullptr},
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
  RunHere(&AsTask(self)->assigned, callable, exiting != 0);
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
  FinishWithValue(SpecOf(self), Ref::Borrow(value), exiting != 0);
  Py_RETURN_NONE;
}

PyObject* TaskFail(PyObject* self, PyObject* args) {
  PyObject* error = nullptr;
  int exiting = 0;
  if (!PyArg_ParseTuple(args, "Op", &error, &exiting) || !TakeFinish(self)) return nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  FinishWithError(SpecOf(self), exiting != 0);
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

}  // namespace

PyTypeObject task_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal.Task",
};

bool AddTaskType(PyObject* module) {
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
