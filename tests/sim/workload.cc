#include "tests/sim/workload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::sim {

void Workload::Begin(int64_t start_ns, int64_t stop_ns) {
  stop_ns_ = stop_ns;
  const int count = drivers();
  languages_.resize(count);
  processes_.resize(count);
  for (int i = 0; i < count; ++i) {
    machines_.push_back(cluster_.DriverMachine(rng_));
    processes_[i] = cluster_.StartDriver(
        machines_[i], start_ns,
        [this, i](Language* language) {
          languages_[i] = language;
          if (++up_ == drivers()) StartRound();
        },
        [this, i] { OnDown(i); });
  }
}

void Workload::StartRound() {
  if (finished_ || void_) return;
  Open();
  if (cluster_.now_ns() < stop_ns_) {
    ++rounds_;
    Round();
  } else if (!last_round_) {
    last_round_ = true;
    LastRound();
  } else {
    finished_ = true;
  }
  Close();
}

void Workload::Close() {
  if (--open_ > 0 || finished_ || void_) return;
  for (int i = 0; i < drivers(); ++i) {
    if (alive(i)) {
      driver(i).After(Milliseconds(0, 300), [this] { StartRound(); });
      return;
    }
  }
  finished_ = true;  // no driver is left, as planned
}

void Workload::OnDown(int i) {
  languages_[i] = nullptr;
  if (leaving_ || finished_) return;
  if (MayDie(i)) {
    finished_ = std::all_of(languages_.begin(), languages_.end(), [](const Language* l) { return l == nullptr; });
    return;
  }
  if (!Excused() && !cluster_.RayletDiedOn(machines_[i])) {
    Fail("drivers_survive", absl::StrCat("driver ", i, " of ", name(), " died without a cause"));
  }
  void_ = finished_ = true;
}

void Workload::Leave() {
  leaving_ = true;
  for (size_t i = 0; i < processes_.size(); ++i) {
    if (languages_[i] != nullptr) cluster_.LeaveProcess(processes_[i]);
  }
}

void Workload::KillDriver(int i) { cluster_.KillProcess(processes_[i], "planned"); }

std::string Workload::Describe() const {
  std::string text = absl::StrCat(name(), ": ", rounds_, " rounds, waits for ", open_, " things, ", up_, " of ",
                                  processes_.size(), " drivers came up");
  for (const Language* language : languages_) {
    if (language != nullptr) absl::StrAppend(&text, ", ", language->waiting_gets(), " gets open");
  }
  return text;
}

bool Workload::Excused() const {
  for (uint32_t machine : machines_) {
    if (cluster_.observer().WasDeclaredDead(cluster_.NodeOf(machine).value)) return true;
  }
  return void_;
}

bool Workload::Allowed(const ErrorInfo& error, Loss loss) const {
  if (loss == Loss::kAny || Excused()) return true;
  if (loss == Loss::kNone) return false;
  // A node that was cut off for too long is as good as killed.
  const bool deaths = cluster_.deaths() > 0 || cluster_.observer().AnyDeclaredDead();
  switch (error.kind) {
    case ErrorKind::kOwnerDied:
    case ErrorKind::kObjectLost:
      return deaths;
    case ErrorKind::kActorDied:
    case ErrorKind::kActorUnavailable:
    case ErrorKind::kWorkerCrashed:
    case ErrorKind::kNodeDied:
      return loss == Loss::kKilled || (deaths && loss == Loss::kActor);
    case ErrorKind::kObjectStoreFull:
      return loss == Loss::kStoreFull;
    default:
      return false;
  }
}

void Workload::Compare(const Got& got, uint64_t expected, Loss loss, const std::string& what) {
  if (got.ok()) {
    if (got.number != expected) Fail("results_are_right", absl::StrCat(name(), ": ", what, " has a wrong value"));
  } else if (!Allowed(got.error, loss)) {
    Fail("results_arrive", absl::StrCat(name(), ": ", what, " is error ", static_cast<int>(got.error.kind), ": ",
                                        got.error.message));
  }
}

void Workload::Await(int i, const ObjectRefInfo& ref, uint64_t expected, Loss loss,
                     std::function<void(const Got&)> also) {
  Open();
  driver(i).Get(ref, [this, i, ref, expected, loss, also = std::move(also)](const Got& got) {
    Compare(got, expected, loss, ref.id.Hex());
    if (also) also(got);
    for (const ObjectRefInfo& inner : got.contained) driver(i).Drop(inner.id);
    driver(i).Drop(ref.id);
    Close();
  });
}

std::unique_ptr<Workload> MakeWorkload(const std::string& name, Cluster* cluster, Rng rng) {
  for (auto* make : {MakeTaskWorkload, MakeObjectWorkload, MakeActorWorkload, MakeGroupWorkload}) {
    if (std::unique_ptr<Workload> workload = make(name, cluster, rng)) return workload;
  }
  return nullptr;
}

const std::vector<std::string>& WorkloadNames() {
  static const auto& names = *new std::vector<std::string>{
      "fan_out", "hog", "chain",       "nested",       "cancel",       "retry",  "borrow",
      "large",   "actor_state", "actor_order", "named_actors", "driver_death", "groups"};
  return names;
}

}  // namespace shoal::sim
