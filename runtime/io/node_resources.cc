#include "runtime/io/node_resources.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "objectstore/shm/memory_headroom.h"
#include "runtime/io/fd.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::io {
namespace {

std::string TextOf(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  return text.ok() ? *text : "";
}

double CpusOfAffinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) {
    return static_cast<double>(std::max(1l, sysconf(_SC_NPROCESSORS_ONLN)));  // more than 1024 of them
  }
  return CPU_COUNT(&set);
}

double CpusOfCgroups() {
  if (const double cpus = internal::CpusOfQuota(TextOf("/sys/fs/cgroup/cpu.max")); cpus > 0) return cpus;
  std::string quota = TextOf("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::replace(quota.begin(), quota.end(), '\n', ' ');
  return internal::CpusOfQuota(quota + TextOf("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
}

int CountGpus() {
  DIR* directory = opendir("/dev");
  if (directory == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    const std::string_view number = name.substr(std::min<size_t>(name.size(), 6));
    if (name.substr(0, 6) == "nvidia" && !number.empty() &&
        std::all_of(number.begin(), number.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; })) {
      ++count;
    }
  }
  closedir(directory);
  return count;
}

// "Model: \t\t NVIDIA H100" of the first entry in the driver's directory.
std::string GpuModel() {
  const std::string root = "/proc/driver/nvidia/gpus";
  DIR* directory = opendir(root.c_str());
  if (directory == nullptr) return "";
  std::string model;
  while (const dirent* entry = readdir(directory)) {
    const std::string text = TextOf(absl::StrCat(root, "/", entry->d_name, "/information"));
    const size_t begin = text.find("Model:");
    if (begin == std::string::npos) continue;
    const size_t name = text.find_first_not_of(" \t", begin + 6);
    model = text.substr(name, text.find('\n', name) - name);
    break;
  }
  closedir(directory);
  return model;
}

}  // namespace

namespace internal {

double CpusOfQuota(const std::string& cpu_max) {
  const size_t space = cpu_max.find(' ');
  if (space == std::string::npos) return 0;
  double quota = 0, period = 0;
  if (!absl::SimpleAtod(cpu_max.substr(0, space), &quota) || !absl::SimpleAtod(cpu_max.substr(space + 1), &period)) return 0;
  return quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace internal

MeasuredNode MeasureNode(const std::string& runtime_dir) {
  MeasuredNode node;
  node.cpus = CpusOfAffinity();
  if (const double quota = CpusOfCgroups(); quota > 0) node.cpus = std::min(node.cpus, std::max(1.0, std::floor(quota)));
  node.gpus = CountGpus();
  if (node.gpus > 0) node.gpu_model = GpuModel();
  node.memory_bytes = MemoryHeadroom();
  struct statvfs disk {};
  if (statvfs(runtime_dir.c_str(), &disk) == 0) node.disk_bytes = uint64_t{disk.f_bavail} * disk.f_frsize;
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) == 0) node.hostname = name;
  const char* user = std::getenv("USER");
  node.user = user != nullptr && *user != '\0' ? user : absl::StrCat("uid-", geteuid());
  return node;
}

absl::StatusOr<std::string> LocalAddressTowards(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(absl::StrCat("the host ", host, " is not known: ", gai_strerror(error)));
  // Connecting a datagram socket sends nothing; it only looks up the route.
  const UniqueFd fd(socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const bool routed = fd.valid() && connect(fd.get(), found->ai_addr, found->ai_addrlen) == 0;
  const int route_error = errno;
  freeaddrinfo(found);
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  char text[NI_MAXHOST];
  if (!routed || getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) {
    return absl::UnavailableError(absl::StrCat("there is no route to ", host, ": ", std::strerror(route_error)));
  }
  return std::string(text);
}

bool IsNumericAddress(const std::string& host) {
  in6_addr address;  // room for either
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

absl::StatusOr<HostPort> ParseHostPort(const std::string& text) {
  HostPort parsed;
  const size_t colon = text.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("'", text, "' is not HOST:PORT"));
  }
  parsed.host = text.substr(0, colon);
  if (parsed.host.size() > 2 && parsed.host.front() == '[' && parsed.host.back() == ']') {
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  }
  parsed.port = static_cast<uint16_t>(port);
  return parsed;
}

}  // namespace shoal::io
