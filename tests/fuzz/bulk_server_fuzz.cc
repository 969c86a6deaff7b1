// What a node that holds a key may send to the server of object bytes: the input is a list of frames (kind, claimed length, how much
// of it is sealed properly), which are encrypted as the protocol wants it, so that they get past the lock.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "objectstore/bulk/server.h"
#include "objectstore/bulk/wire.h"
#include "runtime/io/fd.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

constexpr uint64_t kObjectBytes = 5000;
constexpr int kMostFrames = 64;

enum Form : uint8_t { kSealed, kRaw, kForms };

bulk::BulkKey Key() {
  bulk::BulkKey key{.id = 3};
  key.secret.fill(7);
  return key;
}

// One for all inputs; each input is a connection. The owner's work runs where it is posted, in the server's thread.
class Server {
 public:
  Server() : arena_(*Arena::Create(1 << 20)) {
    SHOAL_CHECK(arena_->EnsureBacked(0, kObjectBytes).ok());
    server_ = *bulk::BulkServer::Start({.host = "127.0.0.1"}, arena_.get(),
                                       {.post = [](const std::function<void()>& work) { work(); },
                                        .lookup = [](const ObjectId& id) -> std::optional<bulk::BulkSource> {
                                          if (id.index % 2 == 0) return std::nullopt;
                                          return bulk::BulkSource{.offset = 0, .size = kObjectBytes};
                                        },
                                        .release = [](const ObjectId&) {}});
    server_->AddKey(Key());
  }
  uint16_t port() const { return server_->port(); }

 private:
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<bulk::BulkServer> server_;
};

class Connection {
 public:
  explicit Connection(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SHOAL_CHECK(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const linger at_once{.l_onoff = 1, .l_linger = 0};  // or the ports run out
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
  bool Send(std::string_view bytes) {
    return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  bool Receive(void* to, size_t size) {
    return recv(fd_.get(), to, size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }
  // Until the server has seen everything and closed, too.
  void Finish() {
    shutdown(fd_.get(), SHUT_WR);
    char bytes[4096];
    while (recv(fd_.get(), bytes, sizeof(bytes), 0) > 0) {
    }
  }

 private:
  io::UniqueFd fd_;
};

bool ShakeHands(Connection* connection, bulk::CipherPair* ciphers) {
  bulk::ClientHello hello{.key_id = Key().id};
  uint8_t random[bulk::kRandomBytes];
  if (!connection->Send({reinterpret_cast<const char*>(&hello), sizeof(hello)})) return false;
  if (!connection->Receive(random, sizeof(random))) return false;
  bulk::DeriveKeys(Key(), hello.random, random, ciphers);
  return true;
}

std::string Sealed(bulk::Cipher& cipher, uint32_t transfer, uint64_t number, bulk::FrameHeader header, std::string body) {
  body.resize(header.length);
  std::string frame(sizeof(header) + header.length + bulk::kTagBytes, '\0');
  std::memcpy(frame.data(), &header, sizeof(header));
  cipher.Seal(transfer, bulk::Cipher::kControl + number, header, body.data(), frame.data() + sizeof(header));
  return frame;
}

void Run(std::string_view bytes) {
  static Server& server = *new Server;
  Input input(bytes);
  Connection connection(server.port());
  bulk::CipherPair ciphers;
  const bool greets = input.Take<uint8_t>() % 8 != 0;
  if (greets && !ShakeHands(&connection, &ciphers)) return;
  uint32_t transfer = 0;
  uint64_t number = 0;
  for (int i = 0; i < kMostFrames && !input.empty(); ++i) {
    const uint8_t form = input.Take<uint8_t>() % kForms;
    const uint8_t kind = input.Take<uint8_t>();
    const uint8_t length = input.Take<uint8_t>();
    const std::string body(input.TakeBytes(length));
    if (form == kRaw || !greets) {
      if (!connection.Send(body)) break;
      continue;
    }
    if (kind == static_cast<uint8_t>(bulk::FrameKind::kFetch)) {
      ++transfer;
      number = 0;
    }
    const bulk::FrameHeader header{static_cast<bulk::FrameKind>(kind), length};
    if (!connection.Send(Sealed(ciphers.to_server, transfer, number++, header, body))) break;
  }
  connection.Finish();
}

template <class Body>
std::string Frame(bulk::FrameKind kind, const Body& body) {
  return std::string{kSealed, static_cast<char>(kind), static_cast<char>(sizeof(body))} +
         std::string(reinterpret_cast<const char*>(&body), sizeof(body));
}

std::vector<std::string> Seeds() {
  const std::string fetch = Frame(bulk::FrameKind::kFetch, bulk::FetchBody{.owner = 1, .index = 1, .credit = 2});
  const std::string absent = Frame(bulk::FrameKind::kFetch, bulk::FetchBody{.owner = 1, .index = 2, .credit = 2});
  const std::string beyond = Frame(bulk::FrameKind::kFetch, bulk::FetchBody{.owner = 1, .index = 1, .first_block = 1});
  const std::string credit = Frame(bulk::FrameKind::kCredit, bulk::CreditBody{.blocks = 1});
  return {"\1" + fetch, "\1" + fetch + credit + credit, "\1" + absent, "\1" + beyond + credit,
          std::string("\1\1\0\5hello", 9), std::string("\0\1\0\5hello", 9)};
}

}  // namespace

const Target kBulkServer{"bulk_server", Run, Seeds};

}  // namespace shoal::fuzz
