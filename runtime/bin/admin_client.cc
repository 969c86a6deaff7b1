#include "runtime/bin/admin_client.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "runtime/io/clock.h"
#include "runtime/io/runtime_directory.h"
#include "schema/codec.h"

namespace shoal::bin {
namespace {

constexpr Duration kPatience = 5s;
constexpr Duration kAskAgain = 1s;

}  // namespace

absl::StatusOr<AdminClient> AdminClient::Connect(const std::string& directory) {
  absl::Status why;
  for (const char* name : {"/head.sock", "/raylet.sock"}) {
    if (access((directory + name).c_str(), F_OK) != 0) continue;
    absl::StatusOr<io::LocalSocket> socket = io::LocalSocket::Connect(directory + name);
    if (!socket.ok()) continue;
    AdminClient client(directory, *std::move(socket));
    const absl::Status registered = client.Register();
    if (registered.ok()) return client;
    why.Update(registered);  // it may be about to end; perhaps the other one speaks
  }
  if (!why.ok()) return why;
  if (io::LockHolder(directory)) {
    return absl::UnavailableError(absl::StrCat("the runtime in ", directory, " does not answer; see ", directory, "/logs"));
  }
  return absl::NotFoundError(
      absl::StrCat("no runtime runs in ", directory, "; start one with `shoal start --head`, or name another with --runtime-dir"));
}

absl::Status AdminClient::Register() {
  RegisterWorker hello;
  hello.worker = Rng(io::RandomSeed()).NewId<WorkerId>();
  hello.role = Role::kAdmin;
  hello.pid = static_cast<uint32_t>(getpid());
  const absl::Status sent = Send({}, hello);
  if (!sent.ok()) return sent;
  const TimePoint deadline = io::MonotonicNow() + kPatience;
  while (true) {
    absl::StatusOr<Message> message = Receive(deadline);
    if (!message.ok()) return message.status();
    if (const auto* reply = std::get_if<RegisterWorkerReply>(&*message)) {
      node_ = reply->node;
      return absl::OkStatus();
    }
  }
}

absl::Status AdminClient::Send(const Address& to, const Message& message) {
  io::LocalFrame frame;
  frame.to = to;
  frame.bytes = EncodeMessage(message);
  return socket_.Send(frame, {});
}

absl::StatusOr<Message> AdminClient::Receive(TimePoint deadline) {
  io::LocalFrame frame;
  std::vector<io::UniqueFd> fds;
  while (true) {
    const absl::StatusOr<bool> received = socket_.Receive(&frame, &fds);
    if (!received.ok()) return absl::UnavailableError("the runtime closed the connection; see its logs directory");
    if (*received && frame.kind == io::LocalFrame::Kind::kMessage) return DecodeMessage(frame.bytes);
    if (*received) continue;
    const int64_t left_ms = (deadline - io::MonotonicNow()).count() / 1'000'000;
    if (left_ms < 0) {
      const std::string stopped = StoppedDaemon(directory_);
      return absl::DeadlineExceededError(
          stopped.empty() ? absl::StrCat("the runtime did not answer in time; see ", directory_, "/logs") : stopped);
    }
    pollfd waiting{.fd = socket_.fd(), .events = POLLIN, .revents = 0};
    poll(&waiting, 1, static_cast<int>(left_ms) + 1);
  }
}

std::string StoppedDaemon(const std::string& directory) {
  const io::Json state = io::ReadState(directory);
  for (const char* part : {"head", "raylet"}) {
    const int pid = static_cast<int>(state.Number(absl::StrCat(part, "_pid")));
    const absl::StatusOr<std::string> stat = io::ReadFile(absl::StrCat("/proc/", pid, "/stat"));
    // The word after the name, which is in parentheses.
    const size_t name_ends = stat.ok() ? stat->rfind(')') : std::string::npos;
    if (name_ends == std::string::npos || name_ends + 2 >= stat->size() || (*stat)[name_ends + 2] != 'T') continue;
    return absl::StrCat("the ", part, " is stopped; let it go on with `kill -CONT ", pid, "`");
  }
  return "";
}

absl::StatusOr<io::Json> AdminClient::List(const Address& to, const std::string& kind, const std::string& argument) {
  absl::StatusOr<Answer> answer = Ask(to, kind, argument, kPatience);
  if (!answer.ok()) return answer.status();
  return std::move(answer->rows);
}

absl::StatusOr<AdminClient::Answer> AdminClient::Ask(const Address& to, const std::string& kind, const std::string& argument,
                                                    Duration timeout) {
  const RequestId request{++next_request_};
  const TimePoint deadline = io::MonotonicNow() + timeout;
  TimePoint again{};
  while (true) {
    // A head that dies takes what was on its way to it along, so it is asked again.
    if (const TimePoint now = io::MonotonicNow(); now >= again) {
      const absl::Status sent = Send(to, ListState{request, kind, argument});
      if (!sent.ok()) return sent;
      again = now + kAskAgain;
    }
    absl::StatusOr<Message> message = Receive(std::min(deadline, again));
    if (absl::IsDeadlineExceeded(message.status()) && io::MonotonicNow() < deadline) continue;
    if (!message.ok()) return absl::UnavailableError(message.status().message());
    const auto* reply = std::get_if<ListStateReply>(&*message);
    if (reply == nullptr || reply->request != request) continue;
    if (reply->error) return absl::InvalidArgumentError(reply->error.message);
    absl::StatusOr<io::Json> rows = io::Json::Parse(reply->json);
    if (!rows.ok()) return rows.status();
    return Answer{*std::move(rows), reply->note};
  }
}

}  // namespace shoal::bin
