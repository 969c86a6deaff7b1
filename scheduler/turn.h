// Small things that the parts of the head share: the turn, errors, the log of state changes, rows of the store.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/fields.h"
#include "base/time.h"
#include "scheduler/head.h"
#include "schema/messages.h"

namespace shoal::scheduler {

// One call into the machine: when, and where wishes go.
struct Turn {
  TimePoint now;
  HeadActions* actions;
};

template <class M>
void Say(const Turn& t, const Address& to, M message) {
  t.actions->sends.push_back({to, std::move(message)});
}

inline ErrorInfo MakeError(ErrorKind kind, std::string message) {
  ErrorInfo error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

// ---- rows: "kind/hex" -> fields of a struct

template <class T>
void PutRow(const Turn& t, std::string key, const T& value) {
  t.actions->writes.push_back({std::move(key), Encode(value)});
}
inline void DeleteRow(const Turn& t, std::string key) { t.actions->writes.push_back({std::move(key), std::nullopt}); }

// If the key begins with "kind/", the rest of it is an id.
template <class IdType>
std::string RowKey(std::string_view kind, IdType id) {
  return absl::StrCat(absl::string_view(kind.data(), kind.size()), "/", id.Hex());
}
template <class T>
T RowValue(const StoreRow& row) {
  T value;
  SHOAL_CHECK(Decode(row.value, &value)) << "row " << row.key << " of the store cannot be read by this version";
  return value;
}
inline bool RowIs(const StoreRow& row, std::string_view kind) {
  return row.key.size() > kind.size() && row.key[kind.size()] == '/' && std::string_view(row.key).substr(0, kind.size()) == kind;
}

// ---- what happened, for `shoal why`, the timeline and the tests

class EventLog {
 public:
  static constexpr size_t kKept = 10'000;

  void Add(const Turn& t, std::string subject, std::string from, std::string to, std::string reason) {
    ClusterEvent event{std::move(subject), std::move(from), std::move(to), std::move(reason)};
    t.actions->events.push_back(event);
    if (kept_.size() == kKept) kept_.pop_front();
    kept_.push_back({t.now, std::move(event)});
  }
  struct Kept {
    TimePoint at;
    ClusterEvent event;
  };
  const std::deque<Kept>& kept() const { return kept_; }

 private:
  std::deque<Kept> kept_;
};

}  // namespace shoal::scheduler
