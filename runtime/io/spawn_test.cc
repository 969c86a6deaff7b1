#include "runtime/io/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "runtime/io/fd.h"

namespace shoal::io {
namespace {

// Runs a shell line and returns what it wrote to its stdout.
std::string OutputOf(SpawnOptions options) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]), writer(ends[1]);
  options.descriptors.emplace_back(writer.get(), 1);
  const absl::StatusOr<int> pid = Spawn(options);
  EXPECT_TRUE(pid.ok()) << pid.status();
  writer.Reset();
  std::string output;
  char chunk[4096];
  for (ssize_t n; (n = read(reader.get(), chunk, sizeof(chunk))) > 0;) output.append(chunk, static_cast<size_t>(n));
  int status = 0;
  EXPECT_EQ(waitpid(*pid, &status, 0), *pid);
  EXPECT_EQ(DescribeExit(status), "exit status 0");
  return output;
}

TEST(SpawnTest, PassesNamedDescriptorsAndNoOthers) {
  const UniqueFd careless(open("/dev/null", O_RDONLY));
  const std::string listed = OutputOf({.command = {"sh", "-c", "ls /proc/$$/fd; readlink /proc/$$/fd/0"}});
  EXPECT_EQ(listed, "0\n1\n2\n/dev/null\n");
}

TEST(SpawnTest, DescriptorsMayTradeNumbers) {
  int a[2], b[2];
  ASSERT_EQ(pipe2(a, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(b, O_CLOEXEC), 0);
  UniqueFd ar(a[0]), aw(a[1]), br(b[0]), bw(b[1]);
  const std::string script = "echo first >&" + std::to_string(bw.get()) + "; echo second >&" + std::to_string(aw.get());
  const absl::StatusOr<int> pid =
      Spawn({.command = {"sh", "-c", script}, .descriptors = {{aw.get(), bw.get()}, {bw.get(), aw.get()}}});
  ASSERT_TRUE(pid.ok());
  ASSERT_EQ(waitpid(*pid, nullptr, 0), *pid);
  char text[16] = {};
  EXPECT_EQ(read(ar.get(), text, sizeof(text)), 6);
  EXPECT_STREQ(text, "first\n");
}

TEST(SpawnTest, TheEnvironmentIsOursWithChanges) {
  setenv("SPAWN_TEST_KEPT", "kept", 1);
  setenv("SPAWN_TEST_CHANGED", "old", 1);
  EXPECT_EQ(OutputOf({.command = {"sh", "-c", "echo $SPAWN_TEST_KEPT $SPAWN_TEST_CHANGED"},
                      .environment = {{"SPAWN_TEST_CHANGED", "new"}}}),
            "kept new\n");
}

TEST(SpawnTest, SignalsAreFreshInTheChild) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked, before;
  sigfillset(&blocked);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  const std::string output = OutputOf({.command = {"sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status | tr -d '\\t'"}});
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  unsigned long long mask = 1, ignored = 1;
  ASSERT_EQ(std::sscanf(output.c_str(), "SigBlk:%llx\nSigIgn:%llx", &mask, &ignored), 2) << output;
  EXPECT_EQ(mask, 0u);
  // Signals 32 and 33 belong to the C library, which lets nobody change them.
  EXPECT_EQ(ignored & ~(3ull << 31), 0u);
}

TEST(SpawnTest, AGroupOfItsOwnAndAScoreForTheOomKiller) {
  const std::string output = OutputOf({.command = {"sh", "-c", "test $(ps -o pgid= -p $$) = $$ && cat /proc/self/oom_score_adj"},
                                       .own_group = true,
                                       .oom_score_adj = 1000});
  EXPECT_EQ(output, "1000\n");
}

TEST(SpawnTest, AProgramThatCannotBeRunIsAnError) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer turns vfork into fork, so that posix_spawn cannot tell";
#endif
  EXPECT_EQ(Spawn({.command = {"no-such-program-anywhere"}}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Spawn({.command = {"/no/such/path"}}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Spawn({.command = {"/etc/passwd"}}).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(Spawn({}).ok());
}

TEST(SpawnTest, ExitsAreDescribedInWords) {
  EXPECT_EQ(DescribeExit(W_EXITCODE(3, 0)), "exit status 3");
  EXPECT_EQ(DescribeExit(W_EXITCODE(0, SIGKILL)), "signal 9 (Killed)");
}

}  // namespace
}  // namespace shoal::io
