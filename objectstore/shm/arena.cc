#include "objectstore/shm/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace shoal {

absl::StatusOr<std::unique_ptr<Arena>> Arena::Create(uint64_t bytes) {
  const int fd = memfd_create("shoal-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    const std::string reason = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::ResourceExhaustedError(absl::StrCat("an object store of ", bytes, " bytes could not be made: ", reason));
  }
  return Attach(fd, /*writable=*/true);
}

absl::StatusOr<std::unique_ptr<Arena>> Arena::Attach(int fd, bool writable) {
  struct stat info{};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (fstat(fd, &info) != 0 || info.st_size <= 0 || seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    close(fd);
    return absl::InvalidArgumentError("the memory that was offered is not an object store");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  void* data = mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    close(fd);
    return absl::ResourceExhaustedError(absl::StrCat("the object store could not be mapped: ", reason));
  }
  return std::unique_ptr<Arena>(new Arena(fd, static_cast<char*>(data), size));
}

Arena::~Arena() {
  munmap(data_, size_);
  close(fd_);
}

absl::Status Arena::EnsureBacked(uint64_t offset, uint64_t size) const {
  if (offset > size_ || size > size_ - offset) {
    return absl::OutOfRangeError(absl::StrCat("bytes ", offset, " to ", offset + size, " are outside the object store"));
  }
  if (fallocate(fd_, 0, static_cast<off_t>(offset), static_cast<off_t>(size)) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("the machine has no memory for ", size,
                                                     " more bytes of objects: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace shoal
