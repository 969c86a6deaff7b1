#include "objectstore/bulk/wire.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace shoal::bulk {
namespace {

constexpr size_t kNonceBytes = 12;

uint64_t Mix(uint64_t lane, uint64_t word) {
  lane = (lane ^ word) * 0xc2b2ae3d27d4eb4f;
  return (lane << 31 | lane >> 33) * 0x9e3779b97f4a7c15;
}

}  // namespace

void Cipher::SetKey(const uint8_t key[32]) {
  context_.reset(EVP_CIPHER_CTX_new());
  SHOAL_CHECK(context_ != nullptr) << "out of memory for a cipher";
  SHOAL_CHECK(EVP_CipherInit_ex(context_.get(), EVP_aes_256_gcm(), nullptr, key, nullptr, 1) == 1);
}

void Cipher::Begin(int encrypt, uint32_t transfer, uint64_t number, const FrameHeader& header) {
  uint8_t nonce[kNonceBytes];
  std::memcpy(nonce, &transfer, sizeof(transfer));
  std::memcpy(nonce + sizeof(transfer), &number, sizeof(number));
  int size = 0;
  SHOAL_CHECK(EVP_CipherInit_ex(context_.get(), nullptr, nullptr, nullptr, nonce, encrypt) == 1);
  SHOAL_CHECK(EVP_CipherUpdate(context_.get(), nullptr, &size,
                               reinterpret_cast<const uint8_t*>(&header), sizeof(header)) == 1);
}

void Cipher::Seal(uint32_t transfer, uint64_t number, const FrameHeader& header, const char* from,
                  char* to) {
  Begin(/*encrypt=*/1, transfer, number, header);
  auto* const out = reinterpret_cast<uint8_t*>(to);
  int size = 0;
  if (header.length > 0) {
    SHOAL_CHECK(EVP_CipherUpdate(context_.get(), out, &size, reinterpret_cast<const uint8_t*>(from),
                                 static_cast<int>(header.length)) == 1);
  }
  SHOAL_CHECK(EVP_CipherFinal_ex(context_.get(), out + size, &size) == 1);
  SHOAL_CHECK(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes,
                                  out + header.length) == 1);
}

bool Cipher::Open(uint32_t transfer, uint64_t number, const FrameHeader& header, char* bytes,
                  const char* tag) {
  Begin(/*encrypt=*/0, transfer, number, header);
  auto* const data = reinterpret_cast<uint8_t*>(bytes);
  int size = 0;
  if (header.length > 0 &&
      EVP_CipherUpdate(context_.get(), data, &size, data, static_cast<int>(header.length)) != 1) {
    return false;
  }
  uint8_t expected[kTagBytes];
  std::memcpy(expected, tag, kTagBytes);
  uint8_t rest[16];
  return EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, expected) == 1 &&
         EVP_CipherFinal_ex(context_.get(), rest, &size) == 1;
}

void DeriveKeys(const BulkKey& key, const uint8_t client_random[kRandomBytes],
                const uint8_t server_random[kRandomBytes], CipherPair* ciphers) {
  uint8_t salt[2 * kRandomBytes];
  std::memcpy(salt, client_random, kRandomBytes);
  std::memcpy(salt + kRandomBytes, server_random, kRandomBytes);
  std::array<uint8_t, 32> secret = key.secret;
  char digest[] = "SHA256";
  char info[] = "shoal bulk 1";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret.data(), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof(salt)),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof(info) - 1),
      OSSL_PARAM_construct_end()};
  EVP_KDF* const hkdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* const context = EVP_KDF_CTX_new(hkdf);
  uint8_t keys[64];
  SHOAL_CHECK(context != nullptr && EVP_KDF_derive(context, keys, sizeof(keys), parameters) == 1);
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(hkdf);
  ciphers->to_server.SetKey(keys);
  ciphers->to_client.SetKey(keys + 32);
  OPENSSL_cleanse(keys, sizeof(keys));
  OPENSSL_cleanse(secret.data(), secret.size());
}

void FillRandom(uint8_t* to, size_t size) {
  SHOAL_CHECK(RAND_bytes(to, static_cast<int>(size)) == 1) << "the kernel gives no random numbers";
}

void Checksummer::Add(const char* data, uint64_t size) {
  size_ += size;
  uint64_t words[kLanes];
  for (; size >= sizeof(words); data += sizeof(words), size -= sizeof(words)) {
    std::memcpy(words, data, sizeof(words));
    for (int i = 0; i < kLanes; ++i) lanes_[i] = Mix(lanes_[i], words[i]);
  }
  if (size == 0) return;
  std::memset(words, 0, sizeof(words));
  std::memcpy(words, data, size);
  for (int i = 0; i < kLanes; ++i) lanes_[i] = Mix(lanes_[i], words[i]);
}

uint64_t Checksummer::Finish() const {
  uint64_t sum = Mix(0, size_);
  for (const uint64_t lane : lanes_) sum = Mix(sum, lane);
  sum ^= sum >> 29;
  return sum == 0 ? 1 : sum;
}

uint64_t Checksum(const char* data, uint64_t size) {
  Checksummer checksummer;
  checksummer.Add(data, size);
  return checksummer.Finish();
}

}  // namespace shoal::bulk
