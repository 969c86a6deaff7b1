// Who may join: keys of nodes, and tokens, each good for one node until it expires. Rows "node_key/<id>" and "token/<public key>".
#pragma once

#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "scheduler/turn.h"

namespace shoal::scheduler {

struct TokenRow {
  std::string public_key;
  int64_t expires_unix_s = 0;
  std::string used_by;  // public key of a node; "" while it is not used
  template <class V> void Fields(V& v) { v(public_key, expires_unix_s, used_by); }
};

class Enrolment {
 public:
  static constexpr size_t kMostTokens = 10'000;
  static constexpr int64_t kForgetAfterS = 7 * 86'400;  // after its end, a token is not even told why any more

  void RestoreToken(const StoreRow& row);
  void RestoreKey(const StoreRow& row);
  void AddToken(const Turn& t, const std::string& token, int64_t expires_unix_s);
  absl::StatusOr<NodeId> Enrol(const Turn& t, int64_t unix_s, const std::string& token, const std::string& node_key);
  NodeId Admit(const Turn& t, const std::string& node_key);
  std::vector<AllowedKey> AllowedKeys(int64_t unix_s) const;

 private:
  // InvalidArgument if another key has this name already.
  absl::StatusOr<NodeId> AddKey(const Turn& t, const std::string& node_key);
  void ForgetOld(const Turn& t, int64_t unix_s);

  absl::btree_map<NodeId, std::string> keys_;
  absl::btree_map<std::string, TokenRow> tokens_;
};

}  // namespace shoal::scheduler
