#include "python/bindings/session.h"

#include <string>

namespace shoal::python {

Session session;
Hooks hooks;
thread_local RunningTask running_task;

io::CoreProcess* CoreOrRaise() {
  if (session.core == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "Shoal is not running here: call shoal.init() first.");
    return nullptr;
  }
  return session.core.get();
}

namespace {

// Raises the exception that a hook builds from its arguments.
PyObject* RaiseFromHook(Ref exception) {
  if (!exception) return nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.get())), exception.get());
  return nullptr;
}

}  // namespace

PyObject* RaiseStatus(const absl::Status& status) {
  const std::string message(status.message());
  if (hooks.error_from_status == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, message.c_str());
    return nullptr;
  }
  return RaiseFromHook(Ref(PyObject_CallFunction(hooks.error_from_status, "is#", static_cast<int>(status.code()),
                                                 message.data(), static_cast<Py_ssize_t>(message.size()))));
}

Ref MakeError(const ErrorInfo& error) {
  const std::string_view detail = error.detail.view();
  return Ref(PyObject_CallFunction(hooks.error_from_info, "is#y#", static_cast<int>(error.kind), error.message.data(),
                                   static_cast<Py_ssize_t>(error.message.size()), detail.data(),
                                   static_cast<Py_ssize_t>(detail.size())));
}

PyObject* RaiseErrorInfo(const ErrorInfo& error) { return RaiseFromHook(MakeError(error)); }

}  // namespace shoal::python
