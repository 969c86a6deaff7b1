#include "runtime/raylet/jobs.h"

namespace shoal::raylet {
namespace {

// A head that never passes the end of a job on does not know the job.
constexpr uint32_t kSayEndAtMost = 100;

}  // namespace

bool Jobs::DriverCame(const Turn& t, const RegisterWorker& message, JobId job, bool head_listens) {
  JobInfo info;
  info.id = job;
  info.driver = {self_, message.worker};
  info.ns = message.ns;
  info.entrypoint = message.entrypoint;
  info.worker_kind = message.worker_kind;
  auto [it, inserted] = here_.try_emplace(job, info);
  if (!inserted) return it->second.driver == info.driver;
  if (head_listens) Post<StartJob>(t, Address::Head()).job = std::move(info);
  return true;
}

std::optional<JobId> Jobs::DriverGone(const Turn& t, WorkerId driver, const std::string& reason, bool head_listens) {
  for (auto it = here_.begin(); it != here_.end(); ++it) {
    if (it->second.driver.worker != driver) continue;
    const JobId job = it->first;
    here_.erase(it);
    Ending& ending = ending_[job];
    ending.reason = reason;
    if (head_listens) Say(t, job, &ending);
    return job;
  }
  return std::nullopt;
}

void Jobs::Say(const Turn& t, JobId job, Ending* ending) {
  ++ending->said;
  FinishJob& finish = Post<FinishJob>(t, Address::Head());
  finish.job = job;
  finish.reason = ending->reason;
}

void Jobs::OnStartJob(const StartJob& message) { elsewhere_.Put(message.job.id, message.job); }

void Jobs::OnFinishJob(JobId job) {
  ending_.erase(job);
  here_.erase(job);
}

void Jobs::State(const Turn& t) {
  for (const auto& [job, info] : here_) Post<StartJob>(t, Address::Head()).job = info;
  for (auto it = ending_.begin(); it != ending_.end();) {
    if (it->second.said >= kSayEndAtMost) {
      it = ending_.erase(it);
      continue;
    }
    Say(t, it->first, &it->second);
    ++it;
  }
}

Address Jobs::DriverOf(JobId job) const {
  if (auto it = here_.find(job); it != here_.end()) return it->second.driver;
  const JobInfo* known = elsewhere_.Find(job);
  return known == nullptr ? Address{} : known->driver;
}

std::string Jobs::NamespaceOf(JobId job) const {
  if (auto it = here_.find(job); it != here_.end()) return it->second.ns;
  const JobInfo* known = elsewhere_.Find(job);
  return known == nullptr ? "" : known->ns;
}

}  // namespace shoal::raylet
