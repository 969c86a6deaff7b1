// The command line of `shoal`: a table of commands with their options, a parser for it, and its --help.
//
//   const Command kStop = {.name = "stop", .summary = "stop the runtime of this directory",
//                          .options = {{"runtime-dir", "DIR", "which runtime"}}, .examples = {"shoal stop"}};
//   absl::StatusOr<Options> options = ParseOptions(kStop, {"--runtime-dir", "/tmp/x"});
//   options->Get("runtime-dir");
//
// "--name value" and "--name=value" mean the same; "--" ends the options. Errors are one sentence that names the option and the way out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace shoal::bin {

// Exit codes; also in --help and docs/cli.md.
enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2, kNotRunning = 3, kRefused = 4 };

struct OptionSpec {
  std::string name;
  std::string value;    // what its value is called; "": a switch
  std::string help;
  bool hidden = false;  // between our own processes
  bool repeats = false;
};

struct Command {
  std::string name;     // "start", "token create"
  std::string summary;
  std::string positional;  // "" if it takes none, "[WORKER]"; "-- CMD...": the first word that is not an option begins a command
  std::vector<OptionSpec> options;
  std::vector<std::string> examples;
  bool hidden = false;
};

class Options {
 public:
  bool Has(const std::string& name) const { return values_.contains(name); }
  std::string Get(const std::string& name, const std::string& otherwise = "") const;
  const std::vector<std::string>& All(const std::string& name) const;
  const std::vector<std::string>& positional() const { return positional_; }
  // InvalidArgument names the option and what it wants.
  absl::StatusOr<double> Number(const std::string& name, double otherwise, double least, double most) const;
  // "8", "500MB", "2GiB".
  absl::StatusOr<uint64_t> Bytes(const std::string& name, uint64_t otherwise) const;

 private:
  friend absl::StatusOr<Options> ParseOptions(const Command& command, const std::vector<std::string>& words);
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> positional_;
};

absl::StatusOr<Options> ParseOptions(const Command& command, const std::vector<std::string>& words);

// "a=1,b=2" and repeated options into one map, later ones win; InvalidArgument for what is not KEY=VALUE.
absl::StatusOr<std::map<std::string, std::string>> ParsePairs(const std::string& option, const std::vector<std::string>& texts);

std::string HelpOf(const Command& command);
std::string HelpOfAll(const std::vector<Command>& commands);
// The closest of the names, if it is close; "".
std::string Nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace shoal::bin
