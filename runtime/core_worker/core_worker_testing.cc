#include "runtime/core_worker/core_worker_testing.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace shoal::core_worker {
namespace {

ObjectValue InlineText(const std::string& text) {
  ObjectValue value;
  value.kind = ValueKind::kInline;
  value.data = Payload(text);
  return value;
}

}  // namespace

// ---- a process

Process::Process(World* w, Address at, Role role, uint64_t seed) : world(*w), address(at) {
  CoreWorkerOptions options = w->options_;
  options.self = at;
  options.job = kJob;
  options.role = role;
  core = std::make_unique<CoreWorker>(options, Rng(seed));
  shape = core->RegisterShape(Shape{.job = kJob, .resources = ResourceSet::Of({{std::string(kCpu), 1}})});
}

TaskSubmission Process::Make(const std::string& name, const std::string& args) {
  TaskSubmission submission;
  submission.spec.name = name;
  submission.spec.function = FunctionId{StableHash(name)};
  submission.spec.args = Payload(args);
  submission.code = Payload("code of " + name);
  submission.shape = shape;
  return submission;
}

TaskId Process::Submit(TaskSubmission submission) {
  TaskId task;
  Do([&](CoreWorkerActions* a) { task = core->SubmitTask(world.now, std::move(submission), a); });
  return task;
}

TaskId Process::Submit(const std::string& name, const std::string& args, int32_t max_retries) {
  TaskSubmission submission = Make(name, args);
  submission.max_retries = max_retries;
  return Submit(std::move(submission));
}

TaskId Process::SubmitWith(const std::string& name, std::vector<ObjectRefInfo> refs,
                           std::vector<ObjectRefInfo> nested, int32_t max_retries) {
  TaskSubmission submission = Make(name, "");
  for (const ObjectRefInfo& ref : refs) submission.spec.refs.push_back({.ref = ref, .value = {}});
  submission.spec.nested = std::move(nested);
  submission.max_retries = max_retries;
  return Submit(std::move(submission));
}

ActorId Process::CreateActor(ActorSpec spec) {
  spec.creation.function = FunctionId{99};
  spec.creation.name = "Actor.__init__";
  spec.code = Payload("class");
  ActorId actor;
  Do([&](CoreWorkerActions* a) { actor = core->CreateActor(world.now, std::move(spec), a); });
  return actor;
}

TaskId Process::Call(ActorId actor, const std::string& name, const std::string& args, int32_t max_retries) {
  TaskSubmission submission = Make(name, args);
  submission.code = Payload();
  submission.spec.function = {};
  submission.max_retries = max_retries;
  TaskId task;
  Do([&](CoreWorkerActions* a) { task = core->SubmitActorCall(world.now, actor, std::move(submission), a); });
  return task;
}

ObjectRefInfo Process::Put(const std::string& text, std::vector<ObjectRefInfo> contained) {
  ObjectRefInfo ref;
  Do([&](CoreWorkerActions* a) { ref = core->PutInline(world.now, Payload(text), std::move(contained), a); });
  return ref;
}

ObjectRefInfo Process::PutStored(const std::string& text) {
  const uint64_t offset = world.next_offset;
  world.next_offset += 4096;
  world.blocks[offset] = {address.node, text};
  ObjectRefInfo ref;
  Do([&](CoreWorkerActions* a) {
    ref = core->PutStored(world.now, core->NewObjectId(), offset, text.size(), {}, a);
  });
  return ref;
}

void Process::Drop(const ObjectId& id) {
  Do([&](CoreWorkerActions* a) { core->RemoveLocalReference(world.now, id, a); });
}

std::string Process::TextOf(const ObjectValue& value, const std::optional<LocalBlock>& block) {
  switch (value.kind) {
    case ValueKind::kPending:
      return "pending";
    case ValueKind::kError:
      return absl::StrCat("error ", static_cast<int>(value.error.kind));
    case ValueKind::kInline:
      return std::string(value.data.view());
    case ValueKind::kStored:
      return block ? world.blocks[block->offset].second : "stored elsewhere";
  }
  return "";
}

std::string Process::ValueOf(const ObjectId& id) {
  const ObjectValue* value = core->Lookup(id);
  if (value == nullptr) return "pending";
  const std::optional<LocalBlock> block = core->AcquireBlock(id);
  const std::string text = TextOf(*value, block);
  if (block) Do([&](CoreWorkerActions* a) { core->ReleaseBlock(world.now, id, a); });
  return text;
}

ErrorInfo Process::ErrorOf(const TaskId& task) const {
  const ObjectValue* value = core->Lookup(task.Return(0));
  return value == nullptr ? ErrorInfo{} : value->error;
}

const ExecuteTask* Process::Running(const TaskId& task) const {
  for (const ExecuteTask& execute : running) {
    if (execute.spec.id == task) return &execute;
  }
  return nullptr;
}

void Process::Finish(const TaskId& task, const std::string& text, std::vector<ObjectRefInfo> contained) {
  auto it = std::find_if(running.begin(), running.end(), [&](const ExecuteTask& e) { return e.spec.id == task; });
  SHOAL_CHECK(it != running.end()) << task.Hex() << " does not run here";
  const ExecuteTask execute = std::move(*it);
  running.erase(it);
  std::vector<ObjectValue> results;
  std::vector<uint64_t> offsets;
  bool exiting = false;
  for (uint32_t i = 0; i < execute.spec.num_returns; ++i) results.push_back(InlineText(text));
  results[0].contained = std::move(contained);
  if (absl::StartsWith(execute.spec.name, "large")) {
    offsets = {world.next_offset};
    world.blocks[world.next_offset] = {address.node, text};
    world.next_offset += 4096;
    results[0] = ObjectValue{};
    results[0].kind = ValueKind::kStored;
    results[0].size = text.size();
  } else if (absl::StartsWith(execute.spec.name, "raise")) {
    ErrorInfo error;
    error.kind = ErrorKind::kApplication;
    error.message = "raised";
    for (ObjectValue& result : results) (result = ObjectValue{}).kind = ValueKind::kError;
    results[0].error = error;
  }
  exiting = absl::StartsWith(execute.spec.name, "exit");
  Do([&](CoreWorkerActions* a) {
    for (size_t i = 0; i < execute.blocks.size(); ++i) {
      if (execute.spec.refs[i].value.kind != ValueKind::kStored) continue;
      core->ReleaseBlock(world.now, execute.spec.refs[i].ref.id, a);
    }
    core->TaskFinished(world.now, execute.spec.id, execute.spec.attempt, std::move(results), offsets, exiting, false, a);
  });
}

void Process::Execute(ExecuteTask task) {
  started.push_back(absl::StrCat(task.spec.name, ":", std::string(task.spec.args.view()), "#", task.spec.attempt));
  running.push_back(std::move(task));
  const ExecuteTask& execute = running.back();
  if (absl::StartsWith(execute.spec.name, "keep")) {
    for (const ObjectRefInfo& ref : execute.spec.nested) {
      kept[ref.id] = ref;
      core->AdoptBorrowed(world.now, ref, std::nullopt, &actions);
    }
  }
  if (!absl::StartsWith(execute.spec.name, "wait")) RunBody(ExecuteTask(execute));
}

void Process::RunBody(const ExecuteTask& task) {
  const TaskSpec& spec = task.spec;
  std::string text(spec.args.view());
  for (size_t i = 0; i < spec.refs.size(); ++i) {
    std::optional<LocalBlock> block;
    if (spec.refs[i].value.kind == ValueKind::kStored) block = task.blocks[i];
    text += TextOf(spec.refs[i].value, block);
  }
  if (absl::StartsWith(spec.name, "return_put")) {
    const ObjectRefInfo inner = Put("inner " + text);
    Finish(spec.id, text, {inner});
    return Drop(inner.id);
  }
  if (absl::StartsWith(spec.name, "return_kept")) {
    std::vector<ObjectRefInfo> refs;
    for (const auto& [id, ref] : kept) refs.push_back(ref);
    return Finish(spec.id, text, std::move(refs));
  }
  Finish(spec.id, text);
}

void Process::Carry() {
  while (alive && !actions.empty()) {
    CoreWorkerActions due;
    std::swap(due, actions);
    for (Send& send : due.sends) {
      SHOAL_CHECK(send.to != address) << "a machine sends nothing to itself";
      world.Send(address, send.to, std::move(send.message));
    }
    for (ExecuteTask& task : due.execute) Execute(std::move(task));
    for (const TaskId& id : due.interrupt) interrupted.push_back(id);
    ready.insert(due.ready.begin(), due.ready.end());
    freed.insert(due.freed.begin(), due.freed.end());
    for (Message& message : due.for_language) for_language.push_back(std::move(message));
    if (due.exit) exited = true;
  }
}

// ---- the world

Process& World::Driver(NodeId node) {
  const Address address{node, WorkerId{next_worker_++}};
  processes_.push_back(std::make_unique<Process>(this, address, Role::kDriver, rng_.Next()));
  return *processes_.back();
}

void World::AddWorkers(int count, NodeId node) {
  for (int i = 0; i < count; ++i) {
    const Address address{node, WorkerId{next_worker_++}};
    worker_index_.push_back(processes_.size());
    processes_.push_back(std::make_unique<Process>(this, address, Role::kWorker, rng_.Next()));
  }
  Grant();
}

Process* World::Find(const Address& address) {
  for (const auto& process : processes_) {
    if (process->address == address) return process.get();
  }
  return nullptr;
}

void World::Send(const Address& from, const Address& to, Message message) {
  links_[{from, to}].push_back(std::move(message));
}

bool World::Step() {
  std::vector<std::pair<Address, Address>> busy;
  for (const auto& [link, queue] : links_) {
    if (!queue.empty()) busy.push_back(link);
  }
  if (busy.empty()) return false;
  const auto [from, to] = busy[rng_.Below(busy.size())];
  std::deque<Message>& queue = links_[{from, to}];
  Message message = std::move(queue.front());
  queue.pop_front();
  now += step_time;
  if (filter && !filter(from, to, message)) return true;
  ++delivered_[message.index()];
  if (to.is_head()) {
    ToHead(from, std::move(message));
  } else if (to.is_raylet()) {
    ToRaylet(to.node, from, std::move(message));
  } else if (Process* process = Find(to); process != nullptr && process->alive) {
    process->core->OnMessage(now, from, std::move(message), &process->actions);
    process->Carry();
    process->core->CheckInvariants();
  } else if (process != nullptr && std::get_if<PushTask>(&message) != nullptr) {
    Send(to, from, WorkerDied{to, ErrorKind::kWorkerCrashed, "it is gone"});
  }
  return true;
}

void World::Run() {
  int steps = 0;
  do {
    SHOAL_CHECK(++steps < 1'000'000) << "the world does not come to rest";
    for (size_t i = 0; i < processes_.size(); ++i) {
      if (processes_[i]->exited) Kill(*processes_[i]);
    }
  } while (Step());
}

void World::Advance(Duration duration) {
  const TimePoint end = now + duration;
  Run();
  while (true) {
    TimePoint next = end;
    for (const auto& process : processes_) {
      const std::optional<TimePoint> due = process->alive ? process->core->NextDeadline() : std::nullopt;
      if (due) next = std::min(next, std::max(*due, now + Duration(1)));
    }
    now = std::max(now, next);
    for (const auto& process : processes_) {
      if (!process->alive) continue;
      const std::optional<TimePoint> due = process->core->NextDeadline();
      if (!due || *due > now) continue;
      process->core->OnTick(now, &process->actions);
      process->Carry();
      process->core->CheckInvariants();
      const std::optional<TimePoint> again = process->core->NextDeadline();
      SHOAL_CHECK(!again || *again > now) << "a tick left something due";
    }
    Run();
    if (now >= end) return;
  }
}

void World::Kill(Process& process) {
  if (!process.alive) return;
  process.alive = false;
  // A raylet reads what a process wrote before it sees the end of it.
  std::deque<Message> last = std::move(links_[{process.address, Address::Raylet(process.address.node)}]);
  links_.erase({process.address, Address::Raylet(process.address.node)});
  for (Message& message : last) ToRaylet(process.address.node, process.address, std::move(message));
  const bool intended = leaving_.contains(process.address);
  // What it has written arrives first, at each receiver.
  for (const auto& other : processes_) {
    if (other->alive) Send(process.address, other->address, WorkerDied{process.address, ErrorKind::kWorkerCrashed, "killed"});
  }
  for (auto it = leases_.begin(); it != leases_.end();) {
    const bool ends = it->second.worker == process.address || it->second.owner == process.address;
    const Address worker = it->second.worker;
    if (ends) {
      it = leases_.erase(it);
      busy_.erase(worker);
    } else {
      ++it;
    }
  }
  std::erase_if(demands_, [&](const auto& item) { return item.first.first == process.address; });
  ActorLost(process.address, intended);
  Grant();
}

void World::KillNode(NodeId node) {
  for (const auto& process : processes_) {
    if (process->address.node != node || !process->alive) continue;
    process->alive = false;
    std::erase_if(leases_, [&](const auto& item) { return item.second.worker == process->address; });
    ActorLost(process->address, false);
  }
  std::erase_if(store, [&](const auto& item) { return item.first.first == node; });
  std::erase_if(links_, [&](const auto& link) { return link.first.first.node == node || link.first.second.node == node; });
  for (const auto& process : processes_) {
    if (process->alive) Send(Address::Raylet(process->address.node), process->address, NodeDied{node, "killed"});
  }
  Grant();
}

// ---- raylets

Process* World::IdleWorker() {
  for (size_t index : worker_index_) {
    Process* process = processes_[index].get();
    if (process->alive && !busy_.contains(process->address)) return process;
  }
  return nullptr;
}

void World::Grant() {
  if (!grants) return;
  for (auto& [id, actor] : actors_) {
    const bool waits = actor.update.state == ActorState::kPending || actor.update.state == ActorState::kRestarting;
    if (!waits || !actor.spec.id) continue;
    PlaceActor(actor);
    TellActor(actor);
  }
  for (auto& [key, demand] : demands_) {
    while (demand.wanted > 0) {
      Process* worker = IdleWorker();
      if (worker == nullptr) return;
      const LeaseId lease{next_lease_++};
      busy_.insert(worker->address);
      leases_[lease] = {key.first, worker->address, key.second};
      --demand.wanted;
      const Address raylet = Address::Raylet(worker->address.node);
      AssignLease assign;
      assign.lease = lease;
      assign.owner = key.first;
      assign.job = demand.shape.job;
      Send(raylet, worker->address, std::move(assign));
      LeaseGranted granted;
      granted.shape = key.second;
      granted.lease = lease;
      granted.worker = worker->address;
      granted.ttl = ttl;
      Send(raylet, key.first, std::move(granted));
    }
  }
}

void World::EndLease(LeaseId id) {
  auto it = leases_.find(id);
  if (it == leases_.end()) return;
  const Address worker = it->second.worker;
  leases_.erase(it);
  busy_.erase(worker);
  Send(Address::Raylet(worker.node), worker, AssignLease{});
  Grant();
}

void World::ToRaylet(NodeId node, const Address& from, Message&& message) {
  const Address raylet = Address::Raylet(node);
  if (auto* demand = std::get_if<LeaseDemand>(&message)) {
    const Process* owner = Find(from);
    if (owner == nullptr || !owner->alive) return;
    last_demand = demand->wanted;
    demands_[{from, demand->shape.id()}] = {demand->shape, demand->wanted};
    Grant();
  } else if (auto* returned = std::get_if<ReturnLease>(&message)) {
    auto it = leases_.find(returned->lease);
    if (it == leases_.end()) return;
    if (returned->kill_worker) {
      Kill(*Find(it->second.worker));
    } else {
      EndLease(returned->lease);
    }
  } else if (auto* seal = std::get_if<SealObject>(&message)) {
    store[{node, seal->ref.id}] = blocks[seal->offset].second;
    ++pins[{from, seal->ref.id}];
  } else if (auto* pull = std::get_if<PullObject>(&message)) {
    ObjectLocal local;
    local.id = pull->ref.id;
    auto here = store.find({node, pull->ref.id});
    for (NodeId at : pull->locations) {
      if (here != store.end()) break;
      if (store.contains({at, pull->ref.id})) here = store.emplace(std::pair(node, pull->ref.id), store[{at, pull->ref.id}]).first;
    }
    if (here == store.end()) {
      local.lost_at = pull->locations.empty() ? node : pull->locations.back();
      local.error.kind = ErrorKind::kObjectLost;
    } else {
      local.offset = next_offset;
      next_offset += 4096;
      local.size = here->second.size();
      blocks[local.offset] = {node, here->second};
      ++pins[{from, pull->ref.id}];
    }
    Send(raylet, from, std::move(local));
  } else if (auto* release = std::get_if<ReleaseObject>(&message)) {
    const int left = --pins[std::pair(from, release->id)];
    SHOAL_CHECK(left >= 0) << "released more often than pinned";
  } else if (auto* free = std::get_if<FreeObjects>(&message)) {
    for (const ObjectId& id : free->ids) store.erase({node, id});
  } else if (std::get_if<ExitWorker>(&message) != nullptr) {
    leaving_.insert(from);
  } else if (auto* ready = std::get_if<ActorReady>(&message)) {
    ActorRow& actor = actors_[ready->actor];
    if (actor.update.incarnation != ready->incarnation) return;
    actor.update.state = ready->error ? ActorState::kDead : ActorState::kAlive;
    actor.update.address = from;
    actor.update.error = ready->error;
    TellActor(actor);
  }
}

// ---- the head

void World::ToHead(const Address& from, Message&& message) {
  if (auto* create = std::get_if<struct CreateActor>(&message)) {
    ActorRow& actor = actors_[create->spec.id];
    actor.watchers.insert(from);
    if (!actor.spec.id) {
      actor.spec = create->spec;
      actor.update.actor = create->spec.id;
      actor.update.max_task_retries = create->spec.max_task_retries;
      PlaceActor(actor);
    }
    TellActor(actor);
  } else if (auto* watch = std::get_if<WatchActor>(&message)) {
    actors_[watch->actor].watchers.insert(from);
    actors_[watch->actor].update.actor = watch->actor;
    TellActor(actors_[watch->actor]);
  } else if (auto* kill = std::get_if<KillActor>(&message)) {
    ActorRow& actor = actors_[kill->actor];
    if (actor.update.state == ActorState::kDead) return;
    if (kill->no_restart || kill->when_idle) {
      const Address at = actor.update.address;
      actor.update.state = ActorState::kDead;
      TellActor(actor);
      if (Process* process = Find(at)) Kill(*process);
    } else if (Process* process = Find(actor.update.address)) {
      Kill(*process);
    }
  }
}

void World::PlaceActor(ActorRow& actor) {
  Process* worker = IdleWorker();
  if (worker == nullptr) return;
  busy_.insert(worker->address);
  actor.update.state = ActorState::kStarting;
  actor.update.address = worker->address;
  ++actor.update.incarnation;
  BecomeActor become;
  become.incarnation = actor.update.incarnation;
  become.spec = actor.spec;
  Send(Address::Raylet(worker->address.node), worker->address, std::move(become));
}

void World::TellActor(ActorRow& actor) {
  for (const Address& watcher : actor.watchers) {
    ActorUpdate update = actor.update;
    if (update.state != ActorState::kAlive) update.address = {};
    Send(Address::Head(), watcher, std::move(update));
  }
}

void World::ActorLost(const Address& worker, bool intended) {
  for (auto& [id, actor] : actors_) {
    if (actor.update.address != worker || actor.update.state == ActorState::kDead) continue;
    const bool restarts = !intended && (actor.spec.max_restarts < 0 || actor.restarts < actor.spec.max_restarts);
    actor.update.state = restarts ? ActorState::kRestarting : ActorState::kDead;
    actor.update.error.kind = restarts ? ErrorKind::kActorUnavailable : ErrorKind::kActorDied;
    actor.update.error.message = "its process ended";
    TellActor(actor);
    if (!restarts) continue;
    ++actor.restarts;
    PlaceActor(actor);
    TellActor(actor);
  }
}

}  // namespace shoal::core_worker
