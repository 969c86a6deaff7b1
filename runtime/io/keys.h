// Keys of daemons and join tokens. A node's identity is its CURVE key pair; files that hold a secret have mode 0600.
//
//   absl::StatusOr<KeyPair> keys = LoadOrCreateKeys(directory + "/node.key");
//   JoinToken token{.cluster_id = id, .head_public_key = head.public_key, .keys = KeyPair::Draw()};
//   std::string line = token.ToString();                  // what a person pastes on the second machine
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "objectstore/bulk/bulk.h"

namespace shoal::io {

struct KeyPair {
  std::string public_key, secret_key;  // Z85, 40 characters each
  static KeyPair Draw();
};

// Reads the pair, or draws one and writes it (atomically, 0600). InvalidArgument for a damaged file,
// PermissionDenied for one that others can read; each names the file and what to do.
absl::StatusOr<KeyPair> LoadOrCreateKeys(const std::string& path);

// Admits one machine once. The token is a key pair: its public half is in the head's list, so that a connection
// without a valid token ends in the CURVE handshake.
struct JoinToken {
  uint64_t cluster_id = 0;
  std::string head_public_key;
  KeyPair keys;
  // One word without spaces or characters that a shell touches; carries a checksum.
  std::string ToString() const;
  // InvalidArgument in one sentence for what is not a whole token.
  static absl::StatusOr<JoinToken> Parse(const std::string& text);
};

// The secret of the bulk channel between two nodes, the same from both ends: X25519 of their CURVE keys
// (crypto_box_beforenm).
absl::StatusOr<bulk::BulkKey> SharedBulkKey(const KeyPair& own, const std::string& peer_public_key);

}  // namespace shoal::io
