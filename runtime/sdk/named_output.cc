#include "runtime/sdk/named_output.h"

#include <unistd.h>

#include <ext/stdio_sync_filebuf.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace shoal::internal {
namespace {

constexpr char kMark = '\x1e';

struct Output {
  int fd;
  bool at_start = true;
};

// A cookie_write_function_t; stdio holds the stream's lock.
ssize_t WriteNamed(void* cookie, const char* text, size_t size) {
  Output& output = *static_cast<Output*>(cookie);
  std::string named;
  for (std::string_view rest(text, size); !rest.empty();) {
    const std::string_view line = rest.substr(0, std::min(rest.find('\n'), rest.size() - 1) + 1);
    if (output.at_start && printing_task != nullptr) named.append(1, kMark).append(*printing_task).append(1, kMark);
    named += line;
    output.at_start = line.back() == '\n';
    rest.remove_prefix(line.size());
  }
  for (std::string_view rest(named); !rest.empty();) {
    const ssize_t n = write(output.fd, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    rest.remove_prefix(static_cast<size_t>(n));
  }
  return static_cast<ssize_t>(size);
}

// Streams live as long as the process.
FILE* NamedFile(int fd, int buffering) {
  FILE* file = fopencookie(new Output{fd}, "w", {.read = nullptr, .write = WriteNamed, .seek = nullptr, .close = nullptr});
  std::setvbuf(file, nullptr, buffering, BUFSIZ);
  file->_fileno = fd;  // for those who ask by fileno()
  return file;
}

// Not one that has left stdio by sync_with_stdio(false).
void Follow(std::ostream& stream, FILE* file) {
  using StdioBuffer = __gnu_cxx::stdio_sync_filebuf<char>;
  if (dynamic_cast<StdioBuffer*>(stream.rdbuf()) != nullptr) stream.rdbuf(new StdioBuffer(file));
}

}  // namespace

void NameOutput() {
  std::fflush(nullptr);
  stdout = NamedFile(STDOUT_FILENO, _IOLBF);  // whole lines go to the driver as they are printed
  stderr = NamedFile(STDERR_FILENO, _IONBF);
  Follow(std::cout, stdout);
  Follow(std::cerr, stderr);
  Follow(std::clog, stderr);
}

std::string WithPrefix(const std::string& prefix, const std::string& line) {
  const size_t end = line.empty() || line[0] != kMark ? std::string::npos : line.find(kMark, 1);
  if (end == std::string::npos) return absl::StrCat(prefix, " ", line);
  return absl::StrCat("(", line.substr(1, end - 1), " ", prefix.substr(prefix.find('(') + 1), " ", line.substr(end + 1));
}

}  // namespace shoal::internal
