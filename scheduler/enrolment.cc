#include "scheduler/enrolment.h"

#include <algorithm>

#include "base/sha256.h"

namespace shoal::scheduler {

NodeId NodeIdOf(const std::string& node_public_key) {
  const std::array<uint8_t, 32> digest = Sha256(node_public_key);
  NodeId node;
  for (size_t i = 0; i < 8; ++i) node.value = node.value << 8 | digest[i];
  if (!node) node.value = 1;
  return node;
}

void Enrolment::RestoreToken(const StoreRow& row) {
  TokenRow token = RowValue<TokenRow>(row);
  tokens_[token.public_key] = token;
}

void Enrolment::RestoreKey(const StoreRow& row) { keys_[NodeIdOf(row.value)] = row.value; }

void Enrolment::AddToken(const Turn& t, const std::string& token, int64_t expires_unix_s) {
  TokenRow& row = tokens_[token];
  const bool known = !row.public_key.empty();
  if (known && row.expires_unix_s == expires_unix_s) return;
  row.public_key = token;
  row.expires_unix_s = expires_unix_s;
  PutRow(t, absl::StrCat("token/", token), row);
  t.actions->keys_changed = true;
  if (tokens_.size() <= kMostTokens) return;
  // The one that ends first makes room.
  auto first = std::min_element(tokens_.begin(), tokens_.end(), [](const auto& a, const auto& b) {
    return a.second.expires_unix_s < b.second.expires_unix_s;
  });
  DeleteRow(t, absl::StrCat("token/", first->first));
  tokens_.erase(first);
}

absl::StatusOr<NodeId> Enrolment::AddKey(const Turn& t, const std::string& node_key) {
  const NodeId node = NodeIdOf(node_key);
  auto [it, added] = keys_.try_emplace(node, node_key);
  if (it->second != node_key) return absl::InvalidArgumentError("another node has this name already; draw a new key");
  if (added) {
    t.actions->writes.push_back({RowKey("node_key", node), node_key});
    t.actions->keys_changed = true;
  }
  return node;
}

absl::StatusOr<NodeId> Enrolment::Enrol(const Turn& t, int64_t unix_s, const std::string& token, const std::string& node_key) {
  ForgetOld(t, unix_s);
  auto it = tokens_.find(token);
  if (it == tokens_.end()) {
    return absl::InvalidArgumentError("the join token is unknown; make a new one with `shoal token create` on the head");
  }
  TokenRow& row = it->second;
  if (row.used_by == node_key && !node_key.empty()) return NodeIdOf(node_key);
  if (!row.used_by.empty()) {
    return absl::InvalidArgumentError("the join token was used by another node; each machine needs one of its own");
  }
  if (unix_s >= row.expires_unix_s) {
    return absl::InvalidArgumentError("the join token has expired; make a new one with `shoal token create` on the head");
  }
  if (node_key.empty()) return absl::InvalidArgumentError("a node needs a public key to join");
  absl::StatusOr<NodeId> node = AddKey(t, node_key);
  if (!node.ok()) return node;
  row.used_by = node_key;
  PutRow(t, absl::StrCat("token/", token), row);
  t.actions->keys_changed = true;
  return node;
}

NodeId Enrolment::Admit(const Turn& t, const std::string& node_key) {
  absl::StatusOr<NodeId> node = AddKey(t, node_key);
  SHOAL_CHECK(node.ok()) << node.status();
  return *node;
}

void Enrolment::ForgetOld(const Turn& t, int64_t unix_s) {
  for (auto it = tokens_.begin(); it != tokens_.end();) {
    if (it->second.expires_unix_s + kForgetAfterS >= unix_s) {
      ++it;
      continue;
    }
    DeleteRow(t, absl::StrCat("token/", it->first));
    it = tokens_.erase(it);
    t.actions->keys_changed = true;
  }
}

std::vector<AllowedKey> Enrolment::AllowedKeys(int64_t unix_s) const {
  std::vector<AllowedKey> allowed;
  for (const auto& [node, key] : keys_) allowed.push_back({key, KeyUse::kNode, node});
  for (const auto& [key, token] : tokens_) {
    const bool spent = !token.used_by.empty() || unix_s >= token.expires_unix_s;
    allowed.push_back({key, spent ? KeyUse::kSpentToken : KeyUse::kToken, {}});
  }
  return allowed;
}

}  // namespace shoal::scheduler
