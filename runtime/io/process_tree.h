// What keeps the promise that nothing stays behind: finds, kills and reaps processes below this one. This process must be a
// subreaper, so that a process whose parent died, however far below and however often it forked and called setsid, becomes its child.
//
//   BecomeSubreaper();
//   ...
//   KillDescendants({head_pid}, 2s);                     // all but the head and what is below it
//
// Where a cgroup (v2) can be made, Cgroup::Kill does the same in one write that no fork can outrun.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"

namespace shoal::io {

void BecomeSubreaper();

// All processes below `root`, without it. Reads /proc once.
std::set<int> DescendantsOf(int root);

// Kills all descendants but `spare` and those below them, and reaps those that become our children; again until none is left or
// `limit` has passed. True if none is left. Blocks.
bool KillDescendants(const std::set<int>& spare, Duration limit);

// Reaps children that ended and that `watched` does not claim: orphans that came to us. Cheap; call it on SIGCHLD.
void ReapOrphans(const std::function<bool(int pid)>& watched);

// A cgroup of our own, removed when this object goes.
class Cgroup {
 public:
  // Null if there is no writable version 2 hierarchy.
  static std::unique_ptr<Cgroup> Create(const std::string& name);
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  // For SpawnOptions::cgroup_procs.
  std::string procs_file() const { return path_ + "/cgroup.procs"; }
  // Kills every process in it.
  void Kill();

 private:
  explicit Cgroup(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace shoal::io
