// SHOAL_CHECK(condition) << "detail": an invariant that must hold; kept in release builds. A failure prints
// the place, the condition and the detail, and aborts: the supervisor restarts the process. What can
// go wrong in operation is an absl::Status, never a check.
#pragma once

#include <sstream>

namespace shoal::internal {

class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace shoal::internal

#define SHOAL_CHECK(condition)                                                             \
  __builtin_expect(static_cast<bool>(condition), true)                                     \
      ? (void)0                                                                            \
      : ::shoal::internal::Voidify() &                                                     \
            ::shoal::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()
