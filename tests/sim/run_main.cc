// shoal_sim_run: seeds of the simulator from the command line. See docs/simulator.md.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tests/sim/farm.h"
#include "tests/sim/runner.h"
#include "tests/sim/spec.h"

namespace shoal::sim {
namespace {

constexpr char kUsage[] = R"(usage: shoal_sim_run [options]
  --seeds N | A..B    seeds 1..N of today's choice, or exactly A..B (default 100)
  --spec NAME|FILE    mixed, quiet, fair, crowded, kills, network, tasks, objects, actors, or a file (default mixed)
  --bug NAME          switches a deliberate bug on (grep SHOAL_DELIBERATE_BUG for names)
  --trace SEED        runs this seed alone and prints each event
  --jobs N            processes (default: one per core)
  --verbose           a line for each seed
  --keep-going        does not stop after 20 violations
)";

struct Arguments {
  Spec spec;
  std::string bug;
  uint64_t first = 1, last = 100;
  uint64_t trace_seed = 0;
  int jobs = 0;
  bool verbose = false, keep_going = false;
};

bool ParseSeeds(const std::string& text, Arguments* arguments) {
  const std::vector<std::string> range = absl::StrSplit(text, "..");
  if (range.size() == 2) {
    return absl::SimpleAtoi(range[0], &arguments->first) && absl::SimpleAtoi(range[1], &arguments->last);
  }
  uint64_t count = 0;
  if (!absl::SimpleAtoi(text, &count) || count == 0) return false;
  // A plain number asks for fresh seeds: they follow from the time, and are printed.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  arguments->first = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count()) * 10'000;
  arguments->last = arguments->first + count - 1;
  return true;
}

bool ParseArguments(int argc, char** argv, Arguments* arguments) {
  std::string spec = "mixed", seeds = "1..100";
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--verbose") {
      arguments->verbose = true;
    } else if (key == "--keep-going") {
      arguments->keep_going = true;
    } else if (i + 1 >= argc) {
      return false;
    } else if (key == "--seeds") {
      seeds = argv[++i];
    } else if (key == "--spec") {
      spec = argv[++i];
    } else if (key == "--bug") {
      arguments->bug = argv[++i];
    } else if (key == "--trace") {
      if (!absl::SimpleAtoi(argv[++i], &arguments->trace_seed)) return false;
    } else if (key == "--jobs") {
      if (!absl::SimpleAtoi(argv[++i], &arguments->jobs)) return false;
    } else {
      return false;
    }
  }
  const absl::StatusOr<Spec> found = FindSpec(spec);
  if (!found.ok()) {
    std::fprintf(stderr, "%s\n", std::string(found.status().message()).c_str());
    return false;
  }
  arguments->spec = *found;
  return ParseSeeds(seeds, arguments);
}

void Print(const RunResult& result) {
  std::printf("seed %llu  hash %016llx  %llu events  %llu executions  %llu rounds  %llu deaths  %.1f s\n",
              static_cast<unsigned long long>(result.seed), static_cast<unsigned long long>(result.trace_hash),
              static_cast<unsigned long long>(result.events), static_cast<unsigned long long>(result.executions),
              static_cast<unsigned long long>(result.rounds), static_cast<unsigned long long>(result.deaths),
              static_cast<double>(result.simulated_ns) * 1e-9);
  for (const Violation& v : result.violations) std::printf("  VIOLATION %s: %s\n", v.rule.c_str(), v.detail.c_str());
  std::fflush(stdout);
}

int TraceOne(const Arguments& arguments) {
  const RunResult result = RunSeed({arguments.spec, arguments.trace_seed, arguments.bug, stdout});
  Print(result);
  return result.ok() ? 0 : 1;
}

int RunMany(const Arguments& arguments) {
  FarmOptions farm;
  farm.run = RunsOf(arguments.spec, arguments.bug);
  farm.first_seed = arguments.first;
  farm.last_seed = arguments.last;
  farm.jobs = arguments.jobs > 0 ? arguments.jobs : static_cast<int>(std::thread::hardware_concurrency());
  uint64_t seeds = 0, bad = 0, events = 0, executions = 0, hash = 0;
  double simulated_s = 0;
  std::map<std::string, std::pair<uint64_t, uint64_t>> rules;  // rule -> (count, first seed)
  const auto begin = std::chrono::steady_clock::now();
  RunFarm(farm, [&](const RunResult& result) {
    ++seeds;
    events += result.events;
    executions += result.executions;
    hash += result.trace_hash * (2 * result.seed + 1);  // the same in whatever order they end
    simulated_s += static_cast<double>(result.simulated_ns) * 1e-9;
    if (!result.ok()) {
      ++bad;
      auto& rule = rules[result.violations[0].rule];
      if (rule.first++ == 0 || result.seed < rule.second) rule.second = result.seed;
    }
    if (arguments.verbose || !result.ok()) Print(result);
    return arguments.keep_going || bad < 20;
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%llu seeds from %llu, %llu with violations, %.1f seeds/s over %d jobs, %.0f simulated s, %.2f M events/s, "
              "%llu executions, hash %016llx\n",
              static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(arguments.first),
              static_cast<unsigned long long>(bad), static_cast<double>(seeds) / seconds, farm.jobs, simulated_s,
              static_cast<double>(events) / seconds * 1e-6, static_cast<unsigned long long>(executions),
              static_cast<unsigned long long>(hash));
  for (const auto& [rule, count] : rules) {
    std::printf("  %s: %llu seeds, first %llu\n", rule.c_str(), static_cast<unsigned long long>(count.first),
                static_cast<unsigned long long>(count.second));
  }
  return bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace shoal::sim

int main(int argc, char** argv) {
  shoal::sim::Arguments arguments;
  if (!shoal::sim::ParseArguments(argc, argv, &arguments)) {
    std::fputs(shoal::sim::kUsage, stderr);
    return 2;
  }
  return arguments.trace_seed != 0 ? shoal::sim::TraceOne(arguments) : shoal::sim::RunMany(arguments);
}
