// A byte ring in shared memory between two processes: one writes, one reads, no lock, no system
// call. Records have any size up to kMaxRecordBytes; one larger than a quarter of the ring travels
// in chunks and is put together again by the reader, so that no message is too large for a small
// ring.
//
//   if (char* to = ring.Reserve(n)) { fill(to); ring.Commit(); }  // writer; null: no room now
//   std::string_view record;
//   while (ring.Peek(&record)) { use(record); ring.Pop(); }       // reader
//   ring.Publish();                                               // gives room back, once per
//   batch
//
// Layout of each direction: a header page with head and tail on cache lines of their own, then the
// bytes. A record is a 32-bit length with flags in its top bits, its bytes, padding to 8. Records
// do not wrap: a marker says that the rest of the ring is unused.
//
// The peer is another process and may be broken. Positions and lengths that it wrote are checked
// against what can be true; the first lie makes this end corrupt() for good: it yields nothing and
// takes nothing any more, and the owner drops the link. No value in shared memory can lead to an
// access outside the ring. Nothing here wakes anybody: see doorbell.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/io/fd.h"

namespace shoal::io {

// Default size of one direction. Memory is taken as it is first touched.
inline constexpr size_t kRingBytes = size_t{1} << 20;
// What a ring may be made with: powers of two in this range.
inline constexpr size_t kMinRingBytes = size_t{4} << 10;
inline constexpr size_t kMaxRingBytes = size_t{64} << 20;
// Largest record of either form.
inline constexpr size_t kMaxRecordBytes = size_t{64} << 20;

// What both sides map: head is written by the writer, tail by the reader, nothing else changes.
struct RingHeader {
  alignas(64) std::atomic<uint64_t> head;  // bytes ever written
  alignas(64) std::atomic<uint64_t> tail;  // bytes ever read
};
static_assert(std::atomic<uint64_t>::is_always_lock_free);

// The writing end. Used by one thread at a time.
class RingWriter {
 public:
  // `capacity` is a power of two; header and bytes start zeroed and outlive the writer.
  RingWriter(RingHeader* header, char* bytes, size_t capacity)
      : header_(header), bytes_(bytes), capacity_(capacity) {}

  // Memory for a record of `size` bytes, or null: there is no room now, the ring is corrupt, a
  // large record is under way, or `size` is over max_in_place() and needs TryWrite. A second
  // Reserve before Commit replaces the first.
  char* Reserve(size_t size);
  // Makes the reserved record visible to the reader.
  void Commit();
  // Writes a record of up to kMaxRecordBytes (checked), in chunks if need be. False if it does not
  // fit now. A small record is then not written at all; of a large one a part may be, so ring the
  // doorbell all the same, and call again with the same record, and no other, until it returns
  // true.
  bool TryWrite(std::string_view record);

  size_t max_in_place() const { return capacity_ / 4; }
  // The reader wrote a position that cannot be.
  bool corrupt() const { return corrupt_; }

 private:
  bool Room(uint64_t need);
  char* Place(size_t size, uint32_t flags);

  RingHeader* const header_;
  char* const bytes_;
  const size_t capacity_;
  uint64_t head_ = 0;         // published
  uint64_t reserved_ = 0;     // head once the reserved record is committed
  uint64_t cached_tail_ = 0;  // spares a read of the reader's cache line
  size_t chunked_ = 0;        // bytes of the current large record that are written
  size_t chunked_size_ = 0;   // and its size, 0 for none
  bool corrupt_ = false;
};

// The reading end. Used by one thread at a time; HasData alone may be called by another thread of
// the same process while that one is known to be elsewhere.
class RingReader {
 public:
  RingReader(RingHeader* header, const char* bytes, size_t capacity)
      : header_(header), bytes_(bytes), capacity_(capacity) {}

  // The next complete record, the same one again until Pop, which ends its life. False if there is
  // none or the ring is corrupt. The bytes of a small record are in shared memory: read each of
  // them once, with bounds checks (base/fields.h does), since a broken peer may still change them.
  bool Peek(std::string_view* record);
  // Forgets the record that Peek gave. Its room goes back to the writer with the next Publish.
  void Pop();
  void Publish();

  bool HasData() const {
    return !corrupt_ && header_->head.load(std::memory_order_acquire) != tail_;
  }
  // The writer wrote a position or a length that cannot be.
  bool corrupt() const { return corrupt_; }

 private:
  enum class Step { kRecord, kAgain, kNothing };
  Step Advance(std::string_view* record);
  Step TakeChunk(std::string_view chunk, bool last, std::string_view* record);
  Step Corrupt();

  RingHeader* const header_;
  const char* const bytes_;
  const size_t capacity_;
  uint64_t tail_ = 0;           // not yet published after Pop
  uint64_t cached_head_ = 0;    // spares a read of the writer's cache line
  std::string_view current_;    // what Peek gave, while has_current_
  uint64_t current_bytes_ = 0;  // room that Pop gives back; 0 for a large record
  std::string large_;           // chunks of a large record so far
  bool has_current_ = false;
  bool in_large_ = false;
  bool corrupt_ = false;
};

// Two rings in one memfd. The maker writes the first and reads the second, the other side the
// reverse.
//
//   auto mine = RingPair::Create();        // pass (*mine)->memfd() over a LocalSocket
//   auto theirs = RingPair::Attach(std::move(fd));
class RingPair {
 public:
  // ResourceExhausted if there is no file descriptor or address space left; InvalidArgument for a
  // size that is not a power of two from kMinRingBytes to kMaxRingBytes.
  static absl::StatusOr<std::unique_ptr<RingPair>> Create(size_t ring_bytes = kRingBytes);
  // InvalidArgument if the memory is not a ring pair of this build, could shrink, or was attached
  // before.
  static absl::StatusOr<std::unique_ptr<RingPair>> Attach(UniqueFd memory);
  ~RingPair();
  RingPair(const RingPair&) = delete;
  RingPair& operator=(const RingPair&) = delete;

  const UniqueFd& memfd() const { return memory_; }
  RingWriter& out() { return *out_; }
  RingReader& in() { return *in_; }
  const RingReader& in() const { return *in_; }
  // DataLoss once either direction is corrupt: drop the pair.
  absl::Status status() const;

 private:
  RingPair(UniqueFd memory, char* mapping, size_t ring_bytes, bool made);

  UniqueFd memory_;
  char* const mapping_;
  const size_t mapped_bytes_;
  std::unique_ptr<RingWriter> out_;
  std::unique_ptr<RingReader> in_;
};

}  // namespace shoal::io
