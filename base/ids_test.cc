#include "base/ids.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

TEST(Ids, PrintAsSixteenHexDigits) {
  EXPECT_EQ(NodeId{0xab}.Hex(), "00000000000000ab");
  EXPECT_EQ((ObjectId{WorkerId{1}, 2}.Hex()), "00000000000000010000000000000002");
}

TEST(Ids, ZeroIsNone) {
  EXPECT_FALSE(NodeId{});
  EXPECT_TRUE(NodeId{1});
}

TEST(Ids, ATaskIsNamedByItsFirstResult) {
  const TaskId task{WorkerId{7}, 40};
  EXPECT_EQ(task.Return(0), (ObjectId{WorkerId{7}, 40}));
  EXPECT_EQ(task.Return(2), (ObjectId{WorkerId{7}, 42}));
}

TEST(Ids, AddressesTellHeadRayletAndWorkerApart) {
  EXPECT_TRUE(Address::Head().is_head());
  EXPECT_TRUE(Address::Raylet(NodeId{1}).is_raylet());
  EXPECT_FALSE((Address{NodeId{1}, WorkerId{2}}.is_raylet()));
}

}  // namespace
}  // namespace shoal
