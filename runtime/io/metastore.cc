#include "runtime/io/metastore.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::io {
namespace {

using scheduler::StoreRow;
using scheduler::StoreWrite;

constexpr int64_t kApplicationId = 0x53686f61;  // "Shoa", in the header of the file
constexpr int kWaitForOthersMs = 2000;          // a person may be looking at the file with the sqlite3 program

uint64_t SizeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

absl::Status CannotOpen(const std::string& path, int error) {
  const std::string what = absl::StrCat("cannot open ", path, " to keep the state of the cluster: ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR: return absl::NotFoundError(what + "; make the directory, or name another one");
    case EACCES:
    case EPERM:
    case EROFS: return absl::PermissionDeniedError(what + "; make the directory writable for this user, or name another one");
    case ENOSPC:
    case EDQUOT: return DiskFull(what);
    default: return absl::UnavailableError(what);
  }
}

// Makes the name of a new file durable, too.
absl::Status SyncDirectoryOf(const std::string& path) {
  std::string directory = std::filesystem::path(path).parent_path().string();
  if (directory.empty()) directory = ".";
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return CannotOpen(directory, errno);
  return absl::OkStatus();
}

}  // namespace

void SqliteMetaStore::Close::operator()(sqlite3* db) const { sqlite3_close(db); }
void SqliteMetaStore::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

absl::StatusOr<std::unique_ptr<SqliteMetaStore>> SqliteMetaStore::Open(const std::string& path) {
  auto store = std::unique_ptr<SqliteMetaStore>(new SqliteMetaStore(path));
  absl::Status status = store->Lock();
  if (status.ok()) status = store->OpenDatabase();
  if (status.ok()) status = store->CheckOwner();
  if (status.ok() && store->unclean_) status = store->CheckPages();
  if (status.ok()) status = store->Prepare();
  if (!status.ok()) return store->Break(status);
  return store;
}

SqliteMetaStore::~SqliteMetaStore() {
  // A checkpoint by a connection that failed could copy into the database what never reached the disk.
  if (db_ != nullptr && !broken_.ok()) sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

// The kernel drops the lock with the process, so that no lock of a dead head is left to be removed by hand.
absl::Status SqliteMetaStore::Lock() {
  const std::string lock_path = path_ + ".lock";
  lock_ = UniqueFd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_.valid()) return CannotOpen(lock_path, errno);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  if (errno != EWOULDBLOCK) return CannotOpen(lock_path, errno);
  return absl::FailedPreconditionError(
      absl::StrCat("another head keeps its state in ", path_, "; stop that one, or name another file"));
}

absl::Status SqliteMetaStore::OpenDatabase() {
  const uint64_t wal_bytes = SizeOf(path_ + "-wal");
  unclean_ = wal_bytes > 0;  // a clean close removes it
  {
    UniqueFd file(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));  // SQLite would make it readable for all
    if (!file.valid()) return CannotOpen(path_, errno);
  }
  // SQLite takes an empty file for a new one and throws the log away.
  if (unclean_ && SizeOf(path_) == 0) {
    return absl::DataLossError(absl::StrCat(path_, " is empty although its log is not; restore both from a copy, or move both away"));
  }
  if (absl::Status synced = SyncDirectoryOf(path_); !synced.ok()) return synced;
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  db_.reset(db);
  if (code != SQLITE_OK) return Problem(code);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, kWaitForOthersMs);
  if (sqlite3_db_readonly(db, "main") == 1) return CannotOpen(path_, EROFS);
  return absl::OkStatus();
}

// Only then may anything be written to the file.
absl::Status SqliteMetaStore::CheckOwner() {
  const absl::StatusOr<int64_t> application = QueryNumber("PRAGMA application_id");
  if (!application.ok()) return application.status();
  const absl::StatusOr<int64_t> tables = QueryNumber("SELECT count(*) FROM sqlite_schema");
  if (!tables.ok()) return tables.status();
  const absl::StatusOr<int64_t> version = QueryNumber("PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*application != kApplicationId && (*application != 0 || *tables != 0)) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " belongs to another program; name another file"));
  }
  if (*version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(path_, " was written by a newer Shoal (version ", *version,
                                                      " of the state, this one knows ", kSchemaVersion,
                                                      "); install that one, or name another file"));
  }
  return absl::OkStatus();
}

absl::Status SqliteMetaStore::CheckPages() {
  Statement check;
  if (absl::Status status = Compile("PRAGMA quick_check(1)", &check); !status.ok()) return status;
  const int code = sqlite3_step(check.get());
  if (code != SQLITE_ROW) return Problem(code);
  const char* answer = reinterpret_cast<const char*>(sqlite3_column_text(check.get(), 0));
  if (answer != nullptr && std::strcmp(answer, "ok") == 0) return absl::OkStatus();
  return Problem(SQLITE_CORRUPT);
}

absl::Status SqliteMetaStore::Prepare() {
  // An exclusive connection needs no shared-memory index beside the log.
  for (const std::string& sql : std::initializer_list<std::string>{
           "PRAGMA locking_mode=EXCLUSIVE",
           "PRAGMA journal_mode=WAL",
           "PRAGMA synchronous=FULL",
           "BEGIN IMMEDIATE",
           absl::StrCat("PRAGMA application_id=", kApplicationId),
           "CREATE TABLE IF NOT EXISTS state(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
           absl::StrCat("PRAGMA user_version=", kSchemaVersion),
           "COMMIT"}) {
    if (absl::Status status = Execute(sql.c_str()); !status.ok()) return status;
  }
  absl::Status status = Compile("BEGIN IMMEDIATE", &begin_);
  if (status.ok()) status = Compile("COMMIT", &commit_);
  if (status.ok()) status = Compile("INSERT INTO state VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value=excluded.value", &put_);
  if (status.ok()) status = Compile("DELETE FROM state WHERE key=?1", &erase_);
  if (status.ok()) status = Compile("SELECT key, value FROM state ORDER BY key", &all_);
  return status;
}

absl::Status SqliteMetaStore::Apply(absl::Span<const StoreWrite> writes) {
  if (!broken_.ok()) return broken_;
  if (writes.empty()) return absl::OkStatus();
  absl::Status status = ApplyAll(writes);
  return status.ok() ? status : Break(status);
}

absl::Status SqliteMetaStore::ApplyAll(absl::Span<const StoreWrite> writes) {
  if (absl::Status status = Step(begin_.get()); !status.ok()) return status;
  for (const StoreWrite& write : writes) {
    if (absl::Status status = Write(write); !status.ok()) return status;
  }
  return Step(commit_.get());
}

absl::Status SqliteMetaStore::Write(const StoreWrite& write) {
  sqlite3_stmt* statement = write.value ? put_.get() : erase_.get();
  int code = sqlite3_bind_text64(statement, 1, write.key.data(), write.key.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code == SQLITE_OK && write.value) {
    code = sqlite3_bind_blob64(statement, 2, write.value->data(), write.value->size(), SQLITE_STATIC);
  }
  absl::Status status = code == SQLITE_OK ? Step(statement) : Problem(code);
  sqlite3_clear_bindings(statement);
  return status;
}

absl::StatusOr<std::vector<StoreRow>> SqliteMetaStore::Load() {
  if (!broken_.ok()) return broken_;
  const auto bytes = [this](int column) {
    const void* data = sqlite3_column_blob(all_.get(), column);
    const int size = sqlite3_column_bytes(all_.get(), column);
    return size > 0 ? std::string(static_cast<const char*>(data), static_cast<size_t>(size)) : std::string();
  };
  std::vector<StoreRow> rows;
  int code = SQLITE_OK;
  while ((code = sqlite3_step(all_.get())) == SQLITE_ROW) rows.push_back({bytes(0), bytes(1)});
  if (code != SQLITE_DONE) return Break(Problem(code));
  sqlite3_reset(all_.get());
  return rows;
}

// ---- SQLite

absl::Status SqliteMetaStore::Execute(const char* sql) {
  const int code = sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Problem(code);
}

absl::StatusOr<int64_t> SqliteMetaStore::QueryNumber(const char* sql) {
  Statement query;
  if (absl::Status status = Compile(sql, &query); !status.ok()) return status;
  const int code = sqlite3_step(query.get());
  if (code != SQLITE_ROW) return Problem(code);
  return sqlite3_column_int64(query.get(), 0);
}

absl::Status SqliteMetaStore::Compile(const char* sql, Statement* statement) {
  sqlite3_stmt* compiled = nullptr;
  const int code = sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &compiled, nullptr);
  statement->reset(compiled);
  return code == SQLITE_OK ? absl::OkStatus() : Problem(code);
}

absl::Status SqliteMetaStore::Step(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  absl::Status status = code == SQLITE_DONE ? absl::OkStatus() : Problem(code);
  sqlite3_reset(statement);
  return status;
}

absl::Status SqliteMetaStore::Problem(int code) const {
  const std::string detail =
      db_ != nullptr && sqlite3_errcode(db_.get()) == code ? sqlite3_errmsg(db_.get()) : sqlite3_errstr(code);
  const std::string what = absl::StrCat("cannot keep the state of the cluster in ", path_, ": ", detail);
  const int error = db_ != nullptr ? sqlite3_system_errno(db_.get()) : 0;
  const bool full = code == SQLITE_FULL || ((code & 0xff) == SQLITE_IOERR && (error == ENOSPC || error == EDQUOT));
  if (full) {
    return DiskFull(absl::StrCat("no space is left on the disk for the state of the cluster in ", path_));
  }
  switch (code & 0xff) {
    case SQLITE_READONLY:
    case SQLITE_PERM: return absl::PermissionDeniedError(what + "; make it writable for this user");
    case SQLITE_CANTOPEN: return CannotOpen(path_, error);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return absl::DataLossError(what + "; restore it from a copy, or move it away to begin anew");
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return absl::FailedPreconditionError(what + "; close the other program that has it open");
    case SQLITE_TOOBIG: return absl::InvalidArgumentError(what);
    default: return absl::UnavailableError(what + "; look for errors of the disk and start the head again");
  }
}

absl::Status SqliteMetaStore::Break(absl::Status status) {
  broken_ = std::move(status);
  return broken_;
}

}  // namespace shoal::io
