// ObjectRef: the Python object that stands for a value which may not exist yet. A C type with a free list, because
// every call makes one.
//
//   PyObject* ref = NewObjectRef(info);   // takes over a count that the core already holds for this process
//
// Its last decrement gives that count back. References of a session that has ended compare, hash and print, but cannot
// be fetched.
#pragma once

#include <optional>
#include <vector>

#include "python/bindings/session.h"

namespace shoal::python {

struct PyObjectRef {
  PyObject_HEAD
  PyObject* weak_references;
  ObjectRefInfo info;
  uint32_t generation;  // of the session that counts it
  uint32_t mark;        // scratch for duplicate detection in wait
  // What wait has learned already; a value that was ready stays so.
  bool known_ready;
  bool known_local;
};

extern PyTypeObject object_ref_type;

inline bool IsObjectRef(PyObject* object) { return Py_TYPE(object) == &object_ref_type; }
inline PyObjectRef* AsObjectRef(PyObject* object) { return reinterpret_cast<PyObjectRef*>(object); }

// A reference whose count in the core belongs to the new object. Null with a Python error if memory runs out.
PyObject* NewObjectRef(const ObjectRefInfo& info);
// False with a Python error set if the reference belongs to a session that has ended.
bool CheckCurrent(PyObjectRef* ref);

// While a value is pickled, references inside it are listed here; while one is loaded, they are adopted with
// `outer` as the object that holds them. One per thread, nested like the calls are.
struct PickleScope {
  explicit PickleScope(std::vector<ObjectRefInfo>* contained_refs);
  explicit PickleScope(std::optional<ObjectId> outer_object);
  ~PickleScope();
  PickleScope(const PickleScope&) = delete;
  PickleScope& operator=(const PickleScope&) = delete;

  std::vector<ObjectRefInfo>* contained = nullptr;
  std::vector<PyObject*>* buffers = nullptr;
  std::optional<ObjectId> outer;
  PickleScope* previous;
};
extern thread_local PickleScope* pickle_scope;

// (bytes) -> ObjectRef: what a pickled reference unpickles by.
PyObject* AdoptFromBytes(PyObject* module, PyObject* bytes);
// Readies the type and adds it to the module; false with a Python error set.
bool AddObjectRefType(PyObject* module);

}  // namespace shoal::python
