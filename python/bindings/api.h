// get, put, wait and the rest of what shoal/api.py hands through, as plain C functions of the module.
#pragma once

#include <string>

#include "python/bindings/session.h"

namespace shoal::python {

extern PyMethodDef api_methods[];  // ends with a null entry

// A shape that register_shape has made in this session; nullptr for others.
const Shape* FindShape(ShapeId id);

// Called when the session ends, to forget what belonged to it.
void ForgetShapes();

// Parses what the state calls, options and ids have in common. False with a Python error set.
bool ParseResourceDict(PyObject* dict, ResourceSet* resources);
bool ParseStringMap(PyObject* dict, StringMap* map);

}  // namespace shoal::python
