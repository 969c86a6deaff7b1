#include "objectstore/shm/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "absl/strings/str_cat.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace shoal {
namespace {

// What is reserved and remembered at a time: large enough that small objects rarely make a system
// call.
constexpr uint64_t kGranule = uint64_t{1} << 20;
// One fallocate takes at most this much, so that a signal or a stop is never far away.
constexpr uint64_t kReserveStep = uint64_t{64} << 20;
constexpr uint64_t kPrefaultStep = uint64_t{8} << 20;
constexpr uint64_t kPage = 4096;

size_t GranuleWords(uint64_t size) {
  return static_cast<size_t>((size + kGranule * 64 - 1) / (kGranule * 64));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(uint64_t bytes, Headroom headroom) {
  if (bytes == 0 || bytes > uint64_t{1} << 46) {
    return absl::InvalidArgumentError(
        absl::StrCat("an object store of ", bytes, " bytes is not possible"));
  }
  bytes = (bytes + kPage - 1) / kPage * kPage;
  const int fd = memfd_create("shoal-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const std::string reason = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::ResourceExhaustedError(
        absl::StrCat("an object store of ", bytes, " bytes could not be made: ", reason));
  }
  return Attach(fd, /*writable=*/true, headroom);
}

absl::StatusOr<std::unique_ptr<Arena>> Arena::Attach(int fd, bool writable, Headroom headroom) {
  struct stat info {};
  const int seals = fcntl(fd, F_GET_SEALS);
  constexpr int kNeeded = F_SEAL_SHRINK | F_SEAL_GROW;
  if (seals < 0 || (seals & kNeeded) != kNeeded || fstat(fd, &info) != 0 || info.st_size <= 0) {
    if (fd >= 0) close(fd);
    return absl::InvalidArgumentError("the memory that was offered is not an object store");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    close(fd);
    const std::string text =
        absl::StrCat("the object store could not be mapped: ", std::strerror(error));
    return error == EACCES ? absl::PermissionDeniedError(text) : absl::ResourceExhaustedError(text);
  }
  madvise(data, size, MADV_DONTDUMP);  // a core file of the store would fill the disk
  return std::unique_ptr<Arena>(new Arena(fd, static_cast<char*>(data), size, writable, headroom));
}

Arena::Arena(int fd, char* data, uint64_t size, bool writable, Headroom headroom)
    : fd_(fd),
      data_(data),
      size_(size),
      writable_(writable),
      headroom_(headroom),
      backed_(std::make_unique<std::atomic<uint64_t>[]>(GranuleWords(size))) {}

Arena::~Arena() {
  StopPrefault();
  munmap(data_, size_);
  close(fd_);
}

absl::StatusOr<int> Arena::OpenReadOnly() const {
  const int fd = open(absl::StrCat("/proc/self/fd/", fd_).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return fd;
  return absl::ResourceExhaustedError(
      absl::StrCat("the object store could not be opened for a reader: ", std::strerror(errno)));
}

absl::Status Arena::EnsureBacked(uint64_t offset, uint64_t size) const {
  if (offset > size_ || size > size_ - offset) {
    return absl::OutOfRangeError(
        absl::StrCat(size, " bytes at ", offset, " are outside the object store of ", size_));
  }
  if (!writable_) {
    return absl::FailedPreconditionError("this process maps the object store for reading only");
  }
  const uint64_t end = offset + size;
  for (uint64_t granule = offset / kGranule; granule * kGranule < end; ++granule) {
    std::atomic<uint64_t>& word = backed_[granule / 64];
    const uint64_t bit = uint64_t{1} << (granule % 64);
    if ((word.load(std::memory_order_relaxed) & bit) != 0) continue;
    // Unknown granules that follow are taken in one go.
    uint64_t last = granule + 1;
    while (last * kGranule < end && last - granule < kReserveStep / kGranule &&
           (backed_[last / 64].load(std::memory_order_relaxed) >> (last % 64) & 1) == 0) {
      ++last;
    }
    const uint64_t begin_byte = granule * kGranule;
    const uint64_t end_byte = std::min(last * kGranule, size_);
    if (Reserve(begin_byte, end_byte).ok()) {
      for (uint64_t g = granule; g < last; ++g) {
        backed_[g / 64].fetch_or(uint64_t{1} << (g % 64), std::memory_order_relaxed);
      }
    } else {
      // Whole granules are a luxury; what was asked for may still fit.
      const absl::Status exact = Reserve(std::max(begin_byte, offset), std::min(end_byte, end));
      if (!exact.ok()) return exact;
    }
    granule = last - 1;
  }
  return absl::OkStatus();
}

// Pages of the range that are not in memory. Another process may have filled them long ago: then
// they cost nothing, however little memory is left.
uint64_t Arena::MissingBytes(uint64_t begin, uint64_t end) const {
  begin = begin / kPage * kPage;
  const uint64_t pages = (end - begin + kPage - 1) / kPage;
  std::vector<unsigned char> resident(pages);
  if (mincore(data_ + begin, end - begin, resident.data()) != 0) return end - begin;
  uint64_t missing = 0;
  for (const unsigned char page : resident) missing += 1 - (page & 1);
  return missing * kPage;
}

// Takes `bytes` from what may be used. The kernel is asked once for many calls; a process takes an
// eighth of what is left at a time, as others do the same.
bool Arena::Afford(uint64_t bytes) const {
  uint64_t budget = budget_.load(std::memory_order_relaxed);
  while (budget >= bytes) {
    if (budget_.compare_exchange_weak(budget, budget - bytes, std::memory_order_relaxed))
      return true;
  }
  const uint64_t headroom = headroom_();
  if (headroom < kKeepFreeBytes || headroom - kKeepFreeBytes < bytes) return false;
  const uint64_t share = std::min((headroom - kKeepFreeBytes) / 8, kReserveStep);
  budget_.store(share > bytes ? share - bytes : 0, std::memory_order_relaxed);
  return true;
}

absl::Status Arena::Reserve(uint64_t begin, uint64_t end) const {
  while (begin < end) {
    const uint64_t step = std::min(end - begin, kReserveStep);
    const uint64_t missing = MissingBytes(begin, begin + step);
    if (missing > 0 && !Afford(missing)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the machine or its cgroup has no memory for ", missing,
          " more bytes of objects; free memory or start the raylet with a smaller store"));
    }
    while (missing > 0 &&
           fallocate(fd_, 0, static_cast<off_t>(begin), static_cast<off_t>(step)) != 0) {
      if (errno == EINTR) continue;
      return absl::ResourceExhaustedError(absl::StrCat(
          "the machine refused ", step, " more bytes of objects (", std::strerror(errno),
          "); free memory or start the raylet with a smaller store"));
    }
    begin += step;
  }
  return absl::OkStatus();
}

void Arena::StartPrefault(uint64_t bytes) {
  if (prefault_.joinable() || !writable_) return;
  prefault_ = std::thread([this, bytes] { Prefault(std::min(bytes, size_)); });
}

void Arena::StopPrefault() {
  stop_prefault_ = true;
  if (prefault_.joinable()) prefault_.join();
}

void Arena::Prefault(uint64_t bytes) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 19);
  for (uint64_t at = 0; at < bytes && !stop_prefault_; at += kPrefaultStep) {
    const uint64_t step = std::min(bytes - at, kPrefaultStep);
    // Populating writes nothing, so it may run beside somebody who fills these pages.
    if (!EnsureBacked(at, step).ok() || madvise(data_ + at, step, MADV_POPULATE_WRITE) != 0) return;
    prefaulted_.store(at + step, std::memory_order_relaxed);
  }
}

void CopyInto(char* to, const char* from, size_t size) {
#ifdef __SSE2__
  static const size_t cache_bytes = [] {
    const long reported = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return static_cast<size_t>(reported > 0 ? reported : 1 << 20);
  }();
  if (size > cache_bytes) {
    const size_t head = (16 - reinterpret_cast<uintptr_t>(to) % 16) % 16;
    std::memcpy(to, from, head);
    to += head, from += head, size -= head;
    for (; size >= 64; to += 64, from += 64, size -= 64) {
      auto* const target = reinterpret_cast<__m128i*>(to);
      const auto* const source = reinterpret_cast<const __m128i*>(from);
      const __m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
      const __m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);
      _mm_stream_si128(target, a);
      _mm_stream_si128(target + 1, b);
      _mm_stream_si128(target + 2, c);
      _mm_stream_si128(target + 3, d);
    }
    _mm_sfence();  // streamed stores are not ordered by the release that publishes the object
  }
#endif
  if (size > 0) std::memcpy(to, from, size);
}

}  // namespace shoal
