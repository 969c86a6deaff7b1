// Tasks: functions that run elsewhere. References stand for values that do not exist yet.
#include <cstdio>
#include <vector>

#include "runtime/sdk/shoal.h"

namespace {

int Square(int x) { return x * x; }
int Sum(const std::vector<int>& values) {
  int total = 0;
  for (int value : values) total += value;
  return total;
}
int Add(int a, int b) { return a + b; }

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv);

  std::vector<shoal::ObjectRef<int>> squares;
  for (int i = 0; i < 100; ++i) squares.push_back(shoal::Task<Square>().Remote(i));
  const int direct = Sum(shoal::Get(squares));

  // The second task starts when the first has a result; the value does not pass through this program.
  auto nine = shoal::Task<Square>().Remote(3);
  auto ten = shoal::Task<Add>().Remote(nine, 1);

  // The fastest half, whichever it is.
  shoal::WaitResult<int> waited = shoal::Wait(squares, 50);

  std::printf("sum of squares %d, 3 * 3 + 1 = %d, %zu ready\n", direct, shoal::Get(ten), waited.ready.size());
  return direct == 328350 && shoal::Get(ten) == 10 && waited.ready.size() == 50 ? 0 : 1;
}
