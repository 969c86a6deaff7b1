// What people and scripts write: join tokens and JSON. What was understood must survive being written and read again.
#include "base/check.h"
#include "runtime/io/json.h"
#include "runtime/io/keys.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

void RunJoinToken(std::string_view bytes) {
  const auto token = io::JoinToken::Parse(std::string(bytes));
  if (!token.ok()) {
    SHOAL_CHECK(token.status().code() == absl::StatusCode::kInvalidArgument) << token.status();
    return;
  }
  const auto again = io::JoinToken::Parse(token->ToString());
  SHOAL_CHECK(again.ok()) << again.status();
  SHOAL_CHECK(again->ToString() == token->ToString());
}

std::vector<std::string> JoinTokenSeeds() {
  const io::KeyPair head = io::KeyPair::Draw();
  std::vector<std::string> seeds;
  for (const uint64_t cluster : {uint64_t{1}, ~uint64_t{0}}) {
    seeds.push_back(
        io::JoinToken{.cluster_id = cluster, .head_public_key = head.public_key, .keys = io::KeyPair::Draw()}.ToString());
  }
  return seeds;
}

void RunJson(std::string_view bytes) {
  const auto json = io::Json::Parse(bytes);
  if (!json.ok()) {
    SHOAL_CHECK(json.status().code() == absl::StatusCode::kInvalidArgument) << json.status();
    return;
  }
  const std::string text = json->ToString();
  const auto again = io::Json::Parse(text);
  SHOAL_CHECK(again.ok()) << again.status() << " for " << text;
  SHOAL_CHECK(again->ToString() == text) << text;
}

std::vector<std::string> JsonSeeds() {
  return {R"({"port": 6380, "tags": ["a", "b"], "nested": {"x": -1.5e3, "none": null, "yes": true}})",
          R"(["\u00e9\n\"\\", 0, 1e-7, 18446744073709551615, [], {}])", "  42 ", R"("😀 \ud83d\ude00")"};
}

}  // namespace

const Target kJoinToken{"join_token", RunJoinToken, JoinTokenSeeds};
const Target kJson{"json", RunJson, JsonSeeds};

}  // namespace shoal::fuzz
