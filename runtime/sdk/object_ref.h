// ObjectRef<T>: the name of a value of type T that exists now or later, somewhere. Copies count as references: the
// value lives as long as one of them, in any process, does. A default-constructed one, or one that was moved from, is empty: it may
// travel inside a value, all other uses throw a SystemError of kind kInvalidArgument.
#pragma once

#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/sdk/runtime.h"
#include "runtime/sdk/serialize.h"

namespace shoal {

template <class T>
class ObjectRef {
 public:
  using Value = T;

  ObjectRef() = default;
  // Takes over one reference that the caller has counted.
  static ObjectRef Own(ObjectRefInfo info) {
    ObjectRef ref;
    ref.info_ = info;
    return ref;
  }
  ObjectRef(const ObjectRef& other) : info_(other.info_) {
    if (io::CoreProcess* core = info_.id ? internal::CoreOrNull() : nullptr) core->AddReference(info_);
  }
  ObjectRef(ObjectRef&& other) noexcept : info_(std::exchange(other.info_, {})) {}
  ObjectRef& operator=(ObjectRef other) noexcept {
    std::swap(info_, other.info_);
    return *this;
  }
  ~ObjectRef() {
    if (io::CoreProcess* core = info_.id ? internal::CoreOrNull() : nullptr) core->RemoveReference(info_.id);
  }

  explicit operator bool() const { return static_cast<bool>(info_.id); }
  const ObjectRefInfo& info() const { return info_; }
  std::string Hex() const { return info_.id.Hex(); }
  friend bool operator==(const ObjectRef& a, const ObjectRef& b) { return a.info_ == b.info_; }

  // A reference inside a value travels as its name; the packer notes it so that it stays counted.
  template <class Packer>
  void msgpack_pack(Packer& packer) const {
    if (internal::reference_scope.packed != nullptr && info_.id) internal::reference_scope.packed->push_back(info_);
    packer.pack_array(3);
    packer.pack(info_.id.owner.value);
    packer.pack(info_.id.index);
    packer.pack(info_.owner_node.value);
  }
  void msgpack_unpack(const msgpack::object& from) {
    const auto [owner, index, node] = from.as<std::tuple<uint64_t, uint64_t, uint64_t>>();
    ObjectRefInfo info{ObjectId{WorkerId{owner}, index}, NodeId{node}};
    if (info.id) internal::Core().AdoptReference(info, internal::reference_scope.outer);
    *this = Own(info);
  }

 private:
  ObjectRefInfo info_;
};

template <class T>
struct IsObjectRef : std::false_type {};
template <class T>
struct IsObjectRef<ObjectRef<T>> : std::true_type {};

namespace internal {
template <class T>
const ObjectRefInfo& FullInfo(const ObjectRef<T>& ref, const char* call) {
  if (!ref) ThrowEmptyReference(call);
  return ref.info();
}
}  // namespace internal

// Stores a value and returns its reference. Throws SystemError when the store is full.
template <class T>
ObjectRef<std::decay_t<T>> Put(const T& value) {
  absl::StatusOr<ObjectRefInfo> info = internal::Core().Put(Encoded<std::decay_t<T>>(value));
  if (!info.ok()) internal::Throw(info.status());
  return ObjectRef<std::decay_t<T>>::Own(*info);
}

// Waits for values. Throws TaskError if the task threw, TimeoutError, SystemError.
template <class T>
std::vector<T> Get(const std::vector<ObjectRef<T>>& refs, std::optional<Duration> timeout = std::nullopt) {
  std::vector<ObjectRefInfo> infos;
  infos.reserve(refs.size());
  for (const ObjectRef<T>& ref : refs) infos.push_back(internal::FullInfo(ref, "Get"));
  std::vector<io::Fetched> fetched;
  const absl::Status status = internal::Core().Get(infos, timeout, &fetched);
  if (!status.ok()) internal::Throw(status);
  std::vector<T> values;
  values.reserve(refs.size());
  for (size_t i = 0; i < fetched.size(); ++i) {
    if (fetched[i].error) internal::Throw(fetched[i].error);
    internal::WithReferenceScope scope({.outer = infos[i].id});
    values.push_back(Decoded<T>(std::move(fetched[i])));
  }
  return values;
}

template <class T>
T Get(const ObjectRef<T>& ref, std::optional<Duration> timeout = std::nullopt) {
  return std::move(Get(std::vector<ObjectRef<T>>{ref}, timeout).front());
}

template <class T>
struct WaitResult {
  std::vector<ObjectRef<T>> ready, pending;
};

// Waits until `count` of the references have a value or an error, or the timeout has passed. Order is kept. Throws SystemError
// (kInvalidArgument) if there are fewer references than that.
template <class T>
WaitResult<T> Wait(const std::vector<ObjectRef<T>>& refs, size_t count = 1,
                   std::optional<Duration> timeout = std::nullopt) {
  if (count > refs.size()) {
    throw SystemError(ErrorKind::kInvalidArgument,
                      absl::StrCat("Wait for ", count, " of ", refs.size(), " references would never end; pass at most their number"));
  }
  std::vector<ObjectRefInfo> infos;
  for (const ObjectRef<T>& ref : refs) infos.push_back(internal::FullInfo(ref, "Wait"));
  std::vector<bool> ready;
  const absl::Status status = internal::Core().Wait(infos, count, timeout, /*fetch_local=*/false, &ready);
  if (!status.ok() && !absl::IsDeadlineExceeded(status)) internal::Throw(status);
  WaitResult<T> result;
  for (size_t i = 0; i < refs.size(); ++i) {
    (ready[i] && result.ready.size() < count ? result.ready : result.pending).push_back(refs[i]);
  }
  return result;
}

// Cancels the task that makes this object. A queued task never runs; a running one is asked to stop, or with `force`
// its worker is killed. Get then throws SystemError of kind kTaskCancelled.
template <class T>
void Cancel(const ObjectRef<T>& ref, bool force = false, bool recursive = true) {
  internal::Core().CancelTask(internal::FullInfo(ref, "Cancel").id, force, recursive);
}

}  // namespace shoal
