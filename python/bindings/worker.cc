#include "python/bindings/worker.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "python/bindings/call_threads.h"
#include "python/bindings/interrupts.h"
#include "python/bindings/task.h"

namespace shoal::python {
namespace {

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
      FinishWithError(spec, false);
      return true;
    }
    if (spec.options.empty()) {
      RunHere(assigned, function, false);
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
      FinishWithError(spec, false);
      return true;
    }
    Ref method(MethodOf(instance_.get(), spec));
    if (method) {
      RunHere(assigned, method.get(), false);
    } else {
      FinishWithError(spec, false);
    }
    return true;
  }

  PyObject* handler_;
  absl::flat_hash_map<FunctionId, Ref> functions_;
  absl::flat_hash_map<FunctionId, Payload> unloaded_;
  Ref instance_;
  bool handed_over_ = false;
  std::unique_ptr<CallThreads> threads_;
};
Loop* loop = nullptr;  // of this process; never destroyed, since threads that outlive it may need its functions

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

PyObject* MethodOf(PyObject* instance, const TaskSpec& spec) {
  static auto* names = new absl::flat_hash_map<std::string, Ref>();
  auto found = names->find(spec.name);
  if (found == names->end()) {
    const size_t dot = spec.name.rfind('.');
    Ref name(PyUnicode_InternFromString(spec.name.c_str() + (dot == std::string::npos ? 0 : dot + 1)));
    if (!name) return nullptr;
    found = names->emplace(spec.name, std::move(name)).first;
  }
  const Ref name = Ref::Borrow(found->second.get());  // what Python runs meanwhile may move the map's entries
  PyObject* method = PyObject_GetAttr(instance, name.get());
  if (method != nullptr || !PyErr_ExceptionMatches(PyExc_AttributeError)) return method;
  PyErr_Clear();
  return PyObject_CallMethod(handler_object, "builtin_method", "OO", instance, name.get());
}

bool TellAssignment(io::CoreProcess* core) {
  static uint64_t told = 0;
  const uint64_t current = core->AssignmentVersion();
  if (current == told) return true;
  told = current;
  Ref env_vars(ToDict(core->Assignment().env_vars));
  return env_vars && Ref(PyObject_CallMethod(handler_object, "assigned", "O", env_vars.get()));
}

PyMethodDef worker_methods[] = {
    {"run_worker", RunWorker, METH_O, "run_worker(handler): runs tasks until this process is to exit."},
    {"set_concurrency", SetConcurrency, METH_VARARGS, "set_concurrency(max_concurrency, groups, threads)"},
    {"serve_calls", ServeCalls, METH_NOARGS, "What each thread of an actor does until the process is to exit."},
    {"assigned_resources", AssignedResources, METH_NOARGS, "What the running task or the actor holds, as a dict."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace shoal::python
