#include "runtime/io/ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace shoal::io {
namespace {

constexpr uint64_t kMagic = 0x31474e52'4c414f48;  // changes with the layout
constexpr uint32_t kWrap = 0xffffffff;            // the rest of the ring is unused
constexpr uint32_t kMore = 0x80000000;            // a chunk that is not the last
constexpr uint32_t kLast = 0x40000000;            // the last chunk of several
constexpr uint32_t kLengthMask = 0x3fffffff;
constexpr size_t kHeaderBytes = 4096;

// Behind the positions in the first header page: what the maker says once.
struct PairInfo {
  uint64_t magic;
  uint64_t ring_bytes;
};

uint64_t Footprint(uint64_t length) { return (length + sizeof(uint32_t) + 7) & ~uint64_t{7}; }
size_t PairBytes(size_t ring_bytes) { return 2 * (kHeaderBytes + ring_bytes); }
bool ValidRingBytes(uint64_t bytes) {
  return bytes >= kMinRingBytes && bytes <= kMaxRingBytes && (bytes & (bytes - 1)) == 0;
}
// Read once: the peer may change it between a check and a second read.
uint32_t ReadWord(const char* from) {
  return __atomic_load_n(reinterpret_cast<const uint32_t*>(from), __ATOMIC_RELAXED);
}
void WriteWord(char* to, uint32_t word) {
  __atomic_store_n(reinterpret_cast<uint32_t*>(to), word, __ATOMIC_RELAXED);
}

}  // namespace

bool RingWriter::Room(uint64_t need) {
  if (head_ + need - cached_tail_ <= capacity_) return true;
  const uint64_t tail = header_->tail.load(std::memory_order_acquire);
  // It moves forward, never past what was written, by whole records.
  if (tail - cached_tail_ > head_ - cached_tail_ || tail % 8 != 0) {
    corrupt_ = true;
    return false;
  }
  cached_tail_ = tail;
  return head_ + need - cached_tail_ <= capacity_;
}

char* RingWriter::Place(size_t size, uint32_t flags) {
  const uint64_t need = Footprint(size);
  const uint64_t at = head_ & (capacity_ - 1);
  const uint64_t to_end = capacity_ - at;
  const uint64_t skip = to_end < need ? to_end : 0;
  if (corrupt_ || !Room(skip + need)) return nullptr;
  if (skip > 0) WriteWord(bytes_ + at, kWrap);
  char* const to = bytes_ + (skip > 0 ? 0 : at);
  WriteWord(to, static_cast<uint32_t>(size) | flags);
  reserved_ = head_ + skip + need;
  return to + sizeof(uint32_t);
}

char* RingWriter::Reserve(size_t size) {
  if (size > max_in_place() || chunked_size_ > 0) return nullptr;
  return Place(size, 0);
}

void RingWriter::Commit() {
  head_ = reserved_;
  header_->head.store(head_, std::memory_order_release);
}

bool RingWriter::TryWrite(std::string_view record) {
  SHOAL_CHECK(record.size() <= kMaxRecordBytes) << "a record of " << record.size() << " bytes";
  if (record.size() <= max_in_place()) {
    char* const to = Reserve(record.size());
    if (to == nullptr) return false;
    if (!record.empty()) std::memcpy(to, record.data(), record.size());
    Commit();
    return true;
  }
  SHOAL_CHECK(chunked_size_ == 0 || chunked_size_ == record.size())
      << "another record of " << chunked_size_ << " bytes is half written";
  chunked_size_ = record.size();
  while (chunked_ < record.size()) {
    const size_t size = std::min(record.size() - chunked_, capacity_ / 8);
    const bool last = chunked_ + size == record.size();
    char* const to = Place(size, last ? kLast : kMore);
    if (to == nullptr) return false;
    std::memcpy(to, record.data() + chunked_, size);
    chunked_ += size;
    Commit();
  }
  chunked_ = chunked_size_ = 0;
  return true;
}

RingReader::Step RingReader::Corrupt() {
  corrupt_ = true;
  large_ = std::string();
  return Step::kNothing;
}

bool RingReader::Peek(std::string_view* record) {
  if (!has_current_) {
    Step step = Step::kAgain;
    while (step == Step::kAgain && !corrupt_) step = Advance(&current_);
    has_current_ = step == Step::kRecord;
  }
  if (has_current_) *record = current_;
  return has_current_;
}

RingReader::Step RingReader::Advance(std::string_view* record) {
  if (tail_ == cached_head_) {
    cached_head_ = header_->head.load(std::memory_order_acquire);
    if (tail_ == cached_head_) return Step::kNothing;
  }
  const uint64_t available = cached_head_ - tail_;
  if (available > capacity_ || available % 8 != 0) return Corrupt();
  const uint64_t at = tail_ & (capacity_ - 1);
  const uint64_t to_end = capacity_ - at;
  const uint32_t word = ReadWord(bytes_ + at);
  if (word == kWrap) {
    // A record always follows the marker, so this cannot go round for ever.
    if (at == 0 || available <= to_end) return Corrupt();
    tail_ += to_end;
    return Step::kAgain;
  }
  const uint64_t length = word & kLengthMask;
  const uint64_t footprint = Footprint(length);
  if (footprint > available || footprint > to_end) return Corrupt();
  const std::string_view bytes(bytes_ + at + sizeof(word), length);
  if ((word & (kMore | kLast)) != 0) {
    tail_ += footprint;
    return TakeChunk(bytes, (word & kLast) != 0, record);
  }
  if (in_large_) return Corrupt();
  *record = bytes;
  current_bytes_ = footprint;
  return Step::kRecord;
}

RingReader::Step RingReader::TakeChunk(std::string_view chunk, bool last,
                                       std::string_view* record) {
  // Empty chunks would let a broken peer keep us here for ever.
  if (chunk.empty() || large_.size() + chunk.size() > kMaxRecordBytes) return Corrupt();
  large_.append(chunk);
  in_large_ = !last;
  Publish();  // the writer waits for this room
  if (!last) return Step::kAgain;
  *record = large_;
  current_bytes_ = 0;
  return Step::kRecord;
}

void RingReader::Pop() {
  if (!has_current_) return;
  has_current_ = false;
  tail_ += current_bytes_;
  if (current_bytes_ == 0) large_ = std::string();  // up to 64 MiB: not kept
}

void RingReader::Publish() { header_->tail.store(tail_, std::memory_order_release); }

absl::StatusOr<std::unique_ptr<RingPair>> RingPair::Create(size_t ring_bytes) {
  if (!ValidRingBytes(ring_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a ring of ", ring_bytes, " bytes is not possible; choose a power of two from ",
        kMinRingBytes, " to ", kMaxRingBytes));
  }
  const size_t size = PairBytes(ring_bytes);
  UniqueFd memory(memfd_create("shoal-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid() || ftruncate(memory.get(), static_cast<off_t>(size)) != 0 ||
      fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a ring could not be made: ", std::strerror(errno)));
  }
  void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a ring could not be mapped: ", std::strerror(errno)));
  }
  const PairInfo info{.magic = kMagic, .ring_bytes = ring_bytes};
  std::memcpy(static_cast<char*>(mapping) + sizeof(RingHeader), &info, sizeof(info));
  return std::unique_ptr<RingPair>(
      new RingPair(std::move(memory), static_cast<char*>(mapping), ring_bytes, /*made=*/true));
}

absl::StatusOr<std::unique_ptr<RingPair>> RingPair::Attach(UniqueFd memory) {
  const absl::Status not_a_ring = absl::InvalidArgumentError(
      "a peer offered memory that is not a ring of this build; all processes of a node must be of "
      "one");
  struct stat file {};
  const int seals = memory.valid() ? fcntl(memory.get(), F_GET_SEALS) : -1;
  // The size first: reading beyond the end of a file is a SIGBUS.
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(memory.get(), &file) != 0 ||
      static_cast<size_t>(file.st_size) < PairBytes(kMinRingBytes) ||
      static_cast<size_t>(file.st_size) > PairBytes(kMaxRingBytes)) {
    return not_a_ring;
  }
  const size_t size = static_cast<size_t>(file.st_size);
  void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapping == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a ring could not be mapped: ", std::strerror(errno)));
  }
  char* const base = static_cast<char*>(mapping);
  PairInfo info{};
  std::memcpy(&info, base + sizeof(RingHeader), sizeof(info));
  if (info.magic != kMagic || !ValidRingBytes(info.ring_bytes) ||
      PairBytes(info.ring_bytes) != size) {
    munmap(mapping, size);
    return not_a_ring;
  }
  const auto* in = reinterpret_cast<const RingHeader*>(base);
  const auto* out = reinterpret_cast<const RingHeader*>(base + kHeaderBytes + info.ring_bytes);
  if (in->tail != 0 || out->head != 0 || out->tail != 0) {
    munmap(mapping, size);
    return absl::InvalidArgumentError("a peer offered a ring that is already in use");
  }
  return std::unique_ptr<RingPair>(
      new RingPair(std::move(memory), base, info.ring_bytes, /*made=*/false));
}

RingPair::RingPair(UniqueFd memory, char* mapping, size_t ring_bytes, bool made)
    : memory_(std::move(memory)), mapping_(mapping), mapped_bytes_(PairBytes(ring_bytes)) {
  char* const first = mapping;
  char* const second = mapping + kHeaderBytes + ring_bytes;
  char* const write = made ? first : second;
  char* const read = made ? second : first;
  out_ = std::make_unique<RingWriter>(reinterpret_cast<RingHeader*>(write), write + kHeaderBytes,
                                      ring_bytes);
  in_ = std::make_unique<RingReader>(reinterpret_cast<RingHeader*>(read), read + kHeaderBytes,
                                     ring_bytes);
}

RingPair::~RingPair() { munmap(mapping_, mapped_bytes_); }

absl::Status RingPair::status() const {
  if (!out_->corrupt() && !in_->corrupt()) return absl::OkStatus();
  return absl::DataLossError(
      "a neighbour process wrote nonsense into its ring; the link to it is dropped");
}

}  // namespace shoal::io
