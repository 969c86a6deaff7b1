// A workload: programs of a few drivers that use the cluster in one way, round after round, and know what must come out.
//
//   class Echo : public Workload {
//     const char* name() const override { return "echo"; }
//     void Round() override {
//       Language& lang = driver(0);
//       const TaskId task = lang.Submit({.program = {.op = Op::kEcho, .tag = 7}});
//       Await(0, lang.RefOf(task.Return(0)), Mix(7), kNoLoss);   // checks, drops the reference, counts down
//     }
//   };
//
// A round ends when everything that was awaited has come; then everything must have been dropped. New rounds start until the
// faults end. A workload whose driver lost its node is void: it may not hang, anything else is forgiven.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/sim/cluster.h"
#include "tests/sim/language.h"

namespace shoal::sim {

// Which errors an awaited object may have besides being right.
enum class Loss : uint8_t {
  kNone,      // it is computed again as often as needed
  kIfDeaths,  // gone with the process or node that had it
  kStoreFull,  // as kIfDeaths, and a store may be full
  kActor,     // the actor may have died if anything did
  kKilled,    // the actor may have died, for the workload kills it
  kAny,
};

class Workload {
 public:
  Workload(Cluster* cluster, Rng rng) : cluster_(*cluster), rng_(rng) {}
  virtual ~Workload() = default;
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  virtual const char* name() const = 0;
  // Starts the drivers. No round starts at or after `stop_ns`.
  void Begin(int64_t start_ns, int64_t stop_ns);
  // True when its drivers have nothing left to wait for.
  bool finished() const { return finished_; }
  // One line that says what it waits for.
  std::string Describe() const;
  // The drivers leave.
  void Leave();
  uint64_t rounds() const { return rounds_; }
  const std::vector<uint32_t>& processes() const { return processes_; }

 protected:
  virtual int drivers() const { return 1; }
  virtual void Round() = 0;
  // Once, after the last round, before the end: to let go of what lasts over rounds. Ends like a round.
  virtual void LastRound() {}
  // The death of a driver is part of the plan.
  virtual bool MayDie(int) const { return false; }

  Language& driver(int i) { return *languages_[i]; }
  bool alive(int i) const { return languages_[i] != nullptr; }
  // Begin and end of something that this round waits for.
  void Open() { ++open_; }
  void Close();
  // Gets `ref`, compares, drops it.
  void Await(int driver, const ObjectRefInfo& ref, uint64_t expected, Loss loss,
             std::function<void(const Got&)> also = nullptr);
  void Compare(const Got& got, uint64_t expected, Loss loss, const std::string& what);
  bool Allowed(const ErrorInfo& error, Loss loss) const;
  // True if errors prove nothing any more: a driver's node was declared dead.
  bool Excused() const;
  void Fail(const char* rule, const std::string& detail) { cluster_.observer().Violate(rule, detail); }
  int64_t Milliseconds(int64_t low, int64_t high) { return rng_.Between(low, high) * 1'000'000; }
  uint64_t NextTag() { return ++next_tag_; }
  void KillDriver(int i);

  Cluster& cluster_;
  Rng rng_;

 private:
  void StartRound();
  void OnDown(int i);

  std::vector<uint32_t> processes_;
  std::vector<Language*> languages_;
  std::vector<uint32_t> machines_;
  int64_t stop_ns_ = 0;
  int up_ = 0;
  int64_t open_ = 0;
  uint64_t next_tag_ = 0;
  uint64_t rounds_ = 0;
  bool last_round_ = false;
  bool finished_ = false;
  bool leaving_ = false;
  bool void_ = false;
};

// The workload of that name; null if there is none.
std::unique_ptr<Workload> MakeWorkload(const std::string& name, Cluster* cluster, Rng rng);
const std::vector<std::string>& WorkloadNames();

// By file.
std::unique_ptr<Workload> MakeTaskWorkload(const std::string& name, Cluster* cluster, Rng rng);
std::unique_ptr<Workload> MakeObjectWorkload(const std::string& name, Cluster* cluster, Rng rng);
std::unique_ptr<Workload> MakeActorWorkload(const std::string& name, Cluster* cluster, Rng rng);
std::unique_ptr<Workload> MakeGroupWorkload(const std::string& name, Cluster* cluster, Rng rng);

}  // namespace shoal::sim
