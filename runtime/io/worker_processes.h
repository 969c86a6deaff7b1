// The worker processes of a raylet: starts them (forked from the Python zygote, or a program of the user's), watches their ends, kills
// them with all they started, and captures what they print.
//
//   WorkerProcesses workers({.runtime_dir = dir, .raylet_socket = dir + "/raylet.sock"}, &loop, {
//       .exited = [&](WorkerId worker, const std::string& how) { ... },   // "signal 9 (Killed)"
//       .failed = [&](WorkerId worker, const ErrorInfo& error) { ... },   // never ran
//       .lines = [&](WorkerId worker, bool is_stderr, auto lines) { ... }});
//   workers.Start(worker, job, kind);
//
// Each leads a process group, so that what it forks dies with it; what left the group becomes ours (subreaper) and dies with the node.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/io/daemon_loop.h"
#include "runtime/io/log_capture.h"
#include "runtime/io/zygote.h"
#include "schema/messages.h"

namespace shoal::io {

struct WorkerProcessesOptions {
  std::string runtime_dir;
  std::string raylet_socket;
  std::string python;
  std::vector<std::string> zygote_command;  // for tests, see ZygoteOptions
};

struct WorkerProcessesHandlers {
  // Its process ended; `how` is for people. Its output was handed over before.
  std::function<void(WorkerId worker, const std::string& how)> exited;
  std::function<void(WorkerId worker, const ErrorInfo& error)> failed;
  std::function<void(WorkerId worker, bool is_stderr, std::vector<std::string> lines)> lines;
};

class WorkerProcesses {
 public:
  static constexpr size_t kLogsKept = 500;  // of workers that ended

  WorkerProcesses(WorkerProcessesOptions options, DaemonLoop* loop, WorkerProcessesHandlers handlers);
  ~WorkerProcesses();
  WorkerProcesses(const WorkerProcesses&) = delete;
  WorkerProcesses& operator=(const WorkerProcesses&) = delete;

  // Answered by `exited` or `failed`, perhaps before this returns. A worker that exists already is left alone.
  void Start(WorkerId worker, JobId job, const WorkerKind& kind);
  // SIGKILL; `exited` follows.
  void Kill(WorkerId worker);
  void KillAll();
  bool Has(WorkerId worker) const { return processes_.contains(worker); }
  // Starts the zygote ahead of the first Python worker.
  void WarmPython() { zygote_.Warm(); }
  // On SIGCHLD: reaps what nobody watches.
  void ReapOrphans();
  size_t size() const { return processes_.size(); }

 private:
  struct Process {
    int pid = 0;
    bool killed = false;
    std::unique_ptr<LogCapture> out, err;
  };

  absl::Status MakePipes(WorkerId worker, Process* process, UniqueFd* out, UniqueFd* err);
  void StartProgram(WorkerId worker, JobId job, const WorkerKind& kind, const UniqueFd& out, const UniqueFd& err);
  void OnStarted(WorkerId worker, absl::StatusOr<int> pid, ErrorKind kind_of_failure);
  void OnExit(WorkerId worker, int pid, int status);
  void KeepLogs(WorkerId worker);
  std::string LogFile(WorkerId worker, const char* suffix) const;

  const WorkerProcessesOptions options_;
  DaemonLoop* const loop_;
  const WorkerProcessesHandlers handlers_;
  Zygote zygote_;
  std::map<WorkerId, Process> processes_;
  std::map<int, WorkerId> by_pid_;
  std::deque<WorkerId> ended_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace shoal::io
