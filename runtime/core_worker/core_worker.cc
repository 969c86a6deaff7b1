#include "runtime/core_worker/core_worker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/core_worker/actor_client.h"
#include "runtime/core_worker/describe.h"
#include "runtime/core_worker/executor.h"
#include "runtime/core_worker/local_objects.h"
#include "runtime/core_worker/references.h"
#include "runtime/core_worker/submitter.h"
#include "runtime/core_worker/task_table.h"

namespace shoal::core_worker {

// The parts, wired to each other. Each public call is one turn; EndTurn lets the parts finish what they put off.
class CoreWorker::Impl final : public Events {
 public:
  Impl(CoreWorkerOptions options, Rng rng)
      : options_(std::move(options)),
        outbox_(options_.self),
        references_(&options_, &outbox_, this),
        objects_(&options_, &outbox_, this, &references_),
        tasks_(&options_, this, &references_, &objects_),
        submitter_(&options_, &outbox_, &tasks_, &objects_),
        actors_(&options_, &outbox_, &references_, &tasks_, rng),
        executor_(&options_, &outbox_, &references_, &objects_) {}

  // One call from outside; its end is the end of the turn.
  class Step {
   public:
    Step(Impl* impl, TimePoint now, CoreWorkerActions* actions) : impl_(*impl), turn_{now, actions} {}
    ~Step() { impl_.EndTurn(turn_); }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;
    operator const Turn&() const { return turn_; }  // NOLINT: a step is its turn

   private:
    Impl& impl_;
    const Turn turn_;
  };

  void EndTurn(const Turn& t);
  void Dispatch(const Turn& t, const Address& from, Message&& message);
  void PushArrived(const Turn& t, const Address& from, PushTask&& push);
  void ReplyArrived(const Turn& t, const Address& from, TaskReply&& reply);
  void Cancel(const Turn& t, SubmittedTask* task, bool force, bool recursive);
  void ProcessDied(const Turn& t, const WorkerDied& died);
  void NodeGone(const Turn& t, const struct NodeDied& died);
  void RayletLost(const Turn& t, const std::string& reason);
  void ListRows(const Turn& t, const Address& from, const ListState& message);

  // ---- Events
  void ValueKnown(const Turn& t, ObjectEntry* entry) override {
    tasks_.ValueKnown(entry);
    objects_.ValueKnown(t, entry);
    executor_.ArgChanged(t, entry);
  }
  void BytesLocal(const Turn& t, ObjectEntry* entry) override {
    objects_.ValueKnown(t, entry);
    executor_.ArgChanged(t, entry);
  }
  void BytesLost(const Turn& t, ObjectEntry* entry, NodeId at) override {
    tasks_.Recompute(t, entry, at);
    if (!entry->known()) executor_.ArgGone(t, entry);
  }
  void ValueGone(const Turn& t, ObjectEntry* entry) override { executor_.ArgGone(t, entry); }
  void BorrowConfirmed(const Turn& t, const ObjectId& id, uint64_t registration) override {
    executor_.BorrowConfirmed(t, id, registration);
  }
  void Released(const Turn& t, ObjectEntry* entry) override {
    tasks_.ResultForgotten(entry);
    if (entry->extra != nullptr && entry->extra->actor) actors_.HandleReleased(t, entry);
  }
  void ResultUnwanted(const Turn& t, ObjectEntry* entry) override {
    if (entry->extra != nullptr && entry->extra->actor) actors_.HandleUnwanted(t, entry);
  }
  void TaskReady(const Turn& t, SubmittedTask* task) override {
    if (task->actor != nullptr) {
      actors_.TaskReady(t, task);
    } else {
      submitter_.Enqueue(task);
    }
  }
  void CallGone(const Turn&, ActorRecord* actor) override { actors_.CallGone(actor); }

  CoreWorkerOptions options_;
  Outbox outbox_;
  References references_;
  LocalObjects objects_;
  TaskTable tasks_;
  Submitter submitter_;
  ActorClient actors_;
  Executor executor_;
  std::vector<Send> to_self_;  // memory of the loopback, reused
  ErrorInfo lost_;             // the raylet is gone, and why
};

void CoreWorker::Impl::EndTurn(const Turn& t) {
  while (true) {
    if (tasks_.has_ready()) tasks_.ProcessReady(t);
    submitter_.Flush(t);
    actors_.Flush(t);
    executor_.Flush(t);
    bool more = references_.Settle(t);
    if (!outbox_.loopback().empty()) {
      more = true;
      std::swap(to_self_, outbox_.loopback());
      for (Send& send : to_self_) Dispatch(t, send.to, std::move(send.message));
      to_self_.clear();
    }
    if (!more && !tasks_.has_ready() && !submitter_.dirty() && !actors_.dirty() && !executor_.dirty()) return;
  }
}

void CoreWorker::Impl::PushArrived(const Turn& t, const Address& from, PushTask&& push) {
  executor_.OnPushTask(t, from, std::move(push));
}

void CoreWorker::Impl::ReplyArrived(const Turn& t, const Address& from, TaskReply&& reply) {
  SubmittedTask* task = tasks_.Awaiting(reply);
  const bool accepted = task != nullptr && (task->actor != nullptr ? actors_.OnReply(t, from, task, &reply)
                                                                   : submitter_.OnReply(t, from, task, &reply));
  if (!accepted) tasks_.Decline(t, reply);
}

void CoreWorker::Impl::Cancel(const Turn& t, SubmittedTask* task, bool force, bool recursive) {
  if (task == nullptr || !task->pending()) return;
  if (task->actor != nullptr) {
    actors_.Cancel(t, task, recursive);
  } else {
    submitter_.Cancel(t, task, force, recursive);
  }
}

void CoreWorker::Impl::ProcessDied(const Turn& t, const WorkerDied& died) {
  if (died.worker == options_.self) return;
  const std::string why = died.message.empty() ? "its process ended" : died.message;
  const ErrorInfo error =
      MakeError(died.kind, absl::StrCat("worker ", died.worker.ToString(), " died while it had the task: ", why,
                                        "; allow more retries if such deaths are to be survived"));
  const bool sure = died.kind != ErrorKind::kNodeDied;  // else it only cannot be reached
  references_.OnProcessDied(t, died.worker, sure, why);
  tasks_.ForgetWorker(died.worker);
  submitter_.OnProcessDied(t, died.worker, sure, error);
  actors_.OnProcessDied(t, died.worker, sure);
  executor_.OnProcessDied(t, died.worker, sure);
}

void CoreWorker::Impl::NodeGone(const Turn& t, const struct NodeDied& died) {
  if (died.node == options_.self.node) return;  // our raylet says so itself, so it is alive
  const std::string why = died.message.empty() ? "it no longer answers" : died.message;
  const ErrorInfo error =
      MakeError(ErrorKind::kNodeDied, absl::StrCat("node ", died.node.Hex(), " died while it had the task: ", why,
                                                   "; allow more retries if such deaths are to be survived"));
  references_.OnNodeDied(t, died.node, why);
  tasks_.ForgetNode(died.node);
  submitter_.OnNodeDied(t, died.node, error);
  actors_.OnNodeDied(t, died.node);
  executor_.OnNodeDied(t, died.node);
}

void CoreWorker::Impl::RayletLost(const Turn& t, const std::string& reason) {
  if (lost_) return;
  lost_ = MakeError(ErrorKind::kNodeDied, absl::StrCat("this process lost its node: ", reason, "; start it again"));
  tasks_.FailAll(t, lost_);
  references_.FailUnknown(t, lost_);
  submitter_.OnRayletLost();
  actors_.OnRayletLost(lost_);
  ExitWorker exit;
  exit.reason = reason;
  exit.now = true;
  t.actions->exit = std::move(exit);
}

void CoreWorker::Impl::ListRows(const Turn& t, const Address& from, const ListState& message) {
  ListStateReply& reply = outbox_.Post<ListStateReply>(t, from);
  reply.request = message.request;
  if (message.kind == "tasks") {
    reply.json = absl::StrCat("[", core_worker::DescribeTasks(references_, executor_, message.argument, message.limit), "]");
  } else if (message.kind == "objects") {
    reply.json = absl::StrCat("[", core_worker::DescribeObjects(references_, message.limit), "]");
  } else {
    reply.error = MakeError(ErrorKind::kInvalidArgument,
                            absl::StrCat("a core worker has no table '", message.kind, "'; ask for tasks or objects"));
  }
}

namespace {

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

}  // namespace

void CoreWorker::Impl::Dispatch(const Turn& t, const Address& from, Message&& message) {
  auto for_language = [&](auto& m) { t.actions->for_language.emplace_back(std::move(m)); };
  std::visit(
      Overload{
          [&](PushTask& m) { PushArrived(t, from, std::move(m)); },
          [&](TaskReply& m) { ReplyArrived(t, from, std::move(m)); },
          [&](ReclaimTasks& m) { executor_.OnReclaimTasks(t, from, m); },
          [&](TasksReturned& m) { submitter_.OnTasksReturned(t, m); },
          [&](class CancelTask& m) {
            if (!executor_.OnCancelTask(t, m) || !m.recursive) return;
            for (const TaskId& child : tasks_.ChildrenOf(m.task)) Cancel(t, tasks_.Find(child), m.force, true);
          },
          [&](ResolveObject& m) { references_.OnResolveObject(t, m); },
          [&](ObjectResolved& m) { objects_.OnObjectResolved(t, std::move(m)); },
          [&](AddBorrower& m) { references_.OnAddBorrower(t, m); },
          [&](BorrowerAdded& m) { references_.OnBorrowerAdded(t, m); },
          [&](RemoveBorrower& m) { references_.OnRemoveBorrower(m); },
          [&](ObjectLocation& m) { references_.OnObjectLocation(t, m); },
          [&](LeaseGranted& m) { submitter_.OnLeaseGranted(t, m); },
          [&](LeaseFailed& m) { submitter_.OnLeaseFailed(t, m); },
          [&](RevokeLease& m) { submitter_.OnRevokeLease(t, m); },
          [&](AssignLease& m) {
            executor_.OnAssignLease(t, m);
            for_language(m);
          },
          [&](BecomeActor& m) { executor_.OnBecomeActor(t, std::move(m)); },
          [&](ExitWorker& m) { executor_.OnExitWorker(t, m); },
          [&](WorkerDied& m) { ProcessDied(t, m); },
          [&](struct NodeDied& m) { NodeGone(t, m); },
          [&](ObjectLocal& m) {
            if (!executor_.OnObjectLocal(t, m)) objects_.OnObjectLocal(t, m);
          },
          [&](ActorUpdate& m) {
            actors_.OnActorUpdate(t, m);
            for_language(m);
          },
          [&](ListState& m) { ListRows(t, from, m); },
          [&](ObjectCreated& m) { for_language(m); },
          [&](FindActorReply& m) { for_language(m); },
          [&](ListStateReply& m) { for_language(m); },
          [&](PlacementGroupUpdate& m) { for_language(m); },
          [&](LogLines& m) { for_language(m); },
          [&](RegisterWorkerReply& m) { for_language(m); },
          [](auto&) {},  // for others
      },
      message);
}

// ---- the public face

CoreWorker::CoreWorker(CoreWorkerOptions options, Rng rng) : impl_(std::make_unique<Impl>(std::move(options), rng)) {}
CoreWorker::~CoreWorker() = default;

const CoreWorkerOptions& CoreWorker::options() const { return impl_->options_; }

ObjectRefInfo CoreWorker::PutInline(TimePoint now, Payload data, std::vector<ObjectRefInfo> contained,
                                    CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  ObjectEntry* entry = impl_->references_.CreateOwned(NewObjectId());
  entry->local_refs = 1;
  ObjectValue value;
  value.kind = ValueKind::kInline;
  value.data = std::move(data);
  value.contained = std::move(contained);
  impl_->references_.SetOwnedValue(step, entry, std::move(value), 0);
  return entry->ref;
}

ObjectId CoreWorker::NewObjectId() { return {self().worker, impl_->references_.TakeIndices(1)}; }

ObjectRefInfo CoreWorker::PutStored(TimePoint now, ObjectId id, uint64_t offset, uint64_t size,
                                    std::vector<ObjectRefInfo> contained, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  ObjectEntry* entry = impl_->references_.CreateOwned(id);
  entry->local_refs = 1;
  SealObject& seal = impl_->outbox_.Post<SealObject>(step, impl_->outbox_.raylet());
  seal.ref = entry->ref;
  seal.offset = offset;
  seal.size = size;
  impl_->objects_.Sealed(entry, {offset, size});
  ObjectValue value;
  value.kind = ValueKind::kStored;
  value.size = size;
  value.locations = {self().node};
  value.contained = std::move(contained);
  impl_->references_.SetOwnedValue(step, entry, std::move(value), 0);
  return entry->ref;
}

ObjectRefInfo CoreWorker::RefOf(const ObjectId& owned) const { return {owned, self().node}; }

void CoreWorker::AddLocalReference(const ObjectRefInfo& ref) { impl_->references_.AddLocal(ref); }

void CoreWorker::AdoptBorrowed(TimePoint now, const ObjectRefInfo& ref, std::optional<ObjectId> outer,
                               CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->references_.Adopt(step, ref, outer);
}

void CoreWorker::RemoveLocalReference(TimePoint now, const ObjectId& id, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->references_.RemoveLocal(id);
}

const ObjectValue* CoreWorker::Lookup(const ObjectId& id) const {
  const ObjectEntry* entry = impl_->references_.Find(id);
  if (entry == nullptr || entry->released || !entry->known()) return nullptr;
  const ObjectValue* error = LocalObjects::ReadError(entry);
  return error != nullptr ? error : &entry->value;
}

bool CoreWorker::Want(TimePoint now, const ObjectRefInfo& ref, bool local_bytes, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  return impl_->objects_.Want(step, ref, local_bytes);
}

size_t CoreWorker::WantAll(TimePoint now, absl::Span<const ObjectRefInfo> refs, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  size_t here = 0;
  for (size_t i = 0; i < refs.size(); ++i) {
    if (impl_->objects_.Want(step, refs[i], /*local_bytes=*/true) && here == i) ++here;
  }
  return here;
}

std::optional<LocalBlock> CoreWorker::AcquireBlock(const ObjectId& id) {
  return impl_->objects_.Acquire(impl_->references_.Find(id));
}

void CoreWorker::ReleaseBlock(TimePoint now, const ObjectId& id, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->objects_.Unpin(step, impl_->references_.Find(id));
}

ShapeId CoreWorker::RegisterShape(const Shape& shape) { return impl_->submitter_.RegisterShape(shape); }

TaskId CoreWorker::SubmitTask(TimePoint now, TaskSubmission submission, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  ShapeQueue* shape = impl_->submitter_.FindShape(submission.shape);
  SubmittedTask* task = impl_->tasks_.Register(step, std::move(submission), TaskKind::kNormal);
  const TaskId id = task->spec.id;
  if (impl_->lost_) {
    impl_->tasks_.Fail(step, task, impl_->lost_);
  } else if (shape == nullptr) {
    impl_->tasks_.Fail(step, task,
                       MakeError(ErrorKind::kInvalidArgument, absl::StrCat("the shape of task ", task->spec.name,
                                                                           " is unknown; call RegisterShape first")));
  } else {
    task->shape = shape;
    impl_->tasks_.Start(step, task);
  }
  return id;
}

std::string_view CoreWorker::NameOfMaker(const ObjectId& result) const {
  const SubmittedTask* task = impl_->tasks_.FindByResult(result);
  return task == nullptr ? std::string_view() : task->spec.name;
}

void CoreWorker::CancelTask(TimePoint now, const ObjectId& result, bool force, bool recursive,
                            CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->Cancel(step, impl_->tasks_.FindByResult(result), force, recursive);
}

ActorId CoreWorker::CreateActor(TimePoint now, ActorSpec spec, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  const ActorId actor = impl_->actors_.Create(step, std::move(spec));
  if (impl_->lost_) impl_->actors_.OnRayletLost(impl_->lost_);
  return actor;
}

ObjectRefInfo CoreWorker::ActorHandleRef(ActorId actor) const { return impl_->actors_.HandleRef(actor); }

void CoreWorker::RegisterActorHandle(TimePoint now, ActorId actor, ObjectRefInfo handle, int32_t max_task_retries,
                                     int32_t max_pending_calls, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->actors_.Register(step, actor, handle, max_task_retries, max_pending_calls);
}

TaskId CoreWorker::SubmitActorCall(TimePoint now, ActorId actor, TaskSubmission submission,
                                   CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  return impl_->actors_.Submit(step, actor, std::move(submission));
}

bool CoreWorker::ActorQueueFull(ActorId actor) const { return impl_->actors_.QueueFull(actor); }

void CoreWorker::KillActor(TimePoint now, ActorId actor, bool no_restart, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->actors_.Kill(step, actor, no_restart);
}

const ActorUpdate* CoreWorker::ActorStatus(ActorId actor) const { return impl_->actors_.Status(actor); }

void CoreWorker::TaskFinished(TimePoint now, const TaskId& task, uint32_t attempt, std::vector<ObjectValue> results,
                              absl::Span<const uint64_t> offsets, bool worker_exiting, bool final,
                              CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->executor_.TaskFinished(step, task, attempt, std::move(results), offsets, worker_exiting, final);
}

void CoreWorker::SetBlocked(TimePoint now, bool blocked, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->executor_.SetBlocked(step, blocked);
}

void CoreWorker::SetConcurrency(int32_t max_concurrency, std::vector<std::pair<std::string, int32_t>> groups) {
  impl_->executor_.SetConcurrency(max_concurrency, std::move(groups));
}

void CoreWorker::OnMessage(TimePoint now, const Address& from, Message&& message, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->Dispatch(step, from, std::move(message));
}

void CoreWorker::OnPushTask(TimePoint now, const Address& from, PushTask&& push, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->PushArrived(step, from, std::move(push));
}

void CoreWorker::OnTaskReply(TimePoint now, const Address& from, TaskReply&& reply, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->ReplyArrived(step, from, std::move(reply));
}

void CoreWorker::OnRayletLost(TimePoint now, const std::string& reason, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->RayletLost(step, reason);
}

void CoreWorker::OnTick(TimePoint now, CoreWorkerActions* actions) {
  Impl::Step step(impl_.get(), now, actions);
  impl_->submitter_.OnTick(step);
  impl_->actors_.OnTick(step);
  impl_->executor_.OnTick(step);
}

std::optional<TimePoint> CoreWorker::NextDeadline() const {
  std::optional<TimePoint> earliest = impl_->submitter_.NextDeadline();
  for (const std::optional<TimePoint>& other : {impl_->actors_.NextDeadline(), impl_->executor_.NextDeadline()}) {
    if (other && (!earliest || *other < *earliest)) earliest = other;
  }
  return earliest;
}

void CoreWorker::CheckInvariants() const {
  SHOAL_CHECK(impl_->outbox_.loopback().empty()) << "a turn ended with messages to self";
  SHOAL_CHECK(!impl_->tasks_.has_ready()) << "a turn ended with tasks to look at";
  impl_->references_.CheckInvariants();
  impl_->submitter_.CheckInvariants();
  impl_->actors_.CheckInvariants();
  impl_->executor_.CheckInvariants();
}

CoreWorker::Counters CoreWorker::counters() const {
  Counters c;
  c.objects = impl_->references_.size();
  c.pending_tasks = impl_->tasks_.pending();
  c.leases = impl_->submitter_.leases();
  c.queued_here = impl_->executor_.queued();
  c.running_here = impl_->executor_.running();
  c.unsent_replies = impl_->executor_.unsent_replies();
  c.lineage_tasks = impl_->tasks_.lineage();
  c.tasks_submitted = impl_->tasks_.submitted();
  c.tasks_finished = impl_->tasks_.finished();
  c.tasks_retried = impl_->tasks_.retried();
  return c;
}

std::string CoreWorker::DescribeTasks(uint32_t limit) const {
  return core_worker::DescribeTasks(impl_->references_, impl_->executor_, "", limit);
}

std::string CoreWorker::DescribeObjects(uint32_t limit) const {
  return core_worker::DescribeObjects(impl_->references_, limit);
}

}  // namespace shoal::core_worker
