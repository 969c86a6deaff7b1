#include "tests/sim/runner.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "tests/sim/cluster.h"
#include "tests/sim/core_process.h"
#include "tests/sim/daemons.h"
#include "tests/sim/faults.h"
#include "tests/sim/workload.h"

namespace shoal::sim {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kFinishWithinNs = 90 * kSecond;   // of simulated time, after healing
constexpr int64_t kCleanWithinNs = 40 * kSecond;
constexpr int64_t kLookEveryNs = kSecond / 2;

// A random part of a list: each with even chance, at least one.
std::vector<std::string> Part(const std::vector<std::string>& all, Rng* rng, bool may_be_empty) {
  std::vector<std::string> part;
  for (const std::string& one : all) {
    if (rng->Chance(0.5)) part.push_back(one);
  }
  if (part.empty() && !may_be_empty && !all.empty()) part.push_back(all[rng->Below(all.size())]);
  return part;
}

class Run {
 public:
  explicit Run(const RunOptions& options) : options_(options), rng_(options.seed), trace_(options.trace) {}

  RunResult Go() {
    Build();
    Work();
    if (ok()) Finish();
    if (ok()) EmptyDrivers();
    if (ok()) EmptyCluster();
    if (ok()) cluster_->CheckAllInvariants();
    return Result();
  }

 private:
  CoreProcess& Core(uint32_t index) { return static_cast<CoreProcess&>(cluster_->process(index)); }
  bool ok() const { return cluster_->observer().violations().empty(); }

  void Build() {
    const Spec& spec = options_.spec;
    std::vector<std::string> workloads = spec.workloads;
    faults_ = spec.faults;
    if (spec.swarm) {
      workloads = Part(spec.workloads, &rng_, false);
      faults_ = Part(spec.faults, &rng_, true);
    }
    const uint64_t buggify_seed = rng_.Next();
    if (std::find(faults_.begin(), faults_.end(), "buggify") != faults_.end()) EnableBuggify(buggify_seed);
    ClusterOptions cluster;
    cluster.seed = rng_.Next();
    // The smaller of two throws: small clusters meet the same bugs sooner.
    cluster.nodes = static_cast<uint32_t>(std::min(rng_.Between(spec.nodes_min, spec.nodes_max),
                                                   rng_.Between(spec.nodes_min, spec.nodes_max)));
    cluster.protected_nodes = std::max(1u, std::min(3u, cluster.nodes / 2));
    ApplyStaticFaults(faults_, &rng_, &cluster);
    cluster_ = std::make_unique<Cluster>(cluster, &shells_, &trace_);
    if (faults_.empty()) cluster_->NothingGoesWrong();
    if (!MayLookDead(faults_)) cluster_->observer().DeathsAreTrue();
    work_until_ns_ = spec.seconds * kSecond * 6 / 10;
    injector_ = std::make_unique<FaultInjector>(cluster_.get(), faults_, rng_.Fork(), work_until_ns_);
    for (const std::string& name : workloads) {
      for (int64_t copies = name == "driver_death" ? rng_.Between(1, 4) : 1; copies > 0; --copies) {
        workloads_.push_back(MakeWorkload(name, cluster_.get(), rng_.Fork()));
      }
    }
    if (!trace_.verbose()) return;
    std::string text = absl::StrCat(cluster.nodes, " nodes, workloads:");
    for (const auto& workload : workloads_) absl::StrAppend(&text, " ", workload->name());
    absl::StrAppend(&text, ", faults:");
    for (const std::string& fault : faults_) absl::StrAppend(&text, " ", fault);
    trace_.Line(0, text);
  }

  void Work() {
    cluster_->Start();
    for (auto& workload : workloads_) {
      const bool late = std::string(workload->name()) == "driver_death";
      workload->Begin(rng_.Between(0, late ? work_until_ns_ / 2 : kSecond), work_until_ns_);
    }
    injector_->Begin();
    cluster_->RunUntil(work_until_ns_);
    injector_->Heal();
    DisableBuggify();
  }

  bool Finished() const {
    return std::all_of(workloads_.begin(), workloads_.end(), [](const auto& w) { return w->finished(); });
  }

  void Finish() {
    cluster_->RunUntil(work_until_ns_ + kFinishWithinNs, [this] { return Finished(); });
    if (!ok() || Finished()) return;
    for (const auto& workload : workloads_) {
      if (!workload->finished()) cluster_->observer().Violate("everything_finishes", workload->Describe());
    }
  }

  // Looks every half second until `problem` has nothing to say, or says that.
  template <class Problem>
  void Settle(const char* rule, Problem problem) {
    const int64_t until = cluster_->now_ns() + kCleanWithinNs;
    std::string found = problem();
    while (ok() && !found.empty() && cluster_->now_ns() < until) {
      cluster_->RunUntil(cluster_->now_ns() + kLookEveryNs);
      found = problem();
    }
    if (ok() && !found.empty()) cluster_->observer().Violate(rule, found);
  }

  void EmptyDrivers() {
    Settle("no_leak_in_drivers", [this]() -> std::string {
      for (const auto& workload : workloads_) {
        for (uint32_t index : workload->processes()) {
          if (!cluster_->process(index).alive || Core(index).machine_or_null() == nullptr) continue;
          if (!Core(index).language()->holds().empty()) {
            return absl::StrCat("workload ", workload->name(), " itself still holds ",
                                Core(index).language()->holds().begin()->first.Hex());
          }
          const core_worker::CoreWorker::Counters c = Core(index).machine_or_null()->counters();
          if (c.objects + c.pending_tasks + c.leases + c.lineage_tasks > 0) {
            return absl::StrCat(workload->name(), " in ", cluster_->NameOf(index), " keeps ", c.objects, " objects, ",
                                c.pending_tasks, " tasks, ", c.leases, " leases, ", c.lineage_tasks,
                                " tasks for lineage: ", Core(index).machine_or_null()->DescribeObjects(3));
          }
        }
      }
      return "";
    });
  }

  void EmptyCluster() {
    for (auto& workload : workloads_) workload->Leave();
    Settle("no_leak_in_cluster", [this]() -> std::string {
      std::string found;
      for (uint32_t m = 0; found.empty() && m < cluster_->machine_count(); ++m) {
        if (cluster_->daemon(m) == nullptr) return absl::StrCat("nothing runs on machine ", m);
        found = static_cast<Daemon*>(cluster_->daemon(m))->Remains();
        if (!found.empty()) found = absl::StrCat(cluster_->NameOf(cluster_->machine(m).daemon), ": ", found);
      }
      return found;
    });
  }

  RunResult Result() {
    RunResult result;
    result.seed = options_.seed;
    result.trace_hash = trace_.hash();
    result.events = trace_.events();
    result.executions = cluster_->observer().executions();
    for (const auto& workload : workloads_) result.rounds += workload->rounds();
    result.deaths = cluster_->deaths();
    result.simulated_ns = cluster_->now_ns();
    result.violations = cluster_->observer().violations();
    return result;
  }

  const RunOptions& options_;
  Rng rng_;
  Trace trace_;
  int64_t work_until_ns_ = 0;
  std::vector<std::string> faults_;
  // In this order: workloads and faults have callbacks in the cluster, which must go first.
  std::vector<std::unique_ptr<Workload>> workloads_;
  std::unique_ptr<FaultInjector> injector_;
  RealShells shells_;
  std::unique_ptr<Cluster> cluster_;
};

}  // namespace

RunResult RunSeed(const RunOptions& options) {
  SetDeliberateBug(options.bug);
  RunResult result = Run(options).Go();
  DisableBuggify();
  SetDeliberateBug("");
  return result;
}

}  // namespace shoal::sim
