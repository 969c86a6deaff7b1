#include "runtime/io/nanny.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/io/runtime_directory.h"

namespace shoal::io {
namespace {

TEST(RestartPolicyTest, PausesGrowAndAFifthDeathInAMinuteIsOneTooMany) {
  RestartPolicy policy;
  const TimePoint start = FromNanoseconds(0);
  EXPECT_EQ(policy.OnDeath(start), 100ms);
  EXPECT_EQ(policy.OnDeath(start + 1s), 200ms);
  EXPECT_EQ(policy.OnDeath(start + 2s), 400ms);
  EXPECT_EQ(policy.OnDeath(start + 3s), 800ms);
  EXPECT_EQ(policy.OnDeath(start + 59s), std::nullopt);
}

TEST(RestartPolicyTest, OldDeathsAreForgiven) {
  RestartPolicy policy;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(policy.OnDeath(FromNanoseconds(0) + i * 16s)) << i;
}

// Shell children: what a real one does with its two descriptors.
constexpr char kReadyThenWait[] = "echo '{\"fact\": 7, \"port\": 6380}' >&4; exec 4>&-; cat <&3";

class NannyTest : public testing::Test {
 protected:
  NannyTest() {
    char name[] = "/tmp/nanny-XXXXXX";
    directory_ = mkdtemp(name);
    std::filesystem::create_directory(directory_ + "/logs");
  }
  ~NannyTest() override {
    nanny_.reset();
    EXPECT_TRUE(DescendantsOf(getpid()).empty());
    std::filesystem::remove_all(directory_);
  }

  // `sh -c script name`, so that the pipes' options appended to the command are parameters that it ignores.
  void Make(std::vector<std::pair<std::string, std::string>> scripts) {
    NannyOptions options{.runtime_dir = directory_, .facts = Json::Object(), .stop_grace = 10s};
    for (const auto& [name, script] : scripts) {
      options.children.push_back({.name = name, .command = {"/bin/sh", "-c", script, name}, .keep = {{"port", "--port"}}});
    }
    nanny_ = std::make_unique<Nanny>(std::move(options), loop_.get());
    nanny_->Start([this](const absl::Status& status) {
      ready_.push_back(status);
      if (on_ready_) on_ready_();
    });
  }
  int Pid(const std::string& child) { return static_cast<int>(nanny_->state().Number(child + "_pid")); }
  std::string Log(const std::string& child) { return *ReadFile(directory_ + "/logs/" + child + ".log"); }

  std::unique_ptr<DaemonLoop> loop_ = *DaemonLoop::Create();
  std::string directory_;
  std::vector<absl::Status> ready_;
  std::function<void()> on_ready_;
  std::unique_ptr<Nanny> nanny_;
};

TEST_F(NannyTest, IsReadyWhenAllChildrenAreAndStopsThemAll) {
  on_ready_ = [this] {
    EXPECT_EQ(nanny_->state().Number("fact"), 7);
    EXPECT_EQ(kill(Pid("head"), 0), 0);
    EXPECT_EQ(kill(Pid("raylet"), 0), 0);
    EXPECT_TRUE(std::filesystem::exists(directory_ + "/state.json"));
    nanny_->Stop(0);
  };
  Make({{"head", kReadyThenWait}, {"raylet", kReadyThenWait}});
  EXPECT_EQ(loop_->Run(), 0);
  EXPECT_EQ(ready_.size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/state.json"));
}

TEST_F(NannyTest, ADeadChildIsStartedAgainWithThePortItHad) {
  // Dies once, then says in its log how it was called; then the test is over.
  const std::string script = "echo \"$@\" >&2; echo '{\"port\": 6380}' >&4; exec 4>&-; "
                             "if [ -e " + directory_ + "/again ]; then kill -TERM $PPID; cat <&3; fi; touch " + directory_ + "/again; exit 9";
  Make({{"head", script}});
  ASSERT_TRUE(loop_->events().WatchSignals({SIGTERM}, [this](int) { nanny_->Stop(0); }).ok());
  EXPECT_EQ(loop_->Run(), 0);
  EXPECT_EQ(Log("head"), "--life-fd 3 --ready-fd 4\n--port 6380 --life-fd 3 --ready-fd 4\n");
}

TEST_F(NannyTest, GivesUpOnAChildThatKeepsDying) {
  Make({{"head", kReadyThenWait}, {"raylet", "echo '{}' >&4; exec 4>&-; exit 3"}});
  EXPECT_EQ(loop_->Run(), 1);
  EXPECT_EQ(nanny_->state().Text("failed"),
            "the raylet died 5 times within a minute, the last time with exit status 3; gave up, see " + directory_ +
                "/logs/raylet.log");
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/state.json"));  // says why
}

TEST_F(NannyTest, AChildThatCannotStartSaysWhyAndNothingStays) {
  Make({{"head", kReadyThenWait}, {"raylet", "echo '{\"error\": \"the port is taken\"}' >&4; exit 1"}});
  EXPECT_EQ(loop_->Run(), 1);
  ASSERT_EQ(ready_.size(), 1u);
  EXPECT_EQ(ready_[0].message(), "the port is taken");
}

TEST_F(NannyTest, WhatAChildLeavesBehindDiesWithIt) {
  on_ready_ = [this] { kill(Pid("raylet"), SIGKILL); };
  // The second time there must be nobody of the first: it looks for its process and stops everything.
  const std::string file = directory_ + "/runaway";
  Make({{"raylet", "if [ -e " + file + " ]; then kill -0 $(cat " + file + ") 2>/dev/null && echo alive >&2; kill -TERM $PPID; fi; "
                   "setsid sh -c 'setsid sleep 1000 & echo $! >" + file + "'; " + kReadyThenWait}});
  ASSERT_TRUE(loop_->events().WatchSignals({SIGTERM}, [this](int) { nanny_->Stop(0); }).ok());
  EXPECT_EQ(loop_->Run(), 0);
  EXPECT_EQ(Log("raylet"), "");
}

TEST_F(NannyTest, AChildThatIgnoresSigtermIsKilled) {
  NannyOptions options{.runtime_dir = directory_, .facts = Json::Object(), .stop_grace = 50ms, .use_cgroup = false};
  options.children.push_back(
      {.name = "head", .command = {"/bin/sh", "-c", std::string("trap '' TERM; ") + kReadyThenWait + "; sleep 1000", "head"}});
  nanny_ = std::make_unique<Nanny>(std::move(options), loop_.get());
  nanny_->Start([this](const absl::Status&) { nanny_->Stop(0); });
  EXPECT_EQ(loop_->Run(), 0);
}

}  // namespace
}  // namespace shoal::io
