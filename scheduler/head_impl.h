// The parts of the head and who calls whom. Each part knows its own records; what one event means for several of them is said here.
#pragma once

#include <string>
#include <vector>

#include "scheduler/actor_table.h"
#include "scheduler/enrolment.h"
#include "scheduler/failure_detector.h"
#include "scheduler/job_table.h"
#include "scheduler/lease_queue.h"
#include "scheduler/placement_group_table.h"
#include "scheduler/shared.h"

namespace shoal::scheduler {

class Head::Impl {
 public:
  Impl(HeadOptions options, std::vector<StoreRow> stored, Rng rng);

  void Start(const Turn& t);
  void OnMessage(const Turn& t, const Address& from, Message&& message);
  void OnPeerReset(const Turn& t, NodeId node);
  void OnTick(const Turn& t);
  std::optional<TimePoint> NextDeadline() const;
  void CheckInvariants() const;
  std::string Remains() const;

  Shared shared;
  FailureDetector detector;
  PlacementGroupTable groups;
  ActorTable actors;
  LeaseQueue leases;
  JobTable jobs;
  Enrolment enrolment;

 private:
  // ---- messages of raylets
  void On(const Turn& t, const Address& from, RegisterNode&& message);
  void On(const Turn& t, const Address& from, Heartbeat&& message);
  void On(const Turn& t, const Address& from, NodeReport&& message);
  void On(const Turn& t, const Address& from, NodeDied&& message);
  void On(const Turn& t, const Address& from, SpillDemand&& message);
  void On(const Turn& t, const Address& from, GrantLeasesReply&& message);
  void On(const Turn& t, const Address& from, WorkerDied&& message);
  void On(const Turn& t, const Address& from, ActorStarted&& message);
  void On(const Turn& t, const Address& from, ActorExited&& message);
  void On(const Turn& t, const Address& from, BundlesPrepared&& message);
  void On(const Turn& t, const Address& from, StartJob&& message);
  void On(const Turn& t, const Address& from, FinishJob&& message);
  // ---- requests of processes
  void On(const Turn& t, const Address& from, CreateActor&& message);
  void On(const Turn& t, const Address& from, WatchActor&& message);
  void On(const Turn& t, const Address& from, FindActor&& message);
  void On(const Turn& t, const Address& from, KillActor&& message);
  void On(const Turn& t, const Address& from, CreatePlacementGroup&& message);
  void On(const Turn& t, const Address& from, RemovePlacementGroup&& message);
  void On(const Turn& t, const Address& from, WatchPlacementGroup&& message);
  void On(const Turn& t, const Address& from, ListState&& message);
  // Whatever else is said to the head is not for it.
  template <class M>
  void On(const Turn&, const Address&, M&&) {}

  void NodeLost(const Turn& t, NodeRecord& node, NodeEvent event, const std::string& reason);
  void ProcessLost(const Turn& t, const Address& process);
  void JobOver(const Turn& t, JobId job, JobEvent event, const std::string& reason);
  void RemoveGroup(const Turn& t, PlacementGroupId group, const ErrorInfo& why);
  // Owners, watchers and drivers on that node that its report does not list are gone.
  void ForgetAbsentProcesses(const Turn& t, const NodeRecord& node);
  void StateAnew(const Turn& t, NodeId node);
  void SayNodes(const Turn& t, NodeId to) const;
  // To all, what is new.
  void SayNews(const Turn& t);
  void FinishTurn(const Turn& t);

  void Schedule(const Turn& t);
  void MakeRoomForWaiting(const Turn& t);
  void TellOfTheInfeasible(const Turn& t);
  // Without the room that is being made for actors and placement groups.
  void ServeLeases(const Turn& t, bool room_grew);

  std::vector<StoreRow> stored_;  // until Start
  bool room_grew_ = false;        // and nobody has made use of it
  bool membership_changed_ = false;
  std::optional<TimePoint> tell_nodes_at_;
  std::optional<TimePoint> schedule_at_;
  std::optional<TimePoint> make_room_at_;
  absl::btree_set<std::pair<JobId, std::string>> told_;  // notices to running jobs
  absl::btree_map<NodeId, ResourceSet> kept_;  // from leases, until then
  TimePoint kept_until_{};
  TimePoint refresh_at_{};
  TimePoint repeat_nodes_at_{};
  bool absence_trusted_ = false;
};

}  // namespace shoal::scheduler
