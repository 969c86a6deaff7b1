// Placement groups: created, used by tasks and actors, removed, sometimes under the feet of what runs there.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

class Groups : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "groups"; }
  void Round() override {
    PlacementGroupSpec spec;
    spec.id = group_ = rng_.NewId<PlacementGroupId>();
    spec.strategy = static_cast<PackStrategy>(rng_.Below(4));
    int64_t bundles = rng_.Between(1, 2);
    // No more than the largest machine has: other groups wait for a larger one to join.
    if (spec.strategy == PackStrategy::kStrictPack) {
      bundles = std::min(bundles, cluster_.LargestMachineSteps() / ResourceSet::kStepsPerUnit);
    }
    for (int64_t i = 0; i < bundles; ++i) spec.bundles.push_back(ResourceSet::Of({{std::string(kCpu), 1}}));
    used_ = removing_ = removed_ = false;
    early_ = rng_.Chance(0.2);
    Open();  // until it is removed
    driver(0).CreateGroup(std::move(spec), [this, group = group_](const PlacementGroupUpdate& update) {
      if (group == group_) OnUpdate(update);
    });
    if (early_) driver(0).After(Milliseconds(0, 400), [this, group = group_] { Remove(group); });
  }

 private:
  void OnUpdate(const PlacementGroupUpdate& update) {
    if (update.state == PlacementGroupStateKind::kRemoved) {
      if (std::exchange(removed_, true)) return;
      if (!removing_ && !Excused()) Fail("groups_stay", "a placement group went although nobody removed it");
      return Close();
    }
    if (update.state != PlacementGroupStateKind::kCreated || used_ || removing_) return;
    used_ = true;
    Use();
  }
  void Use() {
    users_ = rng_.Between(1, 6);
    Open();
    for (int64_t i = users_; i > 0; --i) {
      TaskRequest request;
      request.program.tag = rng_.Next() >> 8;
      request.program.duration_ns = Milliseconds(0, 50);
      Shape shape{.job = driver(0).job(), .resources = ResourceSet::Of({{std::string(kCpu), 1}})};
      shape.strategy.kind = StrategyKind::kPlacementGroup;
      shape.strategy.group = group_;
      shape.strategy.bundle = rng_.Chance(0.5) ? -1 : 0;
      request.shape = driver(0).RegisterShape(shape);
      const TaskId task = driver(0).Submit(request);
      const ObjectRefInfo ref = driver(0).RefOf(task.Return(0));
      Open();
      driver(0).Get(ref, [this, ref, expected = Mix(request.program.tag), group = group_](const Got& got) {
        const bool excused = early_ && got.error.kind == ErrorKind::kPlacementGroupRemoved;
        if (!excused) Compare(got, expected, Loss::kNone, ref.id.Hex());
        driver(0).Drop(ref.id);
        if (--users_ == 0) Remove(group);
        Close();
      });
    }
    Close();
  }
  void Remove(PlacementGroupId group) {
    if (group != group_ || std::exchange(removing_, true)) return;
    driver(0).RemoveGroup(group);
  }

  PlacementGroupId group_;
  bool used_ = false, removing_ = false, removed_ = false, early_ = false;
  int64_t users_ = 0;
};

}  // namespace

std::unique_ptr<Workload> MakeGroupWorkload(const std::string& name, Cluster* cluster, Rng rng) {
  if (name == "groups") return std::make_unique<Groups>(cluster, rng);
  return nullptr;
}

}  // namespace shoal::sim
