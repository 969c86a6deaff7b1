// The one program `shoal`: the command line, and the daemons that it starts of itself.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/bin/commands.h"
#include "runtime/bin/daemons.h"
#include "runtime/bin/node_options.h"

#ifndef SHOAL_VERSION
#define SHOAL_VERSION "unknown"
#endif

namespace shoal::bin {
namespace {

struct Entry {
  Command command;
  int (*run)(const Options&);
};

const OptionSpec kRuntimeDir = {"runtime-dir", "DIR",
                                "which runtime (default: $SHOAL_RUNTIME_DIR, else one per user)"};
const OptionSpec kJson = {"json", "", "print JSON"};

std::vector<OptionSpec> With(std::vector<OptionSpec> options, const std::vector<OptionSpec>& more) {
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

Command StartCommand() {
  const std::vector<OptionSpec> wire = {
      {"head", "", "start a cluster: a head, and a raylet beside it"},
      {"no-raylet", "", "the head alone"},
      {"address", "HOST:PORT", "join the cluster of this head"},
      {"token", "TOKEN", "from `shoal token create` there; needed once per machine"},
      {"listen", "ADDRESS", "where others reach this machine (head: 127.0.0.1; raylet: as it reaches the head; none: dial out only)"},
      {"port", "PORT", "of the head (default 6380) or the raylet (chosen); 0: chosen"},
      {"bulk-port", "PORT", "for object bytes (default: chosen)"},
      {"advertise", "HOST", "the address to tell others, if it is not the one listened on"},
      kRuntimeDir,
      kJson,
      {"foreground", "", "stay in this terminal"},
      {"local", "", "for one driver, within one process", true},
      {"ready-fd", "N", "", true},
      {"life-fd", "N", "", true}};
  return {.name = "start",
          .summary = "start a cluster, or join one with this machine",
          .options = With(wire, NodeOptionSpecs()),
          .examples = {"shoal start --head                                      # this machine alone",
                       "shoal start --head --listen 10.0.0.1                     # others may join",
                       "shoal start --address 10.0.0.1:6380 --token TOKEN        # join",
                       "shoal start --head --num-cpus 4 --resources '{\"disk\": 2}' --labels zone=a"}};
}

// The daemons are not for people; they take what `start` or the nanny pass on.
Entry Part(const std::string& name, int (*run)(const Options&)) {
  Command command = StartCommand();
  command.name = "__" + name;
  command.hidden = true;
  command.options.push_back({"with-raylet", "", "", true});
  return {std::move(command), run};
}

const std::vector<Entry>& Entries() {
  static const std::vector<Entry> kEntries = {
      {StartCommand(), &Start},
      {{.name = "stop", .summary = "stop the runtime of this machine and wait until it is gone", .options = {kRuntimeDir, kJson},
        .examples = {"shoal stop"}},
       &Stop},
      {{.name = "status", .summary = "nodes, resources, jobs and actors", .options = {kRuntimeDir, kJson},
        .examples = {"shoal status", "shoal status --json | jq .nodes"}},
       &Status},
      {{.name = "token create", .summary = "make a token that lets one machine join",
        .options = {{"ttl", "SECONDS", "how long it may be used (default 3600)"}, kRuntimeDir, kJson},
        .examples = {"shoal token create", "shoal token create --ttl 600 --json"}},
       &CreateToken},
      {{.name = "list", .summary = "rows of one table: nodes, actors, tasks, objects, workers, jobs, leases, placement-groups, demands, events, head",
        .positional = "TABLE [ID]", .options = {kRuntimeDir, kJson}, .examples = {"shoal list actors", "shoal list tasks --json"}},
       &List},
      {{.name = "why", .summary = "why a task, actor or placement group does not run", .positional = "[ID]", .options = {kRuntimeDir, kJson},
        .examples = {"shoal why", "shoal why 3f1c0a9b7d5e2f48"}},
       &Why},
      {{.name = "logs", .summary = "what workers and daemons of this machine printed", .positional = "[WORKER|head|raylet|nanny|zygote]",
        .options = {{"list", "", "the files alone"}, {"lines", "N", "only the last ones (default 100)"}, kRuntimeDir, kJson},
        .examples = {"shoal logs", "shoal logs raylet", "shoal logs 3f1c0a9b --lines 20"}},
       &Logs},
      {{.name = "submit", .summary = "run a program as a driver of this runtime", .positional = "-- CMD...", .options = {kRuntimeDir},
        .examples = {"shoal submit -- python3 train.py --epochs 3"}},
       &Submit},
      {{.name = "completion", .summary = "print a completion script", .positional = "bash|zsh",
        .examples = {"eval \"$(shoal completion bash)\""}},
       nullptr},
      Part("nanny", &RunNanny),
      Part("head", &RunHead),
      Part("raylet", &RunRaylet),
  };
  return kEntries;
}

std::vector<Command> Commands() {
  std::vector<Command> commands;
  for (const Entry& entry : Entries()) commands.push_back(entry.command);
  return commands;
}

int UnknownCommand(const std::string& word) {
  if (word == "token") return Complain(absl::InvalidArgumentError("the command is `shoal token create`; see `shoal token create --help`"));
  std::vector<std::string> names;
  for (const Command& command : Commands()) {
    if (!command.hidden) names.push_back(command.name);
  }
  const std::string near = Nearest(word, names);
  return Complain(absl::InvalidArgumentError(absl::StrCat("there is no command '", word, "'",
                                                          near.empty() ? "" : absl::StrCat("; did you mean `shoal ", near, "`?"),
                                                          "; see `shoal --help`")));
}

int Completion(const std::vector<std::string>& words) {
  const std::string script = words.size() == 1 ? CompletionScript(words[0], Commands()) : "";
  if (script.empty()) return Complain(absl::InvalidArgumentError("say for which shell: shoal completion bash, or zsh"));
  std::printf("%s", script.c_str());
  return kOk;
}

int Run(std::vector<std::string> words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    std::fprintf(words.empty() ? stderr : stdout, "%s", HelpOfAll(Commands()).c_str());
    return words.empty() ? kUsage : kOk;
  }
  if (words[0] == "--version") {
    std::printf("shoal %s\n", SHOAL_VERSION);
    return kOk;
  }
  for (const Entry& entry : Entries()) {
    const std::string& name = entry.command.name;
    const size_t parts = 1 + static_cast<size_t>(std::count(name.begin(), name.end(), ' '));
    std::string given;
    for (size_t i = 0; i < parts && i < words.size(); ++i) absl::StrAppend(&given, i > 0 ? " " : "", words[i]);
    if (given != name) continue;
    words.erase(words.begin(), words.begin() + static_cast<ptrdiff_t>(parts));
    const auto end = std::find(words.begin(), words.end(), "--");
    if (std::find(words.begin(), end, "--help") != end) {
      std::printf("%s", HelpOf(entry.command).c_str());
      return kOk;
    }
    if (entry.run == nullptr) return Completion(words);
    const absl::StatusOr<Options> options = ParseOptions(entry.command, words);
    if (options.ok() && options->Has("runtime-dir") && options->Get("runtime-dir").empty()) {
      return Complain(absl::InvalidArgumentError("--runtime-dir is empty; name a directory, or leave it out for the default one"));
    }
    return options.ok() ? entry.run(*options) : Complain(options.status());
  }
  return UnknownCommand(words[0]);
}

}  // namespace
}  // namespace shoal::bin

int main(int argc, char** argv) {
  const int code = shoal::bin::Run({argv + 1, argv + argc});
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fprintf(stderr, "shoal: the output could not be written: %s\n", std::strerror(errno != 0 ? errno : EIO));
  return code != 0 ? code : 1;
}
