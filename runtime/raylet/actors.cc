#include "runtime/raylet/actors.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "runtime/raylet/policy.h"

namespace shoal::raylet {

Actors::Actors(const RayletOptions* options, WorkerPool* pool, NodeResources* resources)
    : options_(*options), pool_(*pool), resources_(*resources), has_gpus_(options->info.total.Get(kGpu) > 0) {}

// ---- from the head

void Actors::OnStart(const Turn& t, StartActor&& message, bool may_start) {
  const ActorId id = message.spec.id;
  if (const ActorExited* ended = ended_.Find(id); ended != nullptr && message.incarnation <= ended->incarnation) {
    if (message.incarnation == ended->incarnation) Post<ActorExited>(t, Address::Head()) = *ended;
    return;
  }
  if (auto it = actors_.find(id); it != actors_.end()) {
    ActorRecord& actor = it->second;
    if (message.incarnation < actor.incarnation) return;
    if (message.incarnation == actor.incarnation) {
      if (actor.stage == ActorStage::kAlive) ReportStarted(t, actor);
      return;
    }
    actor.next = std::move(message);
    if (actor.worker) return End(t, id, ErrorKind::kActorDied, "a newer incarnation takes its place", false, true);
    message = *std::move(actor.next);
    End(t, id, ErrorKind::kActorDied, "a newer incarnation takes its place", false, true);
  }
  if (!may_start) {
    return Refuse(t, message, ErrorKind::kUnschedulable, "the node waits for an answer of the head to its heartbeats");
  }
  const Shape& shape = message.spec.shape;
  std::optional<Holding> held = resources_.Take(shape.strategy, shape.resources);
  if (!held) {
    return Refuse(t, message, ErrorKind::kUnschedulable,
                  absl::StrCat("no room for ", shape.resources.ToString(), " is left on node ", options_.info.id.Hex()));
  }
  ActorRecord actor;
  actor.incarnation = message.incarnation;
  actor.held = *std::move(held);
  actor.claim.actor = id;
  actor.claim.job = message.spec.job;
  actor.claim.kind = MakeKind(shape.worker);
  if (has_gpus_) actor.claim.devices = DevicesOf(actor.held);
  actor.spec = std::move(message.spec);
  pool_.Put(actor.claim);
  Note(t, absl::StrCat("actor ", id.Hex()), "", "starting", absl::StrCat("incarnation ", actor.incarnation));
  actors_[id] = std::move(actor);
}

void Actors::Refuse(const Turn& t, const StartActor& message, ErrorKind kind, const std::string& why) {
  ActorStarted& refused = Post<ActorStarted>(t, Address::Head());
  refused.actor = message.spec.id;
  refused.incarnation = message.incarnation;
  refused.error = MakeError(kind, why);
}

void Actors::ReportStarted(const Turn& t, const ActorRecord& actor) {
  ActorStarted& started = Post<ActorStarted>(t, Address::Head());
  started.actor = actor.spec.id;
  started.incarnation = actor.incarnation;
  started.address = {options_.info.id, actor.worker};
}

void Actors::ReportExit(const Turn& t, ActorId actor, uint64_t incarnation, bool intended, ErrorKind kind,
                        const std::string& why) {
  ActorExited exited;
  exited.actor = actor;
  exited.incarnation = incarnation;
  exited.intended = intended;
  exited.error = MakeError(kind, why);
  ended_.Put(actor, exited);
  Post<ActorExited>(t, Address::Head()) = exited;
  Note(t, absl::StrCat("actor ", actor.Hex()), "", "gone", why);
}

void Actors::OnStop(const Turn& t, const StopActor& message) {
  auto it = actors_.find(message.actor);
  if (it == actors_.end()) {
    if (message.incarnation == 0) return;
    const ActorExited* ended = ended_.Find(message.actor);
    if (ended != nullptr && ended->incarnation >= message.incarnation) {
      Post<ActorExited>(t, Address::Head()) = *ended;
    } else {
      ReportExit(t, message.actor, message.incarnation, true, ErrorKind::kActorDied, "it was not on the node");
    }
    return;
  }
  ActorRecord& actor = it->second;
  if (message.incarnation != 0 && message.incarnation < actor.incarnation) return;
  if (actor.next && message.incarnation != actor.incarnation) actor.next.reset();
  actor.intended = true;
  const std::string reason = message.reason.empty() ? "it was stopped" : message.reason;
  End(t, message.actor, ErrorKind::kActorDied, reason, message.when_idle, /*kill=*/false);
}

void Actors::End(const Turn& t, ActorId id, ErrorKind kind, const std::string& reason, bool patient, bool kill) {
  auto it = actors_.find(id);
  ActorRecord& actor = it->second;
  if (!actor.worker) {
    pool_.Withdraw(actor.claim);
    resources_.Release(&actor.held);
    const uint64_t incarnation = actor.incarnation;
    const bool intended = actor.intended;
    actors_.erase(it);
    return ReportExit(t, id, incarnation, intended, kind, reason);
  }
  if (actor.reason.empty()) actor.reason = reason;
  Worker* worker = pool_.Find(actor.worker);
  if (kill) {
    pool_.Kill(t, worker, kind, reason);
  } else {
    worker->end_kind = kind;
    pool_.AskToLeave(t, worker, reason, /*now=*/!patient, patient);
  }
}

// ---- from workers

void Actors::OnReady(const Turn& t, Worker* worker, const ActorReady& message) {
  auto it = actors_.find(message.actor);
  if (it == actors_.end() || it->second.worker != worker->id || it->second.incarnation != message.incarnation) return;
  ActorRecord& actor = it->second;
  if (actor.stage != ActorStage::kBecoming) return;
  if (!message.error) {
    actor.stage = ActorStage::kAlive;
    Note(t, absl::StrCat("actor ", message.actor.Hex()), "starting", "alive", "");
    return ReportStarted(t, actor);
  }
  actor.stage = ActorStage::kFailed;
  ActorStarted& failed = Post<ActorStarted>(t, Address::Head());
  failed.actor = message.actor;
  failed.incarnation = message.incarnation;
  failed.error = message.error;
  End(t, message.actor, ErrorKind::kActorDied, "its constructor failed", /*patient=*/false, /*kill=*/false);
}

void Actors::OnLeaving(Worker* worker) {
  auto it = actors_.find(worker->actor);
  if (it == actors_.end() || it->second.worker != worker->id) return;
  it->second.intended = true;
  if (it->second.reason.empty()) it->second.reason = "it called exit_actor";
}

// ---- what happened

void Actors::WorkerReady(const Turn& t, const Claim& claim, Worker* worker) {
  auto it = actors_.find(claim.actor);
  SHOAL_CHECK(it != actors_.end() && it->second.stage == ActorStage::kWaiting) << claim.actor.Hex();
  ActorRecord& actor = it->second;
  actor.stage = ActorStage::kBecoming;
  actor.worker = worker->id;
  worker->held = std::exchange(actor.held, Holding{});
  worker->actor = claim.actor;
  pool_.Advanced(t, worker, WorkerEvent::kHost);

  const Address to = pool_.AddressOf(*worker);
  AssignLease& assign = Post<AssignLease>(t, to);  // no lease, but what it is to find in its environment
  assign.owner = actor.spec.owner;
  assign.job = actor.spec.job;
  assign.env_vars = EnvironmentFor(worker->held, has_gpus_, worker->kind->kind.env_vars);
  assign.resources = actor.spec.shape.resources;
  BecomeActor& become = Post<BecomeActor>(t, to);
  become.incarnation = actor.incarnation;
  become.spec = actor.spec;
}

void Actors::ClaimFailed(const Turn& t, const Claim& claim, const ErrorInfo& error) {
  auto it = actors_.find(claim.actor);
  if (it == actors_.end()) return;
  ActorStarted& failed = Post<ActorStarted>(t, Address::Head());
  failed.actor = claim.actor;
  failed.incarnation = it->second.incarnation;
  failed.error = error;
  resources_.Release(&it->second.held);
  actors_.erase(it);
}

void Actors::WorkerGone(const Turn& t, const Worker& worker, const std::string& how, bool may_start) {
  auto it = actors_.find(worker.actor);
  if (it == actors_.end() || it->second.worker != worker.id) return;
  const ActorRecord actor = std::move(it->second);
  actors_.erase(it);
  const std::string why = actor.reason.empty() ? absl::StrCat("its process ended: ", how) : actor.reason;
  const ErrorKind kind = worker.end_reason.empty() ? ErrorKind::kActorDied : worker.end_kind;
  const bool intended = actor.intended || actor.stage == ActorStage::kFailed;
  ReportExit(t, worker.actor, actor.incarnation, intended, kind, why);
  if (actor.next) OnStart(t, StartActor(*actor.next), may_start);
}

void Actors::BundleGone(const Turn& t, const BundleKey& key) {
  std::vector<ActorId> inside;
  for (const auto& [id, actor] : actors_) {
    const Worker* worker = pool_.Find(actor.worker);
    const Holding& held = worker != nullptr ? worker->held : actor.held;
    if (BundleKey{held.group, held.bundle} == key) inside.push_back(id);
  }
  for (ActorId id : inside) {
    End(t, id, ErrorKind::kPlacementGroupRemoved, "its placement group was removed", /*patient=*/false, /*kill=*/true);
  }
}

void Actors::JobEnded(const Turn& t, JobId job, const std::string& reason) {
  std::vector<ActorId> ending;
  for (const auto& [id, actor] : actors_) {
    if (actor.spec.job == job && !actor.spec.detached) ending.push_back(id);
  }
  for (ActorId id : ending) {
    ActorRecord& actor = actors_.find(id)->second;
    actor.intended = true;
    actor.next.reset();
    End(t, id, ErrorKind::kActorDied, reason, /*patient=*/false, /*kill=*/true);
  }
}

void Actors::KillAll(const Turn& t, const std::string& reason) {
  std::vector<ActorId> all;
  for (const auto& [id, actor] : actors_) all.push_back(id);
  for (ActorId id : all) {
    actors_.find(id)->second.next.reset();
    End(t, id, ErrorKind::kNodeDied, reason, /*patient=*/false, /*kill=*/true);
  }
}

bool Actors::IsDetached(const Worker& worker) const {
  const ActorRecord* actor = worker.actor ? Find(worker.actor) : nullptr;
  return actor != nullptr && actor->worker == worker.id && actor->spec.detached;
}

void Actors::CheckInvariants() const {
  for (const auto& [id, actor] : actors_) {
    SHOAL_CHECK((actor.stage == ActorStage::kWaiting) == !actor.worker) << id.Hex();
    SHOAL_CHECK(actor.worker || actor.held.counted) << id.Hex();
    if (!actor.worker) continue;
    const Worker* worker = pool_.Find(actor.worker);
    SHOAL_CHECK(worker != nullptr && worker->actor == id) << "actor " << id.Hex() << " has no worker of its own";
  }
}

}  // namespace shoal::raylet
