// Starts a child process: only the descriptors that are named pass, signals are as a fresh program expects them.
//
//   absl::StatusOr<int> pid = Spawn({.command = {"/usr/bin/python3", "-m", "worker"}, .environment = {{"A", "1"}},
//                                    .descriptors = {{pipe_end, 1}}, .own_group = true});
//   loop->WatchProcess(*pid, [](int status) { ... DescribeExit(status) ... });
//
// vfork and exec, so that the cost does not grow with the memory of the parent; an exec that fails is reported here.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace shoal::io {

struct SpawnOptions {
  std::vector<std::string> command;  // the first is a path, or a name to find in PATH
  std::vector<std::pair<std::string, std::string>> environment;  // on top of this process's
  std::vector<std::pair<int, int>> descriptors;  // ours, and its number there; stdin is /dev/null unless named
  bool own_group = false;            // leads a process group, so that kill(-pid) reaches what it starts
  int oom_score_adj = 0;             // > 0: dies before we do when memory runs out
  std::string cgroup_procs;          // file to write itself into before exec; "": none
};

// NotFound or PermissionDenied (the program cannot be run), ResourceExhausted (no process or descriptor is left); the message names the
// program.
absl::StatusOr<int> Spawn(const SpawnOptions& options);

// The file that `name` means: itself if it has a slash, else the first of $PATH. NotFound if there is none.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// "signal 9 (Killed)", "exit status 3", "exit status 0"; of waitpid's status.
std::string DescribeExit(int status);

}  // namespace shoal::io
