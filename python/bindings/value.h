// Python objects as bytes and back.
//
// A stored value begins with a tag. None, booleans, 64-bit integers, floats, str and bytes-like objects have their own;
// everything else is a pickle (protocol 5), whose large buffers follow it at multiples of 64 bytes:
//
//   tag | 3 zero bytes | buffer count u32 | pickle size u64 | (offset u64, size u64) per buffer | pickle | pad | buffers
//
// so that a numpy array that is read from the node's store is a view of the store: read-only, and holding the pin until
// it is garbage. Trees of plain builtins and arrays go through `pickle`, which is ten times as fast as `cloudpickle`;
// only what may need code shipped (functions, classes and instances) takes the latter.
//
//   Encoded value;
//   if (!value.Encode(object)) return nullptr;                 // a Python error is set
//   core->Put({value.size(), [&](char* to) { value.CopyTo(to); }, value.contained()});
//
// The bytes come from other processes: decoding checks every length and never reads outside.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "python/bindings/object_ref.h"

namespace shoal::python {

// What keeps decoded buffers readable: an inline payload or a pin in the store.
struct Keep {
  Payload data;
  io::PinnedBytes pinned;
  std::string_view view() const {
    return pinned ? std::string_view(pinned.data(), pinned.size()) : data.view();
  }
};

class Encoded {
 public:
  Encoded() = default;
  ~Encoded();
  Encoded(const Encoded&) = delete;
  Encoded& operator=(const Encoded&) = delete;

  // False with a Python error set. Call once.
  bool Encode(PyObject* object);
  uint64_t size() const { return size_; }
  // Needs no GIL: the buffers are held until destruction.
  void CopyTo(char* to) const;
  const std::vector<ObjectRefInfo>& contained() const { return contained_; }
  // A Payload of it; only for sizes up to a few megabytes.
  Payload ToPayload() const;

 private:
  void SetSmall(uint8_t tag, const void* data, size_t size);
  bool EncodeBytesLike(PyObject* object, uint8_t tag);
  bool EncodeMemoryview(PyObject* object);
  bool EncodePickle(PyObject* object);

  uint64_t size_ = 0;
  uint32_t small_size_ = 0;
  char small_[16] = {};             // whole small value, or the tag alone
  std::string_view body_;           // after small_; owned by body_owner_ or a buffer
  Ref body_owner_;
  std::string table_;               // kPickleBuffers: header and table
  std::vector<uint64_t> offsets_;   // of buffers_
  std::vector<Py_buffer> buffers_;
  std::vector<ObjectRefInfo> contained_;
};

// A new reference, or nullptr with a Python error set. `bytes` lies inside `keep.view()`; `outer` is the object whose value
// it is, if it is one.
PyObject* DecodeValue(std::string_view bytes, const Keep& keep, std::optional<ObjectId> outer);

// Readies the buffer type that decoded arrays stand on; false with a Python error set.
bool AddBufferType(PyObject* module);

// Appends a value's bytes, starting on the stack.
class ByteWriter {
 public:
  ByteWriter() = default;
  ByteWriter(const ByteWriter&) = delete;
  ByteWriter& operator=(const ByteWriter&) = delete;

  char* Extend(size_t size) {
    if (size_ + size > capacity()) Grow(size);
    char* at = data() + size_;
    size_ += size;
    return at;
  }
  void Append(const void* from, size_t size) { std::memcpy(Extend(size), from, size); }
  void AppendByte(uint8_t byte) { *Extend(1) = static_cast<char>(byte); }
  template <class T>
  void AppendNumber(T number) {
    Append(&number, sizeof(number));
  }
  size_t size() const { return size_; }
  std::string_view view() const { return {heap_.empty() ? stack_ : heap_.data(), size_}; }

 private:
  size_t capacity() const { return heap_.empty() ? sizeof(stack_) : heap_.size(); }
  char* data() { return heap_.empty() ? stack_ : heap_.data(); }
  void Grow(size_t more);

  size_t size_ = 0;
  std::string heap_;
  char stack_[512];
};

}  // namespace shoal::python
