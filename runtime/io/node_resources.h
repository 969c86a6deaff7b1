// What this machine offers, as far as it can be found out without asking anybody.
//
//   MeasuredNode here = MeasureNode();
//   here.cpus                                  // what affinity and cgroup leave of them
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace shoal::io {

struct MeasuredNode {
  double cpus = 1;              // the least of affinity mask and cgroup quota, at least 1
  double gpus = 0;              // /dev/nvidia0, /dev/nvidia1, ...
  std::string gpu_model;        // as the driver names the first one
  uint64_t memory_bytes = 0;    // may be taken now: of the machine and of the memory cgroups
  uint64_t disk_bytes = 0;      // free where the runtime directory is
  std::string hostname;
  std::string user;
};

MeasuredNode MeasureNode(const std::string& runtime_dir);

// The address by which this machine reaches `host`, for others to reach it by; Unavailable if there is no route.
absl::StatusOr<std::string> LocalAddressTowards(const std::string& host, uint16_t port);

// "host:port" or "[v6]:port"; InvalidArgument names what is wrong.
struct HostPort {
  std::string host;
  uint16_t port = 0;
};
absl::StatusOr<HostPort> ParseHostPort(const std::string& text);
// IPv4 or IPv6, no name.
bool IsNumericAddress(const std::string& host);

namespace internal {
// The CPUs that a cgroup quota leaves: "max 100000" or "50000 100000" (version 2), or quota and period of version 1; 0: no limit.
double CpusOfQuota(const std::string& cpu_max);
}  // namespace internal

}  // namespace shoal::io
