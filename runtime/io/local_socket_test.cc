#include "runtime/io/local_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/fields.h"
#include "gtest/gtest.h"

namespace shoal::io {
namespace {

using absl::StatusCode;

LocalFrame Frame(std::string bytes) {
  return {.kind = LocalFrame::Kind::kMessage,
          .to = {NodeId{1}, WorkerId{2}},
          .from = {NodeId{1}, WorkerId{3}},
          .bytes = std::move(bytes)};
}

std::pair<LocalSocket, UniqueFd> SocketAndRawPeer() {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  return {LocalSocket(UniqueFd(ends[0])), UniqueFd(ends[1])};
}

std::pair<LocalSocket, LocalSocket> Connected() {
  auto [socket, raw] = SocketAndRawPeer();
  return {std::move(socket), LocalSocket(std::move(raw))};
}

ino_t InodeOf(int fd) {
  struct stat info {};
  EXPECT_EQ(fstat(fd, &info), 0);
  return info.st_ino;
}

size_t OpenFiles() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST(LocalSocket, CarriesFramesWithTheirFiles) {
  auto [a, b] = Connected();
  UniqueFd first(memfd_create("first", MFD_CLOEXEC)), second(memfd_create("second", MFD_CLOEXEC));
  ASSERT_TRUE(a.Send(Frame("plain"), {}).ok());
  ASSERT_TRUE(a.Send({.kind = LocalFrame::Kind::kDoorbell}, {first.get(), second.get()}).ok());
  ASSERT_TRUE(a.Send({.kind = LocalFrame::Kind::kArena}, {second.get()}).ok());

  LocalFrame frame;
  std::vector<UniqueFd> fds;
  EXPECT_TRUE(b.Readable());
  ASSERT_TRUE(*b.Receive(&frame, &fds));
  EXPECT_EQ(frame.bytes, "plain");
  EXPECT_EQ(frame.to, (Address{NodeId{1}, WorkerId{2}}));
  EXPECT_EQ(frame.from, (Address{NodeId{1}, WorkerId{3}}));
  EXPECT_TRUE(fds.empty());
  ASSERT_TRUE(*b.Receive(&frame, &fds));
  EXPECT_EQ(frame.kind, LocalFrame::Kind::kDoorbell);
  ASSERT_EQ(fds.size(), 2u);
  EXPECT_EQ(InodeOf(fds[0].get()), InodeOf(first.get()));
  EXPECT_EQ(InodeOf(fds[1].get()), InodeOf(second.get()));
  EXPECT_NE(fcntl(fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(*b.Receive(&frame, &fds));
  ASSERT_EQ(fds.size(), 1u);
  EXPECT_EQ(InodeOf(fds[0].get()), InodeOf(second.get()));
  EXPECT_FALSE(*b.Receive(&frame, &fds));
  EXPECT_FALSE(b.Readable());
}

TEST(LocalSocket, AFrameThatCameWithAnotherIsStillReadable) {
  auto [a, b] = Connected();
  ASSERT_TRUE(a.Send(Frame("1"), {}).ok());
  ASSERT_TRUE(a.Send(Frame("2"), {}).ok());
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  ASSERT_TRUE(*b.Receive(&frame, &fds));
  EXPECT_TRUE(b.Readable()) << "the kernel has nothing, but a frame is here";
}

TEST(LocalSocket, TheLargestFramePassesAndALargerOneIsRefused) {
  auto [a, b] = Connected();
  const size_t overhead = EncodedSize(Frame(""));
  EXPECT_EQ(a.Send(Frame(std::string(kMaxFrameBytes, 'x')), {}).code(),
            StatusCode::kInvalidArgument);
  const std::string large(kMaxFrameBytes - overhead, 'y');
  ASSERT_TRUE(a.Send(Frame(large), {}).ok());
  EXPECT_GT(a.unsent_bytes(), 0u);
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  bool got = false;
  while (!got) {
    a.FlushWrites();
    got = *b.Receive(&frame, &fds);
  }
  EXPECT_EQ(frame.bytes, large);
  EXPECT_FALSE(a.FlushWrites());
  EXPECT_EQ(a.unsent_bytes(), 0u);
}

TEST(LocalSocket, TellsThatThePeerDoesNotReadAndKeepsWhatItAccepted) {
  auto [a, b] = Connected();
  const std::string bytes(1 << 20, 'z');
  size_t accepted = 0;
  absl::Status status;
  while ((status = a.Send(Frame(bytes), {})).ok()) ++accepted;
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_LE(a.unsent_bytes(), kMaxUnsentBytes);
  EXPECT_GE(accepted, 60u);
  size_t received = 0;
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  while (received < accepted) {
    a.FlushWrites();
    if (*b.Receive(&frame, &fds)) {
      ASSERT_EQ(frame.bytes, bytes);
      ++received;
    }
  }
  EXPECT_TRUE(a.Send(Frame("again"), {}).ok());
}

TEST(LocalSocket, TooManyFilesAreRefusedBeforeAnythingIsSent) {
  auto [a, b] = Connected();
  const std::vector<int> fds(kMaxFrameFds + 1, 0);
  EXPECT_EQ(a.Send(Frame("x"), fds).code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(b.Readable());
}

TEST(LocalSocket, WhatAPeerSaidBeforeItWentIsStillReceived) {
  auto [a, b] = Connected();
  ASSERT_TRUE(b.Send(Frame("last words"), {}).ok());
  b.Close();
  EXPECT_EQ(a.Send(Frame("too late"), {}).code(), StatusCode::kUnavailable);
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  ASSERT_TRUE(*a.Receive(&frame, &fds));
  EXPECT_EQ(frame.bytes, "last words");
  EXPECT_EQ(a.Receive(&frame, &fds).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(a.Receive(&frame, &fds).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(a.Send(Frame("x"), {}).code(), StatusCode::kUnavailable);
  EXPECT_GE(a.fd(), 0) << "the number stays ours until Close";
}

TEST(LocalSocket, GarbageBreaksTheConnectionAndLeaksNothing) {
  const std::string good = Encode(Frame("x"));
  const auto with_prefix = [](uint32_t length, uint32_t fds, const std::string& rest) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 4);
    std::memcpy(bytes.data() + 4, &fds, 4);
    return bytes + rest;
  };
  std::string unknown_kind = good;
  unknown_kind[0] = 99;
  const auto size = static_cast<uint32_t>(good.size());
  const std::vector<std::string> garbage = {
      with_prefix(0xffffffff, 0, ""),      // too long
      with_prefix(size, 1000, good),       // too many files
      with_prefix(size, 1, good),          // files that did not come
      with_prefix(size - 1, 0, good),      // cut short
      with_prefix(size, 0, unknown_kind),  // an unknown kind
      with_prefix(0, 0, ""),               // empty
      std::string(100, '\xff'),
  };
  const size_t before = OpenFiles();
  for (size_t i = 0; i < garbage.size(); ++i) {
    auto [socket, raw] = SocketAndRawPeer();
    ASSERT_EQ(write(raw.get(), garbage[i].data(), garbage[i].size()),
              static_cast<ssize_t>(garbage[i].size()));
    LocalFrame frame;
    std::vector<UniqueFd> fds;
    EXPECT_EQ(socket.Receive(&frame, &fds).status().code(), StatusCode::kUnavailable) << i;
    EXPECT_EQ(socket.Send(Frame("x"), {}).code(), StatusCode::kUnavailable) << i;
  }
  EXPECT_EQ(OpenFiles(), before);
}

TEST(LocalSocket, FramesThatArriveByteByByteAreWhole) {
  auto [socket, raw] = SocketAndRawPeer();
  const std::string body = Encode(Frame("slowly"));
  std::string bytes(8, '\0');
  const auto size = static_cast<uint32_t>(body.size());
  std::memcpy(bytes.data(), &size, 4);
  bytes += body;
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < bytes.size(); ++i) {
    ASSERT_FALSE(*socket.Receive(&frame, &fds));
    ASSERT_EQ(write(raw.get(), &bytes[i], 1), 1);
  }
  ASSERT_TRUE(*socket.Receive(&frame, &fds));
  EXPECT_EQ(frame.bytes, "slowly");
}

class LocalListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = absl::StrCat(testing::TempDir(), "/shoalXXXXXX");
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
    directory_ = base_ + "/run";
    path_ = directory_ + "/raylet.sock";
  }
  void TearDown() override {
    static_cast<void>(!std::system(absl::StrCat("rm -rf ", base_).c_str()));
  }

  std::string base_, directory_, path_;
};

TEST_F(LocalListenerTest, ConnectsProcessesOfThisUser) {
  auto listener = LocalListener::Listen(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(listener->Accept().status().code(), StatusCode::kNotFound);
  const pid_t child = fork();
  if (child == 0) {
    auto socket = LocalSocket::Connect(path_);
    _exit(socket.ok() && socket->Send(Frame("hello"), {}).ok() ? 0 : 1);
  }
  pollfd ready{.fd = listener->fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&ready, 1, 20'000), 1);
  auto accepted = listener->Accept();
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->PeerPidAndUid()->first, static_cast<uint32_t>(child));
  EXPECT_EQ(accepted->PeerPidAndUid()->second, geteuid());
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  LocalFrame frame;
  std::vector<UniqueFd> fds;
  ASSERT_TRUE(*accepted->Receive(&frame, &fds));
  EXPECT_EQ(frame.bytes, "hello");
  EXPECT_EQ(accepted->Receive(&frame, &fds).status().code(), StatusCode::kUnavailable);
}

TEST_F(LocalListenerTest, AnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  auto listener = LocalListener::Listen(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  // As if the modes had been opened by mistake: the check of the user must hold alone.
  ASSERT_EQ(chmod(base_.c_str(), 0755), 0);
  ASSERT_EQ(chmod(directory_.c_str(), 0755), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (setresuid(65534, 65534, 65534) != 0) _exit(2);
    _exit(LocalSocket::Connect(path_).status().code() == StatusCode::kPermissionDenied ? 0 : 1);
  }
  pollfd ready{.fd = listener->fd(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&ready, 1, 20'000), 1);
  EXPECT_EQ(listener->Accept().status().code(), StatusCode::kPermissionDenied);
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << "the client does not trust a listener of another user either";
}

TEST_F(LocalListenerTest, MakesADirectoryThatIsOursAlone) {
  auto listener = LocalListener::Listen(path_);
  ASSERT_TRUE(listener.ok());
  struct stat info {};
  ASSERT_EQ(stat(directory_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(LocalListenerTest, RefusesADirectoryThatOthersCanEnter) {
  ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
  ASSERT_EQ(chmod(directory_.c_str(), 0750), 0);
  EXPECT_EQ(LocalListener::Listen(path_).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(LocalListenerTest, RefusesADirectoryThatIsALink) {
  const std::string real = base_ + "/real";
  ASSERT_EQ(mkdir(real.c_str(), 0700), 0);
  ASSERT_EQ(symlink(real.c_str(), directory_.c_str()), 0);
  EXPECT_EQ(LocalListener::Listen(path_).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(LocalListenerTest, RefusesADirectoryOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to give the directory away";
  ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
  ASSERT_EQ(chown(directory_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(LocalListener::Listen(path_).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(LocalListenerTest, ASocketThatSomebodyListensAtIsLeftAlone) {
  auto first = LocalListener::Listen(path_);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(LocalListener::Listen(path_).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(LocalSocket::Connect(path_).ok());
}

TEST_F(LocalListenerTest, ASocketThatNobodyListensAtIsReplaced) {
  const pid_t child = fork();
  if (child == 0) {
    auto listener = LocalListener::Listen(path_);
    _exit(listener.ok() ? 0 : 1);  // without destructors: the socket stays, as after kill -9
  }
  int status = -1;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(access(path_.c_str(), F_OK), 0);
  EXPECT_EQ(LocalSocket::Connect(path_).status().code(), StatusCode::kUnavailable);
  auto listener = LocalListener::Listen(path_);
  EXPECT_TRUE(listener.ok()) << listener.status();
}

TEST_F(LocalListenerTest, AFileThatIsNoSocketIsNeverRemoved) {
  ASSERT_EQ(mkdir(directory_.c_str(), 0700), 0);
  UniqueFd file(open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(file.valid());
  EXPECT_EQ(LocalListener::Listen(path_).status().code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
}

TEST_F(LocalListenerTest, RemovesItsOwnSocketOnly) {
  {
    auto listener = LocalListener::Listen(path_);
    ASSERT_TRUE(listener.ok());
  }
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  {
    auto old = LocalListener::Listen(path_);
    ASSERT_TRUE(old.ok());
    ASSERT_EQ(rename(path_.c_str(), (path_ + ".old").c_str()), 0);
    static LocalListener successor = *LocalListener::Listen(path_);
  }
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
}

TEST_F(LocalListenerTest, WithoutDescriptorsItTurnsPeopleAwayInsteadOfSpinning) {
  auto listener = LocalListener::Listen(path_);
  ASSERT_TRUE(listener.ok());
  auto client = LocalSocket::Connect(path_);
  ASSERT_TRUE(client.ok());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // The lowest free number is the limit: nothing can be opened.
  const int next = fcntl(listener->fd(), F_DUPFD, 0);
  ASSERT_GE(next, 0);
  close(next);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = listener->Accept().status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(listener->Accept().status().code(), StatusCode::kNotFound) << "nobody waits any more";
}

TEST_F(LocalListenerTest, BadPathsAreExplained) {
  EXPECT_EQ(LocalListener::Listen("relative.sock").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(LocalListener::Listen(base_ + "/" + std::string(200, 'x')).status().code(),
            StatusCode::kInvalidArgument);
  const absl::Status nobody = LocalSocket::Connect(path_).status();
  EXPECT_EQ(nobody.code(), StatusCode::kUnavailable);
  EXPECT_NE(std::string(nobody.message()).find(path_), std::string::npos);
}

}  // namespace
}  // namespace shoal::io
