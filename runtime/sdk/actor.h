// Actors: an object in a worker of its own, called remotely, one call at a time in each caller's order.
//
//   struct Counter {
//     int total = 0;
//     int Add(int n) { return total += n; }
//   };
//   std::unique_ptr<Counter> MakeCounter() { return std::make_unique<Counter>(); }
//
//   auto counter = shoal::Actor<MakeCounter>({.name = "visits"}).Remote();
//   int total = shoal::Get(counter.Task<&Counter::Add>().Remote(5));
//
// Names have to be unique, as those of remote functions (task.h).
//
// An anonymous actor lives as long as a handle to it; a detached one until it is killed.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/sdk/task.h"

namespace shoal {

struct ActorOptions {
  double num_cpus = 0;  // held while it lives; placing an actor with 0 still looks for a free CPU
  double num_gpus = 0;
  double memory = 0;
  std::vector<std::pair<std::string, double>> resources;
  int max_restarts = 0;      // -1 without end
  int max_task_retries = 0;  // calls repeated after a restart
  int max_concurrency = 1;   // more: calls run in as many threads
  std::string name;
  std::string ns;            // default: the job's
  bool detached = false;
  bool get_if_exists = false;
  Strategy strategy;
  StringMap label_selector;
  StringMap env_vars;
};

namespace internal {

template <class T>
struct MadeBy;
template <class C, class... A>
struct MadeBy<std::unique_ptr<C> (*)(A...)> {
  using Class = C;
};
template <class C, class... A>
struct MadeBy<std::shared_ptr<C> (*)(A...)> {
  using Class = C;
};

template <auto F>
std::shared_ptr<void> CreateWith(Arguments& arguments) {
  std::shared_ptr<void> made = std::apply(F, TakeArguments<typename Signature<decltype(F)>::Parameters>(arguments));
  if (made == nullptr) throw std::runtime_error("the function that makes the actor returned a null pointer instead of an object");
  return made;
}

template <auto F>
struct CreatorEntry {
  static inline const bool registered = RegisterCreator(NameOf<F>(), CreateWith<F>);
};

template <auto M>
io::NewValue InvokeMethod(void* instance, Arguments& arguments) {
  using S = Signature<decltype(M)>;
  auto* object = static_cast<typename S::Class*>(instance);
  auto call = [object](auto&&... values) { return (object->*M)(std::forward<decltype(values)>(values)...); };
  auto parameters = TakeArguments<typename S::Parameters>(arguments);
  if constexpr (std::is_void_v<typename S::Result>) {
    std::apply(call, std::move(parameters));
    return Encoded(std::tuple<>());
  } else {
    return Encoded<Stored<typename S::Result>>(std::apply(call, std::move(parameters)));
  }
}

template <auto M>
struct MethodEntry {
  static inline const bool registered = RegisterInvoker(NameOf<M>(), InvokeMethod<M>);
};

ActorSpec SpecOf(const ActorOptions& options);
// The reference that stands for an anonymous actor and keeps it alive.
using ActorLife = ObjectRef<std::tuple<>>;

}  // namespace internal

template <auto M>
class ActorMethod {
 public:
  using Result = internal::Stored<typename internal::Signature<decltype(M)>::Result>;

  ActorMethod(ActorId actor, internal::ActorLife life) : actor_(actor), life_(std::move(life)) {}

  template <class... A>
  ObjectRef<Result> Remote(const A&... arguments) const {
    static_cast<void>(internal::MethodEntry<M>::registered);
    core_worker::TaskSubmission submission;
    submission.spec.name = std::string(internal::kName<M>);
    submission.spec.function = internal::IdOf<M>();
    submission.spec.parent = internal::CurrentTask();
    const internal::HeldReferences held = internal::AddArguments<typename internal::Signature<decltype(M)>::Parameters>(&submission.spec, arguments...);
    io::CoreProcess& core = internal::Core();
    const absl::StatusOr<TaskId> task = core.SubmitActorCall(actor_, std::move(submission));
    if (!task.ok()) internal::Throw(task.status());
    return ObjectRef<Result>::Own({task->Return(0), core.self().node});
  }

 private:
  ActorId actor_;
  internal::ActorLife life_;
};

template <class C>
class ActorHandle {
 public:
  // Empty: calls through it throw a SystemError of kind kInvalidArgument.
  ActorHandle() = default;
  ActorHandle(ActorId id, internal::ActorLife life) : id_(id), life_(std::move(life)) {}

  ActorId id() const { return id_; }

  template <auto M>
  ActorMethod<M> Task() const {
    static_assert(std::is_same_v<typename internal::Signature<decltype(M)>::Class, C>, "a method of another class");
    return ActorMethod<M>(FullId(), life_);
  }
  // Ends the actor; calls in flight fail. With `no_restart` false it is restarted if it has restarts left.
  void Kill(bool no_restart = true) const { internal::Core().KillActor(FullId(), no_restart); }

  template <class Packer>
  void msgpack_pack(Packer& packer) const {
    packer.pack_array(2);
    packer.pack(id_.value);
    packer.pack(life_);
  }
  void msgpack_unpack(const msgpack::object& from) {
    auto [id, life] = from.as<std::tuple<uint64_t, internal::ActorLife>>();
    id_ = ActorId{id};
    life_ = std::move(life);
    if (id_) internal::Core().RegisterActorHandle(id_, life_.info(), /*max_task_retries=*/0, /*max_pending_calls=*/-1);
  }

 private:
  ActorId FullId() const {
    if (!id_) throw SystemError(ErrorKind::kInvalidArgument, "an ActorHandle is empty: Actor<...>().Remote() and GetActor() return full ones");
    return id_;
  }

  ActorId id_;
  internal::ActorLife life_;
};

// F makes the actor's object: a function that returns std::unique_ptr<C> or std::shared_ptr<C>.
template <auto F>
class Actor {
 public:
  using Class = typename internal::MadeBy<decltype(F)>::Class;

  Actor() = default;
  explicit Actor(ActorOptions options) : options_(std::move(options)) {}

  // Returns at once. Errors of placement or of the constructor come with each call; if F throws, as a SystemError of kind kActorDied.
  template <class... A>
  ActorHandle<Class> Remote(const A&... arguments) const {
    static_cast<void>(internal::CreatorEntry<F>::registered);
    ActorSpec spec = internal::SpecOf(options_);
    spec.creation.name = std::string(internal::kName<F>);
    spec.creation.function = internal::IdOf<F>();
    const internal::HeldReferences held = internal::AddArguments<typename internal::Signature<decltype(F)>::Parameters>(&spec.creation, arguments...);
    return Create(std::move(spec));
  }

 private:
  static ActorHandle<Class> Create(ActorSpec spec);

  ActorOptions options_;
};

namespace internal {
// Creates the actor and returns its id and the reference that keeps it alive.
std::pair<ActorId, ActorLife> CreateActor(ActorSpec spec);
// By name; throws SystemError of kind kNotFound.
std::pair<ActorId, ActorLife> FindActor(const std::string& name, const std::string& ns);
}  // namespace internal

template <auto F>
ActorHandle<typename Actor<F>::Class> Actor<F>::Create(ActorSpec spec) {
  auto [id, life] = internal::CreateActor(std::move(spec));
  return ActorHandle<Class>(id, std::move(life));
}

// A handle to a named actor of class C. Throws SystemError (kNotFound) if there is none.
template <class C>
ActorHandle<C> GetActor(const std::string& name, const std::string& ns = "") {
  auto [id, life] = internal::FindActor(name, ns);
  return ActorHandle<C>(id, std::move(life));
}

}  // namespace shoal
