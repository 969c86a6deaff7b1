// Writes JSON: objects and arrays in the order in which they are given, strings escaped, nothing else. Reading is for others.
//
//   JsonWriter json;
//   json.BeginArray();
//   json.BeginObject().Field("name", name).Field("cpus", 2.5).EndObject();
//   json.EndArray();
//   std::string text = std::move(json).Finish();        // [{"name":"a","cpus":2.5}]
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/resources.h"

namespace shoal {

// With quotes. Bytes that are not UTF-8 become U+FFFD, so that the text is always valid JSON.
std::string JsonQuote(std::string_view text);
// The shortest decimal that reads back as this; null for what JSON has no number for.
std::string JsonNumber(double number);

class JsonWriter {
 public:
  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close(']'); }
  JsonWriter& Key(std::string_view key) {
    Comma();
    text_ += JsonQuote(key);
    text_ += ':';
    after_key_ = true;
    return *this;
  }

  JsonWriter& Value(std::string_view text) { return Raw(JsonQuote(text)); }
  JsonWriter& Value(const std::string& text) { return Value(std::string_view(text)); }
  JsonWriter& Value(const char* text) { return Value(std::string_view(text)); }
  JsonWriter& Value(double number) { return Raw(JsonNumber(number)); }
  template <class T>
    requires std::is_integral_v<T>
  JsonWriter& Value(T number) {
    if constexpr (std::is_same_v<T, bool>) {
      return Raw(number ? "true" : "false");
    } else {
      return Raw(std::to_string(number));
    }
  }
  // As {"CPU": 2, "GPU": 0.5}.
  JsonWriter& Value(const ResourceSet& resources);

  template <class T>
  JsonWriter& Field(std::string_view key, const T& value) {
    return Key(key).Value(value);
  }
  // Text that is JSON already.
  JsonWriter& Raw(std::string_view json) {
    Comma();
    text_ += json;
    return *this;
  }
  size_t size() const { return text_.size(); }

  std::string Finish() && {
    SHOAL_CHECK(depth_ == 0 && !after_key_) << "unfinished JSON: " << text_;
    return std::move(text_);
  }

 private:
  JsonWriter& Open(char bracket) {
    Comma();
    text_ += bracket;
    first_ = true;
    ++depth_;
    return *this;
  }
  JsonWriter& Close(char bracket) {
    SHOAL_CHECK(depth_ > 0 && !after_key_);
    text_ += bracket;
    first_ = false;
    --depth_;
    return *this;
  }
  void Comma() {
    if (!first_ && !after_key_) text_ += ',';
    first_ = false;
    after_key_ = false;
  }

  std::string text_;
  int depth_ = 0;
  bool first_ = true;  // nothing stands before in this object or array
  bool after_key_ = false;
};

}  // namespace shoal
