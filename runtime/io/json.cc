#include "runtime/io/json.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/json.h"

namespace shoal::io {
namespace {

constexpr int kMaxDepth = 64;

void AppendUtf8(uint32_t code, std::string* to) {
  if (code < 0x80) {
    to->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    to->push_back(static_cast<char>(0xc0 | (code >> 6)));
    to->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    to->push_back(static_cast<char>(0xe0 | (code >> 12)));
    to->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    to->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    to->push_back(static_cast<char>(0xf0 | (code >> 18)));
    to->push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3f)));
    to->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    to->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

// Recursive descent over the text; `at_` is the next byte.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<Json> Whole() {
    Json value;
    if (!Value(0, &value)) return Problem();
    SkipSpace();
    if (at_ != text_.size()) return Problem();
    return value;
  }

 private:
  absl::Status Problem() const {
    return absl::InvalidArgumentError(absl::StrCat("this is not JSON at character ", at_ + 1));
  }
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  bool Value(int depth, Json* value) {
    SkipSpace();
    if (depth > kMaxDepth || at_ >= text_.size()) return false;
    switch (text_[at_]) {
      case '{':
        return ObjectValue(depth, value);
      case '[':
        return ArrayValue(depth, value);
      case '"': {
        std::string text;
        if (!String(&text)) return false;
        *value = Json(std::move(text));
        return true;
      }
      case 't':
        *value = Json(true);
        return Word("true");
      case 'f':
        *value = Json(false);
        return Word("false");
      case 'n':
        *value = Json();
        return Word("null");
      default:
        return Number(value);
    }
  }

  bool ObjectValue(int depth, Json* value) {
    *value = Json::Object();
    Take('{');
    if (Take('}')) return true;
    do {
      SkipSpace();
      std::string key;
      Json member;
      if (!String(&key) || !Take(':') || !Value(depth + 1, &member)) return false;
      value->Set(std::move(key), std::move(member));
    } while (Take(','));
    return Take('}');
  }

  bool ArrayValue(int depth, Json* value) {
    *value = Json::Array();
    Take('[');
    if (Take(']')) return true;
    do {
      Json item;
      if (!Value(depth + 1, &item)) return false;
      value->Append(std::move(item));
    } while (Take(','));
    return Take(']');
  }

  bool Number(Json* value) {
    double number = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
    if (error != std::errc() || !std::isfinite(number)) return false;
    at_ = static_cast<size_t>(end - text_.data());
    *value = Json(number);
    return true;
  }

  bool Hex4(uint32_t* code) {
    if (text_.size() - at_ < 4) return false;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, begin + 4, *code, 16);
    if (error != std::errc() || end != begin + 4) return false;
    at_ += 4;
    return true;
  }

  bool Escape(std::string* text) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    const size_t simple = kFrom.find(c);
    if (simple != std::string_view::npos) {
      text->push_back(kTo[simple]);
      return true;
    }
    uint32_t code = 0, low = 0;
    if (c != 'u' || !Hex4(&code)) return false;
    if (code >= 0xd800 && code < 0xdc00) {  // a surrogate pair
      if (!Word("\\u") || !Hex4(&low) || low < 0xdc00 || low > 0xdfff) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    AppendUtf8(code, text);
    return true;
  }

  bool String(std::string* text) {
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        text->push_back(c);
      } else if (!Escape(text)) {
        return false;
      }
    }
    return false;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<Json> Json::Parse(std::string_view text) { return Parser(text).Whole(); }

const Json* Json::Find(std::string_view key) const {
  for (const auto& [name, value] : members_) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string Json::Text(std::string_view key) const {
  const Json* value = Find(key);
  return value == nullptr ? "" : value->text();
}

double Json::Number(std::string_view key) const {
  const Json* value = Find(key);
  return value == nullptr ? 0 : value->number();
}

bool Json::Boolean(std::string_view key) const {
  const Json* value = Find(key);
  return value != nullptr && value->boolean();
}

Json& Json::Set(std::string key, Json value) {
  kind_ = Kind::kObject;
  for (auto& [name, old] : members_) {
    if (name == key) {
      old = std::move(value);
      return *this;
    }
  }
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}

void Json::Remove(std::string_view key) {
  std::erase_if(members_, [key](const Member& member) { return member.first == key; });
}

Json& Json::Append(Json value) {
  kind_ = Kind::kArray;
  items_.push_back(std::move(value));
  return *this;
}

std::string Json::ToString() const {
  std::string text;
  Write(&text);
  return text;
}

void Json::Write(std::string* to) const {
  switch (kind_) {
    case Kind::kNull:
      to->append("null");
      return;
    case Kind::kBool:
      to->append(number_ != 0 ? "true" : "false");
      return;
    case Kind::kNumber:
      if (number_ == std::floor(number_) && std::fabs(number_) < 9e15) {
        absl::StrAppend(to, static_cast<int64_t>(number_));
      } else {
        char digits[32];  // the fewest that read back as the same number
        to->append(digits, std::to_chars(digits, digits + sizeof(digits), number_).ptr);
      }
      return;
    case Kind::kString:
      to->append(JsonQuote(text_));
      return;
    case Kind::kArray:
      to->push_back('[');
      for (size_t i = 0; i < items_.size(); ++i) {
        if (i > 0) to->push_back(',');
        items_[i].Write(to);
      }
      to->push_back(']');
      return;
    case Kind::kObject:
      to->push_back('{');
      for (size_t i = 0; i < members_.size(); ++i) {
        if (i > 0) to->push_back(',');
        to->append(JsonQuote(members_[i].first));
        to->push_back(':');
        members_[i].second.Write(to);
      }
      to->push_back('}');
      return;
  }
}

}  // namespace shoal::io
