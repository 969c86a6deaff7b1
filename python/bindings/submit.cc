#include "python/bindings/submit.h"

#include <structmember.h>

#include <cstddef>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "python/bindings/api.h"
#include "python/bindings/args.h"
#include "python/bindings/interrupts.h"

namespace shoal::python {

uint64_t configuration_epoch = 1;

namespace {

struct PySubmitter {
  PyObject_HEAD
  vectorcallfunc vectorcall;
  PyObject* plan;
  PyActorCore* actor;  // of a method
  uint64_t epoch;      // at which it was configured; 0: never
  core_worker::TaskSubmission prototype;
};

PySubmitter* AsSubmitter(PyObject* object) { return reinterpret_cast<PySubmitter*>(object); }

// Turns encoded arguments into what the machine takes; they end with the call.
void FillSpec(EncodedArgs* args, TaskSpec* spec) {
  spec->args = Payload(args->bytes.view());
  spec->refs.reserve(args->refs.size());
  for (const ObjectRefInfo& ref : args->refs) spec->refs.push_back(ArgRef{ref, {}});
  spec->nested = std::move(args->nested);
  spec->parent = CurrentTaskId();
}

PyObject* MakeResults(TaskId task, uint32_t count) {
  if (count == 1) return NewObjectRef({task.Return(0), session.node});
  if (count == 0) {
    session.core->RemoveReference(task.Return(0));
    Py_RETURN_NONE;
  }
  PyObject* list = PyList_New(count);
  if (list == nullptr) return nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    PyObject* ref = NewObjectRef({task.Return(i), session.node});
    if (ref == nullptr) return Py_DECREF(list), nullptr;
    PyList_SET_ITEM(list, i, ref);
  }
  return list;
}

bool Configure(PySubmitter* self) {
  for (int attempt = 0; attempt < 2 && self->epoch != configuration_epoch; ++attempt) {
    Ref done(PyObject_CallOneArg(self->plan, reinterpret_cast<PyObject*>(self)));
    if (!done) return false;
  }
  return self->actor != nullptr || CoreOrRaise() != nullptr;  // CheckActor says more about a session that has ended
}

bool CheckActor(PyActorCore* actor) {
  if (actor->generation != session.generation) {
    PyErr_SetString(PyExc_RuntimeError,
                    "This actor handle belongs to a session that has been shut down; start the actor again.");
    return false;
  }
  if (actor->max_pending_calls > 0 && session.core->ActorQueueFull(actor->actor)) {
    ErrorInfo error{ErrorKind::kPendingCallsLimit,
                    "The actor has as many calls waiting as its max_pending_calls allows (" +
                        std::to_string(actor->max_pending_calls) + "); wait for results before you send more.",
                    {}};
    RaiseErrorInfo(error);
    return false;
  }
  return true;
}

PyObject* Call(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* keyword_names) {
  PySubmitter* self = AsSubmitter(object);
  if (self->epoch != configuration_epoch && !Configure(self)) return nullptr;
  if (self->actor != nullptr && !CheckActor(self->actor)) return nullptr;
  EncodedArgs encoded;
  if (!EncodeArgs(args, static_cast<size_t>(PyVectorcall_NARGS(nargsf)), keyword_names, &encoded)) return nullptr;
  if (session.core == nullptr) return CoreOrRaise(), nullptr;  // pickling ran user code
  core_worker::TaskSubmission submission = self->prototype;
  FillSpec(&encoded, &submission.spec);
  const uint32_t returns = submission.spec.num_returns;
  const absl::StatusOr<TaskId> task = self->actor != nullptr
                                          ? session.core->SubmitActorCall(self->actor->actor, std::move(submission))
                                          : session.core->SubmitTask(std::move(submission));
  return task.ok() ? MakeResults(*task, returns) : RaiseStatus(task.status());
}

PyObject* New(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* plan = nullptr;
  if (!PyArg_ParseTuple(args, "O", &plan)) return nullptr;
  auto* self = reinterpret_cast<PySubmitter*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  new (&self->prototype) core_worker::TaskSubmission();
  self->vectorcall = Call;
  Py_INCREF(plan);
  self->plan = plan;
  return reinterpret_cast<PyObject*>(self);
}

int Traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(AsSubmitter(object)->plan);
  Py_VISIT(reinterpret_cast<PyObject*>(AsSubmitter(object)->actor));
  return 0;
}

int Clear(PyObject* object) {
  Py_CLEAR(AsSubmitter(object)->plan);
  Py_CLEAR(AsSubmitter(object)->actor);
  return 0;
}

void Dealloc(PyObject* object) {
  PyObject_GC_UnTrack(object);
  Clear(object);
  AsSubmitter(object)->prototype.~TaskSubmission();
  Py_TYPE(object)->tp_free(object);
}

Payload FromBuffer(const Py_buffer& buffer) {
  return Payload(std::string_view(static_cast<const char*>(buffer.buf), static_cast<size_t>(buffer.len)));
}

// The buffers that y* parsing fills, released at the end of the scope.
struct Buffer {
  Py_buffer view{};
  ~Buffer() {
    if (view.obj != nullptr) PyBuffer_Release(&view);
  }
};

PyObject* ConfigureTask(PyObject* object, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"shape",       "function",         "code",    "name", "num_returns",
                                "max_retries", "retry_exceptions", "options", nullptr};
  unsigned long long shape = 0, function = 0;
  Buffer code, options;
  const char* name = "";
  unsigned int num_returns = 1;
  int max_retries = 0, retry_exceptions = 0;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "$KKy*sIipy*", const_cast<char**>(names), &shape, &function,
                                   &code.view, &name, &num_returns, &max_retries, &retry_exceptions, &options.view)) {
    return nullptr;
  }
  PySubmitter* self = AsSubmitter(object);
  core_worker::TaskSubmission& prototype = self->prototype;
  prototype.shape = ShapeId{shape};
  prototype.code = FromBuffer(code.view);
  prototype.max_retries = max_retries;
  prototype.retry_exceptions = retry_exceptions != 0;
  prototype.spec.function = FunctionId{function};
  prototype.spec.name = name;
  prototype.spec.num_returns = num_returns;
  prototype.spec.options = FromBuffer(options.view);
  self->epoch = configuration_epoch;
  Py_RETURN_NONE;
}

PyObject* ConfigureCall(PyObject* object, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"actor",       "name",             "num_returns",
                                "max_retries", "retry_exceptions", "concurrency_group",
                                "options",     nullptr};
  PyObject* actor = nullptr;
  const char *name = "", *group = "";
  unsigned int num_returns = 1;
  int max_retries = 0, retry_exceptions = 0;
  Buffer options;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "$O!sIipsy*", const_cast<char**>(names), &actor_core_type, &actor,
                                   &name, &num_returns, &max_retries, &retry_exceptions, &group, &options.view)) {
    return nullptr;
  }
  PySubmitter* self = AsSubmitter(object);
  core_worker::TaskSubmission& prototype = self->prototype;
  prototype.max_retries = max_retries;
  prototype.retry_exceptions = retry_exceptions != 0;
  prototype.spec.name = name;
  prototype.spec.num_returns = num_returns;
  prototype.spec.concurrency_group = group;
  prototype.spec.options = FromBuffer(options.view);
  Py_INCREF(actor);
  Py_XSETREF(self->actor, reinterpret_cast<PyActorCore*>(actor));
  self->epoch = configuration_epoch;
  Py_RETURN_NONE;
}

PyMethodDef submitter_methods[] = {
    {"configure", reinterpret_cast<PyCFunction>(ConfigureTask), METH_VARARGS | METH_KEYWORDS,
     "Sets what all calls of a remote function share."},
    {"configure_call", reinterpret_cast<PyCFunction>(ConfigureCall), METH_VARARGS | METH_KEYWORDS,
     "Sets what all calls of an actor's method share."},
    {nullptr, nullptr, 0, nullptr},
};

PyTypeObject submitter_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal.Submitter",
};

// ---- ActorCore

PyActorCore* AsActorCore(PyObject* object) { return reinterpret_cast<PyActorCore*>(object); }

void ActorCoreDealloc(PyObject* object) {
  Py_XDECREF(AsActorCore(object)->life);
  PyObject_Free(object);
}

PyObject* ActorCoreId(PyObject* object, void*) {
  return PyUnicode_FromString(AsActorCore(object)->actor.Hex().c_str());
}

PyObject* ActorCoreRef(PyObject* object, void*) {
  PyObject* life = AsActorCore(object)->life;
  return Py_NewRef(life == nullptr ? Py_None : life);
}

PyGetSetDef actor_core_getters[] = {
    {"actor_id", ActorCoreId, nullptr, "Sixteen hex digits.", nullptr},
    {"ref", ActorCoreRef, nullptr, "The reference that keeps the actor alive, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyObject* NewActorCore(ActorId actor, Ref life, int32_t max_pending_calls) {
  PyActorCore* self = PyObject_New(PyActorCore, &actor_core_type);
  if (self == nullptr) return nullptr;
  self->actor = actor;
  self->life = life.release();
  self->max_pending_calls = max_pending_calls;
  self->generation = session.generation;
  return reinterpret_cast<PyObject*>(self);
}

bool EncodeTupleAndDict(PyObject* args, PyObject* keywords, EncodedArgs* out) {
  std::vector<PyObject*> stack;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) stack.push_back(PyTuple_GET_ITEM(args, i));
  const auto positional = stack.size();
  Ref names(PyTuple_New(PyDict_GET_SIZE(keywords)));
  if (!names) return false;
  PyObject *key, *value;
  Py_ssize_t position = 0, i = 0;
  while (PyDict_Next(keywords, &position, &key, &value)) {
    stack.push_back(value);
    PyTuple_SET_ITEM(names.get(), i++, Py_NewRef(key));
  }
  return EncodeArgs(stack.data(), positional, names.get(), out);
}

}  // namespace

PyTypeObject actor_core_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal.ActorCore",
};

PyObject* CreateActor(PyObject*, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"args",          "kwargs",       "shape",        "placement",
                                "function",      "code",         "class_name",   "name",
                                "namespace",     "detached",     "get_if_exists", "max_restarts",
                                "max_task_retries", "max_concurrency", "max_pending_calls", "options",
                                "handle",        nullptr};
  PyObject *positional = nullptr, *named = nullptr, *placement = nullptr;
  unsigned long long shape = 0, function = 0;
  Buffer code, options, handle;
  const char *class_name = "", *name = "", *ns = "";
  int detached = 0, get_if_exists = 0, max_restarts = 0, max_task_retries = 0, max_concurrency = 1, max_pending = -1;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O!$KO!Ky*sssppiiiiy*y*", const_cast<char**>(names), &PyTuple_Type,
                                   &positional, &PyDict_Type, &named, &shape, &PyDict_Type, &placement, &function,
                                   &code.view, &class_name, &name, &ns, &detached, &get_if_exists, &max_restarts,
                                   &max_task_retries, &max_concurrency, &max_pending, &options.view, &handle.view)) {
    return nullptr;
  }
  io::CoreProcess* core = CoreOrRaise();
  EncodedArgs encoded;
  ActorSpec spec;
  if (core == nullptr || !ParseResourceDict(placement, &spec.placement)) return nullptr;
  if (!EncodeTupleAndDict(positional, named, &encoded)) return nullptr;
  const Shape* registered = FindShape(ShapeId{shape});
  if (registered == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "create_actor needs a shape from register_shape.");
    return nullptr;
  }
  spec.shape = *registered;
  spec.job = core->job();
  spec.name = name;
  spec.ns = *ns != '\0' ? ns : core->ns();
  spec.detached = detached != 0;
  spec.get_if_exists = get_if_exists != 0;
  spec.max_restarts = max_restarts;
  spec.max_task_retries = max_task_retries;
  spec.max_concurrency = max_concurrency;
  spec.max_pending_calls = max_pending;
  spec.code = FromBuffer(code.view);
  spec.handle = FromBuffer(handle.view);
  spec.creation.function = FunctionId{function};
  spec.creation.name = std::string(class_name) + ".__init__";
  spec.creation.options = FromBuffer(options.view);
  FillSpec(&encoded, &spec.creation);
  const absl::StatusOr<io::CreatedActor> created = core->CreateActor(std::move(spec));
  if (!created.ok()) return RaiseStatus(created.status());
  Ref life(NewObjectRef(created->life));
  return life ? NewActorCore(created->actor, std::move(life), max_pending) : nullptr;
}

namespace {
bool ParseActorId(const char* hex, ActorId* actor) {
  if (absl::SimpleHexAtoi(hex, &actor->value) && *actor) return true;
  PyErr_Format(PyExc_ValueError, "An actor id has sixteen hex digits, not %s.", hex);
  return false;
}
}  // namespace

PyObject* MakeActorCore(PyObject*, PyObject* args) {
  const char* hex = "";
  PyObject* life = nullptr;
  int max_task_retries = 0, max_pending = -1;
  if (!PyArg_ParseTuple(args, "sOii", &hex, &life, &max_task_retries, &max_pending)) return nullptr;
  io::CoreProcess* core = CoreOrRaise();
  ActorId actor;
  if (core == nullptr || !ParseActorId(hex, &actor)) return nullptr;
  const bool counted = IsObjectRef(life);
  core->RegisterActorHandle(actor, counted ? AsObjectRef(life)->info : ObjectRefInfo{}, max_task_retries, max_pending);
  return NewActorCore(actor, counted ? Ref::Borrow(life) : Ref(), max_pending);
}

PyObject* GetActorByName(PyObject*, PyObject* args) {
  const char *name = "", *ns = "";
  if (!PyArg_ParseTuple(args, "ss", &name, &ns)) return nullptr;
  if (CoreOrRaise() == nullptr) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  absl::StatusOr<FindActorReply> reply;
  {
    WithoutGil unlocked;
    reply = core->GetActor(name, *ns != '\0' ? std::string(ns) : core->ns(), 10s);
  }
  if (!reply.ok()) return RaiseStatus(reply.status());
  if (reply->error) return RaiseErrorInfo(reply->error);
  const std::string_view handle = reply->handle.view();
  return Py_BuildValue("(sy#)", reply->actor.Hex().c_str(), handle.data(), static_cast<Py_ssize_t>(handle.size()));
}

bool AddSubmitTypes(PyObject* module) {
  submitter_type.tp_basicsize = sizeof(PySubmitter);
  submitter_type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL;
  submitter_type.tp_doc = "What `.remote` is: calling it submits a task.";
  submitter_type.tp_new = New;
  submitter_type.tp_dealloc = Dealloc;
  submitter_type.tp_traverse = Traverse;
  submitter_type.tp_clear = Clear;
  submitter_type.tp_call = PyVectorcall_Call;
  submitter_type.tp_vectorcall_offset = offsetof(PySubmitter, vectorcall);
  submitter_type.tp_methods = submitter_methods;
  actor_core_type.tp_basicsize = sizeof(PyActorCore);
  actor_core_type.tp_flags = Py_TPFLAGS_DEFAULT;
  actor_core_type.tp_dealloc = ActorCoreDealloc;
  actor_core_type.tp_getset = actor_core_getters;
  if (PyType_Ready(&submitter_type) < 0 || PyType_Ready(&actor_core_type) < 0) return false;
  Py_INCREF(&submitter_type);
  Py_INCREF(&actor_core_type);
  return PyModule_AddObject(module, "Submitter", reinterpret_cast<PyObject*>(&submitter_type)) == 0 &&
         PyModule_AddObject(module, "ActorCore", reinterpret_cast<PyObject*>(&actor_core_type)) == 0;
}

}  // namespace shoal::python
