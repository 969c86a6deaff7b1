#include "runtime/raylet/worker_pool.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"
#include "base/check.h"

namespace shoal::raylet {
namespace {

// A kind whose processes cannot be made this often in a row is broken. Dying before registration counts less: it may be somebody's SIGKILL.
constexpr uint32_t kMaxFailedStarts = 3;
constexpr uint32_t kMaxDeathsAtStart = 10;

bool Fits(const Worker& worker, const std::optional<std::string>& devices) {
  return !worker.devices || worker.devices == devices;
}

}  // namespace

KindPtr MakeKind(const WorkerKind& kind) {
  auto record = std::make_shared<KindRecord>();
  record->kind = kind;
  record->hash = StableHash(kind);
  return record;
}

WorkerPool::WorkerPool(const RayletOptions* options, Rng rng, Events* events)
    : options_(*options), rng_(rng), events_(*events) {}

// ---- claims

WorkerPool::Queue& WorkerPool::QueueOf(const Key& key, const KindPtr& kind) {
  Queue& queue = queues_[key];
  if (queue.kind == nullptr) queue.kind = kind;
  return queue;
}

void WorkerPool::EraseIfEmpty(const Key& key) {
  auto it = queues_.find(key);
  if (it == queues_.end()) return;
  const Queue& queue = it->second;
  if (queue.claims.empty() && queue.idle.empty() && queue.starting == 0) queues_.erase(it);
}

void WorkerPool::Put(Claim claim) {
  ++waiting_count_;
  Queue& queue = QueueOf(KeyOf(claim), claim.kind);
  queue.claims.push_back(std::move(claim));
}

void WorkerPool::Withdraw(const Claim& claim) {
  const Key key = KeyOf(claim);
  auto it = queues_.find(key);
  if (it == queues_.end()) return;
  std::deque<Claim>& claims = it->second.claims;
  for (auto at = claims.begin(); at != claims.end(); ++at) {
    if (at->lease != claim.lease || at->actor != claim.actor) continue;
    claims.erase(at);
    --waiting_count_;
    break;
  }
  EraseIfEmpty(key);
}

void WorkerPool::StartSpare(const Turn& t, JobId job, const KindPtr& kind) {
  const Key key{job, kind->hash};
  Queue& queue = QueueOf(key, kind);
  if (queue.starting + queue.idle.size() > queue.claims.size() || processes_ >= options_.max_workers ||
      Starting() >= options_.max_starting) {
    return EraseIfEmpty(key);
  }
  Start(t, key, &queue);
}

// ---- processes

Worker* WorkerPool::Find(WorkerId id) const {
  auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : it->second.get();
}

Worker* WorkerPool::FindRegistered(NodeId self, const Address& address) const {
  if (address.node != self || !address.worker) return nullptr;
  Worker* worker = Find(address.worker);
  return worker != nullptr && worker->registered ? worker : nullptr;
}

std::vector<Worker*> WorkerPool::Registered() const {
  std::vector<Worker*> registered;
  for (const auto& [id, worker] : workers_) {
    if (worker->registered && worker->state != WorkerState::kKilled) registered.push_back(worker.get());
  }
  return registered;
}

uint32_t WorkerPool::Starting() const {
  uint32_t starting = 0;
  for (const auto& [key, queue] : queues_) starting += queue.starting;
  return starting;
}

void WorkerPool::Advanced(const Turn& t, Worker* worker, WorkerEvent event) {
  const WorkerState before = worker->state;
  SHOAL_CHECK(Advance(&worker->state, event))
      << "worker " << worker->id.Hex() << " is " << Name(before) << ", which rules out event " << static_cast<int>(event);
  if (worker->state == before) return;
  if (before == WorkerState::kStarting) LeaveStarting(*worker);
  if (before == WorkerState::kIdle) {
    std::vector<WorkerId>& idle = queues_[KeyOf(*worker)].idle;
    idle.erase(std::remove(idle.begin(), idle.end(), worker->id), idle.end());
    EraseIfEmpty(KeyOf(*worker));
  }
  if (worker->state == WorkerState::kIdle) QueueOf(KeyOf(*worker), worker->kind).idle.push_back(worker->id);
  worker->since = t.now;
  Note(t, absl::StrCat("worker ", worker->id.Hex()), Name(before), Name(worker->state), worker->end_reason);
}

void WorkerPool::LeaveStarting(const Worker& worker) {
  Queue& queue = queues_[KeyOf(worker)];
  if (queue.kind == nullptr) queue.kind = worker.kind;
  SHOAL_CHECK(queue.starting > 0);
  --queue.starting;
  EraseIfEmpty(KeyOf(worker));
}

Worker* WorkerPool::AddDriver(const Turn& t, const RegisterWorker& message, JobId job) {
  auto worker = std::make_unique<Worker>();
  worker->id = message.worker;
  worker->role = message.role;
  worker->job = job;
  worker->pid = message.pid;
  worker->state = WorkerState::kDriver;
  worker->since = t.now;
  worker->registered = true;
  Worker* added = worker.get();
  workers_[added->id] = std::move(worker);
  return added;
}

void WorkerPool::Registered(const Turn& t, Worker* worker, uint32_t pid) {
  worker->pid = pid;
  if (worker->state == WorkerState::kStarting) {
    worker->registered = true;
    failures_.erase(worker->kind->hash);
  }
  Advanced(t, worker, WorkerEvent::kRegister);
}

void WorkerPool::GiveBack(const Turn& t, Worker* worker) {
  worker->lease = {};
  worker->blocked = false;
  Advanced(t, worker, WorkerEvent::kReturn);
}

void WorkerPool::AskToLeave(const Turn& t, Worker* worker, const std::string& reason, bool now, bool patient) {
  if (worker->state == WorkerState::kStarting) return Kill(t, worker, ErrorKind::kWorkerCrashed, reason);
  if (worker->state == WorkerState::kKilled) return;
  const bool again = worker->state == WorkerState::kLeaving;
  if (again && worker->kill_when_late) return;
  if (again && patient) return;
  worker->intended = true;
  if (worker->end_reason.empty()) worker->end_reason = reason;
  ExitWorker& message = Post<ExitWorker>(t, AddressOf(*worker));
  message.reason = reason;
  message.now = now;
  if (worker->state == WorkerState::kDriver) return;
  worker->kill_when_late = !patient;
  if (again) {
    worker->since = t.now;
  } else {
    Advanced(t, worker, WorkerEvent::kLeave);
  }
}

void WorkerPool::Kill(const Turn& t, Worker* worker, ErrorKind kind, const std::string& reason) {
  if (worker->state == WorkerState::kDriver) return AskToLeave(t, worker, reason, /*now=*/true, /*patient=*/false);
  if (worker->state == WorkerState::kKilled) return;
  worker->end_kind = kind;
  worker->end_reason = reason;
  Advanced(t, worker, WorkerEvent::kKill);
  t.actions->kill_workers.push_back({worker->id, reason});
  events_.WorkerDying(t, *worker);
}

void WorkerPool::Remove(const Turn& t, Worker* worker) {
  if (worker->state == WorkerState::kStarting) {
    CountFailure(t, *worker, /*died=*/true,
                 MakeError(ErrorKind::kRuntimeEnvSetup, "worker processes of this kind end before they register"));
  }
  const bool process = worker->state != WorkerState::kDriver;
  Advanced(t, worker, WorkerEvent::kExit);
  if (process) --processes_;
  workers_.erase(WorkerId{worker->id});
}

void WorkerPool::StartFailed(const Turn& t, Worker* worker, const ErrorInfo& error) {
  const bool starting = worker->state == WorkerState::kStarting;
  if (starting) CountFailure(t, *worker, /*died=*/false, error);
  Advanced(t, worker, WorkerEvent::kExit);
  --processes_;
  workers_.erase(WorkerId{worker->id});
}

void WorkerPool::CountFailure(const Turn& t, const Worker& worker, bool died, const ErrorInfo& error) {
  Failures& failures = failures_[worker.kind->hash];
  ++(died ? failures.died : failures.failed);
  if (failures.failed < kMaxFailedStarts && failures.died < kMaxDeathsAtStart) return;
  failures_.erase(worker.kind->hash);
  FailKind(t, worker.kind->hash,
           MakeError(ErrorKind::kRuntimeEnvSetup,
                     absl::StrCat("no worker can be started on node ", options_.info.id.Hex(), ": ", error.message)));
}

void WorkerPool::FailKind(const Turn& t, uint64_t kind, const ErrorInfo& error) {
  std::vector<Claim> failed;
  for (auto& [key, queue] : queues_) {
    if (key.second != kind) continue;
    for (Claim& claim : queue.claims) failed.push_back(std::move(claim));
    waiting_count_ -= queue.claims.size();
    queue.claims.clear();
  }
  for (const Claim& claim : failed) events_.ClaimFailed(t, claim, error);
}

void WorkerPool::EndJob(const Turn& t, JobId job, const std::string& reason) {
  ended_jobs_.Put(job, true);
  std::vector<Worker*> ending;
  for (const auto& [id, worker] : workers_) {
    const bool unused = worker->state == WorkerState::kIdle || worker->state == WorkerState::kStarting;
    if (worker->job == job && unused) ending.push_back(worker.get());
  }
  for (Worker* worker : ending) AskToLeave(t, worker, reason, /*now=*/true, /*patient=*/false);
}

// ---- the turn's end

void WorkerPool::Settle(const Turn& t) {
  Match(t);
  StartMissing(t);
}

Worker* WorkerPool::TakeIdle(Queue* queue, const std::optional<std::string>& devices) {
  for (auto it = queue->idle.rbegin(); it != queue->idle.rend(); ++it) {
    Worker* worker = Find(*it);
    if (Fits(*worker, devices)) return worker;
  }
  return nullptr;
}

void WorkerPool::Match(const Turn& t) {
  std::vector<std::pair<Claim, Worker*>> matched;
  for (auto& [key, queue] : queues_) {
    for (auto it = queue.claims.begin(); it != queue.claims.end() && !queue.idle.empty();) {
      Worker* worker = TakeIdle(&queue, it->devices);
      if (worker == nullptr) {
        ++it;
        continue;
      }
      // Out of the list before the next claim is served; the callee makes it official.
      queue.idle.erase(std::find(queue.idle.begin(), queue.idle.end(), worker->id));
      matched.emplace_back(std::move(*it), worker);
      it = queue.claims.erase(it);
      --waiting_count_;
    }
  }
  for (auto& [claim, worker] : matched) {
    if (claim.devices) worker->devices = claim.devices;
    events_.WorkerReady(t, claim, worker);
  }
}

void WorkerPool::Start(const Turn& t, const Key& key, Queue* queue) {
  auto worker = std::make_unique<Worker>();
  worker->id = rng_.NewId<WorkerId>();
  worker->job = key.first;
  worker->kind = queue->kind;
  worker->since = t.now;
  ++queue->starting;
  ++processes_;
  last_started_ = key;
  t.actions->start_workers.push_back({worker->id, worker->job, worker->kind->kind});
  Note(t, absl::StrCat("worker ", worker->id.Hex()), "", Name(worker->state), "");
  workers_[worker->id] = std::move(worker);
}

void WorkerPool::StartMissing(const Turn& t) {
  if (waiting_count_ == 0) return;
  uint32_t starting = Starting();
  // Round after round over all kinds, beginning behind the one that had its turn last, so that none waits for another's queue.
  std::vector<Key> keys;
  for (auto it = queues_.upper_bound(last_started_); it != queues_.end(); ++it) keys.push_back(it->first);
  for (auto it = queues_.begin(); it != queues_.upper_bound(last_started_); ++it) keys.push_back(it->first);
  for (bool progress = true; progress && starting < options_.max_starting;) {
    progress = false;
    for (const Key& key : keys) {
      auto it = queues_.find(key);
      if (it == queues_.end() || it->second.claims.size() <= it->second.starting) continue;
      if (starting >= options_.max_starting) break;
      if (processes_ >= options_.max_workers) {
        EvictIdle(t);
        return;
      }
      Start(t, key, &it->second);
      ++starting;
      progress = true;
    }
  }
}

void WorkerPool::EvictIdle(const Turn& t) {
  Worker* oldest = nullptr;
  for (const auto& [id, worker] : workers_) {
    if (worker->state == WorkerState::kKilled || (worker->state == WorkerState::kLeaving && worker->kill_when_late)) {
      return;  // one is on its way out
    }
    if (worker->state != WorkerState::kIdle) continue;
    if (oldest == nullptr || worker->since < oldest->since) oldest = worker.get();
  }
  if (oldest == nullptr) return;
  AskToLeave(t, oldest, "its place is needed for another kind of worker", /*now=*/true, /*patient=*/false);
}

void WorkerPool::StopIdle(const Turn& t) {
  const size_t keep = static_cast<size_t>(std::max<int64_t>(
      1, options_.info.total.Get(kCpu) / ResourceSet::kStepsPerUnit));
  std::vector<Worker*> stop;
  for (const auto& [key, queue] : queues_) {
    const bool ended = ended_jobs_.Find(key.first) != nullptr;
    const Duration timeout = ended ? options_.exit_grace : options_.idle_worker_timeout;
    const size_t kept = ended ? 0 : keep;
    for (size_t i = 0; i + kept < queue.idle.size(); ++i) {
      Worker* worker = Find(queue.idle[i]);
      if (worker->since + timeout <= t.now) stop.push_back(worker);
    }
  }
  for (Worker* worker : stop) {
    AskToLeave(t, worker, "it was idle for long", /*now=*/true, /*patient=*/false);
  }
}

void WorkerPool::Tick(const Turn& t) {
  std::vector<Worker*> late, unregistered;
  for (const auto& [id, worker] : workers_) {
    if (worker->state == WorkerState::kLeaving && worker->kill_when_late &&
        worker->since + options_.exit_grace <= t.now) {
      late.push_back(worker.get());
    }
    if (worker->state == WorkerState::kStarting && worker->since + options_.worker_start_timeout <= t.now) {
      unregistered.push_back(worker.get());
    }
  }
  for (Worker* worker : late) Kill(t, worker, worker->end_kind, worker->end_reason);
  for (Worker* worker : unregistered) {
    const std::string why = "it did not register in time after its start";
    CountFailure(t, *worker, /*died=*/false, MakeError(ErrorKind::kRuntimeEnvSetup, why));
    Kill(t, worker, ErrorKind::kWorkerCrashed, why);
  }
  StopIdle(t);
}

std::optional<TimePoint> WorkerPool::NextDeadline() const {
  std::optional<TimePoint> next;
  for (const auto& [id, worker] : workers_) {
    if (worker->state == WorkerState::kLeaving && worker->kill_when_late) {
      Earliest(&next, worker->since + options_.exit_grace);
    }
    if (worker->state == WorkerState::kStarting) Earliest(&next, worker->since + options_.worker_start_timeout);
  }
  const size_t keep = static_cast<size_t>(std::max<int64_t>(
      1, options_.info.total.Get(kCpu) / ResourceSet::kStepsPerUnit));
  for (const auto& [key, queue] : queues_) {
    const bool ended = ended_jobs_.Find(key.first) != nullptr;
    if (queue.idle.size() <= (ended ? 0 : keep)) continue;
    const Duration timeout = ended ? options_.exit_grace : options_.idle_worker_timeout;
    Earliest(&next, Find(queue.idle.front())->since + timeout);
  }
  return next;
}

void WorkerPool::CheckInvariants() const {
  absl::btree_map<Key, std::pair<uint32_t, size_t>> counts;
  uint32_t processes = 0;
  for (const auto& [id, worker] : workers_) {
    SHOAL_CHECK(worker->id == id);
    SHOAL_CHECK((worker->kind == nullptr) == (worker->state == WorkerState::kDriver)) << Name(worker->state);
    if (worker->kind == nullptr) continue;
    ++processes;
    counts[KeyOf(*worker)].first += worker->state == WorkerState::kStarting ? 1 : 0;
    counts[KeyOf(*worker)].second += worker->state == WorkerState::kIdle ? 1 : 0;
    SHOAL_CHECK(worker->state != WorkerState::kLeased || worker->lease) << id.Hex();
    SHOAL_CHECK(worker->state != WorkerState::kIdle || (!worker->lease && !worker->held.counted && !worker->actor))
        << "idle worker " << id.Hex() << " holds something";
  }
  SHOAL_CHECK(processes == processes_) << processes << " != " << processes_;
  size_t waiting = 0;
  for (const auto& [key, queue] : queues_) {
    waiting += queue.claims.size();
    SHOAL_CHECK(queue.starting == counts[key].first) << queue.starting << " != " << counts[key].first;
    SHOAL_CHECK(queue.idle.size() == counts[key].second) << queue.idle.size() << " != " << counts[key].second;
    for (WorkerId id : queue.idle) SHOAL_CHECK(Find(id) != nullptr && Find(id)->state == WorkerState::kIdle);
  }
  SHOAL_CHECK(waiting == waiting_count_) << waiting << " != " << waiting_count_;
}

}  // namespace shoal::raylet
