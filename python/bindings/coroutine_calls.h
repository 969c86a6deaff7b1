// The calls of an asyncio actor: each is an asyncio.Task of the actor's event loop, whose coroutine is a CoroutineCall.
//
// What asyncio steps is thus C++: it finds the method, decodes the arguments, steps the method's own coroutine and hands over what
// that returns, without a Python frame between the loop and the user's function.
#pragma once

#include "python/bindings/session.h"

namespace shoal::python {

extern PyMethodDef coroutine_methods[];  // ends with a null entry
bool ReadyCoroutineCallType();

}  // namespace shoal::python
