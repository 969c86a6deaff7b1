#include "runtime/io/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace shoal::io {
namespace {

constexpr uint64_t kMagic = 0x31474e52'4c414f48;  // changes with the layout
constexpr uint32_t kWrap = 0xffffffff;            // the rest of the ring is unused
constexpr uint32_t kMore = 0x80000000;            // a chunk that is not the last
constexpr uint32_t kLast = 0x40000000;            // the last chunk of several
constexpr uint32_t kLengthMask = 0x3fffffff;
constexpr size_t kLargestInPlace = kRingBytes / 4;
constexpr size_t kChunk = kRingBytes / 8;
constexpr size_t kHeaderBytes = 4096;
constexpr size_t kPairBytes = 2 * (kHeaderBytes + kRingBytes);

uint64_t Footprint(uint64_t length) { return (length + sizeof(uint32_t) + 7) & ~uint64_t{7}; }
uint64_t At(uint64_t position) { return position & (kRingBytes - 1); }

}  // namespace

bool RingWriter::Room(uint64_t need) {
  if (head_ + need - cached_tail_ <= kRingBytes) return true;
  cached_tail_ = header_->tail.load(std::memory_order_acquire);
  return head_ + need - cached_tail_ <= kRingBytes;
}

char* RingWriter::Place(size_t size, uint32_t flags) {
  const uint64_t need = Footprint(size);
  const uint64_t to_end = kRingBytes - At(head_);
  if (to_end < need) {  // records do not wrap
    if (!Room(to_end + need)) return nullptr;
    std::memcpy(bytes_ + At(head_), &kWrap, sizeof(kWrap));
    head_ += to_end;
  } else if (!Room(need)) {
    return nullptr;
  }
  const uint32_t word = static_cast<uint32_t>(size) | flags;
  std::memcpy(bytes_ + At(head_), &word, sizeof(word));
  char* const to = bytes_ + At(head_) + sizeof(word);
  head_ += need;
  return to;
}

char* RingWriter::Reserve(size_t size) {
  if (size > kLargestInPlace || chunked_ > 0) return nullptr;
  return Place(size, 0);
}

void RingWriter::Commit() { header_->head.store(head_, std::memory_order_release); }

bool RingWriter::TryWrite(std::string_view record) {
  if (record.size() <= kLargestInPlace && chunked_ == 0) {
    char* const to = Place(record.size(), 0);
    if (to == nullptr) return false;
    std::memcpy(to, record.data(), record.size());
    Commit();
    return true;
  }
  while (chunked_ < record.size()) {
    const size_t size = std::min(record.size() - chunked_, kChunk);
    const bool last = chunked_ + size == record.size();
    char* const to = Place(size, last ? kLast : kMore);
    if (to == nullptr) return false;
    std::memcpy(to, record.data() + chunked_, size);
    chunked_ += size;
    Commit();
  }
  chunked_ = 0;
  return true;
}

bool RingReader::Peek(std::string_view* record) {
  while (!corrupt_) {
    if (pending_ > 0 && !large_complete_) return false;  // Pop comes first
    if (tail_ == cached_head_) {
      cached_head_ = header_->head.load(std::memory_order_acquire);
      if (tail_ == cached_head_) return false;
    }
    const uint64_t available = cached_head_ - tail_;
    const uint64_t to_end = kRingBytes - At(tail_);
    uint32_t word = 0;
    if (available > kRingBytes || available < 8 || At(tail_) % 8 != 0) {
      corrupt_ = true;
      return false;
    }
    std::memcpy(&word, bytes_ + At(tail_), sizeof(word));
    if (word == kWrap) {
      if (available < to_end) {
        corrupt_ = true;
        return false;
      }
      tail_ += to_end;
      continue;
    }
    const uint64_t length = word & kLengthMask;
    const uint64_t footprint = Footprint(length);
    if (footprint > available || footprint > to_end) {
      corrupt_ = true;
      return false;
    }
    const char* const data = bytes_ + At(tail_) + sizeof(word);
    if ((word & (kMore | kLast)) == 0) {
      *record = {data, length};
      pending_ = footprint;
      return true;
    }
    if (large_.size() + length > kMaxRecordBytes) {
      corrupt_ = true;
      return false;
    }
    large_.append(data, length);
    tail_ += footprint;
    Publish();  // the writer waits for this room
    if ((word & kLast) != 0) {
      *record = large_;
      large_complete_ = true;
      return true;
    }
  }
  return false;
}

void RingReader::Pop() {
  if (large_complete_) {
    large_.clear();
    large_.shrink_to_fit();
    large_complete_ = false;
  } else {
    tail_ += pending_;
    pending_ = 0;
  }
}

void RingReader::Publish() { header_->tail.store(tail_, std::memory_order_release); }

absl::StatusOr<std::unique_ptr<RingPair>> RingPair::Create() {
  UniqueFd memory(memfd_create("shoal-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid() || ftruncate(memory.get(), kPairBytes) != 0 ||
      fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("a ring could not be made: ", std::strerror(errno)));
  }
  void* mapping = mmap(nullptr, kPairBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("a ring could not be mapped: ", std::strerror(errno)));
  }
  std::memcpy(static_cast<char*>(mapping) + sizeof(RingHeader), &kMagic, sizeof(kMagic));
  return std::unique_ptr<RingPair>(new RingPair(std::move(memory), static_cast<char*>(mapping), /*made=*/true));
}

absl::StatusOr<std::unique_ptr<RingPair>> RingPair::Attach(UniqueFd memory) {
  struct stat info{};
  const int seals = memory.valid() ? fcntl(memory.get(), F_GET_SEALS) : -1;
  if (fstat(memory.get(), &info) != 0 || static_cast<size_t>(info.st_size) != kPairBytes || seals < 0 ||
      (seals & F_SEAL_SHRINK) == 0) {
    return absl::InvalidArgumentError("a peer offered memory that is not a ring");
  }
  void* mapping = mmap(nullptr, kPairBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("a ring could not be mapped: ", std::strerror(errno)));
  }
  uint64_t magic = 0;
  std::memcpy(&magic, static_cast<char*>(mapping) + sizeof(RingHeader), sizeof(magic));
  if (magic != kMagic) {
    munmap(mapping, kPairBytes);
    return absl::InvalidArgumentError("a peer offered a ring of another build; all processes of a node must be of one");
  }
  return std::unique_ptr<RingPair>(new RingPair(std::move(memory), static_cast<char*>(mapping), /*made=*/false));
}

RingPair::RingPair(UniqueFd memory, char* mapping, bool made) : memory_(std::move(memory)), mapping_(mapping) {
  char* const first = mapping;
  char* const second = mapping + kHeaderBytes + kRingBytes;
  char* const write = made ? first : second;
  char* const read = made ? second : first;
  out_ = std::make_unique<RingWriter>(reinterpret_cast<RingHeader*>(write), write + kHeaderBytes);
  in_ = std::make_unique<RingReader>(reinterpret_cast<RingHeader*>(read), read + kHeaderBytes);
}

RingPair::~RingPair() { munmap(mapping_, kPairBytes); }

}  // namespace shoal::io
