#include "runtime/io/runtime_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/local_socket.h"

namespace shoal::io {
namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Where runtimes of this user lie, each in a directory of its own.
std::string BaseDirectory() {
  const std::string xdg = FromEnvironment("XDG_RUNTIME_DIR");
  return xdg.empty() ? absl::StrCat("/tmp/shoal-", geteuid()) : absl::StrCat(xdg, "/shoal");
}

std::string LockPath(const std::string& directory) { return directory + "/lock"; }

// Directories of local runtimes that nobody holds: theirs was killed.
void SweepLocalDirectories(const std::string& base) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(base, ignored)) {
    if (entry.path().filename().string().rfind("local-", 0) != 0) continue;
    // One without a lock file may be about to be taken.
    if (access(LockPath(entry.path()).c_str(), F_OK) != 0) continue;
    if (DirectoryLock::Take(entry.path()).ok()) std::filesystem::remove_all(entry.path(), ignored);
  }
}

}  // namespace

std::string DefaultRuntimeDirectory() {
  const std::string given = FromEnvironment("SHOAL_RUNTIME_DIR");
  return given.empty() ? BaseDirectory() + "/default" : given;
}

absl::StatusOr<std::string> NewLocalDirectory() {
  const std::string base = BaseDirectory();
  const absl::Status made = MakePrivateDirectory(base);
  if (!made.ok()) return made;
  SweepLocalDirectories(base);
  return absl::StrCat(base, "/local-", getpid(), "-", absl::Hex(RandomSeed() & 0xffffff, absl::kZeroPad6));
}

absl::Status PrepareRuntimeDirectory(const std::string& path) {
  if (path.empty() || path[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("the runtime directory '", path, "' is not an absolute path"));
  }
  // /tmp is open to everybody, so what we make in it must be ours as well.
  if (const std::string parent = path.substr(0, path.rfind('/')); parent == BaseDirectory()) {
    const absl::Status made = MakePrivateDirectory(parent);
    if (!made.ok()) return made;
  } else {
    std::error_code ignored;
    std::filesystem::create_directories(parent, ignored);
  }
  const absl::Status made = MakePrivateDirectory(path);
  if (!made.ok()) return made;
  return MakePrivateDirectory(path + "/logs");
}

void RemoveRuntimeDirectory(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

namespace {

constexpr char kDiskFull[] = "shoal/disk-full";  // the payload that marks it

absl::Status CannotWrite(const std::string& path, int error) {
  const std::string what = absl::StrCat(path, " cannot be written: ", std::strerror(error));
  return error == ENOSPC || error == EDQUOT ? DiskFull(what) : absl::UnavailableError(what);
}

// 0, or an error number; a part that was written means a full disk.
int Outcome(ssize_t written, size_t size) {
  if (written < 0) return errno;
  return static_cast<size_t>(written) == size ? 0 : ENOSPC;
}

}  // namespace

absl::Status DiskFull(const std::string& what) {
  absl::Status status = absl::ResourceExhaustedError(what + "; free some space");
  status.SetPayload(kDiskFull, absl::Cord());
  return status;
}

bool IsDiskFull(const absl::Status& status) { return status.GetPayload(kDiskFull).has_value(); }

absl::StatusOr<DirectoryLock> DirectoryLock::Take(const std::string& directory) {
  const std::string path = LockPath(directory);
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return absl::PermissionDeniedError(absl::StrCat(path, " cannot be opened: ", std::strerror(errno)));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("a runtime is already running in ", directory, "; run `shoal stop --runtime-dir ", directory, "` first"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  int error = ftruncate(fd.get(), 0) != 0 ? errno : 0;
  if (error == 0) error = Outcome(pwrite(fd.get(), pid.data(), pid.size(), 0), pid.size());
  if (error != 0) return CannotWrite(path, error);
  return DirectoryLock(std::move(fd));
}

std::optional<int> LockHolder(const std::string& directory) {
  const UniqueFd fd(open(LockPath(directory).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() || flock(fd.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return std::nullopt;
  char text[32] = {};
  int pid = 0;
  if (pread(fd.get(), text, sizeof(text) - 1, 0) <= 0 || !absl::SimpleAtoi(text, &pid)) return std::nullopt;
  return pid;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return absl::NotFoundError(absl::StrCat(path, " cannot be read: ", std::strerror(errno)));
  std::string text;
  char chunk[8192];
  ssize_t n;
  while ((n = read(fd.get(), chunk, sizeof(chunk))) > 0) text.append(chunk, static_cast<size_t>(n));
  if (n < 0) return absl::InternalError(absl::StrCat(path, " cannot be read: ", std::strerror(errno)));
  return text;
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& text) {
  const std::string draft = absl::StrCat(path, ".", getpid());
  const UniqueFd fd(open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  int error = fd.valid() ? Outcome(write(fd.get(), text.data(), text.size()), text.size()) : errno;
  if (error == 0 && rename(draft.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(draft.c_str());
  return CannotWrite(path, error);
}

absl::Status OverwriteFile(const std::string& path, const std::string& text) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  int error = fd.valid() ? Outcome(pwrite(fd.get(), text.data(), text.size(), 0), text.size()) : errno;
  if (error == 0 && ftruncate(fd.get(), static_cast<off_t>(text.size())) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : CannotWrite(path, error);
}

Json ReadState(const std::string& directory) {
  const absl::StatusOr<std::string> text = ReadFile(directory + "/state.json");
  const absl::StatusOr<Json> state = Json::Parse(text.ok() ? *text : "");
  return state.ok() ? *state : Json();
}

}  // namespace shoal::io
