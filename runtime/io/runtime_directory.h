// The directory of one runtime: its lock, its sockets, keys, state and logs. Mode 0700; whoever holds the lock is its nanny.
//
//   head.sock raylet.sock        for the command line, drivers and workers
//   head.key node.key            CURVE key pairs
//   cluster.json                 the head to talk to: endpoint, public key, cluster id
//   cluster.db                   what the head must remember
//   state.json                   who runs, for the command line
//   lock                         flock(2); holds the nanny's process id
//   logs/                        head.log raylet.log nanny.log zygote.log events-{head,raylet}.jsonl worker-ID.{out,err}
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/io/fd.h"
#include "runtime/io/json.h"

namespace shoal::io {

// $SHOAL_RUNTIME_DIR, or $XDG_RUNTIME_DIR/shoal/default, or /tmp/shoal-UID/default.
std::string DefaultRuntimeDirectory();

// A new name for a runtime that one driver starts for itself, beside the default one. Removes those whose runtime was killed.
absl::StatusOr<std::string> NewLocalDirectory();

// Makes the directory (and those above it, as far as they are missing) and logs/. PermissionDenied unless it is ours alone.
absl::Status PrepareRuntimeDirectory(const std::string& path);
void RemoveRuntimeDirectory(const std::string& path);

// Held until destroyed or the process ends, however that comes about.
class DirectoryLock {
 public:
  // AlreadyExists if another process has it.
  static absl::StatusOr<DirectoryLock> Take(const std::string& directory);

 private:
  explicit DirectoryLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// The process that holds the lock; nullopt if nobody does.
std::optional<int> LockHolder(const std::string& directory);

// The error of a file system without room, `what` being the rest of the sentence; and whether a status is one.
absl::Status DiskFull(const std::string& what);
bool IsDiskFull(const absl::Status& status);

// NotFound names the file.
absl::StatusOr<std::string> ReadFile(const std::string& path);
// Mode 0600; readers see the old or the new text, never a part.
absl::Status WriteFileAtomically(const std::string& path, const std::string& text);
// The bytes of a file that exists are replaced where they lie, which needs no space that it does not have; a reader may see a part.
absl::Status OverwriteFile(const std::string& path, const std::string& text);

// What state.json says; null if there is none.
Json ReadState(const std::string& directory);

}  // namespace shoal::io
