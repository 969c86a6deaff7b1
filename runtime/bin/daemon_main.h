// What the main functions of all daemons have in common: descriptors from the nanny, the ready line, signals, the end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/bin/options.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/json.h"

namespace shoal::bin {

class DaemonMain {
 public:
  // Reads --life-fd and --ready-fd; makes the loop; raises the limit of open files.
  static absl::StatusOr<std::unique_ptr<DaemonMain>> Create(const Options& options);

  io::DaemonLoop& loop() { return *loop_; }
  // SIGTERM and SIGINT stop the loop (or call `stop`); SIGCHLD calls `child`. Before any thread starts.
  absl::Status WatchSignals(std::function<void()> stop, std::function<void()> child);
  // One line for whoever started this process; only the first counts.
  void Ready(const io::Json& facts);
  // The same for a start that failed; also on stderr. Returns the exit code.
  int Failed(const absl::Status& status);

 private:
  explicit DaemonMain(std::unique_ptr<io::DaemonLoop> loop) : loop_(std::move(loop)) {}
  std::unique_ptr<io::DaemonLoop> loop_;
  io::UniqueFd ready_;
};

// The path of this program.
std::string OwnProgram();
// "127.0.0.1:6380", "[::1]:6380".
std::string JoinHostPort(const std::string& host, uint16_t port);
// An address that others can dial for what listens on `host`: itself, unless that is all of them.
std::string Dialable(const std::string& host, const std::string& towards);

}  // namespace shoal::bin
