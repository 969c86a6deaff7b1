// The C++ SDK against a runtime of its own: errors are typed and say in one sentence what is wrong and how to mend it.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/sdk/launch.h"
#include "runtime/sdk/shoal.h"

using namespace std::chrono_literals;

struct Counter {
  int total = 0;
  int Add(int n) { return total += n; }
  void Print() { std::puts("from an actor"); }
  int Fail() { throw std::runtime_error("no more"); }
};
std::unique_ptr<Counter> MakeCounter() { return std::make_unique<Counter>(); }

namespace {

// What `call` throws as an E; "" if nothing.
template <class E, class F>
std::string MessageOf(const F& call) {
  try {
    call();
  } catch (const E& e) {
    return e.what();
  }
  return "";
}

std::string RefusalOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const shoal::SystemError& e) {
    return e.kind() == shoal::ErrorKind::kInvalidArgument ? e.what() : "of another kind";
  }
  return "";
}

std::unique_ptr<Counter> MakeNull() { return nullptr; }
std::unique_ptr<Counter> MakeNothing() { throw std::runtime_error("none today"); }
int Increment(int n) { return n + 1; }
int WaitForASignal() { return pause(); }
void Print() {
  std::printf("one\ntw");
  std::cout << "o" << std::endl;
  std::fprintf(stderr, "thr%s\n", "ee");
  std::cerr << "fo" << "ur\n";
}
bool IsFull(shoal::ObjectRef<int> ref) { return static_cast<bool>(ref); }
int AddOne(shoal::ActorHandle<Counter> counter) { return shoal::Get(counter.Task<&Counter::Add>().Remote(1)); }

// In a process of its own, whose functions could not be called afterwards.
TEST(NamesDeathTest, TwoOfOneNameAreRefusedByInit) {
  const auto start = [] {
    for (int i = 0; i < 2; ++i) shoal::internal::RegisterInvoker("{anonymous}::Square", nullptr);
    std::fputs(MessageOf<shoal::Error>([] { shoal::Init(0, nullptr); }).c_str(), stderr);
    std::_Exit(3);
  };
  EXPECT_EXIT(start(), testing::ExitedWithCode(3), "two remote functions.*are called `.anonymous.::Square`.*rename one");
}

TEST(Names, AMethodIsCalledAsInItsClass) {
  auto counter = shoal::Actor<MakeCounter>().Remote();
  EXPECT_EQ(MessageOf<shoal::TaskError>([&] { shoal::Get(counter.Task<&Counter::Fail>().Remote()); }), "Counter::Fail threw: no more");
}

TEST(Binary, OneThatIsNotThereIsNamedWithWhoNamesIt) {
  const auto failure_of = [](const std::string& binary) {
    return std::string(shoal::internal::LocalRuntime::Start(binary, -1).status().message());
  };
  const std::string given = std::getenv("SHOAL_BINARY");
  setenv("SHOAL_BINARY", "/nope", 1);
  EXPECT_EQ(failure_of(""), "SHOAL_BINARY names /nope, which is no program: correct or unset it");
  setenv("SHOAL_BINARY", given.c_str(), 1);
  EXPECT_EQ(failure_of("/tmp"), "InitOptions::binary names /tmp, which is no program: correct or unset it");
}

TEST(Empty, AReferenceIsRefusedWhereItIsUsed) {
  const shoal::ObjectRef<int> empty;
  const std::string rest = " is empty (default-constructed or moved from): Remote() and Put() return full ones";
  EXPECT_EQ(RefusalOf([&] { shoal::Get(empty, 20s); }), "an ObjectRef given to Get" + rest);
  EXPECT_EQ(RefusalOf([&] { shoal::Wait(std::vector{shoal::Put(1), empty}, 2, 20s); }), "an ObjectRef given to Wait" + rest);
  EXPECT_EQ(RefusalOf([&] { shoal::Wait(std::vector{shoal::Put(1)}, 2); }),
            "Wait for 2 of 1 references would never end; pass at most their number");
  EXPECT_EQ(RefusalOf([&] { shoal::Cancel(empty); }), "an ObjectRef given to Cancel" + rest);
  EXPECT_EQ(RefusalOf([&] { shoal::Task<Increment>().Remote(empty); }), "an ObjectRef given to Remote" + rest);
}

TEST(Empty, AReferenceMayTravelInsideAValue) {
  EXPECT_FALSE(shoal::Get(shoal::Task<IsFull>().Remote(shoal::ObjectRef<int>()), 20s));
  EXPECT_FALSE(shoal::Get(shoal::Put(std::vector{shoal::ObjectRef<int>()})).front());
}

TEST(Empty, AnActorHandleIsRefused) {
  const shoal::ActorHandle<Counter> empty;
  const std::string all = "an ActorHandle is empty: Actor<...>().Remote() and GetActor() return full ones";
  EXPECT_EQ(RefusalOf([&] { empty.Task<&Counter::Add>().Remote(1); }), all);
  EXPECT_EQ(RefusalOf([&] { empty.Kill(); }), all);
}

TEST(Timeouts, NameTheObjectAndTheTaskThatMakesIt) {
  auto waits = shoal::Task<WaitForASignal>().Remote();
  EXPECT_EQ(MessageOf<shoal::TimeoutError>([&] { shoal::Get(waits, 1ms); }),
            "the value of object " + waits.Hex() + ", which {anonymous}::WaitForASignal makes, was not there in time");
  EXPECT_EQ(MessageOf<shoal::TimeoutError>([&] { shoal::Get(std::vector{shoal::Put(1), waits}, 1ms); }),
            "not all of the values were there in time: object " + waits.Hex() + ", which {anonymous}::WaitForASignal makes, was not");
  shoal::Cancel(waits, /*force=*/true);
}

// As in Python, and it is not tried again.
TEST(Actors, OneWhoseConstructorThrewIsDead) {
  auto counter = shoal::Actor<MakeNothing>({.max_restarts = 1}).Remote();
  for (int i = 0; i < 2; ++i) {
    try {
      shoal::Get(counter.Task<&Counter::Add>().Remote(1), 20s);
      ADD_FAILURE() << "it lives";
    } catch (const shoal::SystemError& e) {
      EXPECT_EQ(e.kind(), shoal::ErrorKind::kActorDied);
      EXPECT_THAT(e.what(), testing::EndsWith("its constructor raised an error: {anonymous}::MakeNothing threw: none today"));
    }
  }
}

TEST(Actors, OneWithoutAnObjectIsDead) {
  auto counter = shoal::Actor<MakeNull>().Remote();
  EXPECT_THAT(MessageOf<shoal::SystemError>([&] { shoal::Get(counter.Task<&Counter::Add>().Remote(1), 20s); }),
              testing::HasSubstr("returned a null pointer instead of an object"));
}

// Its handle carries no reference that keeps the actor alive.
TEST(Actors, ANamedOneMayBeGivenToATask) {
  auto counter = shoal::Actor<MakeCounter>({.name = "counter"}).Remote();
  shoal::Get(counter.Task<&Counter::Add>().Remote(1), 20s);
  EXPECT_EQ(shoal::Get(shoal::Task<AddOne>().Remote(shoal::GetActor<Counter>("counter")), 20s), 2);
}

TEST(Output, EachLineComesWithTheNameOfWhatPrintedIt) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  shoal::Get(shoal::Task<Print>().Remote(), 20s);
  shoal::internal::Core().CatchUpOnLogs();
  auto counter = shoal::Actor<MakeCounter>().Remote();
  shoal::Get(counter.Task<&Counter::Print>().Remote(), 20s);
  shoal::internal::Core().CatchUpOnLogs();
  const std::string print = "\\(.anonymous.::Print pid=[0-9]+, node=[0-9a-f]+\\) ";
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::MatchesRegex(print + "one\n" + print + "two\n" + "\\(MakeCounter pid=[0-9]+, node=[0-9a-f]+\\) from an actor\n"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::MatchesRegex(print + "three\n" + print + "four\n"));
}

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv, {.num_cpus = 2});
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  return RUN_ALL_TESTS();
}
