#include "runtime/io/nanny.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/runtime_directory.h"
#include "runtime/io/spawn.h"

namespace shoal::io {
namespace {

constexpr int kLifeFd = 3, kReadyFd = 4;
constexpr size_t kMaxReadyLine = 64 << 10;
constexpr Duration kKillLimit = 2s, kLookForRoom = 1s;
constexpr char kWaits[] = "_waits";

std::string LogOf(const std::string& runtime_dir, const std::string& name) {
  return absl::StrCat(runtime_dir, "/logs/", name, ".log");
}

}  // namespace

std::optional<Duration> RestartPolicy::OnDeath(TimePoint now) {
  while (!deaths_.empty() && now - deaths_.front() > kWindow) deaths_.pop_front();
  deaths_.push_back(now);
  if (deaths_.size() >= kMaxDeaths) return std::nullopt;
  return kFirstPause * (1 << (deaths_.size() - 1));
}

Nanny::Nanny(NannyOptions options, DaemonLoop* loop) : options_(std::move(options)), loop_(loop), state_(options_.facts) {
  state_.Set("nanny_pid", static_cast<int>(getpid())).Set("runtime_dir", options_.runtime_dir);
  for (const NannyChild& spec : options_.children) {
    children_.push_back(std::make_unique<Child>());
    children_.back()->spec = spec;
  }
}

Nanny::~Nanny() = default;

void Nanny::Start(std::function<void(const absl::Status&)> ready) {
  ready_ = std::move(ready);
  BecomeSubreaper();
  StartNext();
}

// Starts the first child that was never ready; when all were, the node is up.
void Nanny::StartNext() {
  for (const std::unique_ptr<Child>& child : children_) {
    if (child->was_ready) continue;
    if (const absl::Status spawned = Spawn(child.get()); !spawned.ok()) Fail(std::string(spawned.message()));
    return;
  }
  WriteState();
  if (ready_) std::exchange(ready_, nullptr)(absl::OkStatus());
}

absl::Status Nanny::Spawn(Child* child) {
  int life[2], ready[2];
  if (pipe2(life, O_CLOEXEC) != 0) return absl::ResourceExhaustedError("no file descriptor is left for a pipe");
  UniqueFd life_read(life[0]);
  child->life = UniqueFd(life[1]);
  if (pipe2(ready, O_CLOEXEC) != 0) return absl::ResourceExhaustedError("no file descriptor is left for a pipe");
  child->ready = UniqueFd(ready[0]);
  const UniqueFd ready_write(ready[1]);
  fcntl(child->ready.get(), F_SETFL, O_NONBLOCK);
  child->line.clear();

  const UniqueFd log(
      open(LogOf(options_.runtime_dir, child->spec.name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  SpawnOptions spawn;
  spawn.command = child->spec.command;
  spawn.command.insert(spawn.command.end(),
                       {"--life-fd", std::to_string(kLifeFd), "--ready-fd", std::to_string(kReadyFd)});
  spawn.descriptors = {{life_read.get(), kLifeFd}, {ready_write.get(), kReadyFd}};
  if (log.valid()) spawn.descriptors.insert(spawn.descriptors.end(), {{log.get(), 1}, {log.get(), 2}});
  spawn.own_group = true;
  if (options_.use_cgroup && child->cgroup == nullptr) {
    child->cgroup = Cgroup::Create(absl::StrCat("shoal-", child->spec.name, "-", getpid()));
  }
  if (child->cgroup != nullptr) spawn.cgroup_procs = child->cgroup->procs_file();
  const absl::StatusOr<int> pid = io::Spawn(spawn);
  if (!pid.ok()) return pid.status();
  child->pid = *pid;
  const absl::Status watched =
      loop_->events().WatchProcess(child->pid, [this, child](int status) { OnDeath(child, status); });
  if (!watched.ok()) return watched;
  return loop_->events().AddFd(child->ready.get(), EPOLLIN, [this, child](uint32_t) { OnReadyLine(child); });
}

void Nanny::OnReadyLine(Child* child) {
  char chunk[4096];
  const ssize_t n = read(child->ready.get(), chunk, sizeof(chunk));
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0 && child->line.size() < kMaxReadyLine) child->line.append(chunk, static_cast<size_t>(n));
  const size_t end = child->line.find('\n');
  if (n > 0 && end == std::string::npos) return;
  loop_->events().RemoveFd(child->ready.get());
  child->ready.Reset();
  const absl::StatusOr<Json> facts = Json::Parse(child->line.substr(0, end));
  if (!facts.ok() || facts->Find("error") != nullptr || stopping_) return;  // its death follows
  for (const auto& [name, value] : facts->members()) state_.Set(name, value);
  state_.Set(child->spec.name + "_pid", child->pid);
  state_.Remove(child->spec.name + kWaits);
  const bool first = !std::exchange(child->was_ready, true);
  if (first) {
    for (const auto& [fact, option] : child->spec.keep) {
      const Json* value = facts->Find(fact);
      if (value != nullptr) child->spec.command.insert(child->spec.command.end(), {option, value->ToString()});
    }
    return StartNext();
  }
  WriteState();
  std::fprintf(stderr, "the %s runs again as process %d\n", child->spec.name.c_str(), child->pid);
}

void Nanny::OnDeath(Child* child, int status) {
  if (child->ready.valid()) OnReadyLine(child);
  if (child->ready.valid()) loop_->events().RemoveFd(child->ready.get());
  child->ready.Reset();
  child->life.Reset();
  child->pid = 0;
  KillBelow(child);
  if (stopping_) return StopNext();

  const std::string how = DescribeExit(status);
  const std::string log = LogOf(options_.runtime_dir, child->spec.name);
  const absl::StatusOr<Json> facts = Json::Parse(child->line.substr(0, child->line.find('\n')));
  const std::string said = facts.ok() ? facts->Text("error") : "";
  if (!child->was_ready) {
    return Fail(said.empty() ? absl::StrCat("the ", child->spec.name, " ended with ", how, " while it started; see ", log) : said);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNoRoom) {
    state_.Set(child->spec.name + kWaits, said.empty() ? absl::StrCat("its disk is full; free some space, see ", log) : said);
    WriteState();
    loop_->timers().After(kLookForRoom, [this, child] { Restart(child); });
    return;
  }
  const std::optional<Duration> pause = child->policy.OnDeath(MonotonicNow());
  if (!pause) {
    return Fail(absl::StrCat("the ", child->spec.name, " died ", RestartPolicy::kMaxDeaths, " times within a minute, the last time with ",
                             how, "; gave up, see ", log));
  }
  std::fprintf(stderr, "the %s ended with %s; it starts again in %lld ms\n", child->spec.name.c_str(), how.c_str(),
               static_cast<long long>(pause->count() / 1'000'000));
  loop_->timers().After(*pause, [this, child] { Restart(child); });
}

void Nanny::Restart(Child* child) {
  if (stopping_) return;
  if (const absl::Status spawned = Spawn(child); !spawned.ok()) Fail(std::string(spawned.message()));
}

// Whatever the dead one left has become ours.
void Nanny::KillBelow(Child* child) {
  if (child->cgroup != nullptr) child->cgroup->Kill();
  std::set<int> others;
  for (const std::unique_ptr<Child>& other : children_) {
    if (other->pid > 0) others.insert(other->pid);
  }
  if (!KillDescendants(others, kKillLimit)) {
    std::fprintf(stderr, "some processes of the %s could not be killed\n", child->spec.name.c_str());
  }
}

void Nanny::Stop(int exit_code) {
  if (stopping_) return;
  stopping_ = true;
  exit_code_ = exit_code;
  StopNext();
}

// The last child that runs is asked to leave; its death brings the next one.
void Nanny::StopNext() {
  loop_->timers().Cancel(std::exchange(stop_timer_, 0));
  for (auto it = children_.rbegin(); it != children_.rend(); ++it) {
    Child* const child = it->get();
    if (child->pid == 0) continue;
    kill(child->pid, SIGTERM);
    stop_timer_ = loop_->timers().After(options_.stop_grace, [this, child] {
      stop_timer_ = 0;
      if (child->pid != 0) kill(child->pid, SIGKILL);
    });
    return;
  }
  Finish();
}

void Nanny::Finish() {
  KillDescendants({}, kKillLimit);
  for (const std::unique_ptr<Child>& child : children_) child->cgroup.reset();
  const std::string failed = state_.Text("failed");
  if (failed.empty()) unlink((options_.runtime_dir + "/state.json").c_str());
  if (ready_) std::exchange(ready_, nullptr)(absl::UnavailableError(failed));
  loop_->Stop(exit_code_);
}

void Nanny::Fail(const std::string& sentence) {
  if (stopping_) return;
  std::fprintf(stderr, "%s\n", sentence.c_str());
  state_.Set("failed", sentence);
  WriteState();  // before anybody learns of the end and looks for the cause
  Stop(1);
}

void Nanny::ReapOrphans() {
  io::ReapOrphans([this](int pid) {
    return std::any_of(children_.begin(), children_.end(), [pid](const auto& child) { return child->pid == pid; });
  });
}

void Nanny::WriteState() {
  const std::string path = options_.runtime_dir + "/state.json", text = state_.ToString() + "\n";
  const absl::Status written = WriteFileAtomically(path, text);
  // On a full disk there is no room for a second file, but the first one has its block.
  if (!written.ok() && !OverwriteFile(path, text).ok()) std::fprintf(stderr, "%s\n", std::string(written.message()).c_str());
}

}  // namespace shoal::io
