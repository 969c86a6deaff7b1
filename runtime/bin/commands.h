// The commands that people type. Each returns its exit code (options.h) and says what went wrong in one sentence on stderr.
#pragma once

#include <string>
#include <vector>

#include "runtime/bin/options.h"

namespace shoal::bin {

int Start(const Options& options);
int Stop(const Options& options);
int CreateToken(const Options& options);
int Status(const Options& options);
int List(const Options& options);
int Why(const Options& options);
int Logs(const Options& options);
int Submit(const Options& options);

// The script that teaches a shell our commands; "" for a shell that is not known.
std::string CompletionScript(const std::string& shell, const std::vector<Command>& commands);

// --runtime-dir or the default, as an absolute path.
std::string RuntimeDirectoryOf(const Options& options);
// Prints the sentence; the exit code that belongs to it.
int Complain(const absl::Status& status);

}  // namespace shoal::bin
