// `shoal start --head --local`: head and raylet in one process for one driver. No TCP port, no key, nothing on disk that must outlive it;
// it ends, with everything below it, when the driver's end of the life pipe closes.
#include <unistd.h>

#include <utility>

#include "runtime/bin/daemon_main.h"
#include "runtime/bin/daemons.h"
#include "runtime/bin/node_options.h"
#include "runtime/io/clock.h"
#include "runtime/io/head_host.h"
#include "runtime/io/process_tree.h"
#include "runtime/io/raylet_host.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::bin {
namespace {

constexpr Duration kKillLimit = 2s;

class LocalDaemon {
 public:
  LocalDaemon(const Options& options, DaemonMain* daemon) : options_(options), daemon_(daemon) {}

  absl::Status Start() {
    absl::StatusOr<std::string> directory = io::NewLocalDirectory();
    if (!directory.ok()) return directory.status();
    directory_ = options_.Get("runtime-dir", *directory);
    if (const absl::Status made = io::PrepareRuntimeDirectory(directory_); !made.ok()) return made;
    absl::StatusOr<io::DirectoryLock> lock = io::DirectoryLock::Take(directory_);
    if (!lock.ok()) return lock.status();
    lock_.emplace(*std::move(lock));
    absl::StatusOr<NodeOptions> node = NodeOptionsOf(options_, io::MeasureNode(directory_));
    if (!node.ok()) return node.status();
    if (const absl::Status started = StartHead(); !started.ok()) return started;
    return StartRaylet(*std::move(node));
  }

  void ReapOrphans() {
    if (raylet_ != nullptr) raylet_->ReapOrphans();
  }

  ~LocalDaemon() {
    raylet_.reset();
    head_.reset();
    io::KillDescendants({}, kKillLimit);
    if (lock_) io::RemoveRuntimeDirectory(directory_);
  }

 private:
  absl::Status StartHead() {
    io::HeadHostOptions options;
    options.runtime_dir = directory_;
    options.store = std::make_unique<scheduler::MemoryMetaStore>();
    options.keep_events = false;
    absl::StatusOr<std::unique_ptr<io::HeadHost>> head = io::HeadHost::Start(std::move(options), &daemon_->loop());
    if (!head.ok()) return head.status();
    head_ = *std::move(head);
    daemon_->loop().Add(head_.get());
    return absl::OkStatus();
  }

  absl::Status StartRaylet(NodeOptions node) {
    io::RayletHostOptions options;
    options.runtime_dir = directory_;
    options.info = std::move(node.info);
    // Nobody else will ever show this key, so it need not be one.
    options.info.public_key = Rng(io::RandomSeed()).NewId<NodeId>().Hex();
    options.info.id = head_->Admit(options.info.public_key);
    options.cluster_id = head_->cluster_id();
    options.arena_bytes = node.arena_bytes;
    options.python = node.python;
    options.keep_events = false;
    options.to_head = [this](io::Parcel parcel) { head_->Receive(std::move(parcel)); };
    options.registered = [this] { OnRegistered(); };
    absl::StatusOr<std::unique_ptr<io::RayletHost>> raylet = io::RayletHost::Start(std::move(options), &daemon_->loop());
    if (!raylet.ok()) return raylet.status();
    raylet_ = *std::move(raylet);
    head_->AttachRaylet(raylet_->node(), [this](io::Parcel parcel) { raylet_->Receive(std::move(parcel)); });
    daemon_->loop().Add(raylet_.get());
    return absl::OkStatus();
  }

  void OnRegistered() {
    io::Json facts = io::Json::Object();
    const int pid = static_cast<int>(getpid());
    facts.Set("raylet_socket", raylet_->socket_path()).Set("node_id", raylet_->node().Hex()).Set("runtime_dir", directory_);
    facts.Set("nanny_pid", pid).Set("head_pid", pid).Set("raylet_pid", pid);
    daemon_->Ready(facts);
  }

  const Options& options_;
  DaemonMain* const daemon_;
  std::string directory_;
  std::optional<io::DirectoryLock> lock_;
  std::unique_ptr<io::HeadHost> head_;
  std::unique_ptr<io::RayletHost> raylet_;
};

}  // namespace

int RunLocal(const Options& options) {
  setsid();  // Ctrl-C is for the driver; fails, as it should, if the driver did this already
  absl::StatusOr<std::unique_ptr<DaemonMain>> daemon = DaemonMain::Create(options);
  if (!daemon.ok()) return kFailed;
  io::BecomeSubreaper();
  LocalDaemon local(options, daemon->get());
  absl::Status started = (*daemon)->WatchSignals(nullptr, [&local] { local.ReapOrphans(); });
  if (started.ok()) started = local.Start();
  if (!started.ok()) return (*daemon)->Failed(started);
  return (*daemon)->loop().Run();
}

}  // namespace shoal::bin
