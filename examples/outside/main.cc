// 100,000 tasks and 100,000 actor calls from a program outside Shoal's tree; prints both rates.
#include <chrono>
#include <cstdio>
#include <memory>
#include <vector>

#include <shoal/runtime/sdk/shoal.h>

namespace {

constexpr int kCalls = 100'000;

int Increment(int x) { return x + 1; }

struct Counter {
  int total = 0;
  int Add(int n) { return total += n; }
};
std::unique_ptr<Counter> MakeCounter() {
  std::printf("the counter is made\n");  // in its worker; the line comes to the driver's output
  return std::make_unique<Counter>();
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv);

  auto start = std::chrono::steady_clock::now();
  std::vector<shoal::ObjectRef<int>> refs;
  refs.reserve(kCalls);
  const shoal::Task<Increment> increment;
  for (int i = 0; i < kCalls; ++i) refs.push_back(increment.Remote(i));
  long sum = 0;
  for (int value : shoal::Get(refs)) sum += value;
  std::printf("%d tasks, %.0f per second\n", kCalls, kCalls / SecondsSince(start));

  auto counter = shoal::Actor<MakeCounter>().Remote();
  start = std::chrono::steady_clock::now();
  refs.clear();
  auto add = counter.Task<&Counter::Add>();
  for (int i = 0; i < kCalls; ++i) refs.push_back(add.Remote(1));
  const int total = shoal::Get(refs).back();
  std::printf("%d actor calls, %.0f per second\n", kCalls, kCalls / SecondsSince(start));
  return sum == 5'000'050'000 && total == kCalls ? 0 : 1;
}
