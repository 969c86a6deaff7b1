#include "runtime/io/worker_processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/process_tree.h"
#include "runtime/io/spawn.h"

namespace shoal::io {
namespace {

constexpr int kOomScore = 1000;  // the first to go when memory runs out

}  // namespace

WorkerProcesses::WorkerProcesses(WorkerProcessesOptions options, DaemonLoop* loop, WorkerProcessesHandlers handlers)
    : options_(std::move(options)),
      loop_(loop),
      handlers_(std::move(handlers)),
      zygote_({.python = options_.python,
               .raylet_socket = options_.raylet_socket,
               .log_file = options_.runtime_dir + "/logs/zygote.log",
               .command = options_.zygote_command},
              loop) {}

WorkerProcesses::~WorkerProcesses() {
  for (auto& [worker, process] : processes_) {
    if (process.pid > 0) kill(-process.pid, SIGKILL);
  }
}

std::string WorkerProcesses::LogFile(WorkerId worker, const char* suffix) const {
  return absl::StrCat(options_.runtime_dir, "/logs/worker-", worker.Hex(), suffix);
}

void WorkerProcesses::Start(WorkerId worker, JobId job, const WorkerKind& kind) {
  if (processes_.contains(worker)) return;
  Process& process = processes_[worker];
  UniqueFd out, err;
  if (const absl::Status made = MakePipes(worker, &process, &out, &err); !made.ok()) {
    return OnStarted(worker, made, ErrorKind::kSystem);
  }
  if (!kind.command.empty()) return StartProgram(worker, job, kind, out, err);
  const std::weak_ptr<int> alive = alive_;
  zygote_.Start(worker, job, kind.env_vars, out.get(), err.get(), [this, alive, worker](absl::StatusOr<int> pid) {
    if (!alive.expired()) OnStarted(worker, std::move(pid), ErrorKind::kRuntimeEnvSetup);
  });
}

absl::Status WorkerProcesses::MakePipes(WorkerId worker, Process* process, UniqueFd* out, UniqueFd* err) {
  for (const bool is_stderr : {false, true}) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a worker's output cannot be captured: ", std::strerror(errno), "; raise the limit (ulimit -n)"));
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    (is_stderr ? *err : *out) = UniqueFd(ends[1]);
    (is_stderr ? process->err : process->out) = std::make_unique<LogCapture>(
        LogFile(worker, is_stderr ? ".err" : ".out"), UniqueFd(ends[0]), loop_,
        [this, worker, is_stderr](std::vector<std::string> lines) { handlers_.lines(worker, is_stderr, std::move(lines)); });
  }
  return absl::OkStatus();
}

void WorkerProcesses::StartProgram(WorkerId worker, JobId job, const WorkerKind& kind, const UniqueFd& out,
                                   const UniqueFd& err) {
  SpawnOptions spawn;
  spawn.command = kind.command;
  spawn.environment = kind.env_vars;
  spawn.environment.insert(spawn.environment.end(), {{"SHOAL_RAYLET_SOCKET", options_.raylet_socket},
                                                     {"SHOAL_WORKER_ID", worker.Hex()},
                                                     {"SHOAL_JOB_ID", job.Hex()}});
  spawn.descriptors = {{out.get(), 1}, {err.get(), 2}};
  spawn.own_group = true;
  spawn.oom_score_adj = kOomScore;
  absl::StatusOr<int> pid = Spawn(spawn);
  const ErrorKind kind_of_failure =
      absl::IsResourceExhausted(pid.status()) ? ErrorKind::kSystem : ErrorKind::kRuntimeEnvSetup;
  OnStarted(worker, std::move(pid), kind_of_failure);
}

void WorkerProcesses::OnStarted(WorkerId worker, absl::StatusOr<int> pid, ErrorKind kind_of_failure) {
  const auto it = processes_.find(worker);
  if (it == processes_.end()) return;
  const std::weak_ptr<int> alive = alive_;
  if (pid.ok()) {
    // The zygote is asked to fork, not trusted to say the truth: what is not below us cannot be watched to its end.
    const absl::Status watched = loop_->events().WatchProcess(*pid, [this, alive, worker, pid = *pid](int status) {
      if (!alive.expired()) OnExit(worker, pid, status);
    });
    if (watched.ok()) {
      it->second.pid = *pid;
      by_pid_[*pid] = worker;
      if (it->second.killed) Kill(worker);
      return;
    }
    if (absl::IsNotFound(watched)) return OnExit(worker, *pid, kUnknownExitStatus);
    kill(*pid, SIGKILL);
    pid = watched;
  }
  processes_.erase(it);
  handlers_.failed(worker, {kind_of_failure, std::string(pid.status().message()), Payload()});
}

void WorkerProcesses::Kill(WorkerId worker) {
  const auto it = processes_.find(worker);
  if (it == processes_.end()) return;
  it->second.killed = true;
  if (it->second.pid == 0) return;  // the zygote's answer is still to come
  // Its own id too: a worker of the zygote may not lead its group yet.
  kill(-it->second.pid, SIGKILL);
  kill(it->second.pid, SIGKILL);
}

void WorkerProcesses::KillAll() {
  for (const auto& [worker, process] : processes_) Kill(worker);
}

void WorkerProcesses::OnExit(WorkerId worker, int pid, int status) {
  const auto it = processes_.find(worker);
  if (it == processes_.end()) return;
  kill(-pid, SIGKILL);  // what it started and left behind in its group
  by_pid_.erase(pid);
  it->second.out->Finish();
  it->second.err->Finish();
  std::string how = DescribeExit(status);
  const bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (const std::string tail = it->second.err->tail(); !tail.empty() && !clean && !it->second.killed) {
    absl::StrAppend(&how, "; it last printed:\n", tail);
  }
  processes_.erase(it);
  KeepLogs(worker);
  handlers_.exited(worker, how);
}

// Old output goes, so that a node that starts workers for months does not fill its disk.
void WorkerProcesses::KeepLogs(WorkerId worker) {
  ended_.push_back(worker);
  if (ended_.size() <= kLogsKept) return;
  for (const char* suffix : {".out", ".err", ".out.1", ".err.1"}) unlink(LogFile(ended_.front(), suffix).c_str());
  ended_.pop_front();
}

void WorkerProcesses::ReapOrphans() {
  if (zygote_.busy()) return;  // the next exit brings another chance
  io::ReapOrphans([this](int pid) { return pid == zygote_.pid() || by_pid_.contains(pid); });
}

}  // namespace shoal::io
