#include "objectstore/shm/memory_headroom.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace shoal {
namespace {

std::string ReadSmallFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text(16 << 10, '\0');
  const ssize_t size = read(fd, text.data(), text.size());
  close(fd);
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  return text;
}

bool ParseNumber(std::string_view text, uint64_t* number) {
  return std::from_chars(text.data(), text.data() + text.size(), *number).ec == std::errc();
}

// "/user.slice/x" from the line "0::/user.slice/x" of /proc/self/cgroup; "" without version 2.
std::string CgroupOfThisProcess() {
  const std::string text = ReadSmallFile("/proc/self/cgroup");
  const size_t at = text.rfind("0::", 0) == 0 ? 0 : text.find("\n0::");
  if (at == std::string::npos) return "";
  const size_t begin = text.find('/', at);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

namespace internal {

uint64_t FindNumber(std::string_view text, std::string_view key, uint64_t missing) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.size() <= key.size() || line.substr(0, key.size()) != key) continue;
    const size_t digits = line.find_first_not_of(": \t", key.size());
    // "inactive_file" must not be found in "inactive_file_more".
    if (digits == key.size() || digits == std::string_view::npos) continue;
    uint64_t number = 0;
    return ParseNumber(line.substr(digits), &number) ? number : missing;
  }
  return missing;
}

uint64_t CgroupHeadroom(std::string_view max, std::string_view current, std::string_view stat) {
  uint64_t limit = 0, used = 0;
  if (!ParseNumber(max, &limit) || !ParseNumber(current, &used)) return UINT64_MAX;  // "max": none
  const uint64_t cache = FindNumber(stat, "inactive_file", 0) + FindNumber(stat, "active_file", 0);
  used -= std::min(used, cache);
  return limit - std::min(limit, used);
}

}  // namespace internal

uint64_t MemoryHeadroom() {
  const uint64_t available =
      internal::FindNumber(ReadSmallFile("/proc/meminfo"), "MemAvailable", UINT64_MAX / 1024);
  uint64_t headroom = available == UINT64_MAX / 1024 ? UINT64_MAX : available * 1024;
  // A limit may sit at any level above this process. In a container the path may not exist: its own
  // limits are then at the root.
  for (std::string group = CgroupOfThisProcess();;) {
    const std::string files = "/sys/fs/cgroup" + group + "/memory.";
    headroom = std::min(headroom, internal::CgroupHeadroom(ReadSmallFile(files + "max"),
                                                           ReadSmallFile(files + "current"),
                                                           ReadSmallFile(files + "stat")));
    if (group.empty()) return headroom;
    group.resize(group.rfind('/'));
  }
}

}  // namespace shoal
