// One description of a struct, many uses. A struct lists its members once,
//
//   struct Point { int x; int y; template <class V> void Fields(V& v) { v(x, y); } };
//
// and gets from it a bounds-checked binary form for the shared-memory rings (Encode, Decode) and a
// stable hash (StableHash) for traces and interning. Both ends of a ring run the same build, so this form
// carries no versions; what crosses a network is Cap'n Proto (schema/codec.h).
//
// Covers integers, enums, bool, double, std::string, Payload, std::vector, std::pair, std::optional,
// std::variant and structs with Fields. Integers are little-endian and of fixed width, lengths are 32 bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/payload.h"
#include "base/time.h"

namespace shoal {
namespace internal {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsPair : std::false_type {};
template <class A, class B>
struct IsPair<std::pair<A, B>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
// Also of a class that derives from one.
template <class... T>
const std::variant<T...>& AsVariant(const std::variant<T...>& value) {
  return value;
}
template <class T>
concept IsVariant = requires(const T& value) { AsVariant(value); };
template <class T>
using VariantOf = std::remove_cvref_t<decltype(AsVariant(std::declval<const T&>()))>;

template <class T>
inline constexpr bool kIsScalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// Calls `sink(data, size)` for the bytes of a value; Encode and StableHash differ in the sink only.
template <class Sink>
class FieldWriter {
 public:
  explicit FieldWriter(Sink& sink) : sink_(sink) {}

  template <class... T>
  void operator()(const T&... values) {
    (Write(values), ...);
  }

 private:
  void WriteBytes(std::string_view bytes) {
    Write(static_cast<uint32_t>(bytes.size()));
    if (!bytes.empty()) sink_(bytes.data(), bytes.size());
  }

  template <class T>
  void Write(const T& value) {
    if constexpr (kIsScalar<T>) {
      sink_(reinterpret_cast<const char*>(&value), sizeof(T));
    } else if constexpr (std::is_same_v<T, std::string>) {
      WriteBytes(value);
    } else if constexpr (std::is_same_v<T, Payload>) {
      WriteBytes(value.view());
    } else if constexpr (std::is_same_v<T, Duration>) {
      Write(value.count());
    } else if constexpr (IsVector<T>::value) {
      Write(static_cast<uint32_t>(value.size()));
      for (const auto& element : value) Write(element);
    } else if constexpr (IsPair<T>::value) {
      Write(value.first);
      Write(value.second);
    } else if constexpr (IsOptional<T>::value) {
      Write(static_cast<uint8_t>(value.has_value()));
      if (value) Write(*value);
    } else if constexpr (IsVariant<T>) {
      Write(static_cast<uint8_t>(value.index()));
      std::visit([this](const auto& alternative) { Write(alternative); }, value);
    } else {
      const_cast<T&>(value).Fields(*this);  // Fields is one template for reading and writing
    }
  }

  Sink& sink_;
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : rest_(bytes) {}

  template <class... T>
  void operator()(T&... values) {
    (Read(values), ...);
  }
  // False once anything did not fit; the values read since then are unspecified but safe to destroy.
  bool ok() const { return ok_; }
  bool exhausted() const { return rest_.empty(); }

 private:
  bool Take(void* to, size_t size) {
    if (!ok_ || rest_.size() < size) return ok_ = false;
    std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
    return true;
  }
  std::string_view TakeBytes() {
    uint32_t size = 0;
    Read(size);
    if (!ok_ || rest_.size() < size) {
      ok_ = false;
      return {};
    }
    std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

  template <class T>
  void Read(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      Read(byte);
      if (byte > 1) ok_ = false;
      value = byte == 1;
    } else if constexpr (kIsScalar<T>) {
      if (!Take(&value, sizeof(T))) value = T{};
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = std::string(TakeBytes());
    } else if constexpr (std::is_same_v<T, Payload>) {
      value = Payload(TakeBytes());
    } else if constexpr (std::is_same_v<T, Duration>) {
      int64_t count = 0;
      Read(count);
      value = Duration(count);
    } else if constexpr (IsVector<T>::value) {
      uint32_t size = 0;
      Read(size);
      value.clear();
      // Every element takes at least one byte, so a length beyond the rest is a lie.
      if (!ok_ || size > rest_.size()) {
        ok_ = ok_ && size == 0;
        return;
      }
      value.reserve(std::min<size_t>(size, 1024));  // more than that must be there first
      for (uint32_t i = 0; i < size && ok_; ++i) Read(value.emplace_back());
    } else if constexpr (IsPair<T>::value) {
      Read(value.first);
      Read(value.second);
    } else if constexpr (IsOptional<T>::value) {
      bool present = false;
      Read(present);
      value.reset();
      if (ok_ && present) Read(value.emplace());
    } else if constexpr (IsVariant<T>) {
      uint8_t index = 0;
      Read(index);
      if (index >= std::variant_size_v<VariantOf<T>>) ok_ = false;
      if (ok_) ReadAlternative<0>(static_cast<VariantOf<T>&>(value), index);
    } else {
      value.Fields(*this);
    }
  }

  template <size_t kIndex, class Variant>
  void ReadAlternative(Variant& value, size_t index) {
    if constexpr (kIndex < std::variant_size_v<Variant>) {
      if (index == kIndex) {
        Read(value.template emplace<kIndex>());
      } else {
        ReadAlternative<kIndex + 1>(value, index);
      }
    }
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace internal

// Bytes that Encode would append.
template <class T>
size_t EncodedSize(const T& value) {
  size_t size = 0;
  auto sink = [&size](const char*, size_t n) { size += n; };
  internal::FieldWriter<decltype(sink)> writer(sink);
  writer(value);
  return size;
}

// Writes to memory that holds at least EncodedSize(value) bytes; returns the end.
template <class T>
char* EncodeTo(const T& value, char* to) {
  auto sink = [&to](const char* data, size_t n) {
    std::memcpy(to, data, n);
    to += n;
  };
  internal::FieldWriter<decltype(sink)> writer(sink);
  writer(value);
  return to;
}

template <class T>
std::string Encode(const T& value) {
  std::string bytes(EncodedSize(value), '\0');
  EncodeTo(value, bytes.data());
  return bytes;
}

// False if the bytes are not exactly one value of this type. Never reads outside `bytes`.
template <class T>
[[nodiscard]] bool Decode(std::string_view bytes, T* value) {
  internal::FieldReader reader(bytes);
  reader(*value);
  return reader.ok() && reader.exhausted();
}

// The same for the same value in every run and on every machine (FNV-1a over words of eight bytes, then a
// finalizer); never 0.
template <class T>
uint64_t StableHash(const T& value) {
  uint64_t hash = 0xcbf29ce484222325;
  auto sink = [&hash](const char* data, size_t n) {
    for (; n >= 8; data += 8, n -= 8) {
      uint64_t word;
      std::memcpy(&word, data, 8);
      hash = (hash ^ word) * 0x100000001b3;
      hash ^= hash >> 29;
    }
    for (; n > 0; ++data, --n) hash = (hash ^ static_cast<uint8_t>(*data)) * 0x100000001b3;
  };
  internal::FieldWriter<decltype(sink)> writer(sink);
  writer(value);
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93;
  hash ^= hash >> 32;
  return hash == 0 ? 1 : hash;
}

}  // namespace shoal
