// Who wants to hear of what: processes that watch actors or groups. Kept in the store (rows "kind/<id>/<node>/<worker>"), since
// those who wait cannot know that the head they told is dead.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/strings/numbers.h"
#include "scheduler/turn.h"

namespace shoal::scheduler {

template <class IdType>
class WatchList {
 public:
  explicit WatchList(const char* kind) : kind_(kind) {}

  void Add(const Turn& t, IdType id, const Address& watcher) {
    if (!watchers_[id].insert(watcher).second) return;
    watched_[watcher].insert(id);
    t.actions->writes.push_back({Key(id, watcher), std::string()});
  }
  void Restore(const StoreRow& row) {
    IdType id;
    Address watcher;
    // "kind/16 digits/16 digits/16 digits"
    const absl::string_view ids = absl::string_view(row.key).substr(std::string_view(kind_).size() + 1);
    const bool good = ids.size() == 50 && absl::SimpleHexAtoi(ids.substr(0, 16), &id.value) &&
                      absl::SimpleHexAtoi(ids.substr(17, 16), &watcher.node.value) &&
                      absl::SimpleHexAtoi(ids.substr(34, 16), &watcher.worker.value);
    SHOAL_CHECK(good) << "row " << row.key << " of the store cannot be read";
    watchers_[id].insert(watcher);
    watched_[watcher].insert(id);
  }
  const char* kind() const { return kind_; }

  const absl::btree_set<Address>& Watchers(IdType id) const {
    static const auto& none = *new absl::btree_set<Address>;
    auto it = watchers_.find(id);
    return it == watchers_.end() ? none : it->second;
  }
  // What processes of that node watch, in order.
  std::vector<std::pair<Address, IdType>> WatchedFrom(NodeId node) const {
    std::vector<std::pair<Address, IdType>> found;
    for (auto it = watched_.lower_bound(Address{node, {}}); it != watched_.end() && it->first.node == node; ++it) {
      for (IdType id : it->second) found.emplace_back(it->first, id);
    }
    return found;
  }
  void ForgetId(const Turn& t, IdType id) {
    auto it = watchers_.find(id);
    if (it == watchers_.end()) return;
    for (const Address& watcher : it->second) {
      DeleteRow(t, Key(id, watcher));
      auto watched = watched_.find(watcher);
      watched->second.erase(id);
      if (watched->second.empty()) watched_.erase(watched);
    }
    watchers_.erase(it);
  }
  void ForgetWatcher(const Turn& t, const Address& watcher) {
    auto it = watched_.find(watcher);
    if (it == watched_.end()) return;
    for (IdType id : it->second) {
      DeleteRow(t, Key(id, watcher));
      auto watchers = watchers_.find(id);
      watchers->second.erase(watcher);
      if (watchers->second.empty()) watchers_.erase(watchers);
    }
    watched_.erase(it);
  }
  // All processes that watch something, by node.
  std::vector<Address> WatchersOn(NodeId node) const {
    std::vector<Address> found;
    for (auto it = watched_.lower_bound(Address{node, {}}); it != watched_.end() && it->first.node == node; ++it) {
      found.push_back(it->first);
    }
    return found;
  }
  std::vector<NodeId> Nodes() const {
    std::vector<NodeId> nodes;
    for (const auto& [watcher, ids] : watched_) {
      if (nodes.empty() || nodes.back() != watcher.node) nodes.push_back(watcher.node);
    }
    return nodes;
  }
  void CheckInvariants() const {
    size_t pairs = 0;
    for (const auto& [id, watchers] : watchers_) {
      SHOAL_CHECK(!watchers.empty());
      for (const Address& watcher : watchers) SHOAL_CHECK(watched_.at(watcher).contains(id));
      pairs += watchers.size();
    }
    for (const auto& [watcher, ids] : watched_) pairs -= ids.size();
    SHOAL_CHECK(pairs == 0);
  }

 private:
  std::string Key(IdType id, const Address& watcher) const {
    return absl::StrCat(kind_, "/", id.Hex(), "/", watcher.node.Hex(), "/", watcher.worker.Hex());
  }

  const char* const kind_;
  absl::btree_map<IdType, absl::btree_set<Address>> watchers_;
  absl::btree_map<Address, absl::btree_set<IdType>> watched_;
};

}  // namespace shoal::scheduler
