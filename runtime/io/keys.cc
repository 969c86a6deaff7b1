#include "runtime/io/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <zmq.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "runtime/io/fd.h"

namespace shoal::io {
namespace {

constexpr size_t kZ85Length = 40;
constexpr size_t kKeyBytes = 32;
constexpr size_t kMaxKeyFileBytes = 4096;
constexpr char kFileHeading[] = "shoal node key 1";
constexpr char kTokenPrefix[] = "shoal1-";
constexpr size_t kTokenBytes = 8 + 3 * kKeyBytes;  // cluster, head's public key, the token's two keys
constexpr size_t kChecksumBytes = 4;

using RawKey = std::array<uint8_t, kKeyBytes>;

// Z85 of a key, or nothing if it is not one.
bool DecodeKey(const std::string& z85, RawKey* raw) {
  return z85.size() == kZ85Length && zmq_z85_decode(raw->data(), z85.c_str()) != nullptr;
}

std::string EncodeKey(const uint8_t* raw) {
  char z85[kZ85Length + 1];
  SHOAL_CHECK(zmq_z85_encode(z85, raw, kKeyBytes) != nullptr);
  return z85;
}

bool IsPair(const KeyPair& keys) {
  RawKey secret, expected, given;
  if (!DecodeKey(keys.secret_key, &secret) || !DecodeKey(keys.public_key, &given)) return false;
  return crypto_scalarmult_base(expected.data(), secret.data()) == 0 && expected == given;
}

absl::Status FileError(const std::string& what, const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(what, " ", path, ": ", std::strerror(error));
  return error == EACCES || error == EPERM ? absl::PermissionDeniedError(text) : absl::UnavailableError(text);
}

absl::StatusOr<KeyPair> ParseKeyFile(const std::string& text, const std::string& path) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  KeyPair keys;
  if (lines.size() >= 3 && lines[0] == kFileHeading) keys = {.public_key = lines[1], .secret_key = lines[2]};
  if (!IsPair(keys)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " does not hold a whole key pair; restore it, or remove it and join the cluster again with a new token"));
  }
  return keys;
}

absl::StatusOr<KeyPair> ReadKeyFile(int fd, const std::string& path) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return FileError("cannot look at", path);
  if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " can be read by others; make it yours alone (chown, chmod 600) if nobody has copied it"));
  }
  std::string text(kMaxKeyFileBytes, '\0');
  const ssize_t size = read(fd, text.data(), text.size());
  if (size < 0) return FileError("cannot read", path);
  text.resize(static_cast<size_t>(size));
  absl::StatusOr<KeyPair> keys = ParseKeyFile(text, path);
  sodium_memzero(text.data(), text.size());
  return keys;
}

// Writes beside and links into place, so that whoever looks sees a whole file, and of two writers one wins.
absl::Status WriteKeyFile(const KeyPair& keys, const std::string& path) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));  // mode 0600
  if (!fd.valid()) return FileError("cannot write beside", path);
  std::string text = absl::StrCat(kFileHeading, "\n", keys.public_key, "\n", keys.secret_key, "\n");
  const bool written =
      write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd.get()) == 0;
  sodium_memzero(text.data(), text.size());
  const bool placed = written && link(temporary.c_str(), path.c_str()) == 0;
  const absl::Status failed = placed || errno == EEXIST ? absl::OkStatus() : FileError("cannot write", path);
  unlink(temporary.c_str());
  if (!failed.ok()) return failed;
  UniqueFd directory(open(path.substr(0, path.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid()) fsync(directory.get());
  return absl::OkStatus();
}

// Four bytes against mistakes in copying. The keys themselves prove who somebody is.
void AppendChecksum(std::vector<uint8_t>* bytes) {
  uint8_t hash[crypto_generichash_BYTES];
  SHOAL_CHECK(crypto_generichash(hash, sizeof(hash), bytes->data(), bytes->size(), nullptr, 0) == 0);
  bytes->insert(bytes->end(), hash, hash + kChecksumBytes);
}

}  // namespace

KeyPair KeyPair::Draw() {
  char public_key[kZ85Length + 1], secret_key[kZ85Length + 1];
  SHOAL_CHECK(zmq_curve_keypair(public_key, secret_key) == 0) << "this ZeroMQ was built without CURVE";
  return {.public_key = public_key, .secret_key = secret_key};
}

absl::StatusOr<KeyPair> LoadOrCreateKeys(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT) {
    const absl::Status written = WriteKeyFile(KeyPair::Draw(), path);
    if (!written.ok()) return written;
    fd = UniqueFd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!fd.valid()) return FileError("cannot open", path);
  return ReadKeyFile(fd.get(), path);
}

std::string JoinToken::ToString() const {
  RawKey head, own_public, own_secret;
  SHOAL_CHECK(DecodeKey(head_public_key, &head) && DecodeKey(keys.public_key, &own_public) &&
              DecodeKey(keys.secret_key, &own_secret))
      << "a token is made of whole keys";
  std::vector<uint8_t> bytes(sizeof(cluster_id));
  std::memcpy(bytes.data(), &cluster_id, sizeof(cluster_id));
  for (const RawKey* key : {&head, &own_public, &own_secret}) bytes.insert(bytes.end(), key->begin(), key->end());
  AppendChecksum(&bytes);
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), kVariant);
  text.resize(std::strlen(text.c_str()));
  return absl::StrCat(kTokenPrefix, text);
}

absl::StatusOr<JoinToken> JoinToken::Parse(const std::string& text) {
  const absl::Status incomplete = absl::InvalidArgumentError(
      "this is not a whole join token; copy the line that `shoal token create` printed from its first to its last "
      "character");
  std::string_view rest = text;
  while (!rest.empty() && std::strchr(" \t\r\n", rest.back()) != nullptr) rest.remove_suffix(1);
  while (!rest.empty() && std::strchr(" \t\r\n", rest.front()) != nullptr) rest.remove_prefix(1);
  const size_t word = rest.rfind(' ');  // of the whole command that was printed
  if (word != std::string_view::npos) rest.remove_prefix(word + 1);
  if (rest.substr(0, std::strlen(kTokenPrefix)) != kTokenPrefix) return incomplete;
  rest.remove_prefix(std::strlen(kTokenPrefix));
  std::vector<uint8_t> bytes(kTokenBytes + kChecksumBytes);
  size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(bytes.data(), bytes.size(), rest.data(), rest.size(), nullptr, &size, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      size != bytes.size() || end != rest.data() + rest.size()) {
    return incomplete;
  }
  std::vector<uint8_t> checked(bytes.begin(), bytes.begin() + kTokenBytes);
  AppendChecksum(&checked);
  if (checked != bytes) return incomplete;
  JoinToken token;
  std::memcpy(&token.cluster_id, bytes.data(), sizeof(token.cluster_id));
  const uint8_t* key = bytes.data() + sizeof(token.cluster_id);
  token.head_public_key = EncodeKey(key);
  token.keys = {.public_key = EncodeKey(key + kKeyBytes), .secret_key = EncodeKey(key + 2 * kKeyBytes)};
  if (!IsPair(token.keys)) return incomplete;
  return token;
}

absl::StatusOr<bulk::BulkKey> SharedBulkKey(const KeyPair& own, const std::string& peer_public_key) {
  SHOAL_CHECK(sodium_init() >= 0);
  RawKey secret, peer;
  SHOAL_CHECK(DecodeKey(own.secret_key, &secret));
  if (!DecodeKey(peer_public_key, &peer)) return absl::InvalidArgumentError("a public key is the Z85 text of 32 bytes");
  bulk::BulkKey key;
  // Fails only for a public key of small order, which no honest node has: then nobody can guess what is used instead.
  if (crypto_box_beforenm(key.secret.data(), peer.data(), secret.data()) != 0) {
    randombytes_buf(key.secret.data(), key.secret.size());
  }
  uint8_t hash[crypto_generichash_BYTES];
  const std::string& a = std::min(own.public_key, peer_public_key);
  const std::string& b = std::max(own.public_key, peer_public_key);
  const std::string names = absl::StrCat(a, b);
  crypto_generichash(hash, sizeof(hash), reinterpret_cast<const uint8_t*>(names.data()), names.size(), nullptr, 0);
  std::memcpy(&key.id, hash, sizeof(key.id));
  return key;
}

}  // namespace shoal::io
