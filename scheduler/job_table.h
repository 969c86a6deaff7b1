// Jobs: which run, where their drivers are, and which have finished (kept for a while, so that a driver whose node comes back from the
// dead is told so). States: docs/states/job.md.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "scheduler/shared.h"

namespace shoal::scheduler {

// Row "job/<id>".
struct JobRow {
  JobInfo info;
  JobState state = JobState::kUnknown;
  std::string reason;
  template <class V> void Fields(V& v) { v(info, state, reason); }
};

class JobTable {
 public:
  static constexpr size_t kFinishedKept = 1000;

  explicit JobTable(Shared* shared) : shared_(*shared) {}
  void Restore(const StoreRow& row);

  // From the raylet of its driver.
  void OnStart(const Turn& t, NodeId from, const JobInfo& info);
  // True if it was running: the caller ends what belongs to it. Tells every raylet.
  bool Finish(const Turn& t, JobId job, JobEvent event, const std::string& reason);
  bool Running(JobId job) const { return StateOf(job) == JobState::kRunning; }
  bool Finished(JobId job) const { return StateOf(job) == JobState::kFinished; }
  JobState StateOf(JobId job) const;
  std::vector<JobId> RunningOn(NodeId node) const;       // those whose drivers are there
  std::vector<JobId> RunningBy(const Address& driver) const;
  // Says of every running job that it runs.
  void StateAnew(const Turn& t, NodeId node) const;
  // Workers of jobs that have finished are still there: says so again.
  void OnReport(const Turn& t, const NodeRecord& node) const;

  const absl::btree_map<JobId, JobRow>& jobs() const { return jobs_; }
  std::vector<NodeId> NodesInUse() const;
  void CheckInvariants() const;

 private:
  Shared& shared_;
  absl::btree_map<JobId, JobRow> jobs_;
  std::deque<JobId> finished_;
};

}  // namespace shoal::scheduler
