#include "runtime/io/process_tree.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "runtime/io/fd.h"
#include "runtime/io/spawn.h"

namespace shoal::io {
namespace {

// A child that made descendants of its own: the output says when they are there.
struct Family {
  int root = 0;
  UniqueFd alive;  // end of file once nobody of the family lives
};

Family Start(const std::string& script) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Family family;
  family.alive = UniqueFd(ends[0]);
  const UniqueFd writer(ends[1]);
  const absl::StatusOr<int> pid = Spawn({.command = {"sh", "-c", script}, .descriptors = {{writer.get(), 1}}});
  EXPECT_TRUE(pid.ok()) << pid.status();
  family.root = *pid;
  char ready = 0;
  EXPECT_EQ(read(family.alive.get(), &ready, 1), 1);
  return family;
}

bool AllGone(Family& family) {
  char byte;
  ssize_t n;
  while ((n = read(family.alive.get(), &byte, 1)) > 0) {
  }
  return n == 0;
}

class ProcessTreeTest : public testing::Test {
 protected:
  void SetUp() override { BecomeSubreaper(); }
};

// A grandchild that left the session and whose parent ended.
constexpr char kRunaway[] = "setsid sh -c '(setsid sleep 1000 & echo x); exec sleep 1000' & wait";

TEST_F(ProcessTreeTest, KillsWhatForkedAwayAndLeftTheSession) {
  Family family = Start(kRunaway);
  EXPECT_GE(DescendantsOf(getpid()).size(), 3u);
  EXPECT_TRUE(KillDescendants({}, 10s));
  EXPECT_TRUE(AllGone(family));
  EXPECT_TRUE(DescendantsOf(getpid()).empty());
}

TEST_F(ProcessTreeTest, SparesWhomItIsToldTo) {
  Family kept = Start("echo x; sleep 1000");
  Family killed = Start(kRunaway);
  EXPECT_TRUE(KillDescendants({kept.root}, 10s));
  EXPECT_TRUE(AllGone(killed));
  EXPECT_EQ(kill(kept.root, 0), 0);
  EXPECT_TRUE(KillDescendants({}, 10s));
}

TEST_F(ProcessTreeTest, ReapsOrphansButNotChildrenThatAreWatched) {
  Family family = Start("(sh -c 'exit 3' &); echo x");  // both end; the inner one comes to us
  EXPECT_TRUE(AllGone(family));
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(family.root), &info, WEXITED | WNOWAIT), 0);
  ReapOrphans([&](int pid) { return pid == family.root; });
  EXPECT_EQ(waitpid(family.root, nullptr, 0), family.root);  // still ours to wait for
  while (!DescendantsOf(getpid()).empty()) ReapOrphans([](int) { return false; });
}

TEST_F(ProcessTreeTest, ACgroupKillsItsWholeTree) {
  std::unique_ptr<Cgroup> group = Cgroup::Create("shoal-test-" + std::to_string(getpid()));
  if (group == nullptr) GTEST_SKIP() << "no writable cgroup of version 2 here";
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Family family{.alive = UniqueFd(ends[0])};
  UniqueFd writer(ends[1]);
  ASSERT_TRUE(Spawn({.command = {"sh", "-c", kRunaway},
                     .descriptors = {{writer.get(), 1}},
                     .cgroup_procs = group->procs_file()}).ok());
  writer.Reset();
  char ready;
  ASSERT_EQ(read(family.alive.get(), &ready, 1), 1);
  group->Kill();
  EXPECT_TRUE(AllGone(family));
  KillDescendants({}, 10s);
  const std::string file = group->procs_file();
  group.reset();
  EXPECT_NE(access(file.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace shoal::io
