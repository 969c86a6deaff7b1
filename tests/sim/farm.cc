#include "tests/sim/farm.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/fields.h"

namespace shoal::sim {
namespace {

// One line per finished seed, in hex so that any detail fits into a line.
struct Wire {
  uint64_t seed = 0, hash = 0, events = 0, executions = 0, rounds = 0, deaths = 0;
  int64_t simulated_ns = 0;
  std::vector<std::pair<std::string, std::string>> violations;
  template <class V>
  void Fields(V& v) {
    v(seed, hash, events, executions, rounds, deaths, simulated_ns, violations);
  }
};

std::string ToLine(const RunResult& result) {
  Wire wire{result.seed,   result.trace_hash, result.events,       result.executions,
            result.rounds, result.deaths,     result.simulated_ns, {}};
  for (const Violation& v : result.violations) {
    wire.violations.emplace_back(
        v.rule, absl::StrCat(v.detail, " (at ", v.time_ns / 1'000'000, " ms)"));
  }
  std::string line = "@result ";
  for (unsigned char byte : Encode(wire)) absl::StrAppend(&line, absl::Hex(byte, absl::kZeroPad2));
  return line + "\n";
}

bool FromHex(absl::string_view hex, RunResult* result) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  Wire wire;
  if (!Decode(bytes, &wire)) return false;
  *result = {wire.seed, wire.hash, wire.events, wire.executions, wire.rounds, wire.deaths, wire.simulated_ns, {}};
  for (auto& [rule, detail] : wire.violations) result->violations.push_back({rule, detail, 0});
  return true;
}

struct Child {
  pid_t pid = 0;
  int fd = -1;
  uint64_t current = 0;  // the seed it works on
  uint64_t next = 0;     // where its successor begins
  std::string buffer;
  std::string last_words;
};

class Farm {
 public:
  Farm(const FarmOptions& options, const std::function<bool(const RunResult&)>& on_result)
      : options_(options), on_result_(on_result) {}

  void Go() {
    const int jobs = std::max(1, options_.jobs);
    for (int i = 0; i < jobs; ++i) {
      children_.push_back(std::make_unique<Child>());
      children_.back()->next = options_.first_seed + static_cast<uint64_t>(i);
      Spawn(children_.back().get());
    }
    while (!stopped_ && Poll()) {
    }
    for (auto& child : children_) {
      if (child->pid == 0) continue;
      kill(child->pid, SIGKILL);
      Reap(child.get());
    }
  }

 private:
  void Spawn(Child* child) {
    if (child->next > options_.last_seed) return;
    int pipe_fds[2];
    if (pipe(pipe_fds) != 0) return;
    const pid_t pid = fork();
    if (pid == 0) {
      close(pipe_fds[0]);
      dup2(pipe_fds[1], STDERR_FILENO);  // what a failed check prints goes the same way
      ChildMain(pipe_fds[1], child->next);
    }
    close(pipe_fds[1]);
    child->pid = pid;
    child->fd = pipe_fds[0];
    child->buffer.clear();
    child->last_words.clear();
  }

  [[noreturn]] void ChildMain(int out, uint64_t seed) {
    auto write_all = [out](const std::string& line) {
      if (write(out, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(0);
    };
    for (; seed <= options_.last_seed; seed += Stride()) {
      write_all(absl::StrCat("@begin ", seed, "\n"));
      alarm(options_.seed_timeout_s);
      write_all(ToLine(options_.run(seed)));
    }
    _exit(0);
  }
  uint64_t Stride() const { return static_cast<uint64_t>(std::max(1, options_.jobs)); }

  bool Poll() {
    std::vector<pollfd> fds;
    std::vector<Child*> owners;
    for (auto& child : children_) {
      if (child->pid == 0) continue;
      fds.push_back({child->fd, POLLIN, 0});
      owners.push_back(child.get());
    }
    if (fds.empty()) return false;
    poll(fds.data(), fds.size(), -1);
    for (size_t i = 0; i < fds.size() && !stopped_; ++i) {
      if (fds[i].revents != 0) Read(owners[i]);
    }
    return true;
  }

  void Read(Child* child) {
    char bytes[8192];
    const ssize_t count = read(child->fd, bytes, sizeof(bytes));
    if (count > 0) {
      child->buffer.append(bytes, static_cast<size_t>(count));
      size_t end;
      while ((end = child->buffer.find('\n')) != std::string::npos) {
        OnLine(child, child->buffer.substr(0, end));
        child->buffer.erase(0, end + 1);
      }
      return;
    }
    const int status = Reap(child);
    // Sanitizers end a process with a status of their own, not by a signal.
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
      const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      RunResult result;
      result.seed = child->current;
      const char* rule = signal == SIGALRM ? "hung" : signal == SIGABRT ? "check_failed" : "crashed";
      result.violations.push_back({rule, child->last_words.empty() ? strsignal(signal) : child->last_words, 0});
      child->next = child->current + Stride();
      if (!on_result_(result)) stopped_ = true;
      if (!stopped_) Spawn(child);
    }
  }

  void OnLine(Child* child, const std::string& line) {
    RunResult result;
    if (absl::StartsWith(line, "@begin ")) {
      child->current = std::stoull(line.substr(7));
    } else if (absl::StartsWith(line, "@result ") && FromHex(line.substr(8), &result)) {
      if (!on_result_(result)) stopped_ = true;
    } else if (child->last_words.size() < 2000) {
      absl::StrAppend(&child->last_words, child->last_words.empty() ? "" : " | ", line);
    }
  }

  int Reap(Child* child) {
    int status = 0;
    waitpid(child->pid, &status, 0);
    close(child->fd);
    child->pid = 0;
    return status;
  }

  const FarmOptions& options_;
  const std::function<bool(const RunResult&)>& on_result_;
  std::vector<std::unique_ptr<Child>> children_;
  bool stopped_ = false;
};

}  // namespace

void RunFarm(const FarmOptions& options, const std::function<bool(const RunResult&)>& on_result) {
  Farm(options, on_result).Go();
}

}  // namespace shoal::sim
