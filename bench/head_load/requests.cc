#include "bench/head_load/requests.h"

#include <algorithm>
#include <variant>

#include "runtime/io/clock.h"

namespace shoal::head_load {

void RequestLoad::Start(uint32_t under_way) {
  runs_ = true;
  for (uint32_t i = 0; i < under_way; ++i) Ask(i % owners_.size());
}

void RequestLoad::StartMeasuring() { times_ = {}; }

void RequestLoad::Ask(size_t owner) {
  const uint64_t id = rng_.Next() | 1;
  asked_[id] = io::MonotonicNow();
  if (kind_ == Kind::kActors) return CreateOneActor(owners_[owner], id);
  CreateOneGroup(owners_[owner], id);
}

void RequestLoad::CreateOneActor(const Owner& owner, uint64_t id) {
  CreateActor create;
  create.spec.id = ActorId{id};
  create.spec.job = owner.job;
  create.spec.owner = owner.address;
  create.spec.shape = {.job = owner.job, .resources = ResourceSet::Of({{"CPU", 1}})};
  create.spec.creation.id = {owner.address.worker, id};
  create.spec.creation.name = "Actor.__init__";
  owner.node->Say(create, owner.address.worker);
}

void RequestLoad::CreateOneGroup(const Owner& owner, uint64_t id) {
  CreatePlacementGroup create;
  create.spec.id = PlacementGroupId{id};
  create.spec.job = owner.job;
  create.spec.owner = owner.address;
  create.spec.bundles = {ResourceSet::Of({{"CPU", 1}})};
  owner.node->Say(create, owner.address.worker);
}

void RequestLoad::Receive(const Address& process, const Message& message) {
  if (const auto* actor = std::get_if<ActorUpdate>(&message)) On(process, *actor);
  if (const auto* group = std::get_if<PlacementGroupUpdate>(&message)) On(process, *group);
}

bool RequestLoad::Created(uint64_t id) {
  const auto it = asked_.find(id);
  if (it == asked_.end()) return false;
  times_.Add(static_cast<uint64_t>((io::MonotonicNow() - it->second).count()));
  asked_.erase(it);
  ending_.insert(id);
  return true;
}

void RequestLoad::On(const Address& process, const ActorUpdate& update) {
  const size_t owner = IndexOf(process);
  if (update.state == ActorState::kAlive) {
    if (Created(update.actor.value)) owners_[owner].node->Say(KillActor{.actor = update.actor}, process.worker);
  } else if (update.state == ActorState::kDead && Ended(update.actor.value) && runs_) {
    Ask(owner);
  }
}

void RequestLoad::On(const Address& process, const PlacementGroupUpdate& update) {
  const size_t owner = IndexOf(process);
  if (update.state == PlacementGroupStateKind::kCreated) {
    if (Created(update.group.value)) owners_[owner].node->Say(RemovePlacementGroup{update.group}, process.worker);
  } else if (update.state == PlacementGroupStateKind::kRemoved && Ended(update.group.value) && runs_) {
    Ask(owner);
  }
}

size_t RequestLoad::IndexOf(const Address& process) const {
  const auto it = std::find_if(owners_.begin(), owners_.end(), [&](const Owner& owner) { return owner.address == process; });
  return static_cast<size_t>(it - owners_.begin());
}

}  // namespace shoal::head_load
