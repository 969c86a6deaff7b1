#include "python/bindings/call_threads.h"

#include <unistd.h>

#include <utility>

namespace shoal::python {

CallThreads::CallThreads(std::shared_ptr<io::CoreProcess> core, int most, Calls calls)
    : core_(std::move(core)), most_(most), calls_(std::move(calls)) {
  // For the time when all run a call: then the core's own thread finds the next one.
  core_->OnUnclaimedTask([this] {
    std::lock_guard<std::mutex> lock(mutex_);
    Wake();
  });
}

bool CallThreads::Serve() {
  bool came = false;
  while (true) {
    io::AssignedTask call;
    size_t left = 0;
    const bool found = core_->TryNextTask(&call, &left);
    bool lonely = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (std::exchange(came, false)) coming_ = false;
      if (found) {
        // While this one runs its call another must be there to take the next.
        lonely = ++running_ == threads_ && threads_ < most_;
        if (lonely) ++threads_;
        if (left > 0) Wake();
      }
    }
    if (!found) {
      if (!Wait()) return true;
      came = true;
      continue;
    }
    if (lonely && !calls_.start()) {  // the limit of threads is reached: fewer calls run side by side
      PyErr_Clear();
      std::lock_guard<std::mutex> lock(mutex_);
      --threads_;
    }
    const bool ran = calls_.run(&call);
    if (session.core != core_) _exit(0);  // a child that the call forked has returned from it
    std::lock_guard<std::mutex> lock(mutex_);
    --running_;
    if (!ran) return false;
  }
}

bool CallThreads::Wait() {
  WithoutGil unlocked;
  std::unique_lock<std::mutex> lock(mutex_);
  if (!in_core_) {
    in_core_ = true;
    lock.unlock();
    const bool goes_on = core_->AwaitTask();
    lock.lock();
    in_core_ = false;
    coming_ = true;
    if (!goes_on) {
      exiting_ = true;
      woken_.notify_all();
    }
    return goes_on;
  }
  ++asleep_;
  woken_.wait(lock, [this] { return wake_ || exiting_; });
  --asleep_;
  wake_ = false;
  return !exiting_;
}

// With the mutex.
void CallThreads::Wake() {
  if (asleep_ == 0 || coming_ || in_core_) return;
  wake_ = coming_ = true;
  woken_.notify_one();
}

}  // namespace shoal::python
