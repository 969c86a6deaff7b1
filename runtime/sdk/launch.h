// Starts and stops the `shoal` program for a driver that wants a runtime of its own.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace shoal::internal {

class LocalRuntime {
 public:
  // Runs `shoal start --head --local` and waits until it is ready. `binary` and `num_cpus` as in InitOptions.
  static absl::StatusOr<std::unique_ptr<LocalRuntime>> Start(std::string binary, double num_cpus);
  // Stops it and waits for its end.
  ~LocalRuntime();

  const std::string& raylet_socket() const { return raylet_socket_; }

 private:
  LocalRuntime(int pid, int life_fd, std::string raylet_socket)
      : pid_(pid), life_fd_(life_fd), raylet_socket_(std::move(raylet_socket)) {}

  const int pid_;
  const int life_fd_;  // the runtime ends when this closes, however that comes about
  const std::string raylet_socket_;
};

// The socket that an address means: itself, or raylet.sock in a runtime directory.
std::string SocketOf(const std::string& address);
// The directory of the runtime that `shoal start` has started for this user and machine; "" if none runs.
std::string RunningHere();

}  // namespace shoal::internal
