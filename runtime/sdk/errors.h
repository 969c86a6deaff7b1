// What the public calls of the C++ SDK throw. Every message is one sentence with the cause and, where there is one, the fix.
//
//   try {
//     int x = shoal::Get(ref);
//   } catch (const shoal::TaskError& e) {       // the task threw; e.what() is its message
//   } catch (const shoal::SystemError& e) {     // it could not run or its result is gone; e.kind() says why
//   }
#pragma once

#include <stdexcept>
#include <string>

#include "schema/messages.h"

namespace shoal {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The task's own code threw.
class TaskError : public Error {
 public:
  using Error::Error;
};

// Get took longer than its timeout.
class TimeoutError : public Error {
 public:
  using Error::Error;
};

// The runtime could not deliver: a worker crashed, an actor died, an object is lost, the store is full, ...
class SystemError : public Error {
 public:
  SystemError(ErrorKind kind, const std::string& message) : Error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace shoal
