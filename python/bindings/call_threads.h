// The threads of an actor with max_concurrency > 1.
//
// All run the same loop with the GIL held: take a call if one is there, run it, look again. A thread that finds nothing waits without the
// GIL: one of them in the core (it drives the machine), the others asleep. Nobody hands calls to anybody: while calls come faster than
// they end, one thread runs them back to back, and the next one waits for the GIL until the first blocks in its call, which is when
// Python lets go of the GIL, or has had it for the switch interval (5 ms). So calls that wait run side by side, and calls that only
// compute cost no change of threads.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "python/bindings/session.h"
#include "runtime/io/core_process.h"

namespace shoal::python {

class CallThreads {
 public:
  struct Calls {
    std::function<bool(io::AssignedTask*)> run;  // one call; false with a Python error set if the process must end
    std::function<bool()> start;                 // starts one more thread, which calls Serve; false with an error if none can be
  };
  // At most `most` threads, the main one among them.
  CallThreads(std::shared_ptr<io::CoreProcess> core, int most, Calls calls);

  // What each thread does, with the GIL held, until the process is to exit. False with a Python error set if one of its Calls did.
  bool Serve();

 private:
  // Without a call to run: waits in the core or asleep. False when the process is to exit.
  bool Wait();
  // A thread that sleeps gets up to look, unless one is on its way already.
  void Wake();

  const std::shared_ptr<io::CoreProcess> core_;
  const int most_;
  const Calls calls_;

  std::mutex mutex_;  // never held while the core or Python is called; taken after the core's
  std::condition_variable woken_;
  int threads_ = 1;
  int running_ = 0;
  int asleep_ = 0;
  bool in_core_ = false;   // one waits there
  bool wake_ = false;      // for one that sleeps
  bool coming_ = false;    // one has waited enough, but has not had the GIL to look yet
  bool exiting_ = false;
};

}  // namespace shoal::python
