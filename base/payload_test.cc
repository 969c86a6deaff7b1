#include "base/payload.h"

#include <string>

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(Payload, KeepsBytesOfAnySize) {
  for (size_t size : {0u, 1u, 27u, 28u, 29u, 1000u}) {
    const std::string bytes(size, 'x');
    EXPECT_EQ(Payload(bytes).view(), bytes);
  }
}

TEST(Payload, CopiesShareLargeBytes) {
  const Payload a(std::string(1000, 'a'));
  const Payload b = a;
  EXPECT_EQ(a.data(), b.data());
}

TEST(Payload, OutlivesItsSource) {
  Payload copy;
  {
    Payload original(std::string(100, 'q'));
    copy = original;
    original = Payload("short");
  }
  EXPECT_EQ(copy.view(), std::string(100, 'q'));
}

TEST(Payload, MovedFromIsEmpty) {
  Payload a(std::string(64, 'z'));
  Payload b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): the state is promised
  EXPECT_EQ(b.size(), 64u);
}

}  // namespace
}  // namespace shoal
