#include "runtime/io/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "runtime/io/event_loop.h"
#include "runtime/io/fd.h"

namespace shoal::io {
namespace {

constexpr int kFirstSafeNumber = 100;  // descriptors are moved above this, so that none lies on another's target

// Everything that the child needs, made before vfork: between vfork and exec it shares our memory and may only make system calls.
struct Prepared {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::vector<std::string> environment_text;
  std::vector<UniqueFd> copies;
  std::vector<std::pair<int, int>> moves;
  std::string oom_score;
};

absl::Status Fill(const SpawnOptions& options, Prepared* prepared) {
  for (const std::string& word : options.command) prepared->arguments.push_back(const_cast<char*>(word.c_str()));
  prepared->arguments.push_back(nullptr);

  auto overridden = [&options](std::string_view entry) {
    const std::string_view name = entry.substr(0, entry.find('='));
    return std::any_of(options.environment.begin(), options.environment.end(),
                       [name](const auto& pair) { return pair.first == name; });
  };
  for (const auto& [name, value] : options.environment) {
    prepared->environment_text.push_back(absl::StrCat(name, "=", value));
  }
  for (std::string& entry : prepared->environment_text) prepared->environment.push_back(entry.data());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!overridden(*entry)) prepared->environment.push_back(*entry);
  }
  prepared->environment.push_back(nullptr);

  auto move = [prepared](UniqueFd from, int to) {
    if (!from.valid()) {
      return absl::ResourceExhaustedError("no file descriptor is left for a child process; raise the limit (ulimit -n)");
    }
    prepared->moves.emplace_back(from.get(), to);
    prepared->copies.push_back(std::move(from));
    return absl::OkStatus();
  };
  bool has_stdin = false;
  for (const auto& [from, to] : options.descriptors) {
    has_stdin = has_stdin || to == 0;
    const absl::Status moved = move(UniqueFd(fcntl(from, F_DUPFD_CLOEXEC, kFirstSafeNumber)), to);
    if (!moved.ok()) return moved;
  }
  if (!has_stdin) {
    const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    const absl::Status moved = move(UniqueFd(fcntl(null.get(), F_DUPFD_CLOEXEC, kFirstSafeNumber)), 0);
    if (!moved.ok()) return moved;
  }
  if (options.oom_score_adj > 0) prepared->oom_score = std::to_string(options.oom_score_adj);
  return absl::OkStatus();
}

void WriteFile(const char* path, const char* text, size_t size) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  static_cast<void>(!write(fd, text, size));
  close(fd);
}

// In the child. Returns only if exec failed, with errno.
int Become(const std::string& program, const SpawnOptions& options, const Prepared& prepared) {
  if (options.own_group) setpgid(0, 0);
  if (!options.cgroup_procs.empty()) WriteFile(options.cgroup_procs.c_str(), "0", 1);
  if (!prepared.oom_score.empty()) WriteFile("/proc/self/oom_score_adj", prepared.oom_score.data(), prepared.oom_score.size());
  // What somebody opened without close-on-exec, here or in a library; the kernel knows this call since 5.11.
  syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  for (const auto& [from, to] : prepared.moves) {
    if (dup2(from, to) < 0) return errno;
  }
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(program.c_str(), prepared.arguments.data(), prepared.environment.data());
  return errno;
}

}  // namespace

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path;
  while (!name.empty() && !rest.empty()) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(directory.size() + 1, rest.size()));
    const std::string candidate = absl::StrCat(std::string(directory.empty() ? "." : directory), "/", name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return absl::NotFoundError(absl::StrCat("the program '", name, "' was not found in PATH"));
}

absl::StatusOr<int> Spawn(const SpawnOptions& options) {
  if (options.command.empty()) return absl::InvalidArgumentError("there is no program to start");
  const absl::StatusOr<std::string> program = FindProgram(options.command[0]);
  if (!program.ok()) return program.status();
  Prepared prepared;
  const absl::Status filled = Fill(options, &prepared);
  if (!filled.ok()) return filled;

  // No handler of ours may run in the child, which shares our memory until exec.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  volatile int exec_error = 0;
  const pid_t pid = vfork();
  if (pid == 0) {
    exec_error = Become(*program, options, prepared);
    _exit(127);
  }
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no process could be made for ", *program, ": ", std::strerror(fork_error)));
  }
  if (exec_error != 0) {
    waitpid(pid, nullptr, 0);
    const std::string text = absl::StrCat("the program ", *program, " cannot be run: ", std::strerror(exec_error));
    return exec_error == EACCES ? absl::PermissionDeniedError(text) : absl::NotFoundError(text);
  }
  return pid;
}

std::string DescribeExit(int status) {
  if (status == kUnknownExitStatus) return "an unknown end";
  if (WIFSIGNALED(status)) return absl::StrCat("signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
  return absl::StrCat("exit status ", WEXITSTATUS(status));
}

}  // namespace shoal::io
