// The raylet's end of the Python zygote: a single-threaded process with all imports done, from which workers are forked in
// milliseconds. Started when first needed and again, with a growing pause, when it dies.
//
//   Zygote zygote({.python = "/usr/bin/python3", .raylet_socket = path, .log_file = dir + "/logs/zygote.log"}, &loop);
//   zygote.Start(worker, job, kind.env_vars, stdout_pipe, stderr_pipe, [&](absl::StatusOr<int> pid) { ... });
//
// `python -m shoal._internal.zygote` gets a SOCK_SEQPACKET socket as descriptor 3. A request is one datagram of JSON,
// {"worker": hex, "job": hex, "socket": path, "env": {..}}, with the worker's stdout and stderr attached; the zygote forks
// twice, so that the worker becomes a child of the raylet (a subreaper), and answers {"worker": hex, "pid": N} or
// {"worker": hex, "error": text}. End of file ends the zygote.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/json.h"
#include "schema/messages.h"

namespace shoal::io {

struct ZygoteOptions {
  std::string python;         // program; "" is $SHOAL_PYTHON, else python3
  std::string raylet_socket;  // told to workers
  std::string log_file;       // what the zygote itself prints
  std::vector<std::string> command;  // instead of `python -m shoal._internal.zygote`; for tests
  int max_deaths = 3;         // in a row, without one worker between, before requests fail
  Duration first_pause = 100ms;
};

class Zygote {
 public:
  using Started = std::function<void(absl::StatusOr<int> pid)>;

  Zygote(ZygoteOptions options, DaemonLoop* loop) : options_(std::move(options)), loop_(loop) {}
  // Ends the zygote; requests under way are dropped without an answer.
  ~Zygote();
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;

  // Starts the process if it does not run, so that the first worker finds it warm.
  void Warm();
  // Calls `started` once, perhaps before this returns. Unavailable if the zygote cannot run, with the last of what it said. Duplicates the descriptors.
  void Start(WorkerId worker, JobId job, const StringMap& env, int stdout_fd, int stderr_fd, Started started);
  // While true, a child that nobody knows may be a worker whose answer has not been read yet: do not reap it.
  bool busy() const { return !sent_.empty(); }
  int pid() const { return pid_; }

 private:
  struct Request {
    std::string text;
    UniqueFd out, err;
    Started started;
  };

  absl::Status Launch();
  void OnReadable();
  void OnHangup();
  void OnAnswer(const Json& answer);
  void OnDeath(int pid, int status);
  void SendWaiting();
  void FailAll(const absl::Status& status);
  std::string LastWords() const;

  const ZygoteOptions options_;
  DaemonLoop* const loop_;
  int pid_ = 0;
  UniqueFd socket_;
  std::deque<Request> waiting_;              // not sent yet
  std::map<std::string, Request> sent_;      // by worker; sent again if the zygote dies before it answers
  int deaths_ = 0;
  Timers::Id restart_ = 0;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace shoal::io
