#include "runtime/io/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/network_test_util.h"

namespace shoal::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const NodeId kHead{0}, kNode{7}, kOther{8};

struct Linked {
  TestNode head{0}, node{7};
  Linked() {
    head.SetPeers({node.AsSilentPeer()});
    node.SetPeers({head.AsPeer()});
  }
};

TEST(Network, DeliversBothWaysOverTheOneConnection) {
  Linked l;
  ASSERT_TRUE(l.node.SendAs(kHead, {kNode, WorkerId{3}}, "to the head").ok());
  ASSERT_TRUE(l.head.Send(kNode, "to the node").ok());
  ASSERT_TRUE(l.head.Await(HasMessages(1)));
  ASSERT_TRUE(l.node.Await(HasMessages(1)));
  const Heard head = l.head.heard(), node = l.node.heard();
  EXPECT_THAT(head.messages, ElementsAre("to the head"));
  EXPECT_THAT(head.from, ElementsAre(Address{kNode, WorkerId{3}}));
  EXPECT_THAT(head.to, ElementsAre(Address{kHead, WorkerId{5}}));
  EXPECT_THAT(node.messages, ElementsAre("to the node"));
  EXPECT_TRUE(l.head.Await(IsReachable));
  EXPECT_TRUE(l.node.Await(IsReachable));
  EXPECT_THAT(head.resets, ElementsAre());
  EXPECT_THAT(node.refused, ElementsAre());
}

TEST(Network, RayletsThatKnowEachOthersAddressFindTogether) {
  TestNode a(7), b(8);
  a.SetPeers({b.AsPeer()});
  b.SetPeers({a.AsPeer()});
  ASSERT_TRUE(b.Send(kNode, "from b").ok());
  ASSERT_TRUE(a.Send(kOther, "from a").ok());
  EXPECT_TRUE(a.Await(HasMessages(1)));
  EXPECT_TRUE(b.Await(HasMessages(1)));
}

// The smaller one would dial but has no address; the larger one does so after a while.
TEST(Network, WhoWaitsInVainDialsItself) {
  TestNode a(7), b(8);
  a.SetPeers({b.AsSilentPeer()});
  b.SetPeers({a.AsPeer()});
  ASSERT_TRUE(a.Send(kOther, "from a").ok());
  EXPECT_TRUE(b.Await(HasMessages(1)));
}

TEST(Network, ManyMessagesArriveInOrder) {
  Linked l;
  constexpr int kCount = 200'000;
  l.node.InLoop([](Network* network) {
    for (int i = 0; i < kCount; ++i) {
      ASSERT_TRUE(network->Send(kHead, Address::Raylet(kNode), Address::Head(), absl::StrCat(i)).ok());
    }
  });
  ASSERT_TRUE(l.head.Await(HasMessages(kCount)));
  const Heard heard = l.head.heard();
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(heard.messages[i], absl::StrCat(i));
}

TEST(Network, ALargeMessagePassesAndATooLargeOneIsNotTaken) {
  Linked l;
  const std::string large(kMostMessageBytes, 'x');
  ASSERT_TRUE(l.node.Send(kHead, large).ok());
  EXPECT_EQ(l.node.Send(kHead, std::string(kMostMessageBytes + 1, 'x')).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(l.head.Await(HasMessages(1)));
  EXPECT_TRUE(l.head.heard().messages[0] == large);
}

TEST(Network, APeerThatIsNotNamedIsNotFound) {
  Linked l;
  EXPECT_EQ(l.node.Send(kOther, "x").code(), absl::StatusCode::kNotFound);
}

TEST(Network, AQueueForAnAbsentPeerIsBounded) {
  TestNode node(7);
  const Peer absent{kHead, "127.0.0.1:1", KeyPair::Draw().public_key};
  node.SetPeers({absent});
  const std::string large(8 << 20, 'x');
  absl::Status status;
  int taken = 0;
  for (; status.ok() && taken < 1000; ++taken) status = node.Send(kHead, large);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_LT(taken, 100);
}

TEST(Network, ARestartOfAPeerIsAReset) {
  TestNode head(0);
  const KeyPair keys = KeyPair::Draw();
  auto node = std::make_unique<TestNode>(7, keys);
  head.SetPeers({node->AsSilentPeer()});
  node->SetPeers({head.AsPeer()});
  ASSERT_TRUE(node->Send(kHead, "first life").ok());
  ASSERT_TRUE(head.Await(HasMessages(1)));
  node = std::make_unique<TestNode>(7, keys);
  node->SetPeers({head.AsPeer()});
  ASSERT_TRUE(head.Await([](const Heard& h) { return h.resets.size() == 1; }));
  ASSERT_TRUE(head.Send(kNode, "welcome back").ok());
  ASSERT_TRUE(node->Send(kHead, "second life").ok());
  EXPECT_TRUE(node->Await(HasMessages(1)));
  EXPECT_TRUE(head.Await(HasMessages(2)));
  EXPECT_THAT(node->heard().resets, ElementsAre());
}

TEST(Network, ARestartOfTheHeadIsAResetForItsNodes) {
  const KeyPair keys = KeyPair::Draw();
  auto head = std::make_unique<TestNode>(0, keys);
  const uint16_t port = std::stoi(head->endpoint().substr(10));
  TestNode node(7);
  head->SetPeers({node.AsSilentPeer()});
  node.SetPeers({head->AsPeer()});
  ASSERT_TRUE(node.Send(kHead, "x").ok());
  ASSERT_TRUE(head->Await(HasMessages(1)));
  head->Stop();
  head = std::make_unique<TestNode>(0, keys, [&](NetworkOptions* options) { options->port = port; });
  head->SetPeers({node.AsSilentPeer()});
  ASSERT_TRUE(node.Await([](const Heard& h) { return h.resets.size() == 1; }));
  ASSERT_TRUE(node.Send(kHead, "again").ok());
  EXPECT_TRUE(head->Await(HasMessages(1)));
  EXPECT_THAT(head->heard().messages, ElementsAre("again"));
}

TEST(Network, ResetIsToldToBothSides) {
  Linked l;
  ASSERT_TRUE(l.node.Send(kHead, "x").ok());
  ASSERT_TRUE(l.head.Await(HasMessages(1)));
  l.head.InLoop([](Network* network) { network->Reset(kNode); });
  EXPECT_TRUE(l.head.Await([](const Heard& h) { return h.resets.size() == 1; }));
  EXPECT_TRUE(l.node.Await([](const Heard& h) { return h.resets.size() == 1; }));
  ASSERT_TRUE(l.head.Send(kNode, "after").ok());
  EXPECT_TRUE(l.node.Await(HasMessages(1)));
}

TEST(Network, APeerThatIsGoneIsReportedUnreachable) {
  auto node = std::make_unique<TestNode>(7);
  TestNode head(0);
  head.SetPeers({node->AsSilentPeer()});
  node->SetPeers({head.AsPeer()});
  ASSERT_TRUE(head.Await(IsReachable));
  node.reset();
  EXPECT_TRUE(head.Await([](const Heard& h) { return !h.reachable.back().second; }));
}

TEST(Network, WhoSpeaksInTheNameOfAnotherIsNotHeard) {
  Linked l;
  ASSERT_TRUE(l.node.SendAs(kHead, Address::Head(), "as the head").ok());
  ASSERT_TRUE(l.node.SendAs(kHead, {kOther, WorkerId{1}}, "as another node").ok());
  ASSERT_TRUE(l.node.Send(kHead, "as myself").ok());
  ASSERT_TRUE(l.head.Await(HasMessages(1)));
  EXPECT_THAT(l.head.heard().messages, ElementsAre("as myself"));
  ASSERT_EQ(l.head.heard().refused.size(), 1u);
  EXPECT_THAT(l.head.heard().refused[0], HasSubstr("in the name of head"));
}

TEST(Network, ARevokedPeerIsCutOffAndTold) {
  Linked l;
  ASSERT_TRUE(l.node.Send(kHead, "while welcome").ok());
  ASSERT_TRUE(l.head.Await(HasMessages(1)));
  l.head.SetPeers({});
  ASSERT_TRUE(l.node.Send(kHead, "too late").ok());
  ASSERT_TRUE(l.node.Await(WasRefused));
  EXPECT_THAT(l.node.heard().refused[0], HasSubstr("no longer"));
  EXPECT_THAT(l.head.heard().messages, ElementsAre("while welcome"));
  EXPECT_EQ(l.head.Send(kNode, "x").code(), absl::StatusCode::kNotFound);
}

// As when two machines join at the same time and hear of each other one after the other.
TEST(Network, APeerThatHearsOfUsLateIsDialledAgainSoon) {
  TestNode a(7), b(8);
  a.SetPeers({b.AsPeer()});
  ASSERT_TRUE(a.Send(kOther, "early").ok());
  ASSERT_TRUE(a.Await(WasRefused)) << "several handshakes have failed";
  b.SetPeers({a.AsSilentPeer()});
  EXPECT_TRUE(b.Await(HasMessages(1)));
}

TEST(Network, AnotherProtocolVersionIsRefusedInWordsOnBothSides) {
  TestNode head(0);
  TestNode node(7, KeyPair::Draw(), [](NetworkOptions* options) { options->protocol_version = 2; });
  head.SetPeers({node.AsSilentPeer()});
  node.SetPeers({head.AsPeer()});
  ASSERT_TRUE(head.Await(WasRefused));
  ASSERT_TRUE(node.Await(WasRefused));
  for (TestNode* side : {&head, &node}) {
    EXPECT_THAT(side->heard().refused[0],
                testing::AllOf(HasSubstr("protocol version"), HasSubstr("1"), HasSubstr("2")));
  }
}

TEST(Network, APortThatIsTakenIsNamed) {
  TestNode first(0);
  const uint16_t port = std::stoi(first.endpoint().substr(10));
  auto loop = *EventLoop::Create();
  const auto second = Network::Start(
      {.keys = KeyPair::Draw(), .self = kNode, .incarnation = 1, .listen_host = "127.0.0.1", .port = port}, loop.get(),
      {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat(port)));
}

TEST(Network, AHandlerMayResetAndRemoveThePeerThatItIsCalledFor) {
  Linked l;
  l.head.OnMessage([](Network* network, const std::string& message) {
    if (message == "reset") network->Reset(kNode);
    if (message == "remove") network->SetPeers({});
  });
  const auto send = [&](std::vector<std::string> messages) {
    l.node.InLoop([&](Network* network) {
      for (const std::string& m : messages)
        ASSERT_TRUE(network->Send(kHead, Address::Raylet(kNode), Address::Head(), m).ok());
    });
  };
  send({"first", "reset", "of the old link"});
  ASSERT_TRUE(l.node.Await([](const Heard& h) { return h.resets.size() == 1; }));
  send({"of the new link", "remove", "of nobody"});
  ASSERT_TRUE(l.node.Await(WasRefused));
  EXPECT_THAT(l.head.heard().messages, ElementsAre("first", "reset", "of the new link", "remove"));
}

}  // namespace
}  // namespace shoal::io
