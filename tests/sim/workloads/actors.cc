// Workloads of actors: order over restarts and callers, names, and a driver that dies in the middle of everything.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/sim/observer.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

TaskRequest CallRequest(Op op, uint64_t tag, int64_t duration_ns, int32_t retries) {
  TaskRequest request;
  request.program.op = op;
  request.program.tag = tag;
  request.program.duration_ns = duration_ns;
  request.program.at_most_once = retries == 0;
  request.max_retries = retries;
  return request;
}

// Two drivers call one restarting actor; the observer checks order and counts.
class ActorOrder : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "actor_order"; }
  int drivers() const override { return 2; }
  void Round() override {
    Language& creator = driver(0);
    ActorRequest request;
    request.name = absl::StrCat("order", rng_.Next());
    constexpr int32_t kRestarts[] = {0, 1, 2, -1};
    request.max_restarts = kRestarts[rng_.Below(4)];
    request.max_task_retries = rng_.Chance(0.5) ? -1 : 0;
    request.cpus = rng_.Chance(0.3) ? 1 : 0;
    const bool certain = request.max_restarts == -1 && request.max_task_retries == -1;
    retries_ = request.max_task_retries;
    loss_ = certain ? Loss::kNone : Loss::kActor;
    const ActorId actor = creator.CreateActor(request);
    actors_[0] = actors_[1] = actor;
    users_ = 2;
    // A user may end an incarnation, too, and more of them than there are restarts.
    const int64_t kills = request.max_restarts > 0 && rng_.Chance(0.3) ? rng_.Between(1, 4) : 0;
    if (kills > 0) loss_ = Loss::kKilled;
    CallMany(0);
    LookUp(request.name, 40);
    for (int64_t i = 0; i < kills; ++i) {
      creator.After(Milliseconds(1, 200), [this, actor] {
        if (actors_[0] == actor && users_ > 0) driver(0).KillActor(actor, /*no_restart=*/false);
      });
    }
  }

 private:
  void CallMany(int i) {
    Open();
    const int64_t calls = rng_.Between(1, 30);
    for (int64_t c = 0; c < calls; ++c) {
      const uint64_t tag = NextTag();
      const TaskId task =
          driver(i).Call(actors_[i], CallRequest(Op::kAppend, tag, Milliseconds(0, rng_.Chance(0.1) ? 300 : 5), retries_));
      Await(i, driver(i).RefOf(task.Return(0)), tag, loss_);
    }
    // The end of this user's calls is the end of the last of them: a sync actor runs them in order.
    const uint64_t tag = NextTag();
    const TaskId last = driver(i).Call(actors_[i], CallRequest(Op::kAppend, tag, 0, retries_));
    Await(i, driver(i).RefOf(last.Return(0)), tag, loss_, [this](const Got&) { UserDone(); });
    Close();
  }
  void LookUp(const std::string& actor_name, int tries) {
    Open();
    driver(1).GetActor(actor_name, [this, actor_name, tries](const FindActorReply& reply) {
      if (!reply.error) {
        if (reply.actor != actors_[0] && !Excused()) Fail("names_are_unique", actor_name + " leads to another actor");
        driver(1).UseActor(reply);
        CallMany(1);
      } else if (tries > 0 && alive(0) && users_ == 2) {
        driver(1).After(Milliseconds(20, 200), [this, actor_name, tries] {
          LookUp(actor_name, tries - 1);
          Close();
        });
        return;
      } else {
        UserDone();
      }
      Close();
    });
  }
  void UserDone() {
    if (--users_ > 0 || !alive(0)) return;
    Language& creator = driver(0);
    creator.KillActor(actors_[0]);
    creator.ForgetActor(actors_[0]);
  }

  ActorId actors_[2];
  int32_t retries_ = 0;
  Loss loss_ = Loss::kActor;
  int users_ = 0;
};

// Two drivers want the same name at the same time; there is one actor of that name, or one of them is told so.
class NamedActors : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "named_actors"; }
  int drivers() const override { return 2; }
  void Round() override {
    ActorRequest request;
    request.name = absl::StrCat("name", rng_.Next());
    request.get_if_exists = get_if_exists_ = rng_.Chance(0.5);
    deaths_before_ = cluster_.deaths();
    calm_ = !cluster_.RayletDiedWithin(20'000'000'000);
    left_ = 2;
    for (int i : {0, 1}) {
      identity_[i] = 0;
      Open();
      driver(i).After(Milliseconds(0, 5), [this, i, request] {
        actors_[i] = driver(i).CreateActor(request);
        const TaskId task = driver(i).Call(actors_[i], CallRequest(Op::kIdentity, NextTag(), 0, 0));
        const ObjectRefInfo ref = driver(i).RefOf(task.Return(0));
        driver(i).Get(ref, [this, i, ref](const Got& got) {
          identity_[i] = got.ok() ? got.number : 0;
          driver(i).Drop(ref.id);
          if (--left_ == 0 || !alive(1 - i)) Judge();  // the other one may have gone with its node
          Close();
        });
      });
    }
  }

 private:
  void Judge() {
    const bool quiet = calm_ && alive(0) && alive(1) && cluster_.deaths() == deaths_before_ && !Excused();
    const bool both = identity_[0] != 0 && identity_[1] != 0;
    if (quiet && both && identity_[0] != identity_[1]) Fail("names_are_unique", "two live actors have one name");
    if (quiet && both && !get_if_exists_) Fail("names_are_unique", "two actors were created under one name");
    if (quiet && identity_[0] == 0 && identity_[1] == 0) Fail("results_arrive", "nobody got the name");
    if (quiet && get_if_exists_ && !both) Fail("results_arrive", "get_if_exists gave an actor to one caller only");
    for (int i : {0, 1}) {
      if (!alive(i)) continue;
      driver(i).KillActor(actors_[i]);
      driver(i).ForgetActor(actors_[i]);
    }
  }

  ActorId actors_[2];
  uint64_t identity_[2] = {};
  bool get_if_exists_ = false;
  uint64_t deaths_before_ = 0;
  bool calm_ = true;  // when the round began
  int left_ = 0;
};

// Leaves a mess behind: running tasks, nested ones, objects, actors, a placement group. The end of the run looks for remains.
class DriverDeath : public Workload {
 public:
  using Workload::Workload;
  const char* name() const override { return "driver_death"; }
  bool MayDie(int) const override { return true; }
  void Round() override {
    Language& lang = driver(0);
    Open();  // for ever: the death of the driver ends it
    for (int64_t i = rng_.Between(0, 20); i > 0; --i) {
      TaskRequest request;
      request.program.op = rng_.Chance(0.3) ? Op::kNested : rng_.Chance(0.3) ? Op::kReturnRef : Op::kEcho;
      request.program.tag = NextTag();
      request.program.count = 2;
      request.program.child_ns = Milliseconds(0, 2000);
      request.program.duration_ns = Milliseconds(0, 2000);
      if (rng_.Chance(0.3)) request.nested.push_back(lang.Put(NextTag()));
      lang.Submit(request);
    }
    for (int64_t i = rng_.Between(0, 3); i > 0; --i) {
      ActorRequest request;
      request.max_restarts = rng_.Chance(0.5) ? -1 : 0;
      const ActorId actor = lang.CreateActor(request);
      TaskRequest call = CallRequest(Op::kHold, NextTag(), Milliseconds(0, 500), 0);
      call.nested.push_back(lang.Put(NextTag()));
      lang.Call(actor, call);
    }
    if (rng_.Chance(0.5)) lang.PutLarge(NextTag(), 1 << 20, [](std::optional<ObjectRefInfo>) {});
    if (rng_.Chance(0.4)) {
      PlacementGroupSpec spec;
      spec.id = rng_.NewId<PlacementGroupId>();
      spec.bundles.assign(2, ResourceSet::Of({{std::string(kCpu), 1}}));
      lang.CreateGroup(std::move(spec), [](const PlacementGroupUpdate&) {});
    }
    lang.After(Milliseconds(0, 3000), [this] { KillDriver(0); });
  }
};

}  // namespace

std::unique_ptr<Workload> MakeActorWorkload(const std::string& name, Cluster* cluster, Rng rng) {
  if (name == "actor_order") return std::make_unique<ActorOrder>(cluster, rng);
  if (name == "named_actors") return std::make_unique<NamedActors>(cluster, rng);
  if (name == "driver_death") return std::make_unique<DriverDeath>(cluster, rng);
  return nullptr;
}

}  // namespace shoal::sim
