#include "runtime/io/log_capture.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"

namespace shoal::io {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr int kReadsPerTurn = 4;

}  // namespace

void LineSplitter::Add(std::string_view bytes, std::vector<std::string>* lines) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    const size_t room = kMaxLineBytes - rest_.size();
    const size_t take = std::min({end, bytes.size(), room});
    rest_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    const bool ended = !bytes.empty() && bytes[0] == '\n';
    if (ended) bytes.remove_prefix(1);
    if (!ended && rest_.size() < kMaxLineBytes) return;
    if (ended && !rest_.empty() && rest_.back() == '\r') rest_.pop_back();
    lines->push_back(std::exchange(rest_, {}));
  }
}

std::string LineSplitter::TakeRest() { return std::exchange(rest_, {}); }

std::string ReadableLine(const std::string& line) {
  constexpr char kMark = '\x1e';
  if (line.empty() || line[0] != kMark) return line;
  const size_t end = line.find(kMark, 1);
  if (end == std::string::npos) return line;
  return absl::StrCat("(", line.substr(1, end - 1), ") ", line.substr(end + 1));
}

LogCapture::LogCapture(std::string file, UniqueFd reader, DaemonLoop* loop, Lines lines)
    : file_(std::move(file)), reader_(std::move(reader)), loop_(loop), lines_(std::move(lines)) {
  const absl::Status added = loop_->events().AddFd(reader_.get(), EPOLLIN, [this](uint32_t) {
    for (int i = 0; i < kReadsPerTurn; ++i) {
      if (ReadSome()) continue;
      return;
    }
  });
  if (!added.ok()) reader_.Reset();
}

LogCapture::~LogCapture() {
  loop_->timers().Cancel(timer_);
  if (reader_.valid()) loop_->events().RemoveFd(reader_.get());
}

// False if there is nothing to read now or ever.
bool LogCapture::ReadSome() {
  char chunk[kReadBytes];
  const ssize_t n = reader_.valid() ? read(reader_.get(), chunk, sizeof(chunk)) : 0;
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN) return false;
  if (n <= 0) {
    if (reader_.valid()) {
      loop_->events().RemoveFd(reader_.get());
      reader_.Reset();
    }
    return false;
  }
  const std::string_view bytes(chunk, static_cast<size_t>(n));
  WriteFile(bytes);
  std::vector<std::string> lines;
  splitter_.Add(bytes, &lines);
  Keep(std::move(lines));
  return true;
}

void LogCapture::Keep(std::vector<std::string> lines) {
  for (std::string& line : lines) {
    tail_.push_back(ReadableLine(line.substr(0, kTailBytes)));
    if (tail_.size() > kTailLines) tail_.pop_front();
    if (batch_.size() < kMaxBatchLines && batch_bytes_ < kMaxBatchBytes) {
      batch_bytes_ += line.size();
      batch_.push_back(std::move(line));
    } else {
      ++dropped_;
    }
  }
  if (!batch_.empty() && timer_ == 0) {
    timer_ = loop_->timers().After(kBatchDelay, [this] {
      timer_ = 0;
      Flush();
    });
  }
}

void LogCapture::Flush() {
  if (dropped_ > 0) {
    batch_.push_back(absl::StrCat("... ", dropped_, " more lines, see ", file_));
    dropped_ = 0;
  }
  batch_bytes_ = 0;
  if (!batch_.empty()) lines_(std::exchange(batch_, {}));
}

void LogCapture::Finish() {
  // At most what fits into a pipe, even if somebody else still writes into it.
  for (int i = 0; i < 64 && ReadSome(); ++i) {
  }
  if (std::string rest = splitter_.TakeRest(); !rest.empty()) Keep({std::move(rest)});
  loop_->timers().Cancel(timer_);
  timer_ = 0;
  Flush();
  if (reader_.valid()) {
    loop_->events().RemoveFd(reader_.get());
    reader_.Reset();
  }
}

std::string LogCapture::tail() const {
  std::string text;
  for (auto line = tail_.rbegin(); line != tail_.rend() && text.size() + line->size() < kTailBytes; ++line) {
    text = text.empty() ? *line : absl::StrCat(*line, "\n", text);
  }
  return text;
}

// A full disk costs the file's lines and nothing else.
void LogCapture::WriteFile(std::string_view bytes) {
  if (log_bytes_ > kMaxFileBytes) {
    log_.Reset();
    log_bytes_ = 0;
    std::rename(file_.c_str(), absl::StrCat(file_, ".1").c_str());
  }
  if (!log_.valid()) log_ = UniqueFd(open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log_.valid()) return;
  static_cast<void>(!write(log_.get(), bytes.data(), bytes.size()));
  log_bytes_ += bytes.size();
}

}  // namespace shoal::io
