// The zygote's protocol and the worker processes on top of it, against a zygote written for the test in Python.
#include "runtime/io/zygote.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/io/process_tree.h"
#include "runtime/io/worker_processes.h"

namespace shoal::io {
namespace {

// Forks a worker that runs the shell text in the environment variable RUN. With "die" it dies before it answers, so many times (counted
// in a file); with "refuse" it answers with an error.
constexpr char kFakeZygote[] = R"(
import json, os, socket, sys
connection = socket.socket(fileno=3)
print("a fake zygote", flush=True)
while True:
    data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 4)
    if not data:
        break
    request = json.loads(data)
    env = request["env"]
    count = sys.argv[1]
    if "die" in env and (os.path.getsize(count) if os.path.exists(count) else 0) < int(env["die"]):
        open(count, "a").write("x")
        sys.exit("the zygote fell over")
    answer = {"worker": request["worker"]}
    if "refuse" in env:
        answer["error"] = "no"
    else:
        receive, send = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)
                os.dup2(fds[0], 1)
                os.dup2(fds[1], 2)
                os.execve("/bin/sh", ["sh", "-c", env["RUN"]], {**os.environ, **env, "ID": request["worker"]})
            os.write(send, str(child).encode())
            os._exit(0)
        os.close(send)
        os.waitpid(between, 0)
        answer["pid"] = int(os.read(receive, 20))
        os.close(receive)
    for fd in fds:
        os.close(fd)
    connection.send(json.dumps(answer).encode())
)";

class ZygoteTest : public testing::Test {
 protected:
  ZygoteTest() {
    BecomeSubreaper();
    char name[] = "/tmp/zygote-XXXXXX";
    directory_ = mkdtemp(name);
    std::filesystem::create_directory(directory_ + "/logs");
    std::ofstream(directory_ + "/fake.py") << kFakeZygote;
    Make({"/usr/bin/python3", directory_ + "/fake.py", directory_ + "/deaths"});
  }
  ~ZygoteTest() override {
    workers_.reset();
    EXPECT_TRUE(KillDescendants({}, 10s));
    std::filesystem::remove_all(directory_);
  }

  void Make(std::vector<std::string> command) {
    WorkerProcessesHandlers handlers;
    handlers.exited = [this](WorkerId worker, const std::string& how) { Event("exited", worker, how); };
    handlers.failed = [this](WorkerId worker, const ErrorInfo& error) { Event("failed", worker, error.message); };
    handlers.lines = [this](WorkerId, bool is_stderr, std::vector<std::string> lines) {
      for (const std::string& line : lines) {
        lines_.push_back((is_stderr ? "err: " : "out: ") + line);
        if (line == "running") workers_->Kill(WorkerId{7});
      }
    };
    workers_ = std::make_unique<WorkerProcesses>(
        WorkerProcessesOptions{.runtime_dir = directory_, .raylet_socket = "/r.sock", .zygote_command = std::move(command)},
        loop_.get(), std::move(handlers));
  }
  void Event(const std::string& what, WorkerId worker, const std::string& detail) {
    events_.push_back(what + " " + std::to_string(worker.value) + ": " + detail);
    loop_->Stop(0);
  }
  // Until the first event.
  void Run() { loop_->Run(); }

  std::unique_ptr<DaemonLoop> loop_ = *DaemonLoop::Create();
  std::string directory_;
  std::vector<std::string> lines_, events_;
  std::unique_ptr<WorkerProcesses> workers_;
};

TEST_F(ZygoteTest, AWorkerRunsWithItsOutputCaptured) {
  workers_->Start(WorkerId{7}, JobId{1}, {.env_vars = {{"RUN", "echo $ID $GIVEN; echo oops >&2; exit 3"}, {"GIVEN", "x"}}});
  EXPECT_TRUE(workers_->Has(WorkerId{7}));
  Run();
  EXPECT_EQ(events_, std::vector<std::string>({"exited 7: exit status 3; it last printed:\noops"}));
  EXPECT_EQ(lines_, std::vector<std::string>({"out: 0000000000000007 x", "err: oops"}));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/logs/worker-0000000000000007.out"));
  EXPECT_FALSE(workers_->Has(WorkerId{7}));
}

TEST_F(ZygoteTest, KillReachesWhatTheWorkerStarted) {
  workers_->Start(WorkerId{7}, JobId{1}, {.env_vars = {{"RUN", "sleep 1000 & echo running; wait"}}});
  Run();
  EXPECT_EQ(events_, std::vector<std::string>({"exited 7: signal 9 (Killed)"}));
  // The zygote is left, the sleeping process that came to us is not.
  while (DescendantsOf(getpid()).size() > 1) workers_->ReapOrphans();
}

TEST_F(ZygoteTest, AZygoteThatDiesIsStartedAgainAndTheWorkerWithIt) {
  workers_->Start(WorkerId{7}, JobId{1}, {.env_vars = {{"RUN", "exit 0"}, {"die", "1"}}});
  Run();
  EXPECT_EQ(events_, std::vector<std::string>({"exited 7: exit status 0"}));
}

TEST_F(ZygoteTest, AZygoteThatKeepsDyingFailsTheWorkerWithItsLastWords) {
  workers_->Start(WorkerId{7}, JobId{1}, {.env_vars = {{"RUN", "exit 0"}, {"die", "9"}}});
  Run();
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_NE(events_[0].find("failed 7: the Python zygote"), std::string::npos) << events_[0];
  EXPECT_NE(events_[0].find("exit status 1: the zygote fell over; see "), std::string::npos) << events_[0];
}

TEST_F(ZygoteTest, AForkThatFailsIsReported) {
  workers_->Start(WorkerId{7}, JobId{1}, {.env_vars = {{"refuse", "1"}}});
  Run();
  EXPECT_EQ(events_, std::vector<std::string>({"failed 7: the Python zygote could not fork a worker: no"}));
}

TEST_F(ZygoteTest, WithoutPythonTheErrorSaysWhatToDo) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer turns vfork into fork, so that posix_spawn cannot tell";
#endif
  Make({"/no/such/python"});
  workers_->Start(WorkerId{7}, JobId{1}, {});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_NE(events_[0].find("/no/such/python cannot be run: No such file or directory; pass --python PATH"), std::string::npos)
      << events_[0];
}

TEST_F(ZygoteTest, AProgramOfTheUserIsItsOwnWorker) {
  const std::string text = "echo $SHOAL_WORKER_ID $SHOAL_JOB_ID $SHOAL_RAYLET_SOCKET $MORE; kill -9 $$";
  workers_->Start(WorkerId{7}, JobId{1}, {.command = {"/bin/sh", "-c", text}, .env_vars = {{"MORE", "m"}}});
  Run();
  EXPECT_EQ(events_, std::vector<std::string>({"exited 7: signal 9 (Killed)"}));
  EXPECT_EQ(lines_, std::vector<std::string>({"out: 0000000000000007 0000000000000001 /r.sock m"}));
}

TEST_F(ZygoteTest, AProgramThatDoesNotExistFailsAtOnce) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer turns vfork into fork, so that posix_spawn cannot tell";
#endif
  workers_->Start(WorkerId{7}, JobId{1}, {.command = {"/no/such/program"}});
  EXPECT_EQ(events_, std::vector<std::string>({"failed 7: the program /no/such/program cannot be run: No such file or directory"}));
}

}  // namespace
}  // namespace shoal::io
