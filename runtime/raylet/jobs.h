// The jobs whose drivers live on this node, and what the head tells of others. The head hears of the beginning and end of local ones by level:
// both are repeated with the reports until they are superseded.
#pragma once

#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "runtime/raylet/parts.h"

namespace shoal::raylet {

class Jobs {
 public:
  explicit Jobs(NodeId self) : self_(self) {}

  // A driver of this node. False if the job has another driver.
  bool DriverCame(const Turn& t, const RegisterWorker& message, JobId job, bool head_listens);
  // The job that ended with it, if it was the driver of one.
  std::optional<JobId> DriverGone(const Turn& t, WorkerId driver, const std::string& reason, bool head_listens);
  // From the head: a job of any node began, or is over for good.
  void OnStartJob(const StartJob& message);
  void OnFinishJob(JobId job);
  // Says everything (again) to the head.
  void State(const Turn& t);

  Address DriverOf(JobId job) const;
  std::string NamespaceOf(JobId job) const;

 private:
  struct Ending {
    std::string reason;
    uint32_t said = 0;
  };
  void Say(const Turn& t, JobId job, Ending* ending);

  const NodeId self_;
  absl::btree_map<JobId, JobInfo> here_;
  absl::btree_map<JobId, Ending> ending_;  // until the head passes the end on to everybody
  Recent<JobId, JobInfo> elsewhere_{16'384};
};

}  // namespace shoal::raylet
