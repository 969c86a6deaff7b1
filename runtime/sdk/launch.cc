#include "runtime/sdk/launch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/io/fd.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::internal {
namespace {

bool Executable(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && access(path.c_str(), X_OK) == 0;
}

absl::StatusOr<std::string> Named(const char* by, const std::string& path) {
  if (Executable(path)) return path;
  return absl::NotFoundError(absl::StrCat(by, " names ", path, ", which is no program: correct or unset it"));
}

// Given, $SHOAL_BINARY, beside this program, in $PATH.
absl::StatusOr<std::string> FindBinary(const std::string& given) {
  if (!given.empty()) return Named("InitOptions::binary", given);
  if (const char* named = std::getenv("SHOAL_BINARY"); named != nullptr && *named != '\0') return Named("SHOAL_BINARY", named);
  char self[4096];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self));
  if (size > 0) {
    std::string beside(self, static_cast<size_t>(size));
    beside = beside.substr(0, beside.rfind('/')) + "/shoal";
    if (Executable(beside)) return beside;
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const size_t end = rest.find(':');
    const std::string candidate = absl::StrCat(std::string(rest.substr(0, end)), "/shoal");
    if (Executable(candidate)) return candidate;
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  }
  return absl::NotFoundError("the program `shoal` was not found; set SHOAL_BINARY or put it into PATH");
}

// The value of "key": "..." in a flat JSON object that our own program printed.
std::string JsonString(const std::string& json, const std::string& key) {
  const size_t name = json.find(absl::StrCat("\"", key, "\""));
  if (name == std::string::npos) return "";
  const size_t open = json.find('"', json.find(':', name));
  if (open == std::string::npos) return "";
  std::string text;
  for (size_t i = open + 1; i < json.size() && json[i] != '"'; ++i) {
    if (json[i] == '\\' && i + 1 < json.size()) ++i;  // a quote or a backslash; its errors hold no other escapes
    text += json[i];
  }
  return text;
}

constexpr int kStopMs = 30'000;  // more than the runtime's own limits add up to

// Waits for a child's end.
bool EndsInTime(pid_t pid) {
  const io::UniqueFd end(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!end.valid()) return true;  // gone, and reaped by somebody else
  pollfd ended{.fd = end.get(), .events = POLLIN, .revents = 0};
  int ready;
  do {
    ready = poll(&ended, 1, kStopMs);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return false;
  waitpid(pid, nullptr, 0);
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalRuntime>> LocalRuntime::Start(std::string binary, double num_cpus) {
  absl::StatusOr<std::string> program = FindBinary(binary);
  if (!program.ok()) return program.status();
  int ready[2], life[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  if (pipe2(life, O_CLOEXEC) != 0) {
    close(ready[0]);
    close(ready[1]);
    return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  std::vector<std::string> words = {*program, "start", "--head", "--local", "--ready-fd", std::to_string(ready[1]),
                                    "--life-fd", std::to_string(life[0])};
  if (num_cpus >= 0) words.insert(words.end(), {"--num-cpus", absl::StrCat(num_cpus)});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const pid_t pid = fork();
  if (pid == 0) {
    fcntl(ready[1], F_SETFD, 0);
    fcntl(life[0], F_SETFD, 0);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(ready[1]);
  close(life[0]);
  std::string line;
  char chunk[512];
  for (ssize_t n; (n = read(ready[0], chunk, sizeof(chunk))) > 0;) {
    line.append(chunk, static_cast<size_t>(n));
    if (line.find('\n') != std::string::npos) break;
  }
  close(ready[0]);
  const std::string socket = JsonString(line, "raylet_socket");
  if (pid < 0 || socket.empty()) {
    close(life[1]);
    if (pid > 0) waitpid(pid, nullptr, 0);
    const std::string error = JsonString(line, "error");
    if (!error.empty()) return absl::UnavailableError(absl::StrCat("the runtime did not start: ", error));
    return absl::UnavailableError(absl::StrCat(*program, " did not start a runtime; run `", *program,
                                               " start --head --foreground` to see why"));
  }
  return std::unique_ptr<LocalRuntime>(new LocalRuntime(pid, life[1], socket));
}

LocalRuntime::~LocalRuntime() {
  close(life_fd_);
  if (!EndsInTime(pid_)) {  // stopped, or stuck in the kernel: what it started ends with it
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  // One that was killed could not remove its directory itself.
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(raylet_socket_).parent_path(), ignored);
}

std::string RunningHere() {
  const std::string directory = io::DefaultRuntimeDirectory();
  const std::string path = directory + "/raylet.sock";
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) return "";
  path.copy(address.sun_path, path.size());
  const io::UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const bool there = connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN;
  return there ? directory : "";
}

std::string SocketOf(const std::string& address) {
  struct stat info;
  if (stat(address.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return address + "/raylet.sock";
  return address;
}

}  // namespace shoal::internal
