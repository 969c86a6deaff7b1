#include "runtime/io/event_loop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/io/clock.h"

namespace shoal::io {
namespace {

class EventLoopTest : public testing::Test {
 protected:
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

UniqueFd SetEvent() { return UniqueFd(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)); }

TEST_F(EventLoopTest, CallsWhoWatchesAReadyDescriptor) {
  UniqueFd event = SetEvent();
  uint32_t seen = 0;
  ASSERT_TRUE(loop_
                  ->AddFd(event.get(), EPOLLIN,
                          [&](uint32_t events) {
                            seen = events;
                            loop_->Stop();
                          })
                  .ok());
  EXPECT_EQ(loop_->AddFd(event.get(), EPOLLIN, {}).code(), absl::StatusCode::kAlreadyExists);
  loop_->Run();
  EXPECT_EQ(seen, uint32_t{EPOLLIN});
}

TEST_F(EventLoopTest, RefusesADescriptorThatIsNotOpen) {
  EXPECT_EQ(loop_->AddFd(-1, EPOLLIN, {}).code(), absl::StatusCode::kInvalidArgument);
  loop_->ChangeFd(77, EPOLLIN);
  loop_->RemoveFd(77);
}

TEST_F(EventLoopTest, ADescriptorRemovedInTheSameBatchIsNotCalled) {
  UniqueFd a = SetEvent(), b = SetEvent();
  int calls = 0;
  const auto remove_both = [&](uint32_t) {
    ++calls;
    loop_->RemoveFd(a.get());
    loop_->RemoveFd(b.get());
    loop_->Post([&] { loop_->Stop(); });
  };
  ASSERT_TRUE(loop_->AddFd(a.get(), EPOLLIN, remove_both).ok());
  ASSERT_TRUE(loop_->AddFd(b.get(), EPOLLIN, remove_both).ok());
  loop_->Run();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ANewWatchOfTheSameNumberDoesNotGetTheOldOnesEvent) {
  UniqueFd a = SetEvent(), b = SetEvent();
  std::vector<std::string> calls;
  const auto replace_other = [&](UniqueFd& other) {
    return [&](uint32_t) {
      calls.push_back("old");
      const int number = other.get();
      loop_->RemoveFd(number);
      const UniqueFd silent(eventfd(0, EFD_CLOEXEC));
      other.Release();
      other = UniqueFd(dup3(silent.get(), number, O_CLOEXEC));  // the same number, another file
      loop_->Post([&] { loop_->Stop(); });
      ASSERT_TRUE(loop_->AddFd(number, EPOLLIN, [&](uint32_t) { calls.push_back("new"); }).ok());
      loop_->RemoveFd(&other == &a ? b.get() : a.get());
    };
  };
  ASSERT_TRUE(loop_->AddFd(a.get(), EPOLLIN, replace_other(b)).ok());
  ASSERT_TRUE(loop_->AddFd(b.get(), EPOLLIN, replace_other(a)).ok());
  loop_->Run();
  EXPECT_EQ(calls, std::vector<std::string>{"old"});
}

TEST_F(EventLoopTest, RunsPostedWorkInOrderInItsOwnThread) {
  std::vector<int> order;
  const std::thread::id loop_thread = std::this_thread::get_id();
  bool right_thread = true;
  std::thread poster([&] {
    for (int i = 0; i < 10'000; ++i) {
      loop_->Post([&, i] {
        order.push_back(i);
        right_thread &= std::this_thread::get_id() == loop_thread;
      });
    }
    loop_->Post([&] { loop_->Stop(); });
  });
  loop_->Run();
  poster.join();
  ASSERT_EQ(order.size(), 10'000u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_TRUE(right_thread);
}

TEST_F(EventLoopTest, StopsFromAnotherThreadAndBeforeRun) {
  std::thread other([&] { loop_->Stop(); });
  loop_->Run();  // returns whichever came first
  other.join();
}

TEST_F(EventLoopTest, TicksWhenTheDeadlineHasPassedAndNotBefore) {
  const TimePoint due = MonotonicNow() + 20ms;
  std::optional<TimePoint> ticked;
  loop_->SetTimer([&]() -> std::optional<TimePoint> { return due; },
                  [&] {
                    ticked = MonotonicNow();
                    loop_->Stop();
                  });
  loop_->Run();
  ASSERT_TRUE(ticked.has_value());
  EXPECT_GE(*ticked, due);
}

TEST_F(EventLoopTest, CallsAfterOncePerBatchBeforeItSleeps) {
  int after = 0, posted = 0;
  loop_->SetAfter([&] {
    ++after;
    if (posted == 2) loop_->Stop();
  });
  loop_->Post([&] { ++posted; });
  loop_->Post([&] { ++posted; });
  loop_->Run();
  EXPECT_EQ(after, 2);
}

TEST_F(EventLoopTest, TellsHowEachChildEnded) {
  const auto child = [](auto body) {
    const pid_t pid = fork();
    if (pid == 0) body();
    return pid;
  };
  const pid_t exits = child([] { _exit(7); });
  const pid_t killed = child([] {
    pause();
    _exit(0);
  });
  int ended = 0, exit_status = 0, kill_status = 0;
  const auto one_more = [&] {
    if (++ended == 2) loop_->Stop();
  };
  ASSERT_TRUE(
      loop_->WatchProcess(exits, [&](int status) { exit_status = status, one_more(); }).ok());
  ASSERT_TRUE(
      loop_->WatchProcess(killed, [&](int status) { kill_status = status, one_more(); }).ok());
  kill(killed, SIGKILL);
  loop_->Run();
  EXPECT_TRUE(WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 7) << exit_status;
  EXPECT_TRUE(WIFSIGNALED(kill_status) && WTERMSIG(kill_status) == SIGKILL) << kill_status;
  EXPECT_EQ(waitpid(exits, nullptr, WNOHANG), -1) << "reaped";
}

TEST_F(EventLoopTest, AProcessThatIsNotAChildHasAnUnknownStatus) {
  // The child writes the grandchild's number; the pipe that the grandchild reads keeps it alive
  // until closed.
  int numbers[2], life[2];
  ASSERT_EQ(pipe(numbers), 0);
  ASSERT_EQ(pipe(life), 0);
  const pid_t child = fork();
  if (child == 0) {
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      close(life[1]);
      char byte;
      static_cast<void>(!read(life[0], &byte, 1));
      _exit(0);
    }
    static_cast<void>(!write(numbers[1], &grandchild, sizeof(grandchild)));
    _exit(0);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(read(numbers[0], &grandchild, sizeof(grandchild)), ssize_t{sizeof(grandchild)});
  waitpid(child, nullptr, 0);
  int seen = 0;
  ASSERT_TRUE(loop_
                  ->WatchProcess(grandchild,
                                 [&](int status) {
                                   seen = status;
                                   loop_->Stop();
                                 })
                  .ok());
  close(life[1]);
  loop_->Run();
  EXPECT_EQ(seen, kUnknownExitStatus);
  for (const int fd : {numbers[0], numbers[1], life[0]}) close(fd);
}

TEST_F(EventLoopTest, DoesNotWatchAProcessThatIsGone) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(loop_->WatchProcess(child, {}).code(), absl::StatusCode::kNotFound);
}

TEST_F(EventLoopTest, DeliversSignals) {
  std::vector<int> seen;
  ASSERT_TRUE(loop_
                  ->WatchSignals({SIGTERM, SIGUSR1},
                                 [&](int signal) {
                                   seen.push_back(signal);
                                   if (seen.size() == 2) loop_->Stop();
                                 })
                  .ok());
  kill(getpid(), SIGUSR1);
  kill(getpid(), SIGTERM);
  loop_->Run();
  EXPECT_EQ(seen.size(), 2u);
}

}  // namespace
}  // namespace shoal::io
