#include "runtime/io/metastore.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rng.h"
#include "gtest/gtest.h"

namespace shoal::io {
namespace {

using scheduler::StoreRow;
using scheduler::StoreWrite;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

class MetaStoreTest : public testing::Test {
 protected:
  MetaStoreTest() {
    // In memory: no test cuts the power, and the stores here are opened thousands of times.
    directory_ = "/dev/shm/shoal-metastore-XXXXXX";
    SHOAL_CHECK(mkdtemp(directory_.data()) != nullptr) << directory_;
    path_ = directory_ + "/head.db";
  }
  ~MetaStoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<SqliteMetaStore> OpenOrDie() { return OpenOrDie(path_); }
  static std::unique_ptr<SqliteMetaStore> OpenOrDie(const std::string& path) {
    auto store = SqliteMetaStore::Open(path);
    SHOAL_CHECK(store.ok()) << store.status();
    return *std::move(store);
  }
  void ExpectOpenFails(absl::StatusCode code, const std::string& mentions) {
    const auto store = SqliteMetaStore::Open(path_);
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.status().code(), code) << store.status();
    const std::string message(store.status().message());
    EXPECT_NE(message.find(mentions), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  static std::string Text(const std::vector<StoreRow>& rows) {
    std::string text;
    for (const StoreRow& row : rows) absl::StrAppend(&text, row.key, "=", row.value, ";");
    return text;
  }
  static std::string Contents(SqliteMetaStore& store) {
    const auto rows = store.Load();
    return rows.ok() ? Text(*rows) : rows.status().ToString();
  }
  void RunSql(const char* sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  std::string directory_, path_;
};

// ---- what it keeps

TEST_F(MetaStoreTest, StartsEmpty) { EXPECT_EQ(Contents(*OpenOrDie()), ""); }

TEST_F(MetaStoreTest, KeepsRowsByKeyOverReopening) {
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Apply({{"b", "2"}, {"a", "1"}, {"c", "3"}}).ok());
    ASSERT_TRUE(store->Apply({{"b", std::nullopt}, {"a", "one"}, {"never", std::nullopt}}).ok());
    ASSERT_TRUE(store->Apply({}).ok());
    EXPECT_EQ(Contents(*store), "a=one;c=3;");
  }
  EXPECT_EQ(Contents(*OpenOrDie()), "a=one;c=3;");
}

TEST_F(MetaStoreTest, AppliesInOrder) {
  auto store = OpenOrDie();
  ASSERT_TRUE(store->Apply({{"k", "1"}, {"k", std::nullopt}, {"k", "2"}}).ok());
  EXPECT_EQ(Contents(*store), "k=2;");
}

TEST_F(MetaStoreTest, KeepsAnyBytes) {
  const std::string key("k\0\xff\x80", 4), value("\0v\0", 3);
  {
    auto store = OpenOrDie();
    ASSERT_TRUE(store->Apply({{key, value}, {"empty", ""}, {"large", std::string(3 << 20, 'x')}}).ok());
  }
  const auto rows = OpenOrDie()->Load();
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0].value, "");
  EXPECT_EQ((*rows)[1].key, key);
  EXPECT_EQ((*rows)[1].value, value);
  EXPECT_EQ((*rows)[2].value.size(), size_t{3} << 20);
}

TEST_F(MetaStoreTest, AgreesWithTheStoreInMemory) {
  Rng rng(1);
  scheduler::MemoryMetaStore expected;
  auto store = OpenOrDie();
  for (int round = 0; round < 200; ++round) {
    std::vector<StoreWrite> writes;
    for (uint64_t i = rng.Below(5); i > 0; --i) {
      writes.push_back({absl::StrCat("key", rng.Below(20)), std::nullopt});
      if (rng.Chance(0.7)) writes.back().value = std::string(rng.Below(2000), 'v');
    }
    ASSERT_TRUE(store->Apply(writes).ok());
    ASSERT_TRUE(expected.Apply(writes).ok());
    if (rng.Chance(0.05)) {
      store.reset();
      store = OpenOrDie();
    }
    ASSERT_EQ(Contents(*store), Text(*expected.Load()));
  }
}

TEST_F(MetaStoreTest, FilesAreForThisUserAlone) {
  auto store = OpenOrDie();
  ASSERT_TRUE(store->Apply({{"secret", "1"}}).ok());
  for (const char* suffix : {"", "-wal", ".lock"}) {
    struct stat info {};
    ASSERT_EQ(stat((path_ + suffix).c_str(), &info), 0) << suffix;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << suffix;
  }
}

// ---- death

// Writes rows 0, 1, 2, ... from `first`, each with its number as counter, and tells the pipe of each that is durable.
[[noreturn]] void WriteUntilKilled(const std::string& path, int first, int acknowledgements) {
  auto store = SqliteMetaStore::Open(path);
  if (!store.ok()) _exit(1);
  for (int i = first;; ++i) {
    if (!(*store)->Apply({{absl::StrCat("row/", i), std::string(i % 5000, 'r')}, {"counter", absl::StrCat(i)}}).ok()) _exit(2);
    if (write(acknowledgements, &i, sizeof(i)) != sizeof(i)) _exit(3);
  }
}

TEST_F(MetaStoreTest, NothingAcknowledgedIsLostByKillInTheMiddleOfWriting) {
  int next = 0;
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) WriteUntilKilled(path_, next, ends[1]);
    close(ends[1]);
    int acknowledged = next - 1;
    const int enough = next + 1 + round * 13;
    while (acknowledged < enough && read(ends[0], &acknowledged, sizeof(acknowledged)) > 0) {
    }
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;
    while (read(ends[0], &acknowledged, sizeof(acknowledged)) > 0) {
    }
    close(ends[0]);
    ASSERT_GE(acknowledged, enough);

    const auto rows = OpenOrDie()->Load();
    ASSERT_TRUE(rows.ok()) << rows.status();
    ASSERT_FALSE(rows->empty());
    ASSERT_EQ(rows->front().key, "counter");
    const int counter = std::stoi(rows->front().value);
    EXPECT_GE(counter, acknowledged);
    EXPECT_LE(counter, acknowledged + 1);
    EXPECT_EQ(rows->size(), static_cast<size_t>(counter) + 2);  // all or none: a row for each number, and the counter
    next = counter + 1;
  }
}

TEST_F(MetaStoreTest, ALogCutAnywhereLoadsACleanPrefix) {
  // As a power failure leaves it: the database, and a log whose tail did not all arrive.
  const std::string cut_path = directory_ + "/cut.db";
  std::vector<std::string> states = {""};
  {
    auto store = OpenOrDie();
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(store->Apply({{absl::StrCat("row/", i), std::string(700, static_cast<char>('a' + i))}}).ok());
      states.push_back(Contents(*store));
    }
    const std::string log = ReadFile(path_ + "-wal"), database = ReadFile(path_);
    ASSERT_GT(log.size(), 8192u);
    size_t shortest = states.size(), longest = 0;
    for (size_t size = log.size() - 4096; size <= log.size(); ++size) {
      WriteFile(cut_path, database);
      WriteFile(cut_path + "-wal", std::string_view(log).substr(0, size));
      const std::string found = Contents(*OpenOrDie(cut_path));
      const size_t state = static_cast<size_t>(std::find(states.begin(), states.end(), found) - states.begin());
      ASSERT_LT(state, states.size()) << size << ": " << found;
      ASSERT_GE(state, longest == 0 ? 0 : longest) << "a longer log holds no less";
      shortest = std::min(shortest, state);
      longest = state;
    }
    EXPECT_LT(shortest, longest);
    EXPECT_EQ(longest, states.size() - 1);
  }
}

TEST_F(MetaStoreTest, ALogWithFlippedBytesLoadsACleanPrefix) {
  const std::string cut_path = directory_ + "/cut.db";
  std::vector<std::string> states = {""};
  auto store = OpenOrDie();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(store->Apply({{absl::StrCat("row/", i), std::string(700, static_cast<char>('a' + i))}}).ok());
    states.push_back(Contents(*store));
  }
  const std::string log = ReadFile(path_ + "-wal"), database = ReadFile(path_);
  Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = log;
    damaged[rng.Below(damaged.size())] ^= static_cast<char>(1 + rng.Below(255));
    WriteFile(cut_path, database);
    WriteFile(cut_path + "-wal", damaged);
    const auto reopened = SqliteMetaStore::Open(cut_path);
    ASSERT_TRUE(reopened.ok()) << reopened.status();
    const std::string found = Contents(**reopened);
    EXPECT_NE(std::find(states.begin(), states.end(), found), states.end()) << found;
  }
}

// ---- refusals

TEST_F(MetaStoreTest, HasOneOpenerAtATime) {
  auto store = OpenOrDie();
  ExpectOpenFails(absl::StatusCode::kFailedPrecondition, path_);
  store.reset();
  EXPECT_TRUE(SqliteMetaStore::Open(path_).ok());
}

TEST_F(MetaStoreTest, RefusesGarbage) {
  WriteFile(path_, std::string(10'000, 'g'));
  ExpectOpenFails(absl::StatusCode::kDataLoss, path_);
  EXPECT_EQ(ReadFile(path_), std::string(10'000, 'g')) << "it was touched";
}

TEST_F(MetaStoreTest, RefusesAnEmptyFileBesideAFullLog) {
  auto store = OpenOrDie();
  ASSERT_TRUE(store->Apply({{"a", "1"}}).ok());
  const std::string log = ReadFile(path_ + "-wal");
  store.reset();
  WriteFile(path_, "");
  WriteFile(path_ + "-wal", log);
  ExpectOpenFails(absl::StatusCode::kDataLoss, "is empty although its log is not");
  EXPECT_EQ(ReadFile(path_ + "-wal"), log);
}

TEST_F(MetaStoreTest, FindsDamagedPagesAfterAnUncleanEnd) {
  std::string database;
  {
    auto store = OpenOrDie();
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(store->Apply({{absl::StrCat("row/", i), std::string(500, 'x')}}).ok());
  }
  database = ReadFile(path_);
  ASSERT_GT(database.size(), 5 * 4096u);
  std::fill(database.begin() + 2 * 4096, database.begin() + 3 * 4096, '\x5a');
  WriteFile(path_, database);
  WriteFile(path_ + "-wal", std::string(100, 'w'));
  ExpectOpenFails(absl::StatusCode::kDataLoss, path_);
}

TEST_F(MetaStoreTest, RefusesANewerVersion) {
  OpenOrDie().reset();
  RunSql("PRAGMA user_version=7");
  ExpectOpenFails(absl::StatusCode::kFailedPrecondition, "newer Shoal (version 7");
}

TEST_F(MetaStoreTest, RefusesTheFileOfAnotherProgram) {
  RunSql("CREATE TABLE theirs(x)");
  ExpectOpenFails(absl::StatusCode::kFailedPrecondition, "another program");
}

TEST_F(MetaStoreTest, RefusesADirectoryThatIsMissing) {
  path_ = directory_ + "/no/head.db";
  ExpectOpenFails(absl::StatusCode::kNotFound, path_);
}

TEST_F(MetaStoreTest, RefusesADirectoryThatIsReadOnly) {
  const uid_t user = geteuid();
  chmod(directory_.c_str(), 0555);
  ASSERT_EQ(user == 0 ? seteuid(65534) : 0, 0);  // root may write anywhere
  ExpectOpenFails(absl::StatusCode::kPermissionDenied, directory_);
  ASSERT_EQ(seteuid(user), 0);
  chmod(directory_.c_str(), 0700);
}

// ---- disks that fail

// SQLite's own door to the disk, whose writes and syncs fail once told to.
class FailingDisk {
 public:
  enum class Fault { kNone, kFull, kWrite, kSync };
  FailingDisk() {
    sqlite3_vfs* real = sqlite3_vfs_find(nullptr);
    vfs_ = *real;
    vfs_.zName = "failing";
    vfs_.xOpen = Open;
    real_open_ = real->xOpen;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FailingDisk() {
    sqlite3_vfs_unregister(&vfs_);
    fault_ = Fault::kNone;
  }
  void Set(Fault fault) { fault_ = fault; }

 private:
  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    const int code = real_open_(vfs, name, file, flags, out_flags);
    if (code == SQLITE_OK && file->pMethods != nullptr) {
      real_write_ = file->pMethods->xWrite;
      real_sync_ = file->pMethods->xSync;
      sqlite3_io_methods& methods = methods_[file->pMethods];  // they differ in how files are locked
      methods = *file->pMethods;
      methods.xWrite = Write;
      methods.xSync = Sync;
      file->pMethods = &methods;
    }
    return code;
  }
  static int Write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    if (fault_ == Fault::kFull) return SQLITE_FULL;
    if (fault_ == Fault::kWrite) return SQLITE_IOERR_WRITE;
    return real_write_(file, bytes, size, offset);
  }
  static int Sync(sqlite3_file* file, int flags) {
    return fault_ == Fault::kSync ? SQLITE_IOERR_FSYNC : real_sync_(file, flags);
  }

  static inline Fault fault_ = Fault::kNone;
  static inline int (*real_open_)(sqlite3_vfs*, const char*, sqlite3_file*, int, int*) = nullptr;
  static inline int (*real_write_)(sqlite3_file*, const void*, int, sqlite3_int64) = nullptr;
  static inline int (*real_sync_)(sqlite3_file*, int) = nullptr;
  static inline std::map<const sqlite3_io_methods*, sqlite3_io_methods> methods_;
  sqlite3_vfs vfs_{};
};

class MetaStoreDiskTest : public MetaStoreTest {
 protected:
  void ExpectBreaks(FailingDisk::Fault fault, absl::StatusCode code) {
    FailingDisk disk;
    {
      auto store = OpenOrDie();
      ASSERT_TRUE(store->Apply({{"before", "1"}}).ok());
      disk.Set(fault);
      const absl::Status failed = store->Apply({{"lost", "1"}});
      EXPECT_EQ(failed.code(), code) << failed;
      EXPECT_NE(failed.message().find(path_), absl::string_view::npos) << failed;
      disk.Set(FailingDisk::Fault::kNone);
      EXPECT_EQ(store->Apply({{"after", "1"}}), failed) << "it must not go on";
      EXPECT_EQ(store->Load().status(), failed);
    }
    auto store = OpenOrDie();
    const auto rows = store->Load();
    ASSERT_TRUE(rows.ok()) << rows.status();
    ASSERT_GE(rows->size(), 1u);
    EXPECT_EQ(rows->front().key, "before");
    EXPECT_TRUE(store->Apply({{"again", "1"}}).ok());
  }
};

TEST_F(MetaStoreDiskTest, AFullDiskStopsTheStore) {
  ExpectBreaks(FailingDisk::Fault::kFull, absl::StatusCode::kResourceExhausted);
}
TEST_F(MetaStoreDiskTest, AFailedWriteStopsTheStore) {
  ExpectBreaks(FailingDisk::Fault::kWrite, absl::StatusCode::kUnavailable);
}
TEST_F(MetaStoreDiskTest, AFailedSyncStopsTheStore) {
  ExpectBreaks(FailingDisk::Fault::kSync, absl::StatusCode::kUnavailable);
}
TEST_F(MetaStoreDiskTest, AFullDiskIsSaidWhenOpening) {
  FailingDisk disk;
  disk.Set(FailingDisk::Fault::kFull);
  ExpectOpenFails(absl::StatusCode::kResourceExhausted, path_);
}

}  // namespace
}  // namespace shoal::io
