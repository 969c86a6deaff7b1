#include "schema/messages.h"

#include "gtest/gtest.h"

namespace shoal {
namespace {

PushTask SomePush() {
  PushTask push;
  push.spec.id = TaskId{WorkerId{9}, 3};
  push.spec.name = "square";
  push.spec.args = Payload(std::string(300, 'a'));
  push.spec.refs.push_back({.ref = {ObjectId{WorkerId{1}, 2}, NodeId{4}}});
  push.lease = LeaseId{77};
  return push;
}

TEST(Messages, HaveNames) {
  EXPECT_STREQ(MessageName(Message(PushTask{})), "PushTask");
  EXPECT_STREQ(MessageName(Message(ListStateReply{})), "ListStateReply");
}

TEST(Messages, SurviveTheRingForm) {
  const Message sent = SomePush();
  Message received;
  ASSERT_TRUE(Decode(Encode(sent), &received));
  ASSERT_TRUE(std::holds_alternative<PushTask>(received));
  EXPECT_EQ(std::get<PushTask>(received).spec.args, std::get<PushTask>(sent).spec.args);
  EXPECT_EQ(StableHash(received), StableHash(sent));
}

TEST(Messages, EveryTruncationIsRefused) {
  const std::string bytes = Encode(Message(SomePush()));
  Message received;
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Decode(std::string_view(bytes).substr(0, size), &received)) << size;
  }
}

TEST(Messages, ShapesWithTheSameNeedsShareAnId) {
  Shape a, b;
  a.resources = ResourceSet::Of({{"CPU", 1}});
  b.resources = ResourceSet::Of({{"CPU", 1}});
  EXPECT_EQ(a.id(), b.id());
  b.strategy.kind = StrategyKind::kSpread;
  EXPECT_NE(a.id(), b.id());
}

}  // namespace
}  // namespace shoal
