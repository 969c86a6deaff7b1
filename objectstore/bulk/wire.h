// The bytes of the bulk protocol: the opening, the derivation of keys, and encrypted frames. Pure
// functions of their input apart from the random numbers; the sockets are in server.cc and
// client.cc.
//
//   client -> server   ClientHello { magic, version, key id, 16 random bytes }        in the clear
//   server -> client   16 random bytes                                                in the clear
//   then frames both ways: FrameHeader (in the clear, authenticated), ciphertext, 16-byte tag
//
// Both directions have a key of their own, derived (HKDF-SHA256) from the shared secret and the
// random bytes of both ends. The nonce is never sent: it is the number of the transfer within the
// connection and the number of the block or frame within the transfer, which both ends count. So a
// frame that was repeated, left out, reordered or taken from another connection does not
// authenticate.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "objectstore/bulk/bulk.h"

namespace shoal::bulk {

inline constexpr uint32_t kMagic = 0x4b4c4253;  // "SBLK"
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kRandomBytes = 16;
inline constexpr size_t kTagBytes = 16;
// Frames that are not blocks are at most this long.
inline constexpr size_t kMaxControlBytes = 64;

struct ClientHello {
  uint32_t magic = kMagic;
  uint32_t version = kVersion;
  uint64_t key_id = 0;
  uint8_t random[kRandomBytes] = {};
};
static_assert(sizeof(ClientHello) == 32);

enum class FrameKind : uint32_t {
  kFetch = 1,   // client: FetchBody
  kCredit = 2,  // client: CreditBody
  kFound = 3,   // server: FoundBody
  kAbsent = 4,  // server: empty; the object is not here
  kBlock = 5,   // server: the bytes of one block
};

struct FrameHeader {
  FrameKind kind = FrameKind::kFetch;
  uint32_t length = 0;  // of the ciphertext, without tag
};
static_assert(sizeof(FrameHeader) == 8);

// All integers are little-endian, as on every machine we run on.
struct FetchBody {
  uint64_t owner = 0;
  uint64_t index = 0;
  uint64_t first_block = 0;
  uint64_t credit = 0;  // blocks that may be sent at once
};
struct CreditBody {
  uint64_t blocks = 0;  // that many more
};
struct FoundBody {
  uint64_t size = 0;
  uint64_t checksum = 0;  // 0: unknown
  uint64_t identity = 0;  // changes when the bytes may have; guards resumption
};
inline constexpr size_t kMaxFrameOverhead = sizeof(FrameHeader) + kTagBytes;

// AES-256-GCM in one direction of one connection.
class Cipher {
 public:
  Cipher() = default;
  void SetKey(const uint8_t key[32]);
  // `number` is the block, or kControl + a count, for other frames. Never use a pair twice to seal.
  static constexpr uint64_t kControl = uint64_t{1} << 63;
  // Writes header.length bytes of ciphertext to `to` and the tag behind them.
  void Seal(uint32_t transfer, uint64_t number, const FrameHeader& header, const char* from,
            char* to);
  // Decrypts header.length bytes in place; false if they are not what the other end sealed: then
  // they are garbage.
  [[nodiscard]] bool Open(uint32_t transfer, uint64_t number, const FrameHeader& header,
                          char* bytes, const char* tag);

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  void Begin(int encrypt, uint32_t transfer, uint64_t number, const FrameHeader& header);
  std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
};

struct CipherPair {
  Cipher to_server, to_client;
};
// Both ends call this with the same input.
void DeriveKeys(const BulkKey& key, const uint8_t client_random[kRandomBytes],
                const uint8_t server_random[kRandomBytes], CipherPair* ciphers);
void FillRandom(uint8_t* to, size_t size);

// A whole frame of a fixed-size body.
template <class Body>
std::string SealBody(Cipher& cipher, uint32_t transfer, uint64_t number, FrameKind kind,
                     const Body& body) {
  static_assert(sizeof(Body) <= kMaxControlBytes);
  const FrameHeader header{kind, sizeof(Body)};
  std::string frame(sizeof(header) + sizeof(Body) + kTagBytes, '\0');
  std::memcpy(frame.data(), &header, sizeof(header));
  cipher.Seal(transfer, number, header, reinterpret_cast<const char*>(&body),
              frame.data() + sizeof(header));
  return frame;
}
// nullopt unless the bytes have the size of the body.
template <class Body>
std::optional<Body> ReadBody(std::string_view bytes) {
  Body body;
  if (bytes.size() != sizeof(body)) return std::nullopt;
  std::memcpy(&body, bytes.data(), sizeof(body));
  return body;
}

inline uint64_t BlockCount(uint64_t size) { return (size + kBlockBytes - 1) / kBlockBytes; }
// Bytes of block `block` of an object of `size` bytes; `block` < BlockCount(size).
inline uint64_t BlockSize(uint64_t size, uint64_t block) {
  return block + 1 < BlockCount(size) ? kBlockBytes : size - block * kBlockBytes;
}

}  // namespace shoal::bulk
