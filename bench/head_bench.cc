// The head alone, without a wire: what it takes to decide about leases while 95 % of all CPUs are in use. Raylets are imagined: a
// lease ends, its owner wants another one, the raylet that is asked grants it, and reports follow 20 ms after a change. Each
// node has an owner, which wants one lease at a time and a new one no sooner than 30 ms after the last, when that is reported; so time
// stands for up to 300,000 decisions a second. Items per second are decisions per second of the head's own time.
#include <algorithm>
#include <deque>
#include <utility>
#include <variant>
#include <vector>

#include "base/histogram.h"
#include "benchmark/benchmark.h"
#include "runtime/io/clock.h"
#include "scheduler/head.h"

namespace shoal::scheduler {
namespace {

constexpr int kCpus = 16;
constexpr double kUsed = 0.95;
constexpr Duration kMostOften = Duration(3'333);  // of all
constexpr Duration kOwnerPauses = 30ms;
constexpr Duration kReportDelay = 20ms;

class Raylets {
 public:
  explicit Raylets(uint64_t nodes) : head_({.cluster_id = 1}, {}, Rng(1)), reports_(nodes), is_due_(nodes) {
    head_.Start(now_, &actions_);
    for (uint64_t n = 0; n < nodes; ++n) Join(n);
    const auto leases = static_cast<uint64_t>(static_cast<double>(nodes) * kCpus * kUsed);
    for (uint64_t i = 0; i < leases; ++i) {
      Decide();
      if (i % (nodes / 2) == 0) ReportDue(now_ + kReportDelay);
    }
    times_ = {};
    spent_ = {};
  }

  // One lease ends and another one begins; the head's time for all that it hears of it.
  Duration Step() {
    spent_ = {};
    now_ += std::max(kMostOften, kOwnerPauses / static_cast<int64_t>(reports_.size()));
    EndOldest();
    Decide();
    ReportDue(now_);
    return spent_;
  }
  // Of the message that wants a lease.
  const Histogram& times() const { return times_; }
  uint64_t refused() const { return refused_; }

 private:
  struct Lease {
    size_t node;
    Address owner;
  };

  void Join(uint64_t n) {
    const NodeId id{n + 1};
    NodeReport& report = reports_[n];
    const ResourceSet total = ResourceSet::Of({{"CPU", kCpus}});
    report = {.node = id, .incarnation = 1, .available = total};
    for (uint64_t w = 1; w <= kCpus + 1; ++w) report.workers.push_back({WorkerId{id.value << 16 | w}, Role::kWorker, {}, 1, "idle"});
    Tell(Address::Raylet(id), RegisterNode{{.id = id, .incarnation = 1, .total = total}});
    Report(n);
  }

  Duration Tell(const Address& from, Message message) {
    const TimePoint began = io::MonotonicNow();
    head_.OnMessage(now_, from, std::move(message), &actions_);
    const Duration took = io::MonotonicNow() - began;
    spent_ += took;
    asks_.clear();
    for (Send& send : actions_.sends) {
      if (std::holds_alternative<GrantLeases>(send.message)) asks_.push_back(std::move(send));
    }
    actions_.Clear();
    return took;
  }

  void Decide() {
    const uint64_t which = ++last_owner_ % reports_.size();
    const Address owner{NodeId{which + 1}, WorkerId{(which + 1) << 16 | 1}};
    const Shape shape{.job = JobId{which + 1}, .resources = ResourceSet::Of({{"CPU", 1}})};
    times_.Add(static_cast<uint64_t>(Spill(owner, shape, 1).count()));
    if (asks_.empty()) ++refused_;
    const std::vector<Send> asks = std::exchange(asks_, {});
    for (const Send& send : asks) Grant(send.to.node, std::get<GrantLeases>(send.message));
    Spill(owner, shape, 0);
  }

  Duration Spill(const Address& owner, const Shape& shape, uint32_t wanted) {
    return Tell(Address::Raylet(owner.node), SpillDemand{owner, {shape, wanted, ++versions_, {}}});
  }

  void Grant(NodeId node, const GrantLeases& ask) {
    const size_t n = node.value - 1;
    NodeReport& report = reports_[n];
    report.available -= ask.shape.resources;
    const WorkerId worker{node.value << 16 | 2};
    report.leases.push_back({LeaseId{++last_lease_}, ask.shape.id(), ask.owner, worker, ask.shape.resources});
    leases_.push_back({n, ask.owner});
    Changed(n);
    Tell(Address::Raylet(node), GrantLeasesReply{ask.request, 1, {}});
  }

  void EndOldest() {
    const Lease lease = leases_.front();
    leases_.pop_front();
    NodeReport& report = reports_[lease.node];
    report.available += report.leases.front().resources;
    report.leases.erase(report.leases.begin());
    Changed(lease.node);
  }

  void Changed(size_t n) {
    if (std::exchange(is_due_[n], 1) == 0) due_.emplace_back(now_ + kReportDelay, n);
  }

  void ReportDue(TimePoint until) {
    for (; !due_.empty() && due_.front().first <= until; due_.pop_front()) Report(due_.front().second);
  }

  void Report(size_t n) {
    is_due_[n] = 0;
    ++reports_[n].version;
    Tell(Address::Raylet(reports_[n].node), NodeReport(reports_[n]));
  }

  TimePoint now_ = FromNanoseconds(1);
  Head head_;
  HeadActions actions_;
  std::vector<NodeReport> reports_;
  std::vector<Send> asks_;
  std::deque<Lease> leases_;
  std::deque<std::pair<TimePoint, size_t>> due_;
  std::vector<char> is_due_;  // by node
  uint64_t last_owner_ = 0, versions_ = 0, last_lease_ = 0, refused_ = 0;
  Duration spent_{};
  Histogram times_;
};

void HeadDecides(benchmark::State& state) {
  Raylets raylets(static_cast<uint64_t>(state.range(0)));
  for (auto _ : state) state.SetIterationTime(static_cast<double>(raylets.Step().count()) / 1e9);
  state.SetItemsProcessed(state.iterations());
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1000; };
  state.counters["p50_us"] = us(raylets.times().Quantile(0.5));
  state.counters["p99_us"] = us(raylets.times().Quantile(0.99));
  state.counters["max_us"] = us(raylets.times().max());
  state.counters["refused"] = static_cast<double>(raylets.refused());
}
BENCHMARK(HeadDecides)->ArgName("nodes")->Arg(1'000)->Arg(10'000)->Arg(100'000)->UseManualTime();

}  // namespace
}  // namespace shoal::scheduler
