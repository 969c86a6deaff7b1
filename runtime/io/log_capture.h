// Turns what a worker writes to its stdout and stderr into lines: into its log file at once, and in batches to whoever prints them.
//
//   LogCapture capture(directory + "/logs/worker-12ab.err", std::move(reader), &loop, [&](auto lines) { ... });
//   capture.Finish();                 // the process ended: what the pipe still holds, the last unfinished line
//   capture.tail();                   // the last lines, to explain a death
//
// Bounded everywhere: a batch has at most kMaxBatchLines and kMaxBatchBytes, of a flood the rest goes to the file alone and is counted in one line, a
// line is cut at kMaxLineBytes, and the file is begun anew, keeping one older, at kMaxFileBytes. Never blocks the worker for long nor the
// loop at all.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/daemon_loop.h"

namespace shoal::io {

// Splits a stream of bytes into lines without their ends.
class LineSplitter {
 public:
  static constexpr size_t kMaxLineBytes = 64 << 10;  // longer ones are split
  // Appends the lines that `bytes` complete.
  void Add(std::string_view bytes, std::vector<std::string>* lines);
  // What was not ended by a newline; "" if nothing.
  std::string TakeRest();

 private:
  std::string rest_;
};

// A worker marks each line with the name of the task that printed it, for the driver's prefix: "\x1esquare\x1ehello". For people who
// read the file: "(square) hello".
std::string ReadableLine(const std::string& line);

class LogCapture {
 public:
  static constexpr size_t kMaxBatchLines = 1000;
  static constexpr size_t kMaxBatchBytes = 64 << 10;
  static constexpr size_t kMaxFileBytes = size_t{64} << 20;
  static constexpr size_t kTailLines = 20;
  static constexpr Duration kBatchDelay = 5ms;
  using Lines = std::function<void(std::vector<std::string> lines)>;

  // `reader` is the non-blocking end of a pipe. `file` is made when something is written.
  LogCapture(std::string file, UniqueFd reader, DaemonLoop* loop, Lines lines);
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  // Reads what is there and hands everything over; nothing comes later.
  void Finish();
  // The last lines, one per line, at most kTailBytes.
  std::string tail() const;

 private:
  static constexpr size_t kTailBytes = 2048;

  bool ReadSome();  // false at the end
  void Keep(std::vector<std::string> lines);
  void Flush();
  void WriteFile(std::string_view bytes);

  const std::string file_;
  UniqueFd reader_;
  DaemonLoop* const loop_;
  const Lines lines_;
  LineSplitter splitter_;
  std::vector<std::string> batch_;
  size_t batch_bytes_ = 0;
  std::deque<std::string> tail_;
  size_t dropped_ = 0;
  Timers::Id timer_ = 0;
  UniqueFd log_;
  size_t log_bytes_ = 0;
};

}  // namespace shoal::io
