// The extension module shoal._shoal: connecting, hooks, notifications, and the list of everything.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "python/bindings/api.h"
#include "python/bindings/args.h"
#include "python/bindings/coroutine_calls.h"
#include "python/bindings/interrupts.h"
#include "python/bindings/object_ref.h"
#include "python/bindings/submit.h"
#include "python/bindings/task.h"
#include "python/bindings/value.h"
#include "python/bindings/worker.h"

namespace shoal::python {
namespace {

namespace py = pybind11;

uint64_t ParseHex(const std::string& hex) {
  uint64_t value = 0;
  if (!hex.empty() && !absl::SimpleHexAtoi(hex, &value)) throw py::value_error("not a hex id: " + hex);
  return value;
}

void SetHook(const std::string& name, py::object callable) {
  const std::pair<const char*, PyObject**> known[] = {
      {"cloud_dumps", &hooks.cloud_dumps},       {"plain_dumps", &hooks.plain_dumps},
      {"loads", &hooks.loads},                   {"error_from_info", &hooks.error_from_info},
      {"error_from_status", &hooks.error_from_status}, {"await_ref", &hooks.await_ref},
      {"ref_future", &hooks.ref_future},         {"as_future", &hooks.as_future},
      {"ensure_init", &hooks.ensure_init},
  };
  for (const auto& [known_name, slot] : known) {
    if (name == known_name) {
      Py_XDECREF(*slot);
      *slot = callable.release().ptr();
      return;
    }
  }
  throw py::value_error("there is no hook " + name);
}

// Joins a raylet; raises what RaiseStatus makes of a failure.
void Connect(const std::string& socket, bool is_worker, const std::string& worker, const std::string& job,
             const std::string& ns, const std::string& entrypoint, const py::dict& env_vars) {
  if (session.core != nullptr) throw std::runtime_error("this process is connected already");
  io::CoreProcessOptions options;
  options.raylet_socket = socket;
  options.role = is_worker ? Role::kWorker : Role::kDriver;
  options.worker = WorkerId{ParseHex(worker)};
  options.job = JobId{ParseHex(job)};
  options.ns = ns;
  options.entrypoint = entrypoint;
  if (!ParseStringMap(env_vars.ptr(), &options.worker_kind.env_vars)) throw py::error_already_set();
  absl::StatusOr<std::unique_ptr<io::CoreProcess>> core;
  {
    WithoutGil unlocked;
    core = io::CoreProcess::Connect(std::move(options));
  }
  if (!core.ok()) {
    RaiseStatus(core.status());
    throw py::error_already_set();
  }
  session.core = *std::move(core);
  session.node = session.core->self().node;
  session.is_worker = is_worker;
  ++session.generation;
  ++configuration_epoch;
}

void Disconnect() {
  if (std::shared_ptr<io::CoreProcess> core = session.core; core != nullptr && !session.is_worker) {
    WithoutGil unlocked;
    core->CatchUpOnLogs();
  }
  std::shared_ptr<io::CoreProcess> core = std::move(session.core);
  session.core = nullptr;
  ++session.generation;
  ++configuration_epoch;
  ForgetShapes();
  WithoutGil unlocked;
  core.reset();
}

// In a forked child: the connection belongs to the parent. It is leaked, because its threads and locks are not here.
void ForgetConnection() {
  if (session.core == nullptr) return;
  new std::shared_ptr<io::CoreProcess>(std::move(session.core));
  session.core = nullptr;
  session.is_worker = false;
  ++session.generation;
  ++configuration_epoch;
  ForgetShapes();
}

py::dict Identity() {
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) throw py::error_already_set();
  const Address self = core->self();
  py::dict identity;
  identity["node_id"] = self.node.Hex();
  identity["worker_id"] = self.worker.Hex();
  identity["job_id"] = core->job().Hex();
  identity["namespace"] = core->ns();
  return identity;
}

// print(job, prefix, is_stderr, lines) is called in some thread for output of this job's workers.
void OnLogLines(py::object print) {
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) throw py::error_already_set();
  // Never freed: the core may call it as long as the process lives.
  PyObject* callable = print.release().ptr();
  core->OnLogLines([callable](const LogLines& log) {
    if (Py_IsInitialized() == 0) return;
    const PyGILState_STATE state = PyGILState_Ensure();
    {
      Ref lines(PyList_New(0));
      for (const std::string& line : log.lines) {
        Ref text(PyUnicode_DecodeUTF8(line.data(), static_cast<Py_ssize_t>(line.size()), "replace"));
        if (text) PyList_Append(lines.get(), text.get());
      }
      Ref done(PyObject_CallFunction(callable, "sOO", log.prefix.c_str(), log.is_stderr ? Py_True : Py_False, lines.get()));
      if (!done) PyErr_WriteUnraisable(callable);
    }
    PyGILState_Release(state);
  });
}

// Tells Python which references have become ready, in batches: by a file descriptor for event loops, by wait() for threads.
class Notifier {
 public:
  Notifier() : state_(std::make_shared<State>()) {
    state_->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (state_->fd < 0) throw std::runtime_error(std::string("eventfd: ") + std::strerror(errno));
  }

  int fd() const { return state_->fd; }

  // `token` will be among the answers of drain() once the reference has a value or an error.
  void Watch(py::handle ref, uint64_t token) {
    if (!IsObjectRef(ref.ptr())) throw py::type_error("watch takes an ObjectRef");
    if (!CheckCurrent(AsObjectRef(ref.ptr()))) throw py::error_already_set();
    std::shared_ptr<io::CoreProcess> core = session.core;
    const ObjectRefInfo info = AsObjectRef(ref.ptr())->info;
    core->OnReady(info, [state = state_, token] { state->Push(token); });
  }

  std::vector<uint64_t> Drain() {
    std::lock_guard<std::mutex> lock(state_->mutex);
    uint64_t count = 0;
    if (read(state_->fd, &count, sizeof(count)) < 0 && errno != EAGAIN) return {};
    return std::move(state_->tokens);
  }

  // As Drain, but waits until there is something.
  std::vector<uint64_t> Wait() {
    py::gil_scoped_release unlocked;
    std::unique_lock<std::mutex> lock(state_->mutex);
    state_->arrived.wait(lock, [this] { return !state_->tokens.empty(); });
    return std::move(state_->tokens);
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable arrived;
    std::vector<uint64_t> tokens;
    int fd = -1;

    void Push(uint64_t token) {
      std::lock_guard<std::mutex> lock(mutex);
      tokens.push_back(token);
      if (tokens.size() > 1) return;
      const uint64_t one = 1;
      if (write(fd, &one, sizeof(one)) < 0) return;  // full means that it is readable already
      arrived.notify_one();
    }
    ~State() {
      if (fd >= 0) close(fd);
    }
  };
  std::shared_ptr<State> state_;
};

// A value's bytes and back, for tests of the format.
py::bytes EncodeForTest(py::handle value) {
  Encoded encoded;
  if (!encoded.Encode(value.ptr())) throw py::error_already_set();
  std::string bytes(encoded.size(), '\0');
  encoded.CopyTo(bytes.data());
  return py::bytes(bytes);
}

py::object DecodeForTest(const py::bytes& bytes) {
  const auto view = static_cast<std::string_view>(bytes);
  Keep keep{Payload(view), {}};
  PyObject* value = DecodeValue(keep.view(), keep, std::nullopt);
  if (value == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

py::tuple ArgumentsForTest(const py::tuple& args, const py::dict& keywords) {
  std::vector<PyObject*> stack;
  for (py::handle arg : args) stack.push_back(arg.ptr());
  py::tuple names(keywords.size());
  size_t i = 0;
  for (auto item : keywords) {
    stack.push_back(item.second.ptr());
    names[i++] = item.first;
  }
  EncodedArgs encoded;
  if (!EncodeArgs(stack.data(), args.size(), names.ptr(), &encoded)) throw py::error_already_set();
  TaskSpec spec;
  spec.args = Payload(encoded.bytes.view());
  DecodedArgs decoded;
  if (!decoded.Decode(spec, {})) throw py::error_already_set();
  Ref both = decoded.ToTuple();
  if (!both) throw py::error_already_set();
  return py::make_tuple(py::reinterpret_steal<py::object>(both.release()), spec.args.size());
}

PyMethodDef adopt_method[] = {
    {"_adopt_ref", AdoptFromBytes, METH_O, "What a pickled ObjectRef unpickles by."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PYBIND11_MODULE(_shoal, m) {
  m.doc() = "The C++ core of Shoal; see shoal/__init__.py for what is meant for users.";
  PyObject* module = m.ptr();
  if (PyModule_AddFunctions(module, adopt_method) < 0 || !AddObjectRefType(module) || !AddBufferType(module) ||
      !AddSubmitTypes(module) || !AddTaskType(module) || !ReadyCoroutineCallType() || PyModule_AddFunctions(module, api_methods) < 0 ||
      PyModule_AddFunctions(module, worker_methods) < 0 || PyModule_AddFunctions(module, interrupt_methods) < 0 ||
      PyModule_AddFunctions(module, coroutine_methods) < 0) {
    throw py::error_already_set();
  }
  m.def("set_hook", &SetHook);
  m.def("connect", &Connect, py::kw_only(), py::arg("socket"), py::arg("is_worker"), py::arg("worker"),
        py::arg("job"), py::arg("namespace"), py::arg("entrypoint"), py::arg("env_vars"));
  m.def("disconnect", &Disconnect);
  m.def("forget_connection", &ForgetConnection);
  m.def("connected", [] { return session.core != nullptr; });
  m.def("identity", &Identity);
  m.def("reconfigure", [] { ++configuration_epoch; });
  m.def("on_log_lines", &OnLogLines);
  m.def("error_kind_count", [] { return static_cast<int>(ErrorKind::kSystem) + 1; });
  m.def("inline_limit", [] { return kInlineLimitBytes; });
  m.def("_encode", &EncodeForTest);
  m.def("_decode", &DecodeForTest);
  m.def("_arguments", &ArgumentsForTest);
  py::class_<Notifier>(m, "Notifier")
      .def(py::init<>())
      .def("fileno", &Notifier::fd)
      .def("watch", &Notifier::Watch)
      .def("drain", &Notifier::Drain)
      .def("wait", &Notifier::Wait);
}

}  // namespace shoal::python
