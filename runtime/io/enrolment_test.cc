#include "runtime/io/enrolment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/rng.h"
#include "runtime/io/network_test_util.h"

namespace shoal::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

JoinToken TokenOf(const TestNode& head) {
  return {.cluster_id = kTestCluster, .head_public_key = head.keys().public_key, .keys = KeyPair::Draw()};
}
void Allow(TestNode* head, const JoinToken& token, const std::string& refusal = "") {
  head->InLoop([&](Network* network) { network->SetTokens({{token.keys.public_key, refusal}}); });
}
std::string SentenceOf(const absl::Status& status) { return std::string(status.message()); }

TEST(Enrol, ATokenLetsAMachineIn) {
  TestNode head(0);
  head.AnswerEnrolWith([](const std::string&, const std::string&) { return NodeId{7}; });
  const JoinToken token = TokenOf(head);
  const KeyPair keys = KeyPair::Draw();
  Allow(&head, token);
  const auto enrolment = Enrol(head.endpoint(), token, keys.public_key);
  ASSERT_TRUE(enrolment.ok()) << enrolment.status();
  EXPECT_EQ(enrolment->node, NodeId{7});
  EXPECT_EQ(enrolment->cluster_id, kTestCluster);
  EXPECT_THAT(head.heard().enrolled, ElementsAre(Pair(token.keys.public_key, keys.public_key)));

  // And from now on the machine is known by its own key.
  TestNode node(7, keys);
  head.SetPeers({node.AsSilentPeer()});
  node.SetPeers({head.AsPeer()});
  ASSERT_TRUE(node.Send(NodeId{0}, "here I am").ok());
  EXPECT_TRUE(head.Await(HasMessages(1)));
}

TEST(Enrol, ATokenThatTheHeadDoesNotKnowIsRefused) {
  TestNode head(0);
  const auto enrolment = Enrol(head.endpoint(), TokenOf(head), KeyPair::Draw().public_key);
  EXPECT_EQ(enrolment.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr("unknown token"));
  EXPECT_TRUE(head.heard().enrolled.empty());
}

TEST(Enrol, ASpentTokenIsRefusedWithItsOwnSentence) {
  TestNode head(0);
  const JoinToken token = TokenOf(head);
  Allow(&head, token, "this token was used by node 12ab; make another one");
  const auto enrolment = Enrol(head.endpoint(), token, KeyPair::Draw().public_key);
  EXPECT_EQ(enrolment.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr("used by node 12ab"));
  EXPECT_TRUE(head.heard().enrolled.empty());
}

TEST(Enrol, WhatTheHeadAnswersIsPassedOn) {
  TestNode head(0);
  head.AnswerEnrolWith([](const std::string&, const std::string&) -> absl::StatusOr<NodeId> {
    return absl::PermissionDeniedError("this token expired a minute ago");
  });
  const JoinToken token = TokenOf(head);
  Allow(&head, token);
  const auto enrolment = Enrol(head.endpoint(), token, KeyPair::Draw().public_key);
  EXPECT_EQ(enrolment.status(), absl::PermissionDeniedError("this token expired a minute ago"));
}

TEST(Enrol, ATokenIsGoodForNothingElse) {
  TestNode head(0);
  const JoinToken token = TokenOf(head);
  Allow(&head, token);
  // Somebody uses the token's key as if it were a node's.
  TestNode abuser(7, token.keys);
  abuser.SetPeers({head.AsPeer()});
  ASSERT_TRUE(abuser.Send(NodeId{0}, "as a node").ok());
  ASSERT_TRUE(abuser.Await(WasRefused));
  EXPECT_TRUE(head.heard().messages.empty());
}

TEST(Enrol, AnotherClusterIsNamedAsTheLikelyCause) {
  TestNode other(0);  // holds another key
  TestNode head(0);
  const JoinToken token = TokenOf(head);
  const auto enrolment = Enrol(other.endpoint(), token, KeyPair::Draw().public_key);
  EXPECT_EQ(enrolment.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr("not the head that made this token"));
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr(other.endpoint()));
}

TEST(Enrol, NobodyAtTheAddressIsNamed) {
  TestNode head(0);
  const auto enrolment = Enrol("127.0.0.1:1", TokenOf(head), KeyPair::Draw().public_key, Duration(300ms));
  EXPECT_EQ(enrolment.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr("nobody answers at 127.0.0.1:1"));
  EXPECT_EQ(Enrol("nonsense", TokenOf(head), KeyPair::Draw().public_key).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Enrol, AnotherProtocolVersionIsRefusedInWords) {
  TestNode head(0, KeyPair::Draw(), [](NetworkOptions* options) { options->protocol_version = 2; });
  const JoinToken token = TokenOf(head);
  Allow(&head, token);
  const auto enrolment = Enrol(head.endpoint(), token, KeyPair::Draw().public_key);
  EXPECT_EQ(enrolment.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(SentenceOf(enrolment.status()), HasSubstr("protocol version 1"));
  EXPECT_TRUE(head.heard().enrolled.empty());
}

TEST(EnrolWire, GarbageIsNoRequestAndNoReply) {
  Rng rng(3);
  const std::string request = EncodeEnrolRequest({1, 2, std::string(40, 'k')});
  const std::string reply = EncodeEnrolReply(Enrolment{NodeId{1}, 2});
  ASSERT_TRUE(DecodeEnrolRequest(request).has_value());
  ASSERT_TRUE(DecodeEnrolReply(reply).ok());
  for (size_t i = 0; i < request.size(); ++i) EXPECT_FALSE(DecodeEnrolRequest(request.substr(0, i)).has_value());
  for (size_t i = 0; i < reply.size(); ++i) EXPECT_FALSE(DecodeEnrolReply(reply.substr(0, i)).ok());
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes = rng.Chance(0.5) ? request : reply;
    bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Next());
    DecodeEnrolRequest(bytes);
    static_cast<void>(DecodeEnrolReply(bytes).ok());
  }
}

}  // namespace
}  // namespace shoal::io
