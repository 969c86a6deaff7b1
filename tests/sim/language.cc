#include "tests/sim/language.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/cluster.h"
#include "tests/sim/observer.h"

namespace shoal::sim {
namespace {

ObjectValue InlineNumber(uint64_t number) {
  ObjectValue value;
  value.kind = ValueKind::kInline;
  value.data = Payload(Encode(Number{number}));
  return value;
}

// A request to the head is repeated until it is answered, as the SDKs do: a head that dies forgets it.
constexpr int64_t kRepeatNs = 2'000'000'000;

ErrorInfo Error(ErrorKind kind, std::string message) {
  ErrorInfo error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

}  // namespace

Language::Language(Cluster* cluster, uint32_t process, core_worker::CoreWorker* core, Rng rng)
    : cluster_(cluster), process_(process), core_(core), rng_(rng) {}

Language::~Language() = default;

TimePoint Language::Now() const { return cluster_->LocalNow(process_); }
core_worker::CoreWorkerActions* Language::Actions() { return cluster_->ActionsOf(process_); }
void Language::Flush() { cluster_->Flush(process_); }
void Language::After(int64_t delay_ns, std::function<void()> then) {
  cluster_->After(process_, delay_ns, std::move(then));
}

ShapeId Language::CpuShape(double cpus) {
  if (cpus == 1 && cpu_shape_) return cpu_shape_;
  const ShapeId shape = core_->RegisterShape(
      Shape{.job = job(), .resources = ResourceSet::Of({{std::string(kCpu), cpus}})});
  if (cpus == 1) cpu_shape_ = shape;
  return shape;
}

// ---- references

void Language::CountHold(const ObjectId& id) {
  if (++holds_[id] == 1) cluster_->observer().OnHold(process_, id);
}

void Language::CountDrop(const ObjectId& id) {
  auto it = holds_.find(id);
  SHOAL_CHECK(it != holds_.end()) << "a simulated program drops " << id.Hex() << " which it does not hold";
  if (--it->second > 0) return;
  holds_.erase(it);
  cluster_->observer().OnUnhold(process_, id);
}

ObjectRefInfo Language::Put(uint64_t number, std::vector<ObjectRefInfo> contained) {
  const ObjectRefInfo ref =
      core_->PutInline(Now(), Payload(Encode(Number{number})), std::move(contained), Actions());
  CountHold(ref.id);
  cluster_->observer().OnContent(ref.id, number);
  Flush();
  return ref;
}

void Language::CreateBlock(uint64_t size, std::function<void(const ObjectCreated&)> done) {
  const RequestId request = rng_.NewId<RequestId>();
  creating_[request] = std::move(done);
  Actions()->sends.push_back({Address::Raylet(core_->self().node), CreateObject{request, size}});
  Flush();
}

void Language::PutLarge(uint64_t number, uint64_t size, std::function<void(std::optional<ObjectRefInfo>)> done) {
  CreateBlock(size, [this, number, size, done = std::move(done)](const ObjectCreated& created) {
    if (created.error) return done(std::nullopt);
    const ObjectId id = core_->NewObjectId();
    cluster_->ArenaOf(process_).Write(created.offset, size, number);
    cluster_->observer().OnContent(id, number);
    const ObjectRefInfo ref = core_->PutStored(Now(), id, created.offset, size, {}, Actions());
    CountHold(ref.id);
    Flush();
    done(ref);
  });
}

void Language::Hold(const ObjectRefInfo& ref) {
  CountHold(ref.id);
  core_->AddLocalReference(ref);
}

void Language::Adopt(const ObjectRefInfo& ref, std::optional<ObjectId> outer) {
  CountHold(ref.id);
  core_->AdoptBorrowed(Now(), ref, outer, Actions());
}

void Language::Drop(const ObjectId& id) {
  CountDrop(id);
  core_->RemoveLocalReference(Now(), id, Actions());
  Flush();
}

// ---- values

void Language::Get(const ObjectRefInfo& ref, std::function<void(const Got&)> done) {
  std::vector<Waiting>& waiting = waiting_[ref.id];
  waiting.push_back({ref, std::move(done)});
  const bool known = core_->Want(Now(), ref, /*local_bytes=*/true, Actions());
  Flush();
  if (known) After(0, [this, id = ref.id] { Deliver(id); });
}

void Language::Deliver(const ObjectId& id) {
  auto it = waiting_.find(id);
  if (it == waiting_.end()) return;
  std::vector<Waiting> waiting = std::move(it->second);
  waiting_.erase(it);
  const ObjectValue* found = core_->Lookup(id);
  if (found == nullptr) {  // lost again since: wait anew
    for (Waiting& w : waiting) Get(w.ref, std::move(w.done));
    return;
  }
  const ObjectValue value = *found;
  Got got;
  if (value.kind == ValueKind::kError) {
    got.error = value.error;
  } else if (value.kind == ValueKind::kInline) {
    Number number;
    cluster_->observer().Require(Decode(value.data.view(), &number), "value_decodes", id.Hex());
    got.number = number.value;
  } else {
    const std::optional<core_worker::LocalBlock> block = core_->AcquireBlock(id);
    if (!block) {  // its bytes went again since
      for (Waiting& w : waiting) Get(w.ref, std::move(w.done));
      return;
    }
    got.number = cluster_->ArenaOf(process_).Read(block->offset, block->size, id);
    const int64_t pinned_ns = static_cast<int64_t>(rng_.Below(20'000'000));
    After(pinned_ns, [this, id, block = *block, number = got.number] {
      const uint64_t again = cluster_->ArenaOf(process_).Read(block.offset, block.size, id);
      cluster_->observer().Require(again == number, "pinned_bytes_stay", id.Hex());
      core_->ReleaseBlock(Now(), id, Actions());
      Flush();
    });
  }
  cluster_->observer().OnGet(process_, id, got);
  for (Waiting& w : waiting) {
    got.contained = value.contained;
    for (const ObjectRefInfo& ref : got.contained) Adopt(ref, id);
    Flush();
    w.done(got);
  }
}

// ---- tasks

Payload Language::CodeOf(Op op) const {
  return Payload(absl::StrCat("code of simulated function ", static_cast<int>(op), ", long enough to be shared"));
}

TaskSpec Language::MakeSpec(const TaskRequest& request) const {
  TaskSpec spec;
  spec.num_returns = request.num_returns;
  spec.function = FunctionId{static_cast<uint64_t>(request.program.op) + 1};
  spec.name = absl::StrCat("op", static_cast<int>(request.program.op));
  spec.args = Payload(Encode(request.program));
  for (const ObjectRefInfo& ref : request.refs) spec.refs.push_back({.ref = ref, .value = {}});
  spec.nested = request.nested;
  return spec;
}

TaskId Language::Submit(const TaskRequest& request) {
  core_worker::TaskSubmission submission;
  submission.spec = MakeSpec(request);
  submission.shape = request.shape ? request.shape : CpuShape(request.program.cpu_hundredths / 100.0);
  submission.code = CodeOf(request.program.op);
  submission.max_retries = request.max_retries;
  submission.retry_exceptions = request.retry_exceptions;
  const TaskId task = core_->SubmitTask(Now(), std::move(submission), Actions());
  for (uint32_t i = 0; i < std::max(1u, request.num_returns); ++i) CountHold(task.Return(i));
  cluster_->observer().OnSubmit(process_, task, request.program, request.max_retries);
  Flush();
  return task;
}

void Language::Cancel(const ObjectId& result, bool force) {
  core_->CancelTask(Now(), result, force, /*recursive=*/true, Actions());
  Flush();
}

ActorId Language::CreateActor(const ActorRequest& request) {
  ActorSpec spec;
  spec.job = job();
  spec.name = request.name;
  spec.ns = "sim";
  spec.detached = request.detached;
  spec.get_if_exists = request.get_if_exists;
  spec.max_restarts = request.max_restarts;
  spec.max_task_retries = request.max_task_retries;
  spec.shape = Shape{.job = job(), .strategy = request.strategy};
  if (request.cpus > 0) spec.shape.resources = ResourceSet::Of({{std::string(kCpu), request.cpus}});
  spec.placement = ResourceSet::Of({{std::string(kCpu), std::max(request.cpus, 1.0)}});
  if (request.strategy.kind == StrategyKind::kPlacementGroup) spec.placement = spec.shape.resources;
  Program program;
  program.op = Op::kActorInit;
  TaskRequest creation;
  creation.program = program;
  spec.creation = MakeSpec(creation);
  spec.code = CodeOf(Op::kActorInit);
  const ActorId actor = core_->CreateActor(Now(), std::move(spec), Actions());
  const ObjectId handle = core_->ActorHandleRef(actor).id;
  handles_[actor] = handle;
  CountHold(handle);
  cluster_->observer().OnCreateActor(process_, actor, request.max_restarts);
  Flush();
  return actor;
}

TaskId Language::Call(ActorId actor, const TaskRequest& request) {
  core_worker::TaskSubmission submission;
  submission.spec = MakeSpec(request);
  submission.max_retries = request.max_retries;
  const TaskId task = core_->SubmitActorCall(Now(), actor, std::move(submission), Actions());
  for (uint32_t i = 0; i < std::max(1u, request.num_returns); ++i) CountHold(task.Return(i));
  Flush();
  return task;
}

void Language::SendUntil(std::function<bool()> done, Message message) {
  if (done()) return;
  Actions()->sends.push_back({Address::Head(), message});
  Flush();
  After(kRepeatNs, [this, done = std::move(done), message = std::move(message)]() mutable {
    SendUntil(std::move(done), std::move(message));
  });
}

void Language::GetActor(const std::string& name, std::function<void(const FindActorReply&)> done) {
  const RequestId request = rng_.NewId<RequestId>();
  looking_up_[request] = std::move(done);
  FindActor message;
  message.request = request;
  message.name = name;
  message.ns = "sim";
  SendUntil([this, request] { return !looking_up_.contains(request); }, std::move(message));
}

void Language::UseActor(const FindActorReply& reply) {
  core_->RegisterActorHandle(Now(), reply.actor, {}, reply.max_task_retries, -1, Actions());
  Flush();  // a handle by name is no reference: only the creator's count
}

void Language::ForgetActor(ActorId actor) {
  auto it = handles_.find(actor);
  if (it == handles_.end()) return;
  const ObjectId handle = it->second;
  handles_.erase(it);
  Drop(handle);
}

void Language::KillActor(ActorId actor, bool no_restart) {
  core_->KillActor(Now(), actor, no_restart, Actions());
  Flush();
}

void Language::CreateGroup(PlacementGroupSpec spec, std::function<void(const PlacementGroupUpdate&)> on_update) {
  spec.job = job();
  spec.owner = core_->self();
  const PlacementGroupId group = spec.id;
  groups_[group] = {PlacementGroupStateKind::kPending, false, std::move(on_update)};
  SendUntil([this, group] { return groups_[group].removing || groups_[group].state == PlacementGroupStateKind::kCreated; },
            CreatePlacementGroup{std::move(spec)});
}

void Language::RemoveGroup(PlacementGroupId group) {
  groups_[group].removing = true;
  SendUntil([this, group] { return groups_[group].state == PlacementGroupStateKind::kRemoved; },
            RemovePlacementGroup{group});
}

// ---- running tasks of others

void Language::Execute(core_worker::ExecuteTask task) {
  auto running = std::make_shared<Running>();
  running->task = std::move(task);
  const TaskSpec& spec = running->task.spec;
  Observer& observer = cluster_->observer();
  observer.Require(Decode(spec.args.view(), &running->program), "arguments_arrive_intact", spec.id.Hex());
  if (spec.kind != TaskKind::kActorCall) {
    if (!running->task.code.empty()) known_functions_.insert(spec.function);
    observer.Require(known_functions_.contains(spec.function), "code_arrives_with_first_call", spec.id.Hex());
  }
  if (spec.kind == TaskKind::kActorCreation) {
    actor_ = spec.actor;
    actor_incarnation_ = running->task.actor_incarnation;
    if (running->task.actor != nullptr) core_->SetConcurrency(running->task.actor->max_concurrency, {});
  }
  observer.OnExecute(process_, running->task, running->program);
  running_[spec.id] = running;
  for (const ObjectRefInfo& ref : spec.nested) {
    Adopt(ref, std::nullopt);
    running->borrowed.push_back(ref.id);
  }
  Flush();
  After(cluster_->WorkTime(process_, running->program.duration_ns), [this, running] {
    if (!running->ended) RunBody(running);
  });
}

std::optional<uint64_t> Language::ReadArgument(const RunningPtr& task, size_t i) {
  const ArgRef& arg = task->task.spec.refs[i];
  if (arg.value.kind == ValueKind::kInline) {
    Number number;
    if (!Decode(arg.value.data.view(), &number)) return std::nullopt;
    return number.value;
  }
  if (arg.value.kind != ValueKind::kStored || i >= task->task.blocks.size()) return std::nullopt;
  const core_worker::LocalBlock& block = task->task.blocks[i];
  return cluster_->ArenaOf(process_).Read(block.offset, block.size, arg.ref.id);
}

void Language::RunBody(const RunningPtr& task) {
  const Program& program = task->program;
  switch (program.op) {
    case Op::kEcho:
      return FinishNumber(task, Mix(program.tag));
    case Op::kSum: {
      uint64_t sum = program.tag;
      for (size_t i = 0; i < task->task.spec.refs.size(); ++i) {
        const std::optional<uint64_t> number = ReadArgument(task, i);
        cluster_->observer().Require(number.has_value(), "arguments_are_there_when_a_task_starts",
                                     task->task.spec.refs[i].ref.id.Hex());
        sum += number.value_or(0);
      }
      return FinishNumber(task, sum);
    }
    case Op::kNested:
      return RunNested(task);
    case Op::kLarge:
      return FinishStored(task, Mix(program.tag), program.size);
    case Op::kReturnRef: {
      if (program.size == 0) {
        const ObjectRefInfo inner = Put(Mix(program.tag));
        FinishNumber(task, program.tag, {inner});
        return Drop(inner.id);
      }
      return PutLarge(Mix(program.tag), program.size, [this, task](std::optional<ObjectRefInfo> inner) {
        if (!inner) return FinishError(task, Error(ErrorKind::kObjectStoreFull, "no room for a put"), false);
        if (!task->ended) FinishNumber(task, task->program.tag, {*inner});
        Drop(inner->id);
      });
    }
    case Op::kReadNested:
      return GetAll(task, task->task.spec.nested, false, [this, task](std::optional<ErrorInfo> error, uint64_t sum) {
        if (task->ended) return;
        if (error) return FinishError(task, *error, false);
        FinishNumber(task, task->program.tag + sum);
      });
    case Op::kRaise:
      if (task->task.spec.attempt < program.count) {
        return FinishError(task, Error(ErrorKind::kApplication, "raised by a simulated function"), false);
      }
      return FinishNumber(task, Mix(program.tag));
    case Op::kActorInit:
    case Op::kAppend:
      return FinishNumber(task, program.tag);
    case Op::kHold:
      for (const ObjectRefInfo& ref : task->task.spec.nested) held_.push_back(ref);
      task->borrowed.clear();  // the state holds them now
      return FinishNumber(task, program.tag);
    case Op::kReadHeld:
      return GetAll(task, held_, false, [this, task](std::optional<ErrorInfo> error, uint64_t sum) {
        if (task->ended) return;
        if (error) return FinishError(task, *error, false);
        FinishNumber(task, task->program.tag + sum);
      });
    case Op::kDropHeld:
      for (const ObjectRefInfo& ref : std::exchange(held_, {})) Drop(ref.id);
      return FinishNumber(task, program.tag);
    case Op::kIdentity:
      return FinishNumber(task, actor_.value >> 8);
    case Op::kLeave:
      return Finish(task, {InlineNumber(program.tag)}, {}, /*leaving=*/true, false);
  }
}

void Language::SetBlocked(const RunningPtr& task, bool blocked) {
  if (task->blocked == blocked) return;
  task->blocked = blocked;
  cluster_->observer().OnBlocked(process_, task->task.spec.id, blocked);
  core_->SetBlocked(Now(), blocked, Actions());
  Flush();
}

void Language::GetAll(const RunningPtr& task, const std::vector<ObjectRefInfo>& refs, bool drop,
                      std::function<void(std::optional<ErrorInfo>, uint64_t)> done) {
  struct State {
    size_t left;
    uint64_t sum = 0;
    std::optional<ErrorInfo> error;
  };
  if (refs.empty()) return done(std::nullopt, 0);
  auto state = std::make_shared<State>(State{refs.size()});
  SetBlocked(task, true);
  const std::vector<ObjectRefInfo> wanted = refs;  // `refs` may change while the callbacks run
  for (const ObjectRefInfo& ref : wanted) {
    if (!drop) Hold(ref);
    Get(ref, [this, task, state, id = ref.id, done](const Got& got) {
      if (got.error) state->error = got.error;
      state->sum += got.number;
      for (const ObjectRefInfo& inner : got.contained) Drop(inner.id);
      Drop(id);
      if (--state->left > 0) return;
      if (!task->ended) SetBlocked(task, false);
      done(state->error, state->sum);
    });
  }
}

void Language::RunNested(const RunningPtr& task) {
  std::vector<ObjectRefInfo> children;
  const Program& program = task->program;
  for (uint32_t i = 0; i < program.count; ++i) {
    TaskRequest child;
    child.program.tag = ChildTag(program.tag, i);
    child.program.duration_ns = program.child_ns;
    if (program.depth > 0) {
      child.program.op = Op::kNested;
      child.program.count = program.count;
      child.program.depth = program.depth - 1;
      child.program.child_ns = program.child_ns;
    }
    children.push_back(RefOf(Submit(child).Return(0)));
  }
  GetAll(task, children, true, [this, task](std::optional<ErrorInfo> error, uint64_t sum) {
    if (task->ended) return;
    if (error) return FinishError(task, *error, false);
    FinishNumber(task, task->program.tag + sum);
  });
}

void Language::FinishNumber(const RunningPtr& task, uint64_t number, std::vector<ObjectRefInfo> contained) {
  std::vector<ObjectValue> results;
  for (uint32_t i = 0; i < std::max(1u, task->task.spec.num_returns); ++i) {
    results.push_back(InlineNumber(number + i));
  }
  results[0].contained = std::move(contained);
  Finish(task, std::move(results), {}, false, false);
}

void Language::FinishStored(const RunningPtr& task, uint64_t number, uint64_t size) {
  CreateBlock(size, [this, task, number, size](const ObjectCreated& created) {
    if (created.error) {
      if (!task->ended) FinishError(task, created.error, false);
      return;
    }
    if (task->ended) {
      Actions()->sends.push_back({Address::Raylet(core_->self().node), AbortObject{created.offset}});
      return Flush();
    }
    cluster_->ArenaOf(process_).Write(created.offset, size, number);
    cluster_->observer().OnContent(task->task.spec.id.Return(0), number);
    ObjectValue value;
    value.kind = ValueKind::kStored;
    value.size = size;
    Finish(task, {value}, {created.offset}, false, false);
  });
}

void Language::FinishError(const RunningPtr& task, ErrorInfo error, bool final) {
  if (task->ended) return;
  std::vector<ObjectValue> results(std::max(1u, task->task.spec.num_returns));
  for (ObjectValue& value : results) {
    value.kind = ValueKind::kError;
    value.error = error;
  }
  Finish(task, std::move(results), {}, false, final);
}

void Language::Finish(const RunningPtr& task, std::vector<ObjectValue> results, std::vector<uint64_t> offsets,
                      bool leaving, bool final) {
  if (task->ended) return;
  if (task->blocked) SetBlocked(task, false);
  task->ended = true;
  const TaskSpec& spec = task->task.spec;
  running_.erase(spec.id);
  cluster_->observer().OnFinished(process_, task->task);
  auto release = [&] {
    for (size_t i = 0; i < task->task.blocks.size() && i < spec.refs.size(); ++i) {
      if (spec.refs[i].value.kind != ValueKind::kStored) continue;
      core_->ReleaseBlock(Now(), spec.refs[i].ref.id, Actions());
    }
    for (const ObjectId& id : std::exchange(task->borrowed, {})) {
      CountDrop(id);
      core_->RemoveLocalReference(Now(), id, Actions());
    }
  };
  const bool release_first = rng_.Chance(0.5);  // a frame may die before or after the reply is made
  if (release_first) release();
  core_->TaskFinished(Now(), spec.id, spec.attempt, std::move(results), offsets, leaving, final, Actions());
  if (!release_first) release();
  Flush();
}

// ---- what the machine wishes for

void Language::CarryOut(core_worker::CoreWorkerActions* actions) {
  for (const ObjectId& id : actions->freed) cluster_->observer().OnFreed(process_, id);
  for (core_worker::ExecuteTask& task : actions->execute) Execute(std::move(task));
  for (const TaskId& id : actions->interrupt) {
    auto it = running_.find(id);
    cluster_->observer().Require(it != running_.end(), "only_running_tasks_are_interrupted", id.Hex());
    if (it == running_.end()) continue;
    After(cluster_->WorkTime(process_, static_cast<int64_t>(rng_.Below(5'000'000))), [this, task = it->second] {
      FinishError(task, Error(ErrorKind::kTaskCancelled, "interrupted"), true);
    });
  }
  for (const ObjectId& id : actions->ready) Deliver(id);
  for (Message& message : actions->for_language) {
    if (std::holds_alternative<AssignLease>(message)) {
      cluster_->observer().OnLeaseChanged(process_);
    } else if (auto* created = std::get_if<ObjectCreated>(&message)) {
      auto node = creating_.extract(created->request);
      if (!node.empty()) node.mapped()(*created);
    } else if (auto* reply = std::get_if<FindActorReply>(&message)) {
      auto node = looking_up_.extract(reply->request);
      if (!node.empty()) node.mapped()(*reply);
    } else if (auto* update = std::get_if<PlacementGroupUpdate>(&message)) {
      auto it = groups_.find(update->group);
      if (it != groups_.end()) {
        it->second.state = update->state;
        const auto callback = it->second.on_update;  // it may make another group
        if (callback) callback(*update);
      }
    }
  }
}

}  // namespace shoal::sim
