// Values to bytes and back, by MessagePack: arithmetic types, strings, containers, tuples, and structs that say
// MSGPACK_DEFINE(members...). Buffer carries raw bytes that a reader sees in place, without a copy.
//
// A stored value is one tag byte ('m' for MessagePack, 'b' for a buffer), then the bytes; those of a buffer begin at offset 64
// so that they are aligned.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <msgpack.hpp>

#include "runtime/io/core_process.h"
#include "runtime/sdk/errors.h"

namespace shoal {

// Bytes in the object store. Reading one that Get returned is free; it stays valid while a copy of it lives.
//
//   shoal::ObjectRef<shoal::Buffer> ref = shoal::Put(shoal::Buffer::CopyOf(floats.data(), floats.size() * 4));
//   const float* again = reinterpret_cast<const float*>(shoal::Get(ref).data());
class Buffer {
 public:
  Buffer() = default;
  static Buffer CopyOf(const void* bytes, size_t size) {
    Buffer buffer;
    buffer.own_ = std::make_shared<std::string>(static_cast<const char*>(bytes), size);
    return buffer;
  }
  const char* data() const { return own_ ? own_->data() : fetched_.view().data() + kOffset; }
  size_t size() const { return own_ ? own_->size() : fetched_.view().empty() ? 0 : fetched_.view().size() - kOffset; }

  static constexpr size_t kOffset = 64;

 private:
  template <class T>
  friend T Decoded(io::Fetched&& fetched);
  std::shared_ptr<const std::string> own_;
  io::Fetched fetched_;
};

namespace internal {

inline constexpr char kMsgpackTag = 'm';
inline constexpr char kBufferTag = 'b';

// References met while a value is packed, or to be adopted while one is unpacked.
struct ReferenceScope {
  std::vector<ObjectRefInfo>* packed = nullptr;
  std::optional<ObjectId> outer;
};
inline thread_local ReferenceScope reference_scope;

// Sets it until the end of a block, however that is left.
class WithReferenceScope {
 public:
  explicit WithReferenceScope(ReferenceScope scope) : saved_(std::exchange(reference_scope, std::move(scope))) {}
  ~WithReferenceScope() { reference_scope = saved_; }
  WithReferenceScope(const WithReferenceScope&) = delete;
  WithReferenceScope& operator=(const WithReferenceScope&) = delete;

 private:
  const ReferenceScope saved_;
};

template <class T>
std::string Pack(const T& value) {
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, value);
  return std::string(buffer.data(), buffer.size());
}

template <class T>
T Unpack(std::string_view bytes) {
  try {
    msgpack::object_handle handle = msgpack::unpack(bytes.data(), bytes.size());
    return handle.get().as<T>();
  } catch (const std::exception& e) {
    throw Error(std::string("a value does not have the type that is asked for: ") + e.what());
  }
}

}  // namespace internal

// A value in the form the store keeps, and the references inside it.
template <class T>
io::NewValue Encoded(const T& value) {
  io::NewValue result;
  if constexpr (std::is_same_v<T, Buffer>) {
    result.size = Buffer::kOffset + value.size();
    result.fill = [value](char* to) {
      std::memset(to, 0, Buffer::kOffset);
      to[0] = internal::kBufferTag;
      if (value.size() > 0) std::memcpy(to + Buffer::kOffset, value.data(), value.size());
    };
  } else {
    internal::WithReferenceScope scope({.packed = &result.contained});
    std::string bytes = internal::Pack(value);
    result.size = bytes.size() + 1;
    result.fill = [bytes = std::move(bytes)](char* to) {
      to[0] = internal::kMsgpackTag;
      std::memcpy(to + 1, bytes.data(), bytes.size());
    };
  }
  return result;
}

template <class T>
T Decoded(io::Fetched&& fetched) {
  const std::string_view bytes = fetched.view();
  const char expected = std::is_same_v<T, Buffer> ? internal::kBufferTag : internal::kMsgpackTag;
  if (bytes.empty() || bytes[0] != expected) {
    throw Error("a value does not have the type that is asked for: it was made by another language or as another type");
  }
  if constexpr (std::is_same_v<T, Buffer>) {
    Buffer buffer;
    buffer.fetched_ = std::move(fetched);
    return buffer;
  } else {
    return internal::Unpack<T>(bytes.substr(1));
  }
}

}  // namespace shoal
