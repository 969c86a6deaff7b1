// A byte ring in shared memory between two processes: one writes, one reads, no lock, no syscall. Records have any size up to
// kMaxRecordBytes; one larger than a quarter of the ring travels in chunks and is put together again by the reader.
//
//   if (char* to = ring.Reserve(n)) { fill(to); ring.Commit(); }       // writer; null when there is no room now
//   std::string_view record;
//   while (ring.Peek(&record)) { use(record); ring.Pop(); }            // reader
//   ring.Publish();                                                    // gives the room back, once per batch
//
// Layout: a header page with head and tail on cache lines of their own, then the bytes. Each record is a 32-bit length with flags
// in the top bits, its bytes, padding to 8. The peer is another process and may be broken: every length is checked against what is
// in the ring; a record that does not fit marks the ring corrupt and it never yields anything again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/io/fd.h"

namespace shoal::io {

inline constexpr size_t kRingBytes = size_t{1} << 20;
inline constexpr size_t kMaxRecordBytes = size_t{64} << 20;

// What both sides map; all fields but head and tail are constant.
struct RingHeader {
  alignas(64) std::atomic<uint64_t> head;  // bytes ever written
  alignas(64) std::atomic<uint64_t> tail;  // bytes ever read
};

class RingWriter {
 public:
  RingWriter(RingHeader* header, char* bytes) : header_(header), bytes_(bytes) {}

  // Room for a record of up to a quarter of the ring, or null: no room now, or the record needs TryWrite.
  char* Reserve(size_t size);
  // Makes the reserved record visible to the reader.
  void Commit();
  // A record of any size, in chunks if need be; false if it does not fit now (nothing is written, except that a large record
  // goes on where the last call with the same bytes stopped).
  bool TryWrite(std::string_view record);

 private:
  bool Room(uint64_t need);
  char* Place(size_t size, uint32_t flags);

  RingHeader* const header_;
  char* const bytes_;
  uint64_t head_ = 0;         // ours; published by Commit
  uint64_t cached_tail_ = 0;
  uint64_t chunked_ = 0;      // bytes of the current large record that are written
};

class RingReader {
 public:
  RingReader(RingHeader* header, const char* bytes) : header_(header), bytes_(bytes) {}

  // The next record; valid until Pop. False if there is none that is complete, or the ring is corrupt.
  bool Peek(std::string_view* record);
  void Pop();
  void Publish();
  bool HasData() const {
    return !corrupt_ && header_->head.load(std::memory_order_acquire) != tail_;
  }
  bool corrupt() const { return corrupt_; }

 private:
  RingHeader* const header_;
  const char* const bytes_;
  uint64_t tail_ = 0;
  uint64_t cached_head_ = 0;
  uint64_t pending_ = 0;  // bytes that Pop will skip
  std::string large_;     // chunks of a large record so far
  bool large_complete_ = false;
  bool corrupt_ = false;
};

// Two rings in one memfd. The maker writes the first and reads the second, the other side the reverse.
class RingPair {
 public:
  static absl::StatusOr<std::unique_ptr<RingPair>> Create();
  // Fails if the memory is not a ring pair of this build.
  static absl::StatusOr<std::unique_ptr<RingPair>> Attach(UniqueFd memory);
  ~RingPair();
  RingPair(const RingPair&) = delete;

  const UniqueFd& memfd() const { return memory_; }
  RingWriter& out() { return *out_; }
  RingReader& in() { return *in_; }
  const RingReader& in() const { return *in_; }

 private:
  RingPair(UniqueFd memory, char* mapping, bool made);

  UniqueFd memory_;
  char* const mapping_;
  std::unique_ptr<RingWriter> out_;
  std::unique_ptr<RingReader> in_;
};

}  // namespace shoal::io
