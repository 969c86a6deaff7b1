#include "python/bindings/api.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "python/bindings/interrupts.h"
#include "python/bindings/object_ref.h"
#include "python/bindings/submit.h"
#include "python/bindings/value.h"

namespace shoal::python {
namespace {

// How often a main thread that waits looks for Ctrl-C, and in a worker for a cancellation that came just before it slept.
constexpr Duration kSignalSlice = 100ms;
constexpr Duration kWorkerSignalSlice = 5s;

absl::flat_hash_map<ShapeId, Shape>* shapes = nullptr;

bool EnsureInit() {
  if (session.core != nullptr) return true;
  if (hooks.ensure_init != nullptr && !Ref(PyObject_CallNoArgs(hooks.ensure_init))) return false;
  return CoreOrRaise() != nullptr;
}

// A timeout in seconds; None is without end. False with a Python error set.
bool ParseTimeout(PyObject* object, std::optional<Duration>* timeout) {
  timeout->reset();
  if (object == nullptr || object == Py_None) return true;
  const double seconds = PyFloat_AsDouble(object);
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Format(PyExc_TypeError, "timeout must be a number of seconds or None, not %.100s.", Py_TYPE(object)->tp_name);
    return false;
  }
  if (!(seconds >= 0)) {
    PyErr_Format(PyExc_ValueError, "timeout must be zero or more seconds, not %R.", object);
    return false;
  }
  if (seconds < 9e9) *timeout = Duration(static_cast<int64_t>(seconds * 1e9));
  return true;
}

// Runs `wait(slice)` without the GIL until it is done: DeadlineExceeded from a slice means go on, a Python signal
// handler may end it. The status of the last slice, or nullopt with a Python error set.
template <class Wait>
std::optional<absl::Status> WaitInSlices(std::optional<Duration> timeout, Wait wait) {
  using Clock = std::chrono::steady_clock;
  const bool sliced = IsMainThread();
  const Duration longest = session.is_worker ? kWorkerSignalSlice : kSignalSlice;
  const auto deadline = Clock::now() + timeout.value_or(Duration::zero());
  for (;;) {
    std::optional<Duration> slice;
    if (timeout) slice = std::max(Duration::zero(), std::chrono::duration_cast<Duration>(deadline - Clock::now()));
    const bool last = slice && (!sliced || *slice <= longest);
    if (sliced && !last) slice = longest;
    absl::Status status;
    {
      WithoutGil unlocked;
      status = wait(slice);
    }
    if (status.ok()) return status;
    if (PyErr_CheckSignals() < 0) return std::nullopt;
    if (status.code() == absl::StatusCode::kCancelled) {
      if (RaiseIfCancelled()) return std::nullopt;
      continue;
    }
    if (status.code() != absl::StatusCode::kDeadlineExceeded || last) return status;
  }
}

PyObject* DecodeFetched(io::Fetched* fetched, const ObjectId& id) {
  if (fetched->error) return RaiseErrorInfo(fetched->error);
  Keep keep{std::move(fetched->data), std::move(fetched->bytes)};
  return DecodeValue(keep.view(), keep, id);
}

bool FetchAll(const std::vector<ObjectRefInfo>& refs, std::optional<Duration> timeout,
              std::vector<io::Fetched>* values) {
  if (session.core->TryGet(refs, values)) return true;
  std::shared_ptr<io::CoreProcess> core = session.core;
  std::optional<absl::Status> status =
      WaitInSlices(timeout, [&](std::optional<Duration> slice) { return core->Get(refs, slice, values); });
  if (!status) return false;
  if (status->ok()) return true;
  return RaiseStatus(*status) != nullptr;
}

// get(refs, *, timeout=None)
PyObject* Get(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* keyword_names) {
  PyObject* timeout_object = nullptr;
  const Py_ssize_t keywords = keyword_names == nullptr ? 0 : PyTuple_GET_SIZE(keyword_names);
  for (Py_ssize_t i = 0; i < keywords; ++i) {
    PyObject* name = PyTuple_GET_ITEM(keyword_names, i);
    if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
      timeout_object = args[nargs + i];
    } else {
      return PyErr_Format(PyExc_TypeError, "get() has no argument %R.", name);
    }
  }
  if (nargs < 1 || nargs > 2) return PyErr_Format(PyExc_TypeError, "get() takes a reference or a list of them.");
  if (nargs == 2) timeout_object = args[1];
  std::optional<Duration> timeout;
  if (!ParseTimeout(timeout_object, &timeout) || !EnsureInit()) return nullptr;

  PyObject* object = args[0];
  std::vector<ObjectRefInfo> refs;
  std::vector<io::Fetched> values;
  if (IsObjectRef(object)) {
    if (!CheckCurrent(AsObjectRef(object))) return nullptr;
    refs.push_back(AsObjectRef(object)->info);
    if (!FetchAll(refs, timeout, &values)) return nullptr;
    return DecodeFetched(&values[0], refs[0].id);
  }
  if (!PyList_Check(object) && !PyTuple_Check(object)) {
    return PyErr_Format(PyExc_ValueError, "get() takes an ObjectRef or a list of them, not %.100s.",
                        Py_TYPE(object)->tp_name);
  }
  // Decoding runs code that may change the list, so it works on a tuple of its own.
  Ref sequence(PySequence_Tuple(object));
  if (!sequence) return nullptr;
  const Py_ssize_t count = PyTuple_GET_SIZE(sequence.get());
  refs.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = PyTuple_GET_ITEM(sequence.get(), i);
    if (!IsObjectRef(item)) {
      return PyErr_Format(PyExc_ValueError, "get() takes an ObjectRef or a list of them, but item %zd is a %.100s.", i,
                          Py_TYPE(item)->tp_name);
    }
    if (!CheckCurrent(AsObjectRef(item))) return nullptr;
    refs.push_back(AsObjectRef(item)->info);
  }
  if (!FetchAll(refs, timeout, &values)) return nullptr;
  Ref list(PyList_New(count));
  for (Py_ssize_t i = 0; list && i < count; ++i) {
    PyObject* value = DecodeFetched(&values[static_cast<size_t>(i)], refs[static_cast<size_t>(i)].id);
    if (value == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), i, value);
  }
  return list.release();
}

// _try_get(ref) -> (value,) or None if it is not here yet
PyObject* TryGet(PyObject*, PyObject* ref) {
  if (!IsObjectRef(ref)) return PyErr_Format(PyExc_TypeError, "_try_get takes an ObjectRef.");
  if (!CheckCurrent(AsObjectRef(ref))) return nullptr;
  std::vector<io::Fetched> values;
  const ObjectRefInfo info = AsObjectRef(ref)->info;
  if (!session.core->TryGet(absl::MakeConstSpan(&info, 1), &values)) Py_RETURN_NONE;
  Ref value(DecodeFetched(&values[0], info.id));
  return value ? PyTuple_Pack(1, value.get()) : nullptr;
}

PyObject* Put(PyObject*, PyObject* value) {
  if (!EnsureInit()) return nullptr;
  if (IsObjectRef(value)) {
    return PyErr_Format(PyExc_TypeError,
                        "put() does not take an ObjectRef, because get() would not return what it stands for; put it in a "
                        "list if you mean the reference itself.");
  }
  Encoded encoded;
  if (!encoded.Encode(value)) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  if (core == nullptr) return CoreOrRaise(), nullptr;
  io::NewValue stored{encoded.size(), [&encoded](char* to) { encoded.CopyTo(to); }, encoded.contained(), {}};
  absl::StatusOr<ObjectRefInfo> info;
  if (encoded.size() <= kInlineLimitBytes) {
    info = core->Put(std::move(stored));
  } else {
    WithoutGil unlocked;
    info = core->Put(std::move(stored));
  }
  return info.ok() ? NewObjectRef(*info) : RaiseStatus(info.status());
}

// ---- wait

// The references of a call to wait, each once. False with a Python error set.
bool CheckWaitList(PyObject* list, Py_ssize_t num_returns) {
  static uint32_t mark = 0;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
  PyObject** items = PySequence_Fast_ITEMS(list);
  ++mark;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!IsObjectRef(items[i])) {
      PyErr_Format(PyExc_TypeError, "wait() takes a list of ObjectRefs, but item %zd is a %.100s.", i,
                   Py_TYPE(items[i])->tp_name);
      return false;
    }
    PyObjectRef* ref = AsObjectRef(items[i]);
    if (!CheckCurrent(ref)) return false;
    if (ref->mark == mark) {
      PyErr_Format(PyExc_ValueError, "wait() takes each ObjectRef once, but item %zd was there before.", i);
      return false;
    }
    ref->mark = mark;
  }
  if (num_returns < 1 || num_returns > count) {
    PyErr_Format(PyExc_ValueError, "num_returns must be 1 to the number of references (%zd), not %zd.", count,
                 num_returns);
    return false;
  }
  return true;
}

// Asks the core about the references that are not known to be ready. False with a Python error set.
bool LearnReady(PyObject* list, Py_ssize_t missing, std::optional<Duration> timeout, bool fetch_local) {
  std::vector<PyObjectRef*> unknown;
  std::vector<ObjectRefInfo> infos;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(list); ++i) {
    PyObjectRef* ref = AsObjectRef(PyTuple_GET_ITEM(list, i));
    if (fetch_local ? ref->known_local : ref->known_ready) continue;
    unknown.push_back(ref);
    infos.push_back(ref->info);
  }
  std::vector<bool> ready(infos.size());
  std::shared_ptr<io::CoreProcess> core = session.core;
  const auto ask = [&](std::optional<Duration> slice) {
    return core->Wait(infos, static_cast<size_t>(missing), slice, fetch_local, &ready);
  };
  // Most calls find what they want without waiting.
  absl::Status status = ask(Duration::zero());
  const auto found = std::count(ready.begin(), ready.end(), true);
  if (found < missing && (!timeout || *timeout > Duration::zero())) {
    std::optional<absl::Status> waited = WaitInSlices(timeout, ask);
    if (!waited) return false;
    status = *waited;
  }
  if (!status.ok() && status.code() != absl::StatusCode::kDeadlineExceeded) return RaiseStatus(status) != nullptr;
  for (size_t i = 0; i < unknown.size(); ++i) {
    if (!ready[i]) continue;
    unknown[i]->known_ready = true;
    if (fetch_local) unknown[i]->known_local = true;
  }
  return true;
}

// The first `num_returns` ready ones and the rest, both in order.
PyObject* SplitReady(PyObject* list, Py_ssize_t num_returns, bool fetch_local) {
  const Py_ssize_t count = PyTuple_GET_SIZE(list);
  Py_ssize_t ready_count = 0;
  for (Py_ssize_t i = 0; i < count && ready_count < num_returns; ++i) {
    PyObjectRef* ref = AsObjectRef(PyTuple_GET_ITEM(list, i));
    ready_count += fetch_local ? ref->known_local : ref->known_ready;
  }
  Ref ready(PyList_New(ready_count)), rest(PyList_New(count - ready_count));
  if (!ready || !rest) return nullptr;
  Py_ssize_t next_ready = 0, next_rest = 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* item = Py_NewRef(PyTuple_GET_ITEM(list, i));
    PyObjectRef* ref = AsObjectRef(item);
    if (next_ready < ready_count && (fetch_local ? ref->known_local : ref->known_ready)) {
      PyList_SET_ITEM(ready.get(), next_ready++, item);
    } else {
      PyList_SET_ITEM(rest.get(), next_rest++, item);
    }
  }
  return PyTuple_Pack(2, ready.get(), rest.get());
}

// wait(refs, *, num_returns=1, timeout=None, fetch_local=True) -> (ready, rest)
PyObject* Wait(PyObject*, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"refs", "num_returns", "timeout", "fetch_local", nullptr};
  PyObject *refs = nullptr, *count = nullptr, *timeout_object = nullptr;
  Py_ssize_t num_returns = 1;
  int fetch_local = 1;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$OOp:wait", const_cast<char**>(names), &refs, &count,
                                   &timeout_object, &fetch_local)) {
    return nullptr;
  }
  if (count != nullptr) {
    if (PyBool_Check(count) || !PyIndex_Check(count)) {
      return PyErr_Format(PyExc_TypeError, "num_returns must be an int, not %.100s.", Py_TYPE(count)->tp_name);
    }
    num_returns = PyNumber_AsSsize_t(count, nullptr);  // what is too large is cut, and refused below
    if (num_returns == -1 && PyErr_Occurred() != nullptr) return nullptr;
  }
  std::optional<Duration> timeout;
  if (!ParseTimeout(timeout_object, &timeout) || !EnsureInit()) return nullptr;
  if (!PyList_Check(refs) && !PyTuple_Check(refs)) {
    return PyErr_Format(PyExc_TypeError, "wait() takes a list of ObjectRefs, not %.100s.", Py_TYPE(refs)->tp_name);
  }
  if (PySequence_Fast_GET_SIZE(refs) == 0 && num_returns == 1) return Py_BuildValue("([][])");
  // A tuple of our own: other threads may change the list while this one waits.
  Ref list(PyTuple_Check(refs) ? Py_NewRef(refs) : PyList_AsTuple(refs));
  if (!list || !CheckWaitList(list.get(), num_returns)) return nullptr;
  Py_ssize_t known = 0;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(list.get()) && known < num_returns; ++i) {
    PyObjectRef* ref = AsObjectRef(PyTuple_GET_ITEM(list.get(), i));
    known += fetch_local != 0 ? ref->known_local : ref->known_ready;
  }
  if (known < num_returns && !LearnReady(list.get(), num_returns - known, timeout, fetch_local != 0)) return nullptr;
  return SplitReady(list.get(), num_returns, fetch_local != 0);
}

// ---- cancel, kill

PyObject* Cancel(PyObject*, PyObject* args) {
  PyObject* ref = nullptr;
  int force = 0, recursive = 1;
  if (!PyArg_ParseTuple(args, "Opp", &ref, &force, &recursive)) return nullptr;
  if (!IsObjectRef(ref)) {
    return PyErr_Format(PyExc_TypeError, "cancel() takes an ObjectRef, not %.100s.", Py_TYPE(ref)->tp_name);
  }
  if (!CheckCurrent(AsObjectRef(ref))) return nullptr;
  session.core->CancelTask(AsObjectRef(ref)->info.id, force != 0, recursive != 0);
  Py_RETURN_NONE;
}

template <class IdType>
bool ParseId(const char* hex, IdType* id) {
  if (absl::SimpleHexAtoi(hex, &id->value) && *id) return true;
  PyErr_Format(PyExc_ValueError, "An id has sixteen hex digits, not %.40s.", hex);
  return false;
}

PyObject* KillActorById(PyObject*, PyObject* args) {
  const char* hex = "";
  int no_restart = 1;
  ActorId actor;
  if (!PyArg_ParseTuple(args, "sp", &hex, &no_restart) || !ParseId(hex, &actor)) return nullptr;
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) return nullptr;
  core->KillActor(actor, no_restart != 0);
  Py_RETURN_NONE;
}

// ---- shapes, placement groups, state

// register_shape(resources, (kind, node, soft, group, bundle), labels, env_vars, priority) -> int
PyObject* RegisterShape(PyObject*, PyObject* args) {
  PyObject *resources = nullptr, *labels = nullptr, *env_vars = nullptr;
  int kind = 0, soft = 0, bundle = -1, priority = 0;
  const char *node = "", *group = "";
  if (!PyArg_ParseTuple(args, "O!(ispsi)O!O!i", &PyDict_Type, &resources, &kind, &node, &soft, &group, &bundle,
                        &PyDict_Type, &labels, &PyDict_Type, &env_vars, &priority)) {
    return nullptr;
  }
  io::CoreProcess* core = CoreOrRaise();
  Shape shape;
  if (core == nullptr || !ParseResourceDict(resources, &shape.resources)) return nullptr;
  if (!ParseStringMap(labels, &shape.labels) || !ParseStringMap(env_vars, &shape.worker.env_vars)) return nullptr;
  if (*node != '\0' && !ParseId(node, &shape.strategy.node)) return nullptr;
  if (*group != '\0' && !ParseId(group, &shape.strategy.group)) return nullptr;
  shape.job = core->job();
  shape.strategy.kind = static_cast<StrategyKind>(kind);
  shape.strategy.soft = soft != 0;
  shape.strategy.bundle = bundle;
  shape.priority = priority;
  const absl::StatusOr<ShapeId> id = core->RegisterShape(shape);
  if (!id.ok()) return RaiseStatus(id.status());
  if (shapes == nullptr) shapes = new absl::flat_hash_map<ShapeId, Shape>();
  shapes->insert_or_assign(*id, std::move(shape));
  return PyLong_FromUnsignedLongLong(id->value);
}

PlacementGroupId NewGroupId() {
  std::random_device device;
  uint64_t value = 0;
  while (value == 0) value = (uint64_t{device()} << 32) | device();
  return PlacementGroupId{value};
}

// create_placement_group(bundles, strategy, name, detached, selectors) -> hex id
PyObject* CreatePlacementGroup(PyObject*, PyObject* args) {
  PyObject *bundles = nullptr, *selectors = nullptr;
  const char* name = "";
  int strategy = 0, detached = 0;
  if (!PyArg_ParseTuple(args, "O!ispO!", &PyList_Type, &bundles, &strategy, &name, &detached, &PyList_Type,
                        &selectors)) {
    return nullptr;
  }
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) return nullptr;
  PlacementGroupSpec spec;
  spec.id = NewGroupId();
  spec.job = core->job();
  spec.owner = core->self();
  spec.name = name;
  spec.ns = core->ns();
  spec.detached = detached != 0;
  spec.strategy = static_cast<PackStrategy>(strategy);
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(bundles); ++i) {
    if (!ParseResourceDict(PyList_GET_ITEM(bundles, i), &spec.bundles.emplace_back())) return nullptr;
  }
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(selectors); ++i) {
    if (!ParseStringMap(PyList_GET_ITEM(selectors, i), &spec.bundle_labels.emplace_back())) return nullptr;
  }
  const PlacementGroupId id = spec.id;
  if (absl::Status status = core->CreatePlacementGroup(std::move(spec)); !status.ok()) return RaiseStatus(status);
  return PyUnicode_FromString(id.Hex().c_str());
}

PyObject* RemovePlacementGroup(PyObject*, PyObject* hex) {
  PlacementGroupId group;
  const char* text = PyUnicode_AsUTF8(hex);
  if (text == nullptr || !ParseId(text, &group)) return nullptr;
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) return nullptr;
  core->RemovePlacementGroup(group);
  Py_RETURN_NONE;
}

// wait_placement_group(hex, timeout) -> (state, error kind, message)
PyObject* WaitPlacementGroup(PyObject*, PyObject* args) {
  const char* hex = "";
  PyObject* timeout_object = nullptr;
  PlacementGroupId group;
  std::optional<Duration> timeout;
  if (!PyArg_ParseTuple(args, "sO", &hex, &timeout_object) || !ParseId(hex, &group)) return nullptr;
  if (!ParseTimeout(timeout_object, &timeout) || CoreOrRaise() == nullptr) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  PlacementGroupUpdate update;
  std::optional<absl::Status> status = WaitInSlices(timeout, [&](std::optional<Duration> slice) -> absl::Status {
    absl::StatusOr<PlacementGroupUpdate> waited = core->WaitPlacementGroup(group, slice);
    if (!waited.ok()) return waited.status();
    update = *std::move(waited);
    const bool settled = update.state == PlacementGroupStateKind::kCreated ||
                         update.state == PlacementGroupStateKind::kRemoved;
    return settled ? absl::OkStatus() : absl::DeadlineExceededError("the bundles are not reserved yet");
  });
  if (!status) return nullptr;
  if (!status->ok() && status->code() != absl::StatusCode::kDeadlineExceeded) return RaiseStatus(*status);
  const std::string& message = update.error ? update.error.message : update.reason;
  return Py_BuildValue("(iis#)", static_cast<int>(update.state), static_cast<int>(update.error.kind), message.data(),
                       static_cast<Py_ssize_t>(message.size()));
}

// list_state(kind, argument, node hex or "") -> JSON
PyObject* ListState(PyObject*, PyObject* args) {
  const char *kind = "", *argument = "", *node = "";
  if (!PyArg_ParseTuple(args, "ss|s", &kind, &argument, &node)) return nullptr;
  if (CoreOrRaise() == nullptr) return nullptr;
  Address to = Address::Head();
  if (*node != '\0') {
    NodeId id;
    if (!ParseId(node, &id)) return nullptr;
    to = Address::Raylet(id);
  }
  std::shared_ptr<io::CoreProcess> core = session.core;
  absl::StatusOr<std::string> json;
  {
    WithoutGil unlocked;
    json = core->ListState(to, kind, argument);
  }
  if (!json.ok()) return RaiseStatus(json.status());
  return PyUnicode_FromStringAndSize(json->data(), static_cast<Py_ssize_t>(json->size()));
}

// wait_actor(hex, timeout) -> (state, message)
PyObject* WaitActor(PyObject*, PyObject* args) {
  const char* hex = "";
  PyObject* timeout_object = nullptr;
  ActorId actor;
  std::optional<Duration> timeout;
  if (!PyArg_ParseTuple(args, "sO", &hex, &timeout_object) || !ParseId(hex, &actor)) return nullptr;
  if (!ParseTimeout(timeout_object, &timeout) || CoreOrRaise() == nullptr) return nullptr;
  std::shared_ptr<io::CoreProcess> core = session.core;
  ActorUpdate update;
  std::optional<absl::Status> status = WaitInSlices(timeout, [&](std::optional<Duration> slice) -> absl::Status {
    absl::StatusOr<ActorUpdate> waited = core->WaitActor(actor, slice);
    if (waited.ok()) update = *std::move(waited);
    return waited.status();
  });
  if (!status) return nullptr;
  if (!status->ok()) return RaiseStatus(*status);
  return Py_BuildValue("(is)", static_cast<int>(update.state), update.error.message.c_str());
}

}  // namespace

PyMethodDef api_methods[] = {
    {"get", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Get)), METH_FASTCALL | METH_KEYWORDS,
     "get(refs, *, timeout=None)\n\nThe value of a reference, or of each in a list. Raises the error of the first that has one, "
     "and GetTimeoutError if they are not there in time."},
    {"put", Put, METH_O, "put(value)\n\nA reference to a copy of the value that every task and actor can read."},
    {"wait", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Wait)), METH_VARARGS | METH_KEYWORDS,
     "wait(refs, *, num_returns=1, timeout=None, fetch_local=True)\n\nTwo lists: num_returns references that are ready, fewer if "
     "the time is up, and the others."},
    {"_try_get", TryGet, METH_O, "(value,), or None if it is not here yet."},
    {"cancel", Cancel, METH_VARARGS, "cancel(ref, force, recursive)"},
    {"kill_actor", KillActorById, METH_VARARGS, "kill_actor(actor_id, no_restart)"},
    {"register_shape", RegisterShape, METH_VARARGS, "register_shape(resources, strategy, labels, env_vars, priority)"},
    {"create_placement_group", CreatePlacementGroup, METH_VARARGS,
     "create_placement_group(bundles, strategy, name, detached, label_selectors)"},
    {"remove_placement_group", RemovePlacementGroup, METH_O, "remove_placement_group(group_id)"},
    {"wait_placement_group", WaitPlacementGroup, METH_VARARGS, "wait_placement_group(group_id, timeout)"},
    {"list_state", ListState, METH_VARARGS, "list_state(kind, argument, node_id='')"},
    {"wait_actor", WaitActor, METH_VARARGS, "wait_actor(actor_id, timeout)"},
    {"create_actor", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(CreateActor)), METH_VARARGS | METH_KEYWORDS,
     "create_actor(args, kwargs, *, ...)"},
    {"actor_core", MakeActorCore, METH_VARARGS, "actor_core(actor_id, ref, max_task_retries, max_pending_calls)"},
    {"get_actor", GetActorByName, METH_VARARGS, "get_actor(name, namespace)"},
    {nullptr, nullptr, 0, nullptr},
};

const Shape* FindShape(ShapeId id) {
  if (shapes == nullptr) return nullptr;
  auto found = shapes->find(id);
  return found == shapes->end() ? nullptr : &found->second;
}

void ForgetShapes() {
  delete shapes;
  shapes = nullptr;
}

bool ParseResourceDict(PyObject* dict, ResourceSet* resources) {
  std::vector<std::pair<std::string, double>> amounts;
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (PyDict_Check(dict) && PyDict_Next(dict, &position, &key, &value)) {
    const char* name = PyUnicode_AsUTF8(key);
    const double amount = PyFloat_AsDouble(value);
    if (name == nullptr || PyErr_Occurred() != nullptr) return false;
    amounts.emplace_back(name, amount);
  }
  absl::StatusOr<ResourceSet> parsed = ResourceSet::Parse(amounts);
  if (!parsed.ok()) return RaiseStatus(parsed.status()) != nullptr;
  *resources = *std::move(parsed);
  return true;
}

bool ParseStringMap(PyObject* dict, StringMap* map) {
  PyObject *key, *value;
  Py_ssize_t position = 0;
  while (PyDict_Check(dict) && PyDict_Next(dict, &position, &key, &value)) {
    const char* name = PyUnicode_AsUTF8(key);
    const char* text = name == nullptr ? nullptr : PyUnicode_AsUTF8(value);
    if (text == nullptr) return false;
    map->emplace_back(name, text);
  }
  std::sort(map->begin(), map->end());
  return true;
}

}  // namespace shoal::python
