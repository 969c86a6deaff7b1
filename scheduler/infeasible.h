// What no node of the cluster could take, even if it were empty, waits until one joins that can. Whoever wants it may rather have made a
// mistake, so the job's driver is told, once per kind.
//
//   std::string why = Infeasible(cluster, need);                       // "" if some node could take it
//   if (!why.empty() && record.notice.Due(t.now)) notices->push_back({job, absl::StrCat("tasks that want ...", why)});
#pragma once

#include <string>
#include <vector>

#include "scheduler/cluster_state.h"

namespace shoal::scheduler {

std::string Infeasible(const ClusterState& cluster, NeedId need);

// Since when one thing that waits is known to be infeasible.
class NoticeState {
 public:
  static constexpr Duration kPatience = 2s;  // nodes may be about to join
  // True if it is to be told now; once. Of things of one kind the head tells one.
  bool Due(TimePoint now) {
    if (due_ == TimePoint{}) due_ = now + kPatience;
    return told_ = due_ <= now;
  }
  bool told() const { return told_; }

 private:
  TimePoint due_{};
  bool told_ = false;
};

struct Notice {
  JobId job;
  std::string text;
};

}  // namespace shoal::scheduler
