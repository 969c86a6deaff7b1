#include "python/bindings/object_ref.h"

#include <structmember.h>

#include <cstddef>
#include <cstring>
#include <string>

namespace shoal::python {

thread_local PickleScope* pickle_scope = nullptr;

PickleScope::PickleScope(std::vector<ObjectRefInfo>* contained_refs)
    : contained(contained_refs), previous(pickle_scope) {
  pickle_scope = this;
}
PickleScope::PickleScope(std::optional<ObjectId> outer_object) : outer(outer_object), previous(pickle_scope) {
  pickle_scope = this;
}
PickleScope::~PickleScope() { pickle_scope = previous; }

namespace {

constexpr int kFreeListSize = 1024;
constexpr Py_ssize_t kPickledBytes = 24;
PyObjectRef* free_list[kFreeListSize];
int free_count = 0;
PyObject* adopt_function = nullptr;  // shoal._shoal._adopt_ref, named in pickles

void Dealloc(PyObject* object) {
  PyObjectRef* self = AsObjectRef(object);
  if (self->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  if (self->generation == session.generation && session.core != nullptr) session.core->RemoveReference(self->info.id);
  if (free_count < kFreeListSize) {
    free_list[free_count++] = self;
  } else {
    PyObject_Free(self);
  }
}

Py_hash_t Hash(PyObject* object) {
  const ObjectId& id = AsObjectRef(object)->info.id;
  const auto hash = static_cast<Py_hash_t>((id.owner.value ^ (id.index * 0x9e3779b97f4a7c15)) >> 1);
  return hash == -1 ? -2 : hash;
}

PyObject* Compare(PyObject* a, PyObject* b, int op) {
  if (!IsObjectRef(a) || !IsObjectRef(b) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  const bool equal = AsObjectRef(a)->info.id == AsObjectRef(b)->info.id;
  return PyBool_FromLong(equal == (op == Py_EQ));
}

PyObject* Hex(PyObject* object, PyObject*) {
  const std::string hex = AsObjectRef(object)->info.id.Hex();
  return PyUnicode_FromStringAndSize(hex.data(), static_cast<Py_ssize_t>(hex.size()));
}

PyObject* Repr(PyObject* object) {
  return PyUnicode_FromFormat("ObjectRef(%s)", AsObjectRef(object)->info.id.Hex().c_str());
}

PyObject* Binary(PyObject* object, PyObject*) {
  const ObjectId& id = AsObjectRef(object)->info.id;
  char bytes[16];
  std::memcpy(bytes, &id.owner.value, 8);
  std::memcpy(bytes + 8, &id.index, 8);
  return PyBytes_FromStringAndSize(bytes, sizeof(bytes));
}

PyObject* IsNil(PyObject* object, PyObject*) { return PyBool_FromLong(!AsObjectRef(object)->info.id); }

// Outside of Shoal's own serialization nobody can tell how long the bytes will live, so the reference is then held until the
// session ends, as in Ray.
PyObject* Reduce(PyObject* object, PyObject*) {
  PyObjectRef* self = AsObjectRef(object);
  if (!CheckCurrent(self)) return nullptr;
  if (pickle_scope != nullptr && pickle_scope->contained != nullptr) {
    pickle_scope->contained->push_back(self->info);
  } else {
    session.core->AddReference(self->info);
  }
  char bytes[kPickledBytes];
  std::memcpy(bytes, &self->info.id.owner.value, 8);
  std::memcpy(bytes + 8, &self->info.id.index, 8);
  std::memcpy(bytes + 16, &self->info.owner_node.value, 8);
  return Py_BuildValue("(O(y#))", adopt_function, bytes, kPickledBytes);
}

PyObject* Await(PyObject* object) { return PyObject_CallOneArg(hooks.await_ref, object); }
PyObject* Future(PyObject* object, PyObject*) { return PyObject_CallOneArg(hooks.ref_future, object); }
PyObject* AsFuture(PyObject* object, PyObject*) { return PyObject_CallOneArg(hooks.as_future, object); }

PyMethodDef methods[] = {
    {"hex", Hex, METH_NOARGS, "The object's id as 32 hex digits."},
    {"binary", Binary, METH_NOARGS, "The object's id as 16 bytes."},
    {"is_nil", IsNil, METH_NOARGS, "True for the id that names no object."},
    {"future", Future, METH_NOARGS, "A concurrent.futures.Future of the value."},
    {"as_future", AsFuture, METH_NOARGS, "An asyncio.Future of the value, of the running event loop."},
    {"__reduce__", Reduce, METH_NOARGS, nullptr},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "ObjectRef[T], for type hints."},
    {nullptr, nullptr, 0, nullptr},
};

PyAsyncMethods async_methods = {Await, nullptr, nullptr, nullptr};

}  // namespace

PyTypeObject object_ref_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal.ObjectRef",
};

PyObject* NewObjectRef(const ObjectRefInfo& info) {
  PyObjectRef* self;
  if (free_count > 0) {
    self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), &object_ref_type);
  } else {
    self = PyObject_New(PyObjectRef, &object_ref_type);
    if (self == nullptr) return nullptr;
  }
  self->weak_references = nullptr;
  self->info = info;
  self->generation = session.generation;
  self->mark = 0;
  self->known_ready = self->known_local = false;
  return reinterpret_cast<PyObject*>(self);
}

bool CheckCurrent(PyObjectRef* ref) {
  if (ref->generation == session.generation && session.core != nullptr) return true;
  PyErr_SetString(PyExc_RuntimeError,
                  "This ObjectRef belongs to a session that has been shut down; create the object again after "
                  "shoal.init().");
  return false;
}

PyObject* AdoptFromBytes(PyObject*, PyObject* bytes) {
  io::CoreProcess* core = CoreOrRaise();
  if (core == nullptr) return nullptr;
  if (!PyBytes_CheckExact(bytes) || PyBytes_GET_SIZE(bytes) != kPickledBytes) {
    PyErr_SetString(PyExc_ValueError, "A pickled ObjectRef has 24 bytes.");
    return nullptr;
  }
  const char* from = PyBytes_AS_STRING(bytes);
  ObjectRefInfo info;
  std::memcpy(&info.id.owner.value, from, 8);
  std::memcpy(&info.id.index, from + 8, 8);
  std::memcpy(&info.owner_node.value, from + 16, 8);
  core->AdoptReference(info, pickle_scope != nullptr ? pickle_scope->outer : std::nullopt);
  return NewObjectRef(info);
}

bool AddObjectRefType(PyObject* module) {
  object_ref_type.tp_basicsize = sizeof(PyObjectRef);
  object_ref_type.tp_flags = Py_TPFLAGS_DEFAULT;
  object_ref_type.tp_doc = "A value that a task or put makes, wherever it is and whether or not it exists yet.";
  object_ref_type.tp_dealloc = Dealloc;
  object_ref_type.tp_hash = Hash;
  object_ref_type.tp_richcompare = Compare;
  object_ref_type.tp_repr = Repr;
  object_ref_type.tp_methods = methods;
  object_ref_type.tp_as_async = &async_methods;
  object_ref_type.tp_weaklistoffset = offsetof(PyObjectRef, weak_references);
  if (PyType_Ready(&object_ref_type) < 0) return false;
  Py_INCREF(&object_ref_type);
  if (PyModule_AddObject(module, "ObjectRef", reinterpret_cast<PyObject*>(&object_ref_type)) < 0) return false;
  adopt_function = PyObject_GetAttrString(module, "_adopt_ref");
  return adopt_function != nullptr;
}

}  // namespace shoal::python
