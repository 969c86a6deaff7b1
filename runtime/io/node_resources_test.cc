#include "runtime/io/node_resources.h"

#include "gtest/gtest.h"

namespace shoal::io {
namespace {

TEST(NodeResourcesTest, ThisMachineHasSomethingOfEverything) {
  const MeasuredNode node = MeasureNode("/tmp");
  EXPECT_GE(node.cpus, 1);
  EXPECT_GT(node.memory_bytes, 1u << 20);
  EXPECT_GT(node.disk_bytes, 0u);
  EXPECT_FALSE(node.hostname.empty());
  EXPECT_FALSE(node.user.empty());
}

TEST(NodeResourcesTest, QuotasOfBothVersionsAreRead) {
  EXPECT_EQ(internal::CpusOfQuota("max 100000\n"), 0);
  EXPECT_EQ(internal::CpusOfQuota("250000 100000\n"), 2.5);
  EXPECT_EQ(internal::CpusOfQuota("-1 100000\n"), 0);
  EXPECT_EQ(internal::CpusOfQuota(""), 0);
}

TEST(NodeResourcesTest, TheLoopbackIsReachedFromItself) {
  EXPECT_EQ(*LocalAddressTowards("127.0.0.1", 80), "127.0.0.1");
  EXPECT_EQ(LocalAddressTowards("no such host", 80).status().code(), absl::StatusCode::kUnavailable);
}

TEST(NodeResourcesTest, AddressesNameHostAndPort) {
  EXPECT_EQ(ParseHostPort("example.org:6380")->host, "example.org");
  EXPECT_EQ(ParseHostPort("[::1]:6380")->host, "::1");
  EXPECT_EQ(ParseHostPort("[::1]:6380")->port, 6380);
  for (const char* wrong : {"", "host", ":1", "host:", "host:0", "host:65536", "host:x"}) {
    EXPECT_EQ(ParseHostPort(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

}  // namespace
}  // namespace shoal::io
