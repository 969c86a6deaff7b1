#include "bench/head_load/leases.h"

#include <algorithm>

#include "runtime/io/clock.h"

namespace shoal::head_load {
namespace {

constexpr Duration kTellEvery = 20ms;

}  // namespace

void LeaseLoad::AddOwner(Node* node, const Address& owner, JobId job) {
  for (const double cpus : {1.0, 2.0}) {
    auto demand = std::make_unique<Demand>();
    demand->node = node;
    demand->owner = owner;
    demand->shape = {.job = job, .resources = ResourceSet::Of({{"CPU", cpus}})};
    by_key_[{owner, demand->shape.id()}] = demand.get();
    demands_.push_back(std::move(demand));
  }
}

void LeaseLoad::Start(double cpus) {
  runs_ = true;
  for (size_t i = 0; cpus > 0; ++i) {
    Demand* demand = demands_[i % demands_.size()].get();
    demand->waiting.push_back(io::MonotonicNow());
    cpus -= demand->shape.resources.GetUnits(kCpu);
  }
  for (const auto& demand : demands_) Tell(demand.get());
}

void LeaseLoad::Stop() {
  runs_ = false;
  for (const auto& demand : demands_) {
    demand->waiting.clear();
    Tell(demand.get());
  }
}

void LeaseLoad::StartMeasuring() {
  granted_ = 0;
  waits_ = {};
}

void LeaseLoad::Granted(const Address& owner, ShapeId shape, uint32_t count) {
  granted_ += count;
  Demand* demand = by_key_.at({owner, shape});
  const TimePoint now = io::MonotonicNow();
  for (; count > 0 && !demand->waiting.empty(); --count) {
    waits_.Add(static_cast<uint64_t>((now - demand->waiting.front()).count()));
    demand->waiting.pop_front();
  }
  if (runs_) Tell(demand);
}

// The next task is anybody's, of the same size.
void LeaseLoad::Ended(const Address& owner, ShapeId shape, uint32_t count) {
  if (!runs_) return;
  const Demand& ended = *by_key_.at({owner, shape});
  const size_t size = demands_.front()->shape.resources == ended.shape.resources ? 0 : 1;
  for (; count > 0; --count) Want(demands_[rng_.Below(demands_.size() / 2) * 2 + size].get());
}

void LeaseLoad::Want(Demand* demand) {
  demand->waiting.push_back(io::MonotonicNow());
  Tell(demand);
}

void LeaseLoad::Tell(Demand* demand) {
  const auto wanted = static_cast<uint32_t>(demand->waiting.size());
  if (wanted == demand->told) return;
  const TimePoint now = io::MonotonicNow();
  const bool turns = wanted == 0 || demand->told == 0;
  if (!turns && now < demand->next_tell) {
    if (std::exchange(demand->tell_due, true)) return;
    loop_->timers().At(demand->next_tell, [this, demand] {
      demand->tell_due = false;
      Tell(demand);
    });
    return;
  }
  demand->told = wanted;
  demand->next_tell = now + kTellEvery;
  demand->node->Say(SpillDemand{demand->owner, {demand->shape, wanted, ++demand->version, {}}});
}

}  // namespace shoal::head_load
