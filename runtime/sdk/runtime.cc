#include "runtime/sdk/runtime.h"

#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "runtime/sdk/launch.h"
#include "runtime/sdk/named_output.h"
#include "runtime/sdk/shoal.h"

namespace shoal {
namespace internal {
namespace {

struct Registry {
  std::map<uint64_t, Invoker> invokers;
  std::map<uint64_t, Creator> creators;
  std::string taken_twice;  // a name that two of them have
};

// Filled by static initializers of the user's program, hence a function-local static; read-only afterwards.
Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

struct Runtime {
  std::unique_ptr<LocalRuntime> local;  // a runtime of this program's own, if it started one
  std::unique_ptr<io::CoreProcess> core;
  WorkerKind worker_kind;
  std::mutex mutex;  // guards known_shapes
  std::set<ShapeId> known_shapes;
};

// One program has one connection; the public API (Put, Get, ...) takes none.
std::unique_ptr<Runtime>& TheRuntime() {
  static std::unique_ptr<Runtime> runtime;
  return runtime;
}

thread_local TaskId current_task;

std::string OwnPath() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string();
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Splits the packed arguments of a task into one slot per parameter.
Arguments ArgumentsOf(const io::AssignedTask& assigned) {
  Arguments arguments{.task = &assigned};
  const TaskSpec& spec = assigned.task.spec;
  std::string_view rest = spec.args.view();
  size_t next_ref = 0;
  while (!rest.empty()) {
    const bool is_ref = rest[0] == 1;
    rest.remove_prefix(1);
    io::Fetched slot;
    if (is_ref) {
      if (next_ref >= spec.refs.size()) throw Error("a task's arguments are damaged: a reference is missing");
      slot.data = spec.refs[next_ref].value.data;
      if (next_ref < assigned.stored.size()) slot.bytes = assigned.stored[next_ref];
      ++next_ref;
    } else {
      uint64_t size = 0;
      if (rest.size() < sizeof(size)) throw Error("a task's arguments are damaged: a length is missing");
      std::memcpy(&size, rest.data(), sizeof(size));
      rest.remove_prefix(sizeof(size));
      if (rest.size() < size) throw Error("a task's arguments are damaged: a value is cut short");
      slot.data = Payload(rest.substr(0, size));
      rest.remove_prefix(size);
    }
    arguments.slots.push_back(std::move(slot));
  }
  return arguments;
}

ErrorInfo Thrown(const TaskSpec& spec, const char* what) {
  const std::string text = spec.name + " threw: " + what;
  if (spec.kind != TaskKind::kActorCreation) return {ErrorKind::kApplication, text, Payload()};
  return {ErrorKind::kActorDied, "the actor died because its constructor raised an error: " + text, Payload()};
}

// The loop of a worker process. Actors with max_concurrency > 1 run it in several threads.
class Worker {
 public:
  explicit Worker(io::CoreProcess* core) : core_(core) {}

  void Run() {
    Loop();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Loop() {
    io::AssignedTask assigned;
    while (core_->NextTask(&assigned)) {
      const TaskSpec& spec = assigned.task.spec;
      current_task = spec.id;
      printing_task = spec.kind == TaskKind::kNormal ? &spec.name : nullptr;
      std::vector<io::NewValue> results(1);
      const ErrorInfo error = Execute(assigned, &results[0]);
      const bool created = spec.kind == TaskKind::kActorCreation && !error;
      const int threads = assigned.task.actor == nullptr ? 1 : std::max(assigned.task.actor->max_concurrency, 1);
      current_task = {};
      printing_task = nullptr;
      if (created) core_->SetConcurrency(threads, {});
      if (error) {
        core_->FailTask(spec, error, /*worker_exiting=*/false);
      } else {
        core_->FinishTask(spec, std::move(results), /*worker_exiting=*/false);
      }
      if (created) {
        for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
      }
      assigned = {};
    }
  }

  // The value that the task yields, or what it threw.
  ErrorInfo Execute(const io::AssignedTask& assigned, io::NewValue* value) {
    const TaskSpec& spec = assigned.task.spec;
    try {
      Arguments arguments = ArgumentsOf(assigned);
      if (spec.kind == TaskKind::kActorCreation) {
        const auto creator = TheRegistry().creators.find(spec.function.value);
        if (creator == TheRegistry().creators.end()) return Unknown(spec);
        instance_ = creator->second(arguments);
        *value = Encoded(std::tuple<>());
        return {};
      }
      const auto invoker = TheRegistry().invokers.find(spec.function.value);
      if (invoker == TheRegistry().invokers.end()) return Unknown(spec);
      *value = invoker->second(instance_.get(), arguments);
      return {};
    } catch (const std::exception& e) {
      return Thrown(spec, e.what());
    } catch (...) {
      return Thrown(spec, "something that is not a std::exception");
    }
  }

  static ErrorInfo Unknown(const TaskSpec& spec) {
    return Thrown(spec, "this worker's program does not contain it; start the workers from the driver's build");
  }

  io::CoreProcess* const core_;
  std::shared_ptr<void> instance_;  // set by the creation task, before any other thread runs
  std::vector<std::thread> threads_;
};

[[noreturn]] void RunAsWorker() {
  NameOutput();
  io::CoreProcessOptions options;
  options.raylet_socket = FromEnvironment("SHOAL_RAYLET_SOCKET");
  options.role = Role::kWorker;
  options.worker = WorkerId{std::strtoull(FromEnvironment("SHOAL_WORKER_ID").c_str(), nullptr, 16)};
  options.job = JobId{std::strtoull(FromEnvironment("SHOAL_JOB_ID").c_str(), nullptr, 16)};
  auto core = io::CoreProcess::Connect(options);
  if (!core.ok()) {
    std::fprintf(stderr, "shoal: this worker cannot reach its raylet: %s\n", core.status().ToString().c_str());
    std::_Exit(1);
  }
  TheRuntime() = std::make_unique<Runtime>();
  TheRuntime()->core = *std::move(core);
  TheRuntime()->worker_kind.command = {OwnPath()};
  Worker(TheRuntime()->core.get()).Run();
  std::fflush(nullptr);
  std::_Exit(0);  // static destructors of the user's program are the driver's business
}

}  // namespace

bool RegisterInvoker(std::string_view name, Invoker invoker) {
  if (!TheRegistry().invokers.emplace(FunctionIdOf(name).value, std::move(invoker)).second) TheRegistry().taken_twice = name;
  return true;
}

bool RegisterCreator(std::string_view name, Creator creator) {
  if (!TheRegistry().creators.emplace(FunctionIdOf(name).value, std::move(creator)).second) TheRegistry().taken_twice = name;
  return true;
}

io::CoreProcess* CoreOrNull() { return TheRuntime() == nullptr ? nullptr : TheRuntime()->core.get(); }

io::CoreProcess& Core() {
  io::CoreProcess* core = CoreOrNull();
  if (core == nullptr) throw Error("there is no runtime; call shoal::Init(argc, argv) first");
  return *core;
}

FunctionId FunctionIdOf(std::string_view name) { return FunctionId{StableHash(std::string(name))}; }

ShapeId InternShape(const Shape& shape) {
  Runtime& runtime = *TheRuntime();
  const ShapeId id = shape.id();
  std::lock_guard<std::mutex> lock(runtime.mutex);
  if (runtime.known_shapes.contains(id)) return id;
  if (const auto registered = runtime.core->RegisterShape(shape); !registered.ok()) Throw(registered.status());
  runtime.known_shapes.insert(id);
  return id;
}

WorkerKind ThisProgram() { return TheRuntime()->worker_kind; }

TaskId CurrentTask() { return current_task; }

void ThrowEmptyReference(const char* call) {
  throw SystemError(ErrorKind::kInvalidArgument, std::string("an ObjectRef given to ") + call +
                                                     " is empty (default-constructed or moved from): Remote() and Put() return full ones");
}

void Throw(const ErrorInfo& error) {
  if (error.kind == ErrorKind::kApplication) throw TaskError(error.message);
  throw SystemError(error.kind, error.message);
}

void Throw(const absl::Status& status) {
  const std::string message(status.message());
  if (absl::IsDeadlineExceeded(status)) throw TimeoutError(message);
  if (absl::IsResourceExhausted(status)) throw SystemError(ErrorKind::kObjectStoreFull, message);
  if (absl::IsInvalidArgument(status)) throw SystemError(ErrorKind::kInvalidArgument, message);
  throw SystemError(ErrorKind::kSystem, message);
}

namespace {

ResourceSet ResourcesOf(double cpus, double gpus, double memory,
                        std::vector<std::pair<std::string, double>> amounts) {
  amounts.emplace_back(kCpu, cpus);
  amounts.emplace_back(kGpu, gpus);
  amounts.emplace_back(kMemory, memory);
  absl::StatusOr<ResourceSet> set = ResourceSet::Parse(amounts);
  if (!set.ok()) throw Error(std::string(set.status().message()));
  return *std::move(set);
}

}  // namespace

Shape ShapeOf(const TaskOptions& options) {
  Shape shape;
  shape.job = Core().job();
  shape.resources = ResourcesOf(options.num_cpus, options.num_gpus, options.memory, options.resources);
  shape.strategy = options.strategy;
  shape.labels = options.label_selector;
  shape.worker = ThisProgram();
  shape.worker.env_vars = options.env_vars;
  return shape;
}

ActorSpec SpecOf(const ActorOptions& options) {
  ActorSpec spec;
  spec.job = Core().job();
  spec.owner = Core().self();
  spec.name = options.name;
  spec.ns = options.ns.empty() ? Core().ns() : options.ns;
  spec.detached = options.detached;
  spec.get_if_exists = options.get_if_exists;
  spec.max_restarts = options.max_restarts;
  spec.max_task_retries = options.max_task_retries;
  spec.max_concurrency = options.max_concurrency;
  spec.shape.job = spec.job;
  spec.shape.resources = ResourcesOf(options.num_cpus, options.num_gpus, options.memory, options.resources);
  spec.shape.strategy = options.strategy;
  spec.shape.labels = options.label_selector;
  spec.shape.worker = ThisProgram();
  spec.shape.worker.env_vars = options.env_vars;
  spec.placement = spec.shape.resources;
  if (spec.placement.empty()) spec.placement = ResourceSet::Of({{std::string(kCpu), 1}});
  return spec;
}

std::pair<ActorId, ActorLife> CreateActor(ActorSpec spec) {
  const absl::StatusOr<io::CreatedActor> created = Core().CreateActor(std::move(spec));
  if (!created.ok()) Throw(created.status());
  return {created->actor, ActorLife::Own(created->life)};
}

std::pair<ActorId, ActorLife> FindActor(const std::string& name, const std::string& ns) {
  absl::StatusOr<FindActorReply> reply = Core().GetActor(name, ns.empty() ? Core().ns() : ns, 30s);
  if (!reply.ok()) Throw(reply.status());
  if (reply->error) Throw(reply->error);
  Core().RegisterActorHandle(reply->actor, {}, reply->max_task_retries, /*max_pending_calls=*/-1);
  return {reply->actor, ActorLife()};
}

}  // namespace internal

void Init(int argc, char** argv, InitOptions options) {
  using internal::TheRuntime;
  if (const std::string& name = internal::TheRegistry().taken_twice; !name.empty()) {
    throw Error("two remote functions, methods or actor factories of this program are called `" + name +
                "`, and workers find them by name: rename one where it is defined, or move it into a namespace with another name");
  }
  if (!internal::FromEnvironment("SHOAL_WORKER_ID").empty()) internal::RunAsWorker();
  if (TheRuntime() != nullptr) throw Error("shoal::Init was called twice");
  auto runtime = std::make_unique<internal::Runtime>();
  runtime->worker_kind.command = {internal::OwnPath()};

  std::string address = options.address.empty() ? internal::FromEnvironment("SHOAL_ADDRESS") : options.address;
  if (address == "auto") {
    const std::string given = internal::FromEnvironment("SHOAL_ADDRESS");
    address = given.empty() || given == "auto" ? internal::RunningHere() : given;
    if (address.empty()) throw Error("no runtime runs on this machine; start one with `shoal start --head`, or leave the address out");
  }
  if (address.empty() && options.num_cpus < 0) address = internal::RunningHere();
  if (!address.empty() && address != "local" && options.num_cpus >= 0) {
    throw Error("num_cpus is for a runtime that Init starts; leave it out when an address is given, or say address = \"local\"");
  }
  if (address.empty() || address == "local") {
    auto local = internal::LocalRuntime::Start(options.binary, options.num_cpus);
    if (!local.ok()) throw Error(std::string(local.status().message()));
    runtime->local = *std::move(local);
    address = runtime->local->raylet_socket();
  }
  io::CoreProcessOptions core_options;
  core_options.raylet_socket = internal::SocketOf(address);
  core_options.ns = options.ns;
  core_options.worker_kind = runtime->worker_kind;
  for (int i = 0; i < argc; ++i) core_options.entrypoint += std::string(i > 0 ? " " : "") + argv[i];
  auto core = io::CoreProcess::Connect(core_options);
  if (!core.ok()) throw Error(std::string(core.status().message()));
  runtime->core = *std::move(core);
  runtime->core->OnLogLines([](const LogLines& lines) {
    for (const std::string& line : lines.lines) {
      std::fprintf(lines.is_stderr ? stderr : stdout, "%s\n", internal::WithPrefix(lines.prefix, line).c_str());
    }
    std::fflush(stdout);
  });
  TheRuntime() = std::move(runtime);
  static const int registered = std::atexit(Shutdown);
  static_cast<void>(registered);
}

void Shutdown() {
  std::unique_ptr<internal::Runtime> runtime = std::move(internal::TheRuntime());
  if (runtime == nullptr) return;
  runtime->core->CatchUpOnLogs();
  runtime->core.reset();   // says goodbye before a runtime of our own is stopped
  runtime->local.reset();
}

bool IsInitialized() { return internal::TheRuntime() != nullptr; }

}  // namespace shoal
