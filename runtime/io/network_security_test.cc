// Attacks on the listening port, with raw ZeroMQ sockets: nothing of an attacker reaches a handler, and who is
// welcome is served meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "runtime/io/network_test_util.h"
#include "runtime/io/zap.h"
#include "runtime/io/zmq_transport.h"
#include "runtime/session/frame.h"

namespace shoal::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const NodeId kHead{0}, kNode{7};

// A dialling socket in the hands of somebody else.
struct Attacker {
  ZmqContext context = ZmqContext::Create();
  ZmqSocket socket = *ZmqSocket::Create(context, ZMQ_DEALER);
  ZmqSocket monitor = *ZmqSocket::Create(context, ZMQ_PAIR);

  void Dial(const std::string& endpoint) {
    ASSERT_TRUE(MonitorDial(socket, &monitor).ok());
    ASSERT_TRUE(socket.Connect(endpoint).ok());
  }
  // The first of these that happens.
  std::optional<DialEvent> Await(std::vector<DialEvent> events) {
    int timeout_ms = 20'000;
    SHOAL_CHECK(zmq_setsockopt(monitor.get(), ZMQ_RCVTIMEO, &timeout_ms, sizeof(timeout_ms)) == 0);
    zmq_pollitem_t item{.socket = monitor.get(), .fd = 0, .events = ZMQ_POLLIN, .revents = 0};
    while (zmq_poll(&item, 1, timeout_ms) > 0) {
      std::optional<DialEvent> event;
      while (ReadDialEvent(&monitor, &event)) {
        if (event && std::find(events.begin(), events.end(), *event) != events.end()) return event;
      }
    }
    return std::nullopt;
  }
  bool AwaitWritable() {
    zmq_pollitem_t item{.socket = socket.get(), .fd = 0, .events = ZMQ_POLLOUT, .revents = 0};
    return zmq_poll(&item, 1, 20'000) > 0;
  }
};

class NetworkSecurity : public testing::Test {
 protected:
  NetworkSecurity() {
    head_.SetPeers({node_.AsSilentPeer()});
    node_.SetPeers({head_.AsPeer()});
  }
  // A message of the welcome node arrives, and it is the only one.
  void ExpectOnlyTheNodeIsHeard() {
    ASSERT_TRUE(node_.Send(kHead, "from the node").ok());
    ASSERT_TRUE(head_.Await(HasMessages(1)));
    EXPECT_THAT(head_.heard().messages, ElementsAre("from the node"));
    EXPECT_TRUE(head_.heard().enrolled.empty());
  }
  TestNode head_{0}, node_{7};
};

TEST_F(NetworkSecurity, AnUnknownKeyIsRefusedInTheHandshake) {
  TestNode stranger(8);
  stranger.SetPeers({head_.AsPeer()});
  ASSERT_TRUE(stranger.Send(kHead, "let me in").ok());
  ASSERT_TRUE(stranger.Await(WasRefused));
  EXPECT_THAT(stranger.heard().refused[0], HasSubstr("does not know the key"));
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, ARawClientWithAnUnknownKeyIsRefused) {
  Attacker attacker;
  attacker.socket.UseCurveClient(KeyPair::Draw(), head_.keys().public_key);
  attacker.Dial(head_.endpoint());
  EXPECT_EQ(attacker.Await({DialEvent::kKeyRefused}), DialEvent::kKeyRefused);
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, ARawClientWithoutCurveIsRefused) {
  Attacker attacker;
  attacker.Dial(head_.endpoint());
  EXPECT_TRUE(attacker.Await({DialEvent::kHandshakeFailed, DialEvent::kDisconnected}).has_value());
  EXPECT_EQ(attacker.socket.Send("hello"), ZmqSocket::Sent::kFull) << "there is no connection to take it";
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, AClientThatDialsWithTheWrongServerKeyIsRefused) {
  Attacker attacker;
  attacker.socket.UseCurveClient(node_.keys(), KeyPair::Draw().public_key);
  attacker.Dial(head_.endpoint());
  EXPECT_TRUE(attacker.Await({DialEvent::kHandshakeFailed, DialEvent::kDisconnected}).has_value());
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, AHeadWithAnotherKeyIsNotSpokenTo) {
  TestNode impostor(0);
  TestNode victim(8);
  Peer believed = head_.AsPeer();
  believed.endpoint = impostor.endpoint();
  victim.SetPeers({believed});
  ASSERT_TRUE(victim.Send(kHead, "secret").ok());
  ASSERT_TRUE(victim.Await(WasRefused));
  EXPECT_THAT(victim.heard().refused[0], HasSubstr("does not hold the key"));
  EXPECT_TRUE(impostor.heard().messages.empty());
}

TEST_F(NetworkSecurity, AFrameOverTheLimitIsCutOff) {
  Attacker attacker;  // a known node that has gone bad
  attacker.socket.UseCurveClient(node_.keys(), head_.keys().public_key);
  attacker.Dial(head_.endpoint());
  ASSERT_TRUE(attacker.AwaitWritable());
  EXPECT_EQ(attacker.socket.Send(std::string(17 << 20, 'x')), ZmqSocket::Sent::kYes);
  EXPECT_TRUE(attacker.Await({DialEvent::kDisconnected}).has_value());
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, GarbageOfAKnownNodeDoesNoHarm) {
  TestNode third(9);
  head_.SetPeers({node_.AsSilentPeer(), third.AsSilentPeer()});
  Attacker attacker;
  attacker.socket.UseCurveClient(third.keys(), head_.keys().public_key);
  attacker.Dial(head_.endpoint());
  ASSERT_TRUE(attacker.AwaitWritable());
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    std::string garbage(rng.Below(200), '\0');
    for (char& c : garbage) c = static_cast<char>(rng.Next());
    const bool more = i < 999 && rng.Chance(0.2);
    static_cast<void>(attacker.socket.Send(std::move(garbage), more));
  }
  // Whoever answers this has read all of it.
  const session::HelloBody hello{.version = kProtocolVersion,
                                 .role = static_cast<uint32_t>(Role::kRaylet),
                                 .cluster_id = kTestCluster,
                                 .node = 9,
                                 .incarnation = 1};
  attacker.socket.Send(session::BuildGreeting(session::FrameKind::kHello, 5, 0, hello, ""));
  zmq_pollitem_t item{.socket = attacker.socket.get(), .fd = 0, .events = ZMQ_POLLIN, .revents = 0};
  EXPECT_GT(zmq_poll(&item, 1, 20'000), 0);
  ExpectOnlyTheNodeIsHeard();
}

TEST_F(NetworkSecurity, BytesThatAreNotZeroMqDoNoHarm) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(head_.endpoint().substr(10))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + std::string(1000, '\xff');
  ASSERT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  const timeval patience{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  char bytes[100];
  ssize_t got;
  while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
  }
  EXPECT_TRUE(got == 0 || errno == ECONNRESET) << "cut off long before the receive gives up";
  close(fd);
  ExpectOnlyTheNodeIsHeard();
}

TEST(Zap, ARequestMustBeACurveHandshake) {
  const std::vector<std::string> request = {"1.0", "1", "shoal", "127.0.0.1", "", "CURVE", std::string(32, 'k')};
  EXPECT_EQ(KeyOfZapRequest(request).size(), 40u);
  for (size_t i : {0, 5, 6}) {
    std::vector<std::string> wrong = request;
    wrong[i] = "NULL";
    EXPECT_EQ(KeyOfZapRequest(wrong), "") << i;
  }
  EXPECT_EQ(KeyOfZapRequest({}), "");
  EXPECT_EQ(KeyOfZapRequest({"1.0", "1", "shoal", "127.0.0.1", "", "PLAIN", "user", "password"}), "");
}

TEST(Zap, WithoutAHandlerNobodyIsLetIn) {
  const ZmqContext context = ZmqContext::Create();
  const KeyPair server = KeyPair::Draw();
  ZmqSocket listener = *ZmqSocket::Create(context, ZMQ_ROUTER);
  listener.UseCurveServer(server);
  const auto port = listener.Bind("127.0.0.1", 0);
  ASSERT_TRUE(port.ok()) << port.status();
  Attacker client;
  client.socket.UseCurveClient(KeyPair::Draw(), server.public_key);
  client.Dial(absl::StrCat("127.0.0.1:", *port));
  EXPECT_TRUE(
      client.Await({DialEvent::kHandshakeFailed, DialEvent::kKeyRefused, DialEvent::kDisconnected}).has_value());
  EXPECT_EQ(client.socket.Send("hello"), ZmqSocket::Sent::kFull);
}

}  // namespace
}  // namespace shoal::io
