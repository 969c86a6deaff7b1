// Commands that need no answer from the runtime: logs and submit.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/bin/commands.h"
#include "runtime/bin/table.h"
#include "runtime/io/log_capture.h"
#include "runtime/io/runtime_directory.h"
#include "runtime/io/spawn.h"

namespace shoal::bin {
namespace {

constexpr double kDefaultLines = 100, kMostLines = 1e9;

struct LogFile {
  std::string name;  // "worker-0123456789abcdef.out", "raylet.log"
  uint64_t bytes = 0;
  std::filesystem::file_time_type changed;
};

// Newest first.
std::vector<LogFile> LogFiles(const std::string& directory) {
  std::vector<LogFile> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    std::error_code gone;
    LogFile file{entry.path().filename().string(), entry.file_size(gone), entry.last_write_time(gone)};
    if (!gone) files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(), [](const LogFile& a, const LogFile& b) { return a.changed > b.changed; });
  return files;
}

// The last `count` lines.
std::string Tail(const std::string& text, size_t count) {
  size_t at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  for (size_t lines = 0; lines < count && at != std::string::npos; ++lines) {
    at = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
  }
  return at == std::string::npos ? text : text.substr(at + 1);
}

bool Matches(const std::string& file, const std::string& wanted) {
  return file == wanted || file.rfind(wanted + ".", 0) == 0 || file.rfind("worker-" + wanted, 0) == 0;
}

}  // namespace

int Logs(const Options& options) {
  const std::string directory = RuntimeDirectoryOf(options) + "/logs";
  const absl::StatusOr<double> lines = options.Number("lines", kDefaultLines, 0, kMostLines);
  if (!lines.ok()) return Complain(lines.status());
  const std::vector<LogFile> files = LogFiles(directory);
  if (files.empty()) return Complain(absl::NotFoundError(absl::StrCat("there are no logs in ", directory)));
  if (options.Has("list") || options.positional().empty()) {
    io::Json rows = io::Json::Array();
    for (const LogFile& file : files) rows.Append(io::Json::Object().Set("file", file.name).Set("bytes", file.bytes));
    std::printf("%s", options.Has("json") ? (rows.ToString() + "\n").c_str() : FormatTable(rows).c_str());
    return kOk;
  }
  bool any = false;
  for (const LogFile& file : files) {
    if (!Matches(file.name, options.positional()[0])) continue;
    const absl::StatusOr<std::string> text = io::ReadFile(absl::StrCat(directory, "/", file.name));
    if (!text.ok()) continue;
    any = true;
    std::printf("==> %s <==\n", file.name.c_str());
    std::vector<std::string> shown;
    io::LineSplitter splitter;
    splitter.Add(Tail(*text, static_cast<size_t>(*lines)), &shown);
    if (std::string rest = splitter.TakeRest(); !rest.empty()) shown.push_back(std::move(rest));
    for (const std::string& line : shown) std::printf("%s\n", io::ReadableLine(line).c_str());
  }
  if (any) return kOk;
  return Complain(absl::InvalidArgumentError(
      absl::StrCat("no log of '", options.positional()[0], "' is in ", directory, "; `shoal logs --list` shows what is")));
}

int Submit(const Options& options) {
  const std::vector<std::string>& command = options.positional();
  if (command.empty()) return Complain(absl::InvalidArgumentError("say what to run: shoal submit -- python3 program.py"));
  const std::string directory = RuntimeDirectoryOf(options), socket = directory + "/raylet.sock";
  if (access(socket.c_str(), F_OK) != 0) {
    return Complain(absl::NotFoundError(
        absl::StrCat("no raylet runs in ", directory, "; start one with `shoal start`, or name another with --runtime-dir")));
  }
  const absl::StatusOr<std::string> program = io::FindProgram(command[0]);
  if (!program.ok()) return Complain(absl::InvalidArgumentError(program.status().message()));
  setenv("SHOAL_ADDRESS", socket.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // In place of us, so that its exit code, its signals and its terminal are its own.
  execv(program->c_str(), arguments.data());
  return Complain(absl::InvalidArgumentError(absl::StrCat(*program, " cannot be run: ", std::strerror(errno))));
}

}  // namespace shoal::bin
