// The nanny's process: takes the runtime directory, leaves the terminal, starts the children.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include "runtime/bin/daemon_main.h"
#include "runtime/bin/daemons.h"
#include "runtime/bin/node_options.h"
#include "runtime/io/clock.h"
#include "runtime/io/local_socket.h"
#include "runtime/io/nanny.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::bin {
namespace {

constexpr Duration kFormerPatience = 3s;

io::NannyOptions NannyOptionsOf(const Options& options, const std::string& directory) {
  const std::string program = OwnProgram();
  const bool head = options.Has("head"), raylet = !options.Has("no-raylet");
  io::NannyOptions nanny;
  nanny.runtime_dir = directory;
  nanny.facts = io::Json::Object();
  auto child = [&](const std::string& part, std::vector<std::string> passed) {
    std::vector<std::string> words = {program, "__" + part, "--runtime-dir", directory};
    for (const std::string& name : passed) {
      if (options.Has(name)) words.insert(words.end(), {"--" + name, options.Get(name)});
    }
    return io::NannyChild{.name = part, .command = std::move(words)};
  };
  if (head) {
    io::NannyChild spec = child("head", {"listen", "advertise"});
    if (raylet) spec.command.emplace_back("--with-raylet");
    if (options.Get("port", "0") != "0") {
      spec.command.insert(spec.command.end(), {"--port", options.Get("port")});
    } else {
      spec.keep = {{"port", "--port"}};  // a head that comes back must be found where it was
    }
    nanny.children.push_back(std::move(spec));
  } else {
    nanny.facts.Set("address", options.Get("address"));
  }
  if (raylet) {
    io::NannyChild spec = child("raylet", {"listen", "advertise", "bulk-port"});
    if (!head && options.Has("port")) spec.command.insert(spec.command.end(), {"--port", options.Get("port")});
    for (std::string& word : NodeWords(options)) spec.command.push_back(std::move(word));
    nanny.children.push_back(std::move(spec));
  }
  return nanny;
}

// The terminal, and whoever waits for our output to end, must not wait for us.
void LeaveTerminal(const std::string& directory) {
  setsid();
  const int log = open((directory + "/logs/nanny.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) dup2(null, 0);
  if (log >= 0) {
    dup2(log, 1);
    dup2(log, 2);
  }
}

// The children of a nanny that was killed end by themselves, but not before we look; they hold sockets, port and store until then.
void WaitForFormerChildren(const std::string& directory) {
  const TimePoint until = io::MonotonicNow() + kFormerPatience;
  auto answers = [&directory](const char* name) { return io::LocalSocket::Connect(directory + name).ok(); };
  while ((answers("/head.sock") || answers("/raylet.sock")) && io::MonotonicNow() < until) {
    usleep(10'000);  // nothing tells of the end of a process that is not ours
  }
}

}  // namespace

int RunNanny(const Options& options) {
  absl::StatusOr<std::unique_ptr<DaemonMain>> daemon = DaemonMain::Create(options);
  if (!daemon.ok()) return kFailed;
  const std::string directory = options.Get("runtime-dir");
  const bool foreground = options.Has("foreground");
  if (!foreground) LeaveTerminal(directory);
  absl::StatusOr<io::DirectoryLock> lock = io::DirectoryLock::Take(directory);
  if (!lock.ok()) return (*daemon)->Failed(lock.status());
  WaitForFormerChildren(directory);

  io::Nanny nanny(NannyOptionsOf(options, directory), &(*daemon)->loop());
  const absl::Status watched =
      (*daemon)->WatchSignals([&nanny] { nanny.Stop(0); }, [&nanny] { nanny.ReapOrphans(); });
  if (!watched.ok()) return (*daemon)->Failed(watched);
  nanny.Start([&](const absl::Status& status) {
    (*daemon)->Ready(status.ok() ? nanny.state() : io::Json::Object().Set("error", std::string(status.message())));
    if (status.ok() && foreground) {
      std::printf("%s\n", nanny.state().ToString().c_str());
      std::fflush(stdout);
    }
  });
  return (*daemon)->loop().Run();
}

}  // namespace shoal::bin
