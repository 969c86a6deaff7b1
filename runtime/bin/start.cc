// `shoal start` and `shoal stop`.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/bin/commands.h"
#include "runtime/bin/daemon_main.h"
#include "runtime/bin/daemons.h"
#include "runtime/bin/node_options.h"
#include "runtime/io/clock.h"
#include "runtime/io/network.h"
#include "runtime/io/runtime_directory.h"
#include "runtime/io/spawn.h"

namespace shoal::bin {
namespace {

constexpr char kDefaultPort[] = "6380";
constexpr Duration kStopPatience = 10s;

absl::Status CheckStartOptions(const Options& options) {
  if (options.Has("head") == options.Has("address")) {
    return absl::InvalidArgumentError(
        "say --head to start a cluster, or --address HOST:PORT --token TOKEN to join one; see `shoal start --help`");
  }
  if (options.Has("address")) {
    if (options.Has("no-raylet")) return absl::InvalidArgumentError("--no-raylet goes with --head only");
    const absl::StatusOr<io::HostPort> address = io::ParseHostPort(options.Get("address"));
    if (!address.ok()) return absl::InvalidArgumentError(absl::StrCat("--address: ", address.status().message()));
  }
  for (const char* name : {"port", "bulk-port"}) {
    const absl::StatusOr<double> port = options.Number(name, 0, 0, 65535);
    if (!port.ok()) return port.status();
  }
  return NodeOptionsOf(options, io::MeasureNode("/")).status();
}

// Shows the token to the head, unless this machine was let in before, and writes down where the head is.
absl::Status Join(const Options& options, const std::string& directory) {
  const std::string address = options.Get("address"), file = directory + "/cluster.json";
  if (!options.Has("token")) {
    const absl::StatusOr<std::string> text = io::ReadFile(file);
    const absl::StatusOr<io::Json> known = io::Json::Parse(text.ok() ? *text : "");
    if (known.ok() && known->Text("endpoint") == address) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("this machine has not joined ", address, " yet; run `shoal token create` there and pass --token TOKEN here"));
  }
  const absl::StatusOr<io::JoinToken> token = io::JoinToken::Parse(options.Get("token"));
  if (!token.ok()) return absl::PermissionDeniedError(token.status().message());
  const absl::StatusOr<io::KeyPair> keys = io::LoadOrCreateKeys(directory + "/node.key");
  if (!keys.ok()) return keys.status();
  const absl::StatusOr<io::Enrolment> enrolment = io::Enrol(address, *token, keys->public_key);
  if (absl::IsInvalidArgument(enrolment.status())) return absl::PermissionDeniedError(enrolment.status().message());
  if (!enrolment.ok()) return enrolment.status();
  io::Json json = io::Json::Object();
  json.Set("endpoint", address).Set("head_public_key", token->head_public_key);
  json.Set("cluster_id", absl::StrCat(absl::Hex(enrolment->cluster_id, absl::kZeroPad16)));
  return io::WriteFileAtomically(file, json.ToString() + "\n");
}

// The words that make a nanny of this program. The token is not among them: what ps shows everybody must not let anybody in.
absl::StatusOr<std::vector<std::string>> NannyWords(const Options& options, const std::string& directory) {
  std::vector<std::string> words = {"--runtime-dir", directory};
  for (const char* name : {"head", "no-raylet", "foreground"}) {
    if (options.Has(name)) words.push_back(absl::StrCat("--", name));
  }
  if (const std::string told = options.Get("advertise"); !told.empty() && !io::IsNumericAddress(told)) {
    return absl::InvalidArgumentError(absl::StrCat("--advertise takes an IP address, not the name ", told,
                                                   ": others connect to it as it is"));
  }
  for (const char* name : {"address", "advertise", "bulk-port"}) {
    if (options.Has(name)) words.insert(words.end(), {absl::StrCat("--", name), options.Get(name)});
  }
  std::string listen = options.Get("listen"), port = options.Get("port", options.Has("head") ? kDefaultPort : "0");
  if (listen == "none" && options.Has("head")) {
    return absl::InvalidArgumentError("--listen none is for machines that join; a head needs an address, by default 127.0.0.1");
  }
  if (listen.empty() && options.Has("head")) listen = "127.0.0.1";
  if (listen.empty()) {
    // Where the head can see us is where other raylets can, too.
    const absl::StatusOr<io::HostPort> head = io::ParseHostPort(options.Get("address"));
    const absl::StatusOr<std::string> own = io::LocalAddressTowards(head->host, head->port);
    if (!own.ok()) return own.status();
    listen = *own;
  }
  words.insert(words.end(), {"--listen", listen == "none" ? "" : listen, "--port", port});
  for (std::string& word : NodeWords(options)) words.push_back(std::move(word));
  return words;
}

void PrintStarted(const io::Json& facts, const Options& options, const std::string& directory) {
  if (options.Has("json")) {
    std::printf("%s\n", facts.ToString().c_str());
    return;
  }
  const std::string here = options.Has("runtime-dir") ? absl::StrCat(" --runtime-dir ", directory) : "";
  const std::string address = facts.Text("address"), socket = facts.Text("raylet_socket");
  if (options.Has("head")) {
    std::printf("started a head at %s%s\n", address.c_str(), socket.empty() ? "" : " and a raylet");
    const bool alone = address.rfind("127.", 0) == 0;
    if (alone) std::printf("  other machines cannot reach it; start it with --listen ADDRESS to let them join\n");
    if (!alone) std::printf("  join another machine   shoal token create%s\n", here.c_str());
  } else {
    std::printf("started a raylet that joined %s\n", address.c_str());
  }
  if (!socket.empty()) std::printf("  run a program here     shoal submit%s -- python3 program.py\n", here.c_str());
  std::printf("  see what runs          shoal status%s\n  stop                   shoal stop%s\n", here.c_str(), here.c_str());
}

// Runs the nanny and waits until it is ready or says why not.
absl::StatusOr<io::Json> LaunchNanny(std::vector<std::string> words) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ResourceExhaustedError("no file descriptor is left for a pipe");
  const io::UniqueFd reader(ends[0]);
  io::UniqueFd writer(ends[1]);
  io::SpawnOptions spawn;
  spawn.command = {OwnProgram(), "__nanny"};
  spawn.command.insert(spawn.command.end(), words.begin(), words.end());
  spawn.command.insert(spawn.command.end(), {"--ready-fd", "3"});
  spawn.descriptors = {{writer.get(), 3}};
  const absl::StatusOr<int> pid = io::Spawn(spawn);
  if (!pid.ok()) return pid.status();
  writer.Reset();
  std::string line;
  char chunk[4096];
  for (ssize_t n; line.find('\n') == std::string::npos && ((n = read(reader.get(), chunk, sizeof(chunk))) > 0 || errno == EINTR);) {
    if (n > 0) line.append(chunk, static_cast<size_t>(n));
  }
  absl::StatusOr<io::Json> facts = io::Json::Parse(line);
  if (!facts.ok()) return absl::UnavailableError("the nanny ended before the runtime was ready; see logs/nanny.log");
  if (facts->Find("error") != nullptr) return absl::UnavailableError(facts->Text("error"));
  return facts;
}

}  // namespace

int Start(const Options& options) {
  if (options.Has("local")) return RunLocal(options);
  const std::string directory = RuntimeDirectoryOf(options);
  if (const absl::Status status = CheckStartOptions(options); !status.ok()) return Complain(status);
  if (const absl::Status made = io::PrepareRuntimeDirectory(directory); !made.ok()) return Complain(made);
  if (io::LockHolder(directory)) {
    return Complain(absl::AlreadyExistsError(
        absl::StrCat("a runtime is already running in ", directory, "; run `shoal stop --runtime-dir ", directory, "` first")));
  }
  if (options.Has("address")) {
    if (const absl::Status joined = Join(options, directory); !joined.ok()) return Complain(joined);
  }
  absl::StatusOr<std::vector<std::string>> words = NannyWords(options, directory);
  if (!words.ok()) return Complain(words.status());
  if (options.Has("foreground")) {
    words->insert(words->begin(), "__nanny");
    words->insert(words->begin(), OwnProgram());
    std::vector<char*> arguments;
    for (std::string& word : *words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    return Complain(absl::InternalError("this program cannot be run again"));
  }
  const absl::StatusOr<io::Json> facts = LaunchNanny(*std::move(words));
  if (!facts.ok()) return Complain(facts.status());
  PrintStarted(*facts, options, directory);
  return kOk;
}

int Stop(const Options& options) {
  const std::string directory = RuntimeDirectoryOf(options);
  const std::optional<int> nanny = io::LockHolder(directory);
  // By descriptor, and only if it still holds the lock: its number may mean another process by now.
  const io::UniqueFd process(nanny ? static_cast<int>(syscall(SYS_pidfd_open, *nanny, 0)) : -1);
  if (!process.valid() || io::LockHolder(directory) != nanny) {
    if (options.Has("json")) std::printf("{\"stopped\":false}\n");
    return Complain(absl::NotFoundError(absl::StrCat("no runtime runs in ", directory)));
  }
  syscall(SYS_pidfd_send_signal, process.get(), SIGTERM, nullptr, 0);
  pollfd ended{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (poll(&ended, 1, static_cast<int>(kStopPatience.count() / 1'000'000)) <= 0) {
    // Its children see the end of their life pipes and go, too.
    syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    if (poll(&ended, 1, 1000) <= 0) {
      return Complain(absl::DeadlineExceededError(absl::StrCat("process ", *nanny, " does not end although it was killed: see what it "
                                                               "waits for in /proc/", *nanny, "/stack")));
    }
  }
  std::printf(options.Has("json") ? "{\"stopped\":true}\n" : "stopped\n");
  return kOk;
}

std::string RuntimeDirectoryOf(const Options& options) {
  const std::string given = options.Get("runtime-dir");
  if (given.empty()) return io::DefaultRuntimeDirectory();
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(given, error).lexically_normal();
  std::string text = error ? given : path.string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

int Complain(const absl::Status& status) {
  std::fprintf(stderr, "shoal: %s\n", std::string(status.message()).c_str());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kNotFound:
      return kNotRunning;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kAlreadyExists:
      return kRefused;
    default:
      return kFailed;
  }
}

}  // namespace shoal::bin
