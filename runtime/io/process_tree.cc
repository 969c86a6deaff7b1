#include "runtime/io/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/fd.h"

namespace shoal::io {
namespace {

std::string ReadWhole(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char chunk[4096];
  for (ssize_t n; fd.valid() && (n = read(fd.get(), chunk, sizeof(chunk))) > 0;) text.append(chunk, static_cast<size_t>(n));
  return text;
}

int ToNumber(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

// Names in a directory that are numbers.
std::vector<int> NumbersIn(const char* path) {
  std::vector<int> numbers;
  DIR* directory = opendir(path);
  if (directory == nullptr) return numbers;
  while (const dirent* entry = readdir(directory)) {
    if (const int number = ToNumber(entry->d_name); number > 0) numbers.push_back(number);
  }
  closedir(directory);
  return numbers;
}

// 0 if it is gone. The name in parentheses may hold anything, so the fields count from the last one.
int ParentOf(int pid) {
  const std::string stat = ReadWhole(absl::StrCat("/proc/", pid, "/stat"));
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || stat.size() < name_end + 5) return 0;
  const size_t begin = name_end + 4;  // ") S 123"
  return ToNumber(std::string_view(stat).substr(begin, stat.find(' ', begin) - begin));
}

// Our direct children, dead or alive. The kernel lists them per thread; older ones do not, then /proc is walked.
std::vector<int> Children() {
  std::vector<int> children;
  bool listed = false;
  for (const int thread : NumbersIn("/proc/self/task")) {
    const std::string path = absl::StrCat("/proc/self/task/", thread, "/children");
    listed = listed || access(path.c_str(), R_OK) == 0;
    const std::string text = ReadWhole(path);
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find(' ', at), text.size());
      if (const int pid = ToNumber(std::string_view(text).substr(at, end - at)); pid > 0) children.push_back(pid);
      at = end + 1;
    }
  }
  if (listed) return children;
  for (const int pid : NumbersIn("/proc")) {
    if (ParentOf(pid) == getpid()) children.push_back(pid);
  }
  return children;
}

void Pause(Duration duration) {
  const timespec time{.tv_sec = 0, .tv_nsec = duration.count()};
  nanosleep(&time, nullptr);
}

}  // namespace

void BecomeSubreaper() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::set<int> DescendantsOf(int root) {
  std::multimap<int, int> children;
  for (const int pid : NumbersIn("/proc")) {
    if (const int parent = ParentOf(pid); parent > 0) children.emplace(parent, pid);
  }
  std::set<int> found;
  std::vector<int> open = {root};
  while (!open.empty()) {
    const int parent = open.back();
    open.pop_back();
    const auto [begin, end] = children.equal_range(parent);
    for (auto it = begin; it != end; ++it) {
      if (found.insert(it->second).second) open.push_back(it->second);
    }
  }
  return found;
}

bool KillDescendants(const std::set<int>& spare, Duration limit) {
  const TimePoint until = MonotonicNow() + limit;
  while (true) {
    std::set<int> targets = DescendantsOf(getpid());
    for (const int root : spare) {
      targets.erase(root);
      for (const int pid : DescendantsOf(root)) targets.erase(pid);
    }
    for (const int pid : targets) kill(pid, SIGKILL);
    for (const int pid : targets) waitpid(pid, nullptr, WNOHANG);
    if (targets.empty()) return true;
    if (MonotonicNow() > until) return false;
    Pause(1ms);
  }
}

void ReapOrphans(const std::function<bool(int pid)>& watched) {
  for (const int pid : Children()) {
    if (!watched(pid)) waitpid(pid, nullptr, WNOHANG);
  }
}

std::unique_ptr<Cgroup> Cgroup::Create(const std::string& name) {
  const std::string text = ReadWhole("/proc/self/cgroup");
  const size_t line = text.rfind("0::", 0) == 0 ? 0 : text.find("\n0::");
  if (line == std::string::npos) return nullptr;
  const size_t begin = text.find('/', line);
  const std::string own = text.substr(begin, text.find('\n', begin) - begin);
  // The unified hierarchy alone, or beside version 1.
  for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    const std::string parent = absl::StrCat(mount, own == "/" ? "" : own);
    if (access(absl::StrCat(parent, "/cgroup.procs").c_str(), W_OK) != 0) continue;
    std::string path = absl::StrCat(parent, "/", name);
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) continue;
    if (access(absl::StrCat(path, "/cgroup.kill").c_str(), W_OK) != 0) {
      rmdir(path.c_str());
      continue;
    }
    return std::unique_ptr<Cgroup>(new Cgroup(std::move(path)));
  }
  return nullptr;
}

Cgroup::~Cgroup() {
  Kill();
  // A killed process leaves its cgroup when it has ended, not when it was told to.
  for (int i = 0; i < 200 && rmdir(path_.c_str()) != 0 && errno == EBUSY; ++i) Pause(5ms);
}

void Cgroup::Kill() {
  const UniqueFd fd(open(absl::StrCat(path_, "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid()) static_cast<void>(!write(fd.get(), "1", 1));
}

}  // namespace shoal::io
