#include "runtime/io/zygote.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/io/runtime_directory.h"
#include "runtime/io/spawn.h"

namespace shoal::io {
namespace {

constexpr int kDescriptor = 3;
constexpr Duration kExitGrace = 1s;
constexpr size_t kMaxAnswer = 64 << 10;
constexpr int kSocketBuffer = 4 << 20;  // an environment can be large, and a datagram is whole or not sent

std::string PythonOf(const ZygoteOptions& options) {
  if (!options.python.empty()) return options.python;
  const char* given = std::getenv("SHOAL_PYTHON");
  return given != nullptr && *given != '\0' ? given : "python3";
}

// PYTHONPATH with the package that came with this program at its end: the one whose bin/ it lies in, or the one of its build tree.
std::string PythonPath() {
  const char* given = std::getenv("PYTHONPATH");
  std::string path = given == nullptr ? "" : given;
  char program[4096];
  const ssize_t size = readlink("/proc/self/exe", program, sizeof(program));
  if (size <= 0) return path;
  const std::filesystem::path bin = std::filesystem::path(std::string(program, static_cast<size_t>(size))).parent_path();
  for (const std::filesystem::path& package : {bin.parent_path(), bin.parent_path().parent_path() / "python/shoal"}) {
    std::error_code ignored;
    if (!std::filesystem::exists(package / "_internal/zygote.py", ignored)) continue;
    absl::StrAppend(&path, path.empty() ? "" : ":", package.parent_path().string());
    break;
  }
  return path;
}

// 0 or errno.
int SendRequest(int socket, const std::string& text, int out, int err) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 2)] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int) * 2);
  const int fds[2] = {out, err};
  std::memcpy(CMSG_DATA(rights), fds, sizeof(fds));
  return sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? errno : 0;
}

}  // namespace

Zygote::~Zygote() {
  loop_->timers().Cancel(restart_);
  if (socket_.valid()) loop_->events().RemoveFd(socket_.get());
  if (pid_ > 0) kill(pid_, SIGKILL);  // reaped by the loop or with the process tree
}

void Zygote::Warm() {
  if (pid_ != 0 || restart_ != 0) return;
  if (const absl::Status launched = Launch(); !launched.ok()) FailAll(launched);
}

void Zygote::Start(WorkerId worker, JobId job, const StringMap& env, int stdout_fd, int stderr_fd, Started started) {
  Json variables = Json::Object();
  for (const auto& [name, value] : env) variables.Set(name, value);
  Json json = Json::Object();
  json.Set("worker", worker.Hex()).Set("job", job.Hex()).Set("socket", options_.raylet_socket).Set("env", std::move(variables));
  Request request;
  request.text = json.ToString();
  request.out = UniqueFd(fcntl(stdout_fd, F_DUPFD_CLOEXEC, 0));
  request.err = UniqueFd(fcntl(stderr_fd, F_DUPFD_CLOEXEC, 0));
  request.started = std::move(started);
  waiting_.push_back(std::move(request));
  Warm();
  SendWaiting();
}

absl::Status Zygote::Launch() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::UnavailableError(absl::StrCat("the Python zygote cannot be started: ", std::strerror(errno)));
  }
  UniqueFd ours(ends[0]), theirs(ends[1]);
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof(kSocketBuffer));
  const UniqueFd log(open(options_.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  SpawnOptions spawn;
  spawn.command = options_.command;
  if (spawn.command.empty()) spawn.command = {PythonOf(options_), "-m", "shoal._internal.zygote"};
  spawn.environment = {{"PYTHONPATH", PythonPath()}};
  spawn.descriptors = {{theirs.get(), kDescriptor}};
  if (log.valid()) spawn.descriptors.insert(spawn.descriptors.end(), {{log.get(), 1}, {log.get(), 2}});
  spawn.own_group = true;
  spawn.oom_score_adj = 500;  // after its workers, before the raylet
  const absl::StatusOr<int> pid = Spawn(spawn);
  if (!pid.ok()) {
    return absl::UnavailableError(
        absl::StrCat(pid.status().message(), "; pass --python PATH to `shoal start`, or set SHOAL_PYTHON"));
  }
  pid_ = *pid;
  socket_ = std::move(ours);
  const std::weak_ptr<int> alive = alive_;
  const absl::Status watched = loop_->events().WatchProcess(pid_, [this, alive, pid = pid_](int status) {
    if (!alive.expired()) OnDeath(pid, status);
  });
  if (!watched.ok()) return watched;
  return loop_->events().AddFd(socket_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); });
}

void Zygote::SendWaiting() {
  while (socket_.valid() && !waiting_.empty()) {
    Request& request = waiting_.front();
    const int error = SendRequest(socket_.get(), request.text, request.out.get(), request.err.get());
    if (error == EAGAIN || error == ETOOMANYREFS) {
      loop_->events().ChangeFd(socket_.get(), EPOLLIN | EPOLLOUT);
      return;
    }
    if (error == EPIPE || error == ECONNRESET) return;  // it died: OnDeath comes
    Request taken = std::move(request);
    waiting_.pop_front();
    if (error != 0) {
      taken.started(absl::InvalidArgumentError(
          absl::StrCat("the worker's environment cannot be passed to the Python zygote: ", std::strerror(error))));
      continue;
    }
    const absl::StatusOr<Json> json = Json::Parse(taken.text);
    sent_[json.ok() ? json->Text("worker") : ""] = std::move(taken);
  }
  if (socket_.valid()) loop_->events().ChangeFd(socket_.get(), EPOLLIN);
}

void Zygote::OnReadable() {
  std::string datagram(kMaxAnswer, '\0');
  const std::weak_ptr<int> alive = alive_;
  while (!alive.expired() && socket_.valid()) {
    const ssize_t n = recv(socket_.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) return OnHangup();
    const absl::StatusOr<Json> answer = Json::Parse(std::string_view(datagram).substr(0, static_cast<size_t>(n)));
    if (answer.ok()) OnAnswer(*answer);
  }
  if (!alive.expired()) SendWaiting();
}

// It is ending, with a status that says why; one that only closed its socket is of no use.
void Zygote::OnHangup() {
  loop_->events().RemoveFd(socket_.get());
  socket_.Reset();
  const std::weak_ptr<int> alive = alive_;
  loop_->timers().After(kExitGrace, [this, alive, pid = pid_] {
    if (!alive.expired() && pid_ == pid) kill(pid, SIGKILL);
  });
}

void Zygote::OnAnswer(const Json& answer) {
  const auto it = sent_.find(answer.Text("worker"));
  if (it == sent_.end()) return;
  const Started started = std::move(it->second.started);
  sent_.erase(it);
  deaths_ = 0;
  const int pid = static_cast<int>(answer.Number("pid"));
  if (pid > 0) {
    started(pid);
  } else {
    started(absl::UnavailableError(absl::StrCat("the Python zygote could not fork a worker: ", answer.Text("error"))));
  }
}

void Zygote::OnDeath(int pid, int status) {
  if (pid != pid_) return;
  const std::weak_ptr<int> alive = alive_;
  if (socket_.valid()) OnReadable();  // what it still answered
  if (alive.expired()) return;
  if (socket_.valid()) loop_->events().RemoveFd(socket_.get());
  socket_.Reset();
  pid_ = 0;
  // Whether those were forked is not known; a second process with the same worker id would be turned away by the raylet.
  for (auto& [worker, request] : sent_) waiting_.push_back(std::move(request));
  sent_.clear();
  ++deaths_;
  if (waiting_.empty()) return;  // the next request starts it
  if (deaths_ >= options_.max_deaths) {
    const std::string words = LastWords();
    FailAll(absl::UnavailableError(absl::StrCat("the Python zygote (", PythonOf(options_), ") ended with ", DescribeExit(status),
                                                words.empty() ? "" : ": ", words, "; see ", options_.log_file)));
    deaths_ = 0;
    return;
  }
  restart_ = loop_->timers().After(options_.first_pause * (1 << (deaths_ - 1)), [this] {
    restart_ = 0;
    Warm();
    SendWaiting();
  });
}

void Zygote::FailAll(const absl::Status& status) {
  std::deque<Request> requests = std::exchange(waiting_, {});
  for (auto& [worker, request] : std::exchange(sent_, {})) requests.push_back(std::move(request));
  for (Request& request : requests) request.started(status);
}

// The last line that is not empty: for Python, the exception.
std::string Zygote::LastWords() const {
  absl::StatusOr<std::string> text = ReadFile(options_.log_file);
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text->substr(text->rfind('\n') + 1);
}

}  // namespace shoal::io
