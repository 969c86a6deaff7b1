// The arguments of a call as bytes: positional ones in order, then keyword ones with their names.
//
//   positional count u16 | keyword count u16 | per argument: tag, and what the tag wants | per keyword: length u32, name
//
// Small builtins are written in place (a call with one integer is 13 bytes and allocates nothing); references are only a
// tag, the n-th belonging to TaskSpec::refs[n]; everything else is a value of value.h behind its length, at a multiple of 8.
// No arguments at all are no bytes at all. Arguments too large to travel inside messages are put into the store.
#pragma once

#include <vector>

#include "python/bindings/value.h"

namespace shoal::python {

struct EncodedArgs {
  ByteWriter bytes;
  std::vector<ObjectRefInfo> refs;    // top-level references, in order of appearance
  std::vector<ObjectRefInfo> nested;  // references inside other arguments
  std::vector<Ref> kept;              // implicit puts: alive until the task is submitted
};

// As vectorcall: `nargs` positional values, then one per name in `keyword_names` (may be null). False with a Python error.
bool EncodeArgs(PyObject* const* args, size_t nargs, PyObject* keyword_names, EncodedArgs* out);

// Decoded arguments, ready for PyObject_Vectorcall: values[0] is free for `self`.
class DecodedArgs {
 public:
  // False with a Python error set, which may be the error that a reference argument holds.
  bool Decode(const TaskSpec& spec, const std::vector<io::PinnedBytes>& stored);
  // Calls with the arguments, with `self` in front if it is not null.
  PyObject* Call(PyObject* callable, PyObject* self) const;
  // (args tuple, kwargs dict), for callers in Python.
  Ref ToTuple() const;

 private:
  size_t positional_ = 0;
  std::vector<Ref> values_;
  Ref keyword_names_;
};

}  // namespace shoal::python
