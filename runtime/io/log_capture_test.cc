#include "runtime/io/log_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace shoal::io {
namespace {

using Strings = std::vector<std::string>;

TEST(LineSplitterTest, GivesWholeLinesOnly) {
  LineSplitter splitter;
  Strings lines;
  splitter.Add("a\nb", &lines);
  EXPECT_EQ(lines, Strings({"a"}));
  splitter.Add("c\r\n\nd", &lines);
  EXPECT_EQ(lines, Strings({"a", "bc", ""}));
  EXPECT_EQ(splitter.TakeRest(), "d");
  EXPECT_EQ(splitter.TakeRest(), "");
}

TEST(LineSplitterTest, CutsALineWithoutEnd) {
  LineSplitter splitter;
  Strings lines;
  splitter.Add(std::string(LineSplitter::kMaxLineBytes + 5, 'x'), &lines);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].size(), LineSplitter::kMaxLineBytes);
  EXPECT_EQ(splitter.TakeRest(), "xxxxx");
}

TEST(ReadableLineTest, NamesWhoPrintedIt) {
  EXPECT_EQ(ReadableLine("\x1esquare\x1ehello"), "(square) hello");
  EXPECT_EQ(ReadableLine("plain"), "plain");
  EXPECT_EQ(ReadableLine("\x1ehalf"), "\x1ehalf");
  EXPECT_EQ(ReadableLine(""), "");
}

class LogCaptureTest : public testing::Test {
 protected:
  LogCaptureTest() {
    char name[] = "/tmp/logcap-XXXXXX";
    directory_ = mkdtemp(name);
    file_ = directory_ + "/worker.out";
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    writer_ = UniqueFd(ends[1]);
    capture_ = std::make_unique<LogCapture>(file_, UniqueFd(ends[0]), loop_.get(), [this](Strings lines) {
      ++batches_;
      lines_.insert(lines_.end(), lines.begin(), lines.end());
      if (until_ > 0 && lines_.size() >= until_) loop_->Stop(0);
    });
  }
  ~LogCaptureTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& text) {
    ASSERT_EQ(write(writer_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string FileText() const {
    std::stringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }

  std::unique_ptr<DaemonLoop> loop_ = *DaemonLoop::Create();
  std::string directory_, file_;
  UniqueFd writer_;
  Strings lines_;
  int batches_ = 0;
  size_t until_ = 0;
  std::unique_ptr<LogCapture> capture_;
};

TEST_F(LogCaptureTest, HandsLinesOverInOneBatchAndWritesTheFile) {
  Write("one\ntwo\nthr");
  until_ = 2;
  loop_->Run();
  EXPECT_EQ(lines_, Strings({"one", "two"}));
  EXPECT_EQ(batches_, 1);
  EXPECT_EQ(FileText(), "one\ntwo\nthr");
}

TEST_F(LogCaptureTest, TheEndOfTheProcessBringsWhatIsLeft) {
  Write("last words");
  capture_->Finish();
  EXPECT_EQ(lines_, Strings({"last words"}));
  EXPECT_EQ(capture_->tail(), "last words");
  capture_->Finish();
  EXPECT_EQ(batches_, 1);
}

TEST_F(LogCaptureTest, AFloodIsCountedNotKept) {
  std::string flood;
  for (size_t i = 0; i < LogCapture::kMaxBatchLines + 500; ++i) flood += "x\n";
  Write(flood);
  capture_->Finish();
  ASSERT_EQ(lines_.size(), LogCapture::kMaxBatchLines + 1);
  EXPECT_EQ(lines_.back(), "... 500 more lines, see " + file_);
  EXPECT_EQ(FileText().size(), flood.size());
}

TEST_F(LogCaptureTest, TheTailIsTheLastLines) {
  for (int i = 0; i < 30; ++i) Write("line " + std::to_string(i) + "\n");
  capture_->Finish();
  EXPECT_EQ(capture_->tail().substr(0, 8), "line 10\n");
  EXPECT_EQ(capture_->tail().substr(capture_->tail().size() - 7), "line 29");
}

TEST_F(LogCaptureTest, WithoutOutputThereIsNoFile) {
  writer_.Reset();
  capture_->Finish();
  EXPECT_FALSE(std::filesystem::exists(file_));
  EXPECT_TRUE(lines_.empty());
}

}  // namespace
}  // namespace shoal::io
