// Nested tasks: a task may submit tasks and wait for them. While it waits its CPU is lent out, so this cannot deadlock
// however deep it goes, even with one CPU.
#include <cstdio>

#include "runtime/sdk/shoal.h"

namespace {

long Fibonacci(int n) {
  if (n < 2) return n;
  auto first = shoal::Task<Fibonacci>().Remote(n - 1);
  auto second = shoal::Task<Fibonacci>().Remote(n - 2);
  return shoal::Get(first) + shoal::Get(second);
}

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv, {.num_cpus = 1});
  const long value = shoal::Get(shoal::Task<Fibonacci>().Remote(6));
  std::printf("fibonacci(6) = %ld\n", value);
  return value == 8 ? 0 : 1;
}
