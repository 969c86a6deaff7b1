#include "scheduler/job_table.h"

#include <algorithm>

#include "absl/container/btree_set.h"

namespace shoal::scheduler {

void JobTable::Restore(const StoreRow& row) {
  JobRow job = RowValue<JobRow>(row);
  if (job.state == JobState::kFinished) finished_.push_back(job.info.id);
  jobs_[job.info.id] = std::move(job);
}

JobState JobTable::StateOf(JobId job) const {
  auto it = jobs_.find(job);
  return it == jobs_.end() ? JobState::kUnknown : it->second.state;
}

void JobTable::OnStart(const Turn& t, NodeId from, const JobInfo& info) {
  if (!info.id) return;
  JobRow& job = jobs_[info.id];
  const JobState before = job.state;
  job.state = JobTransitions().Next(before, JobEvent::kStarts);
  if (job.state == JobState::kFinished) return Say(t, Address::Raylet(from), FinishJob{info.id, job.reason});
  if (before == JobState::kRunning) return;
  job.info = info;
  job.info.driver.node = from;
  PutRow(t, RowKey("job", info.id), job);
  shared_.log.Add(t, absl::StrCat("job ", info.id.Hex()), "", NameOf(job.state), info.entrypoint);
  shared_.cluster.Broadcast(t, StartJob{job.info});
}

bool JobTable::Finish(const Turn& t, JobId id, JobEvent event, const std::string& reason) {
  if (!id) return false;
  JobRow& job = jobs_[id];
  const JobState before = job.state;
  job.state = JobTransitions().Next(before, event);
  if (before == JobState::kFinished) return false;
  job.info.id = id;
  job.reason = reason;
  PutRow(t, RowKey("job", id), job);
  shared_.log.Add(t, absl::StrCat("job ", id.Hex()), NameOf(before), NameOf(job.state), reason);
  shared_.cluster.Broadcast(t, FinishJob{id, reason});
  finished_.push_back(id);
  while (finished_.size() > kFinishedKept) {
    DeleteRow(t, RowKey("job", finished_.front()));
    jobs_.erase(finished_.front());
    finished_.pop_front();
  }
  return true;
}

std::vector<JobId> JobTable::RunningOn(NodeId node) const {
  std::vector<JobId> found;
  for (const auto& [id, job] : jobs_) {
    if (job.state == JobState::kRunning && job.info.driver.node == node) found.push_back(id);
  }
  return found;
}

std::vector<JobId> JobTable::RunningBy(const Address& driver) const {
  std::vector<JobId> found;
  for (const auto& [id, job] : jobs_) {
    if (job.state == JobState::kRunning && job.info.driver == driver) found.push_back(id);
  }
  return found;
}

void JobTable::StateAnew(const Turn& t, NodeId node) const {
  for (const auto& [id, job] : jobs_) {
    if (job.state == JobState::kRunning) Say(t, Address::Raylet(node), StartJob{job.info});
  }
}

void JobTable::OnReport(const Turn& t, const NodeRecord& node) const {
  absl::btree_set<JobId> over;
  for (const WorkerReport& worker : node.report.workers) {
    // A worker that is an actor may outlive its job; the actor table knows better.
    if (worker.state != "actor" && worker.job && Finished(worker.job)) over.insert(worker.job);
  }
  for (JobId id : over) Say(t, Address::Raylet(node.info.id), FinishJob{id, jobs_.at(id).reason});
}

std::vector<NodeId> JobTable::NodesInUse() const {
  std::vector<NodeId> nodes;
  for (const auto& [id, job] : jobs_) {
    if (job.state == JobState::kRunning) nodes.push_back(job.info.driver.node);
  }
  return nodes;
}

void JobTable::CheckInvariants() const {
  size_t finished = 0;
  for (const auto& [id, job] : jobs_) {
    SHOAL_CHECK(job.info.id == id && job.state != JobState::kUnknown);
    finished += job.state == JobState::kFinished ? 1 : 0;
    const bool placed = job.state != JobState::kRunning || shared_.cluster.AliveOrExpected(job.info.driver.node);
    SHOAL_CHECK(placed) << "job " << id.Hex() << " runs though its driver's node is dead";
  }
  SHOAL_CHECK(finished == finished_.size());
}

}  // namespace shoal::scheduler
