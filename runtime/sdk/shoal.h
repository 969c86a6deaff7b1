// The C++ SDK of Shoal: start here. One include gives tasks (task.h), actors (actor.h), references, Put, Get, Wait
// and Cancel (object_ref.h), placement groups (placement_group.h), values (serialize.h) and errors (errors.h).
//
//   int Square(int x) { return x * x; }
//
//   int main(int argc, char** argv) {
//     shoal::Init(argc, argv);
//     std::vector<shoal::ObjectRef<int>> refs;
//     for (int i = 0; i < 100; ++i) refs.push_back(shoal::Task<Square>().Remote(i));
//     for (int square : shoal::Get(refs)) std::printf("%d\n", square);
//   }
//
// The program is its own worker: raylets start the same executable, Init recognizes that and runs tasks until the
// process is told to leave. So call Init first thing in main, and on several machines keep the same build of the program at the
// same path on each. Workers find functions by name: those that are used remotely need names of their own (task.h).
#pragma once

#include "runtime/sdk/actor.h"
#include "runtime/sdk/errors.h"
#include "runtime/sdk/object_ref.h"
#include "runtime/sdk/placement_group.h"
#include "runtime/sdk/runtime.h"
#include "runtime/sdk/serialize.h"
#include "runtime/sdk/task.h"

namespace shoal {

// Connects to a runtime, or starts one for this program (InitOptions::address). Throws Error with the cause.
// In a worker process it runs tasks and does not return.
void Init(int argc, char** argv, InitOptions options = {});
// Ends the job: its tasks and non-detached actors stop, references become empty. Also runs at exit.
void Shutdown();
bool IsInitialized();

}  // namespace shoal
