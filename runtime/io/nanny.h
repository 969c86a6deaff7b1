// The process that holds a node: starts the head and the raylet, starts them again when they die, and leaves nothing behind when it
// stops. No ZeroMQ, no Python, one thread.
//
//   Nanny nanny({.runtime_dir = dir, .children = {{"head", {"/usr/bin/shoal", "__head", ...}}, ...}}, &loop);
//   nanny.Start([&](const absl::Status& ready) { ... });          // once, when all children are ready or one cannot be
//   loop.Run();                                                   // until Stop, or until it gives up
//
// A child gets two descriptors: a life pipe (3), at whose end it exits, so that it dies with the nanny however that dies; and a ready pipe
// (4) for one line of JSON, facts for the state file or {"error": "..."}. Children start in order and stop in reverse. After a death
// everything below the dead one is killed (cgroup.kill where there is one, else by descent), then it starts again after 0.1 s, twice
// that, to 0.8 s. Five deaths in 60 s are one too many: the nanny says so once and stops all. A child that leaves with kNoRoom found its
// disk full: that is no death, it is tried again every second, and the state file says so meanwhile (NAME_waits).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/io/daemon_loop.h"
#include "runtime/io/json.h"
#include "runtime/io/process_tree.h"

namespace shoal::io {

// The exit code of a child that can go on only when somebody has freed space.
inline constexpr int kNoRoom = 75;

// When to start a child again: pure, so that its arithmetic can be tested.
class RestartPolicy {
 public:
  static constexpr Duration kFirstPause = 100ms, kWindow = 60s;
  static constexpr size_t kMaxDeaths = 5;
  // The pause before the next start; nullopt: give up.
  std::optional<Duration> OnDeath(TimePoint now);

 private:
  std::deque<TimePoint> deaths_;  // within the window
};

struct NannyChild {
  std::string name;                  // "head", "raylet"
  std::vector<std::string> command;
  // Facts of the ready line that go into the command when it is started again: {"port", "--port"}.
  std::vector<std::pair<std::string, std::string>> keep;
};

struct NannyOptions {
  std::string runtime_dir;
  std::vector<NannyChild> children;
  Json facts;                        // put into the state file
  Duration stop_grace = 2500ms;      // between SIGTERM and SIGKILL; children drain for at most 2 s
  bool use_cgroup = true;
};

class Nanny {
 public:
  Nanny(NannyOptions options, DaemonLoop* loop);
  ~Nanny();
  Nanny(const Nanny&) = delete;
  Nanny& operator=(const Nanny&) = delete;

  // `ready` is called once. An error is one sentence, and the loop stops with code 1 after it.
  void Start(std::function<void(const absl::Status&)> ready);
  // Stops the children, last first; then the loop, with `exit_code`.
  void Stop(int exit_code);
  // On SIGCHLD.
  void ReapOrphans();
  // What is known of the children: their facts, NAME_pid, and why it gave up.
  const Json& state() const { return state_; }

 private:
  struct Child {
    NannyChild spec;
    int pid = 0;
    bool was_ready = false;
    UniqueFd life, ready;
    std::string line;
    RestartPolicy policy;
    std::unique_ptr<Cgroup> cgroup;
  };

  void StartNext();
  absl::Status Spawn(Child* child);
  void OnReadyLine(Child* child);
  void OnDeath(Child* child, int status);
  void Restart(Child* child);
  void KillBelow(Child* child);
  void StopNext();
  void Finish();
  void Fail(const std::string& sentence);
  void WriteState();

  const NannyOptions options_;
  DaemonLoop* const loop_;
  std::vector<std::unique_ptr<Child>> children_;
  std::function<void(const absl::Status&)> ready_;
  Json state_;
  bool stopping_ = false;
  int exit_code_ = 0;
  Timers::Id stop_timer_ = 0;
};

}  // namespace shoal::io
