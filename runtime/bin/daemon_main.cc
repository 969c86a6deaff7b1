#include "runtime/bin/daemon_main.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/io/fd.h"
#include "runtime/io/node_resources.h"

namespace shoal::bin {
namespace {

// A descriptor that somebody passed us by number; -1 without.
int Inherited(const Options& options, const std::string& name) {
  int fd = -1;
  if (!absl::SimpleAtoi(options.Get(name), &fd) || fcntl(fd, F_GETFD) < 0) return -1;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DaemonMain>> DaemonMain::Create(const Options& options) {
  signal(SIGPIPE, SIG_IGN);
  io::RaiseFileLimit();
  absl::StatusOr<std::unique_ptr<io::DaemonLoop>> loop = io::DaemonLoop::Create();
  if (!loop.ok()) return loop.status();
  std::unique_ptr<DaemonMain> daemon(new DaemonMain(*std::move(loop)));
  daemon->ready_ = io::UniqueFd(Inherited(options, "ready-fd"));
  if (const int life = Inherited(options, "life-fd"); life >= 0) {
    const absl::Status watched = daemon->loop().StopWithOwner(life, 0);
    if (!watched.ok()) return watched;
  }
  return daemon;
}

absl::Status DaemonMain::WatchSignals(std::function<void()> stop, std::function<void()> child) {
  io::DaemonLoop* const loop = loop_.get();
  return loop_->events().WatchSignals({SIGTERM, SIGINT, SIGCHLD}, [loop, stop, child](int signal) {
    if (signal == SIGCHLD) return child();
    if (stop) return stop();
    loop->Stop(0);
  });
}

void DaemonMain::Ready(const io::Json& facts) {
  if (!ready_.valid()) return;
  const std::string line = facts.ToString() + "\n";
  static_cast<void>(!write(ready_.get(), line.data(), line.size()));
  ready_.Reset();
}

int DaemonMain::Failed(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  Ready(io::Json::Object().Set("error", std::string(status.message())));
  return kFailed;
}

std::string OwnProgram() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : "shoal";
}

std::string JoinHostPort(const std::string& host, uint16_t port) {
  return absl::StrCat(host.find(':') == std::string::npos ? host : absl::StrCat("[", host, "]"), ":", port);
}

std::string Dialable(const std::string& host, const std::string& towards) {
  if (host != "0.0.0.0" && host != "::") return host;
  const absl::StatusOr<std::string> own = io::LocalAddressTowards(towards, 1);
  return own.ok() ? *own : "127.0.0.1";
}

}  // namespace shoal::bin
