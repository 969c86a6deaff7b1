// The callables behind `f.remote` and `actor.method.remote`. A Submitter holds everything about a call that does not change
// (shape, code, name, retries), so that a call is: encode the arguments, hand them to the core, make a reference.
//
// A submitter is configured late and again after every change of session: its plan, a Python callable, is called with the submitter
// and answers through configure() or configure_call().
#pragma once

#include "python/bindings/session.h"

namespace shoal::python {

// Submitters whose configuration is older than this ask their plan again.
extern uint64_t configuration_epoch;

// An actor as its handle and all of its methods share it: its id and the reference that keeps it alive.
struct PyActorCore {
  PyObject_HEAD
  ActorId actor;
  PyObject* life;  // ObjectRef or nullptr
  int32_t max_pending_calls;
  uint32_t generation;
};
extern PyTypeObject actor_core_type;

// create_actor(args, kwargs, *, ...) -> ActorCore; see actor.py for the keywords.
PyObject* CreateActor(PyObject* module, PyObject* args, PyObject* keywords);
// actor_core(actor_id, life, max_task_retries, max_pending_calls) -> ActorCore, for a handle that came from elsewhere
PyObject* MakeActorCore(PyObject* module, PyObject* args);
// get_actor(name, namespace) -> (actor id, handle bytes)
PyObject* GetActorByName(PyObject* module, PyObject* args);

bool AddSubmitTypes(PyObject* module);

}  // namespace shoal::python
