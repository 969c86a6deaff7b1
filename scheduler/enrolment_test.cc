// Joining the cluster: tokens, keys, and who is let in.
#include "scheduler/head_testing.h"

namespace shoal::scheduler {
namespace {

class Joining : public HeadTest {
 protected:
  void AddToken(const std::string& token, int64_t expires) {
    head_->AddToken(now_, token, expires, &actions_);
    changed_ = actions_.keys_changed;
    Carry();
  }
  absl::StatusOr<NodeId> Enrol(int64_t unix_s, const std::string& token, const std::string& key) {
    auto node = head_->Enrol(now_, unix_s, token, key, &actions_);
    changed_ = actions_.keys_changed;
    Carry();
    return node;
  }
  std::map<std::string, KeyUse> Allowed(int64_t unix_s) {
    std::map<std::string, KeyUse> allowed;
    for (const AllowedKey& key : head_->AllowedKeys(unix_s)) allowed[key.public_key] = key.use;
    return allowed;
  }
  bool changed_ = false;
};
INSTANTIATE_TEST_SUITE_P(Once, Joining, testing::Values(false));

TEST_P(Joining, ATokenAdmitsOneNode) {
  AddToken("token", 1000);
  EXPECT_TRUE(changed_);
  EXPECT_EQ(Allowed(10), (std::map<std::string, KeyUse>{{"token", KeyUse::kToken}}));
  const absl::StatusOr<NodeId> node = Enrol(10, "token", "key-a");
  ASSERT_TRUE(node.ok()) << node.status();
  EXPECT_TRUE(changed_);
  EXPECT_EQ(*node, NodeIdOf("key-a"));
  EXPECT_EQ(Allowed(10), (std::map<std::string, KeyUse>{{"key-a", KeyUse::kNode}, {"token", KeyUse::kSpentToken}}));
  const absl::Status second = Enrol(11, "token", "key-b").status();
  EXPECT_EQ(second.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(Allowed(11).contains("key-b"));
}

TEST_P(Joining, TheSamePairMayAskAgainEvenAfterTheTokensEnd) {
  AddToken("token", 1000);
  const NodeId node = *Enrol(10, "token", "key-a");
  EXPECT_EQ(*Enrol(2000, "token", "key-a"), node);
  EXPECT_FALSE(changed_);
}

TEST_P(Joining, UnknownExpiredAndEmptyAreRefusedInASentence) {
  AddToken("token", 1000);
  EXPECT_NE(Enrol(10, "other", "key-a").status().message().find("unknown"), absl::string_view::npos);
  EXPECT_NE(Enrol(1000, "token", "key-a").status().message().find("expired"), absl::string_view::npos);
  EXPECT_FALSE(Enrol(10, "token", "").ok());
  EXPECT_EQ(Allowed(1000), (std::map<std::string, KeyUse>{{"token", KeyUse::kSpentToken}}));
}

TEST_P(Joining, KeysAndTokensOutliveTheHead) {
  AddToken("spent", 1000);
  AddToken("open", 1000);
  ASSERT_TRUE(Enrol(10, "spent", "key-a").ok());
  const NodeId own = head_->Admit(now_, "key-of-the-head", &actions_);
  Carry();
  Restart();
  EXPECT_EQ(Allowed(10), (std::map<std::string, KeyUse>{{"key-a", KeyUse::kNode},
                                                        {"key-of-the-head", KeyUse::kNode},
                                                        {"open", KeyUse::kToken},
                                                        {"spent", KeyUse::kSpentToken}}));
  EXPECT_EQ(head_->Admit(now_, "key-of-the-head", &actions_), own);
  EXPECT_FALSE(actions_.keys_changed);
  EXPECT_FALSE(Enrol(11, "spent", "key-b").ok());
}

TEST_P(Joining, OldTokensAreForgotten) {
  AddToken("old", 1000);
  AddToken("new", 100'000'000);
  ASSERT_TRUE(Enrol(10'000'000, "new", "key-a").ok());
  EXPECT_FALSE(Allowed(10'000'000).contains("old"));
}

TEST_P(Joining, ANameComesFromTheKeyAlone) {
  EXPECT_EQ(NodeIdOf("a").Hex(), "ca978112ca1bbdca") << "the first bytes of SHA-256";
  EXPECT_NE(NodeIdOf("a"), NodeIdOf("b"));
}

}  // namespace
}  // namespace shoal::scheduler
