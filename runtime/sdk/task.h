// Remote functions. Any function of this program can run as a task, without registration:
//
//   double Area(double width, double height);
//   ObjectRef<double> a = shoal::Task<Area>().Remote(2.0, 3.0);
//   ObjectRef<double> b = shoal::Task<Area>({.num_cpus = 2}).Remote(a, 10.0);   // a reference stands for its value
//
// How it is found in a worker: naming Task<Area> anywhere in the program puts Area under its name into a table that each process of
// the program fills while it starts. So remote functions, methods and actor factories need names of their own, namespaces included:
// Init throws if two overloads, or two functions of one name in the anonymous namespaces of two files, are used remotely.
#pragma once

#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/sdk/object_ref.h"

namespace shoal {

struct TaskOptions {
  double num_cpus = 1;
  double num_gpus = 0;
  double memory = 0;  // bytes
  std::vector<std::pair<std::string, double>> resources;
  int max_retries = 3;            // after crashes; -1 without end
  bool retry_exceptions = false;  // after exceptions too
  Strategy strategy;
  StringMap label_selector;
  StringMap env_vars;
  std::string name;               // for people; default: the function's
};

namespace internal {

template <auto F>
constexpr std::string_view NameOf() {
  const std::string_view text = __PRETTY_FUNCTION__;  // "... [with auto F = Area; ...]"
  size_t begin = text.find("F = ") + 4;
  if (text[begin] == '&') ++begin;  // a method
  return text.substr(begin, text.find_first_of(";]", begin) - begin);
}

// Found once, not with each call.
template <auto F>
inline constexpr std::string_view kName = NameOf<F>();
template <auto F>
FunctionId IdOf() {
  static const FunctionId id = FunctionIdOf(kName<F>);
  return id;
}

template <class T>
struct Signature;
template <class R, class... A>
struct Signature<R (*)(A...)> {
  using Result = R;
  using Parameters = std::tuple<std::decay_t<A>...>;
};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...)> {
  using Class = C;
  using Result = R;
  using Parameters = std::tuple<std::decay_t<A>...>;
};
template <class C, class R, class... A>
struct Signature<R (C::*)(A...) const> : Signature<R (C::*)(A...)> {};

// void tasks yield an empty tuple, so that they can be waited for.
template <class R>
using Stored = std::conditional_t<std::is_void_v<R>, std::tuple<>, std::decay_t<R>>;

template <class Parameters, size_t... kIndex>
Parameters TakeArguments(Arguments& arguments, std::index_sequence<kIndex...>) {
  if (arguments.slots.size() != sizeof...(kIndex)) {
    throw Error("a task was called with another number of arguments than it takes; do driver and worker run the same program?");
  }
  return Parameters{Decoded<std::tuple_element_t<kIndex, Parameters>>(std::move(arguments.slots[kIndex]))...};
}

template <class Parameters>
Parameters TakeArguments(Arguments& arguments) {
  return TakeArguments<Parameters>(arguments, std::make_index_sequence<std::tuple_size_v<Parameters>>());
}

template <auto F>
io::NewValue InvokeFunction(void*, Arguments& arguments) {
  using S = Signature<decltype(F)>;
  auto parameters = TakeArguments<typename S::Parameters>(arguments);
  if constexpr (std::is_void_v<typename S::Result>) {
    std::apply(F, std::move(parameters));
    return Encoded(std::tuple<>());
  } else {
    return Encoded<Stored<typename S::Result>>(std::apply(F, std::move(parameters)));
  }
}

template <auto F>
struct FunctionEntry {
  static inline const bool registered = RegisterInvoker(NameOf<F>(), InvokeFunction<F>);
};

// References that the call itself made, counted until it is submitted.
class HeldReferences {
 public:
  HeldReferences() = default;
  HeldReferences(HeldReferences&&) = default;
  HeldReferences& operator=(HeldReferences&&) = delete;
  ~HeldReferences() {
    for (const ObjectRefInfo& ref : refs_) Core().RemoveReference(ref.id);
  }
  void Add(const ObjectRefInfo& ref) { refs_.push_back(ref); }

 private:
  std::vector<ObjectRefInfo> refs_;
};

// Appends one argument to a spec: a packed value, or a reference that stands for a value, also for one too large to ride along.
template <class Parameter, class Argument>
void AddArgument(const Argument& argument, TaskSpec* spec, std::string* packed, HeldReferences* held) {
  if constexpr (IsObjectRef<Argument>::value && !IsObjectRef<Parameter>::value) {
    static_assert(std::is_convertible_v<typename Argument::Value, Parameter>, "the reference's type does not fit the parameter");
    packed->push_back(1);
    spec->refs.push_back({.ref = FullInfo(argument, "Remote")});
  } else {
    io::NewValue value = Encoded<Parameter>(static_cast<Parameter>(argument));
    const uint64_t size = value.size;
    if (packed->size() + size > kInlineLimitBytes) {  // by itself, in the store
      absl::StatusOr<ObjectRefInfo> stored = Core().Put(std::move(value));
      if (!stored.ok()) Throw(stored.status());
      packed->push_back(1);
      spec->refs.push_back({.ref = *stored});
      held->Add(*stored);
      return;
    }
    packed->push_back(0);
    packed->append(reinterpret_cast<const char*>(&size), sizeof(size));
    packed->resize(packed->size() + size);
    value.fill(packed->data() + packed->size() - size);
    for (ObjectRefInfo& ref : value.contained) spec->nested.push_back(ref);
  }
}

template <class Parameters, size_t... kIndex, class... A>
HeldReferences AddArguments(std::index_sequence<kIndex...>, TaskSpec* spec, const A&... arguments) {
  std::string packed;
  HeldReferences held;
  (AddArgument<std::tuple_element_t<kIndex, Parameters>>(arguments, spec, &packed, &held), ...);
  spec->args = Payload(packed);
  return held;
}

template <class Parameters, class... A>
[[nodiscard]] HeldReferences AddArguments(TaskSpec* spec, const A&... arguments) {
  static_assert(std::tuple_size_v<Parameters> == sizeof...(A), "wrong number of arguments");
  return AddArguments<Parameters>(std::index_sequence_for<A...>(), spec, arguments...);
}

Shape ShapeOf(const TaskOptions& options);

}  // namespace internal

template <auto F>
class Task {
 public:
  using Result = internal::Stored<typename internal::Signature<decltype(F)>::Result>;

  Task() : Task(TaskOptions()) {}
  explicit Task(TaskOptions options) : options_(std::move(options)), shape_(internal::InternShape(internal::ShapeOf(options_))) {}

  // Returns at once. Each argument is a value that converts to the parameter, or an ObjectRef of one.
  template <class... A>
  ObjectRef<Result> Remote(const A&... arguments) const {
    static_cast<void>(internal::FunctionEntry<F>::registered);
    core_worker::TaskSubmission submission;
    submission.spec.name = options_.name.empty() ? std::string(internal::kName<F>) : options_.name;
    submission.spec.function = internal::IdOf<F>();
    submission.spec.parent = internal::CurrentTask();
    submission.shape = shape_;
    submission.max_retries = options_.max_retries;
    submission.retry_exceptions = options_.retry_exceptions;
    const internal::HeldReferences held = internal::AddArguments<typename internal::Signature<decltype(F)>::Parameters>(&submission.spec, arguments...);
    io::CoreProcess& core = internal::Core();
    const absl::StatusOr<TaskId> task = core.SubmitTask(std::move(submission));
    if (!task.ok()) internal::Throw(task.status());
    return ObjectRef<Result>::Own({task->Return(0), core.self().node});
  }

 private:
  TaskOptions options_;
  ShapeId shape_;
};

}  // namespace shoal
