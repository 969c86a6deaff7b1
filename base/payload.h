// Immutable bytes that are cheap to copy: up to 28 bytes live inside the object, more are shared by
// an atomic reference count. Carries serialized arguments, results and code through the machines, which
// never look inside.
//
//   Payload small("abc");
//   Payload big = Payload::Allocate(1 << 20, [&](char* to) { memcpy(to, from, 1 << 20); });
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace shoal {

class Payload {
 public:
  Payload() = default;
  explicit Payload(std::string_view bytes)
      : Payload(Allocate(bytes.size(), [&](char* to) {
          if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
        })) {}

  // A payload of `size` bytes, written once by `fill(char*)`.
  template <class Fill>
  static Payload Allocate(size_t size, Fill&& fill) {
    Payload p;
    SHOAL_CHECK(size <= UINT32_MAX) << "payloads are inline values, large ones live in the object store";
    p.size_ = static_cast<uint32_t>(size);
    if (size <= kInlineBytes) {
      fill(p.inline_);
    } else {
      p.SetBlock(NewBlock(size));
      fill(p.block()->bytes);
    }
    return p;
  }

  Payload(const Payload& other) : size_(other.size_) {
    std::memcpy(inline_, other.inline_, kInlineBytes);
    if (shared()) block()->references.fetch_add(1, std::memory_order_relaxed);
  }
  Payload(Payload&& other) noexcept : size_(std::exchange(other.size_, 0)) {
    std::memcpy(inline_, other.inline_, kInlineBytes);
  }
  Payload& operator=(Payload other) noexcept {
    std::swap(size_, other.size_);
    char swap[kInlineBytes];
    std::memcpy(swap, inline_, kInlineBytes);
    std::memcpy(inline_, other.inline_, kInlineBytes);
    std::memcpy(other.inline_, swap, kInlineBytes);
    return *this;
  }
  ~Payload() {
    if (shared()) Release(block());
  }

  const char* data() const { return shared() ? block()->bytes : inline_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data(), size_}; }
  friend bool operator==(const Payload& a, const Payload& b) { return a.view() == b.view(); }

 private:
  static constexpr size_t kInlineBytes = 28;
  struct Block {
    std::atomic<uint32_t> references{1};
    alignas(8) char bytes[1];
  };

  static Block* NewBlock(size_t size) {
    void* memory = std::malloc(sizeof(Block) + size);
    SHOAL_CHECK(memory != nullptr) << "out of memory for a payload of " << size << " bytes";
    return new (memory) Block;
  }
  static void Release(Block* block) {
    if (block->references.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block);
  }
  bool shared() const { return size_ > kInlineBytes; }
  Block* block() const {
    Block* b;
    std::memcpy(&b, inline_, sizeof(b));
    return b;
  }
  void SetBlock(Block* b) { std::memcpy(inline_, &b, sizeof(b)); }

  uint32_t size_ = 0;
  char inline_[kInlineBytes] = {};
};
static_assert(sizeof(Payload) == 32);

}  // namespace shoal
