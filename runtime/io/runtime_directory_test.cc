#include "runtime/io/runtime_directory.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace shoal::io {
namespace {

class RuntimeDirectoryTest : public testing::Test {
 protected:
  RuntimeDirectoryTest() {
    char name[] = "/tmp/rtdir-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~RuntimeDirectoryTest() override { std::filesystem::remove_all(root_); }

  std::string root_;
};

TEST_F(RuntimeDirectoryTest, IsMadeForItsOwnerAlone) {
  const std::string path = root_ + "/deep/er/one";
  ASSERT_TRUE(PrepareRuntimeDirectory(path).ok());
  struct stat info {};
  ASSERT_EQ(stat((path + "/logs").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_TRUE(PrepareRuntimeDirectory(path).ok());  // again
}

TEST_F(RuntimeDirectoryTest, OneThatOthersCanEnterIsRefused) {
  std::filesystem::create_directory(root_ + "/open");
  chmod((root_ + "/open").c_str(), 0755);
  EXPECT_EQ(PrepareRuntimeDirectory(root_ + "/open").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(PrepareRuntimeDirectory("relative").code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::create_directory_symlink("/tmp", root_ + "/link");
  EXPECT_EQ(PrepareRuntimeDirectory(root_ + "/link").code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(RuntimeDirectoryTest, HasOneHolderAtATime) {
  EXPECT_EQ(LockHolder(root_), std::nullopt);
  {
    const absl::StatusOr<DirectoryLock> lock = DirectoryLock::Take(root_);
    ASSERT_TRUE(lock.ok()) << lock.status();
    EXPECT_EQ(LockHolder(root_), getpid());
    EXPECT_EQ(DirectoryLock::Take(root_).status().code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(LockHolder(root_), std::nullopt);
  EXPECT_TRUE(DirectoryLock::Take(root_).ok());
}

TEST_F(RuntimeDirectoryTest, ADeadHolderHoldsNothing) {
  const pid_t child = fork();
  if (child == 0) {
    const absl::StatusOr<DirectoryLock> lock = DirectoryLock::Take(root_);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(LockHolder(root_), std::nullopt);
}

TEST_F(RuntimeDirectoryTest, LocalDirectoriesOfKilledRuntimesAreSwept) {
  setenv("XDG_RUNTIME_DIR", root_.c_str(), 1);
  const absl::StatusOr<std::string> dead = NewLocalDirectory();
  const absl::StatusOr<std::string> alive = NewLocalDirectory();
  ASSERT_TRUE(dead.ok() && alive.ok());
  for (const auto& path : {*dead, *alive}) ASSERT_TRUE(PrepareRuntimeDirectory(path).ok());
  ASSERT_TRUE(DirectoryLock::Take(*dead).ok());  // and let go at once
  const absl::StatusOr<DirectoryLock> held = DirectoryLock::Take(*alive);
  const absl::StatusOr<std::string> next = NewLocalDirectory();
  unsetenv("XDG_RUNTIME_DIR");
  ASSERT_TRUE(next.ok());
  EXPECT_FALSE(std::filesystem::exists(*dead));
  EXPECT_TRUE(std::filesystem::exists(*alive));
  EXPECT_NE(*next, *alive);
}

TEST_F(RuntimeDirectoryTest, TheDefaultFollowsTheEnvironment) {
  setenv("SHOAL_RUNTIME_DIR", "/somewhere", 1);
  EXPECT_EQ(DefaultRuntimeDirectory(), "/somewhere");
  unsetenv("SHOAL_RUNTIME_DIR");
  setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  EXPECT_EQ(DefaultRuntimeDirectory(), "/run/user/7/shoal/default");
  unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(DefaultRuntimeDirectory(), "/tmp/shoal-" + std::to_string(geteuid()) + "/default");
}

TEST_F(RuntimeDirectoryTest, FilesAreReplacedWhole) {
  const std::string path = root_ + "/state.json";
  EXPECT_EQ(ReadFile(path).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(path, "one").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "two").ok());
  EXPECT_EQ(*ReadFile(path), "two");
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_FALSE(WriteFileAtomically(root_ + "/missing/file", "x").ok());
}

}  // namespace
}  // namespace shoal::io
