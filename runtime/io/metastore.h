// The head's memory on disk: one SQLite file in WAL mode with synchronous=FULL, one transaction per Apply.
//
//   absl::StatusOr<std::unique_ptr<SqliteMetaStore>> store = SqliteMetaStore::Open("/var/lib/shoal/head.db");
//   if (!store.ok()) ...                       // one sentence: the cause and what to do
//   auto rows = (*store)->Load();
//   absl::Status written = (*store)->Apply(writes);
//   if (!written.ok()) ...                     // stop the head: nothing is known of these writes
//
// One process at a time has a store open: it holds a lock on PATH.lock until it ends, however it ends. After the first error
// the store refuses everything until it is opened again, because what SQLite and the kernel hold in memory then need not be
// what the disk holds. A store that was not closed cleanly is checked when it is opened.
//
// Errors of Open: FailedPrecondition (in use, written by a newer Shoal, or not a file of ours), NotFound (no such directory),
// PermissionDenied (read-only), ResourceExhausted (disk full), DataLoss (damaged), Unavailable (the disk failed). Files are made 0600.
// Used by one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/io/fd.h"
#include "scheduler/meta_store.h"

struct sqlite3;
struct sqlite3_stmt;

namespace shoal::io {

class SqliteMetaStore : public scheduler::MetaStore {
 public:
  // Raised when a head of this version could misread what another wrote.
  static constexpr int kSchemaVersion = 1;

  static absl::StatusOr<std::unique_ptr<SqliteMetaStore>> Open(const std::string& path);
  ~SqliteMetaStore() override;
  SqliteMetaStore(const SqliteMetaStore&) = delete;
  SqliteMetaStore& operator=(const SqliteMetaStore&) = delete;

  absl::Status Apply(absl::Span<const scheduler::StoreWrite> writes) override;
  absl::StatusOr<std::vector<scheduler::StoreRow>> Load() override;

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

  explicit SqliteMetaStore(std::string path) : path_(std::move(path)) {}

  absl::Status Lock();
  absl::Status OpenDatabase();
  absl::Status CheckOwner();
  absl::Status CheckPages();
  absl::Status Prepare();
  absl::Status Write(const scheduler::StoreWrite& write);
  absl::Status ApplyAll(absl::Span<const scheduler::StoreWrite> writes);

  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> QueryNumber(const char* sql);
  absl::Status Compile(const char* sql, Statement* statement);
  // Runs a statement that has no rows, and rewinds it.
  absl::Status Step(sqlite3_stmt* statement);
  // What SQLite's last error on this connection means for whoever runs the head.
  absl::Status Problem(int code) const;
  // From now on everything is refused.
  absl::Status Break(absl::Status status);

  std::string path_;
  UniqueFd lock_;
  bool unclean_ = false;
  absl::Status broken_;
  std::unique_ptr<sqlite3, Close> db_;
  Statement begin_, commit_, put_, erase_, all_;  // after db_: they go first
};

}  // namespace shoal::io
