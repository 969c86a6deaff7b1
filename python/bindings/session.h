// The one connection of this interpreter to its raylet, and the Python functions that the C++ side calls.
//
//   io::CoreProcess* core = CoreOrRaise();      // nullptr with a Python error set if shoal.init() has not run
//   if (core == nullptr) return nullptr;
//
// All state here is guarded by the GIL. A call that waits copies `session.core` first, then lets the GIL go, so
// that shoal.shutdown() in another thread cannot pull the connection away from under it.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "runtime/io/core_process.h"

namespace shoal::python {

// Owns one reference to a Python object; null is allowed.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* owned) : object_(owned) {}
  static Ref Borrow(PyObject* object) {
    Py_XINCREF(object);
    return Ref(object);
  }
  Ref(const Ref& other) : object_(other.object_) { Py_XINCREF(object_); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }

  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// Lets other Python threads run while this scope works in C++.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

struct Session {
  std::shared_ptr<io::CoreProcess> core;
  NodeId node;  // this process's
  // Changes whenever the connection does; references and submitters remember theirs.
  uint32_t generation = 1;
  bool is_worker = false;
};
extern Session session;

// Python callables, set once by shoal._internal (see SetHook in module.cc for names and signatures).
struct Hooks {
  PyObject* cloud_dumps = nullptr;        // (value, protocol, buffer_callback) -> bytes
  PyObject* plain_dumps = nullptr;        // pickle.dumps
  PyObject* loads = nullptr;              // serialization.loads
  PyObject* error_from_info = nullptr;    // (kind, message, detail) -> exception
  PyObject* error_from_status = nullptr;  // (code, message) -> exception
  PyObject* await_ref = nullptr;          // (ref) -> iterator, for ObjectRef.__await__
  PyObject* ref_future = nullptr;         // (ref) -> concurrent.futures.Future
  PyObject* as_future = nullptr;          // (ref) -> asyncio.Future of the running loop
  PyObject* ensure_init = nullptr;        // () -> None: starts or joins a cluster if there is none yet
  PyObject* ndarray_type = nullptr;       // numpy.ndarray once numpy has been imported
};
extern Hooks hooks;

// The connection, or nullptr with a RuntimeError set.
io::CoreProcess* CoreOrRaise();
// Turns a failed status into the matching Python exception; always returns nullptr.
PyObject* RaiseStatus(const absl::Status& status);
// Raises what stands in the place of a value; always returns nullptr.
PyObject* RaiseErrorInfo(const ErrorInfo& error);
// The exception that RaiseErrorInfo would raise, or null with a Python error set.
Ref MakeError(const ErrorInfo& error);

// What runs in this thread, read by the runtime context and by nested submissions.
struct RunningTask {
  TaskId id;
  uint32_t attempt = 0;
  ActorId actor;
  const TaskSpec* spec = nullptr;
  bool cancelled = false;  // and has been told so
};
extern thread_local RunningTask running_task;

}  // namespace shoal::python
