// Many raylets in one process, over the real wire to a real head. Reads commands from stdin and answers each with a line of JSON:
//
//   head_load --runtime-dir DIR --nodes N [--cpus 16] [--owners 16] [--hold-ms 100] [--part 0 --parts 1]
//   leases UTILISATION SECONDS [NODES LEAVING PER SECOND]
//   actors UNDER_WAY SECONDS
//   groups UNDER_WAY SECONDS
//
// bench/head_load/run.py starts heads and parts of fleets, and adds up.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "bench/head_load/fleet.h"
#include "runtime/bin/options.h"
#include "runtime/io/clock.h"
#include "runtime/io/json.h"

namespace shoal::head_load {
namespace {

constexpr Duration kWarmUp = 2s;
constexpr Duration kSettle = 500ms;
constexpr Duration kLookEvery = 20ms;

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void AddTimes(const Histogram& times, io::Json* row) {
  row->Set("p50_ms", static_cast<double>(times.Quantile(0.5)) / 1e6).Set("p99_ms", static_cast<double>(times.Quantile(0.99)) / 1e6);
}

void Print(const io::Json& row) {
  std::printf("%s\n", row.ToString().c_str());
  std::fflush(stdout);
}

class Commands {
 public:
  Commands(Fleet* fleet, io::DaemonLoop* loop) : fleet_(*fleet), loop_(*loop) {}

  absl::Status Watch() {
    return loop_.events().AddFd(STDIN_FILENO, EPOLLIN, [this](uint32_t) { Read(); });
  }
  // Says so when all nodes are in the cluster.
  void AwaitNodes() {
    if (fleet_.in_cluster() == fleet_.nodes()) {
      return Print(io::Json::Object().Set("nodes", static_cast<uint64_t>(fleet_.nodes())).Set("cpu_s", CpuSeconds()));
    }
    loop_.timers().After(kLookEvery, [this] { AwaitNodes(); });
  }

 private:
  struct Phase {
    std::function<void()> start, measure, stop;
    std::function<void(io::Json*)> describe;
  };

  void Read() {
    char bytes[256];
    const ssize_t size = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (size <= 0) return loop_.Stop(0);
    text_.append(bytes, static_cast<size_t>(size));
    for (size_t end; (end = text_.find('\n')) != std::string::npos; text_.erase(0, end + 1)) Obey(text_.substr(0, end));
  }

  void Obey(const std::string& line) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    std::vector<double> numbers(words.size());
    for (size_t i = 1; i < words.size(); ++i) {
      if (!absl::SimpleAtod(words[i], &numbers[i])) return Complain(line);
    }
    if (words.size() < 3) return Complain(line);
    const Duration length(static_cast<int64_t>(numbers[2] * 1e9));
    if (words[0] == "leases") return Run(Leases(numbers[1], words.size() > 3 ? numbers[3] : 0), length);
    if (words[0] == "actors") return Run(Requests(&fleet_.actors(), numbers[1]), length);
    if (words[0] == "groups") return Run(Requests(&fleet_.groups(), numbers[1]), length);
    Complain(line);
  }

  void Complain(const std::string& line) { Print(io::Json::Object().Set("error", "not a command: " + line)); }

  Phase Leases(double utilisation, double churn) {
    return {.start =
                [this, utilisation, churn] {
                  fleet_.leases().Start(utilisation * fleet_.cpus());
                  fleet_.Churn(churn);
                },
            .measure = [this] { fleet_.leases().StartMeasuring(); },
            .stop =
                [this] {
                  fleet_.Churn(0);
                  fleet_.leases().Stop();
                },
            .describe =
                [this](io::Json* row) {
                  row->Set("granted", fleet_.leases().granted()).Set("left", fleet_.left());
                  AddTimes(fleet_.leases().waits(), row);
                }};
  }

  Phase Requests(RequestLoad* load, double under_way) {
    return {.start = [load, under_way] { load->Start(static_cast<uint32_t>(under_way)); },
            .measure = [load] { load->StartMeasuring(); },
            .stop = [load] { load->Stop(); },
            .describe =
                [load](io::Json* row) {
                  row->Set("created", load->created());
                  AddTimes(load->times(), row);
                }};
  }

  void Run(Phase phase, Duration length) {
    phase.start();
    loop_.timers().After(kWarmUp, [this, phase = std::move(phase), length] {
      phase.measure();
      loop_.timers().After(length, [this, phase, began = io::MonotonicNow(), cpu = CpuSeconds()] { End(phase, began, cpu); });
    });
  }

  void End(const Phase& phase, TimePoint began, double cpu) {
    io::Json row = io::Json::Object();
    row.Set("seconds", static_cast<double>((io::MonotonicNow() - began).count()) / 1e9).Set("cpu_s", CpuSeconds() - cpu);
    phase.describe(&row);
    phase.stop();
    loop_.timers().After(kSettle, [row] { Print(row); });
  }

  Fleet& fleet_;
  io::DaemonLoop& loop_;
  std::string text_;
};

absl::StatusOr<FleetOptions> OptionsOf(const std::vector<std::string>& words) {
  const bin::Command command = {.name = "head_load",
                                .options = {{"runtime-dir", "DIR", "of the head"},
                                            {"nodes", "N", "of this part"},
                                            {"cpus", "N", "of each"},
                                            {"owners", "N", "of this part"},
                                            {"hold-ms", "MS", "that a lease is kept"},
                                            {"part", "I", "of the fleet"},
                                            {"parts", "N", "of the fleet"}}};
  const absl::StatusOr<bin::Options> options = bin::ParseOptions(command, words);
  if (!options.ok()) return options.status();
  absl::Status status;
  const auto number = [&](const char* name, double otherwise) {
    const absl::StatusOr<double> value = options->Number(name, otherwise, 0, 1e6);
    status.Update(value.status());
    return value.ok() ? static_cast<uint32_t>(*value) : 0;
  };
  FleetOptions fleet{.directory = options->Get("runtime-dir"),
                     .part = number("part", 0),
                     .parts = number("parts", 1),
                     .nodes = number("nodes", 100),
                     .cpus = number("cpus", 16),
                     .owners = number("owners", 16),
                     .hold = 1ms * number("hold-ms", 100)};
  if (!status.ok()) return status;
  return fleet;
}

int Main(const std::vector<std::string>& words) {
  io::RaiseFileLimit();
  const absl::StatusOr<FleetOptions> options = OptionsOf(words);
  if (!options.ok()) {
    std::cerr << options.status().message() << "\n";
    return bin::kUsage;
  }
  auto loop = io::DaemonLoop::Create();
  absl::StatusOr<std::unique_ptr<Fleet>> fleet = Fleet::Join(*options, loop->get());
  if (!fleet.ok()) {
    std::cerr << fleet.status().message() << "\n";
    return bin::kFailed;
  }
  Commands commands(fleet->get(), loop->get());
  if (!commands.Watch().ok()) return bin::kFailed;
  (*fleet)->Dial();
  commands.AwaitNodes();
  return (*loop)->Run();
}

}  // namespace
}  // namespace shoal::head_load

int main(int argc, char** argv) { return shoal::head_load::Main({argv + 1, argv + argc}); }
