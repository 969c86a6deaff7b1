// JSON for what people and scripts see: state files, ready lines, the rows of ListState, --resources. Not for anything hot.
//
//   absl::StatusOr<Json> json = Json::Parse(R"({"port": 6380, "tags": ["a"]})");
//   json->Find("port")->number();                      // 6380
//   Json row = Json::Object();
//   row.Set("name", "n1").Set("cpus", 2.0);
//   row.ToString();                                    // {"name":"n1","cpus":2}
//
// Numbers are doubles; ids are hex strings. Objects keep the order in which members were set. Text may come from anywhere: Parse bounds
// its depth and says InvalidArgument, with the place, for everything that is not exactly one value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace shoal::io {

class Json {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, Json>;

  static absl::StatusOr<Json> Parse(std::string_view text);

  Json() = default;
  Json(bool value) : kind_(Kind::kBool), number_(value ? 1 : 0) {}        // NOLINT: literals read as values
  Json(double value) : kind_(Kind::kNumber), number_(value) {}            // NOLINT
  Json(int value) : Json(static_cast<double>(value)) {}                   // NOLINT
  Json(int64_t value) : Json(static_cast<double>(value)) {}               // NOLINT
  Json(uint64_t value) : Json(static_cast<double>(value)) {}              // NOLINT
  Json(std::string value) : kind_(Kind::kString), text_(std::move(value)) {}  // NOLINT
  Json(const char* value) : Json(std::string(value)) {}                   // NOLINT
  static Json Array() { return OfKind(Kind::kArray); }
  static Json Object() { return OfKind(Kind::kObject); }

  Kind kind() const { return kind_; }
  bool is_object() const { return kind_ == Kind::kObject; }
  bool is_array() const { return kind_ == Kind::kArray; }
  // Of another kind: false, 0, "", nothing.
  bool boolean() const { return kind_ == Kind::kBool && number_ != 0; }
  double number() const { return kind_ == Kind::kNumber ? number_ : 0; }
  const std::string& text() const { return text_; }
  const std::vector<Json>& items() const { return items_; }
  const std::vector<Member>& members() const { return members_; }

  // The member of that name, or null.
  const Json* Find(std::string_view key) const;
  std::string Text(std::string_view key) const;   // "" if there is no such string
  double Number(std::string_view key) const;      // 0 if there is no such number
  bool Boolean(std::string_view key) const;

  // Replaces a member of the same name.
  Json& Set(std::string key, Json value);
  Json& Append(Json value);
  void Remove(std::string_view key);
  // One line.
  std::string ToString() const;

 private:
  static Json OfKind(Kind kind) {
    Json json;
    json.kind_ = kind;
    return json;
  }
  void Write(std::string* to) const;

  Kind kind_ = Kind::kNull;
  double number_ = 0;
  std::string text_;
  std::vector<Json> items_;
  std::vector<Member> members_;
};

}  // namespace shoal::io
