#include "objectstore/core/pull_manager.h"

#include <algorithm>

namespace shoal::objectstore {
namespace {

bool Contains(const std::vector<NodeId>& nodes, NodeId node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

Pull* PullManager::Find(const ObjectId& id) {
  auto it = pulls_.find(id);
  return it == pulls_.end() ? nullptr : &it->second;
}

Pull* PullManager::Join(WorkerId reader, const PullObject& message, bool* is_new) {
  auto [it, inserted] = pulls_.try_emplace(message.ref.id);
  Pull& pull = it->second;
  *is_new = inserted;
  if (inserted) {
    pull.ref = message.ref;
    pull.size = message.size;
  }
  pull.waiters.push_back(reader);
  for (NodeId node : message.locations) {
    if (node == node_ || Contains(pull.tried, node) || Contains(pull.untried, node)) continue;
    pull.untried.insert(pull.untried.begin(), node);
  }
  return &pull;
}

std::optional<NodeId> PullManager::NextLocation(Pull* pull) {
  if (pull->untried.empty()) return std::nullopt;
  const NodeId node = pull->untried.back();
  pull->untried.pop_back();
  pull->tried.push_back(node);
  return node;
}

void PullManager::ForgetReader(WorkerId worker) {
  for (auto& [id, pull] : pulls_) {
    pull.waiters.erase(std::remove(pull.waiters.begin(), pull.waiters.end(), worker), pull.waiters.end());
  }
}

void PullManager::ForgetNode(NodeId node) {
  for (auto& [id, pull] : pulls_) {
    pull.untried.erase(std::remove(pull.untried.begin(), pull.untried.end(), node), pull.untried.end());
  }
}

std::vector<ObjectId> PullManager::OwnedBy(const Address& process) const {
  std::vector<ObjectId> theirs;
  for (auto it = pulls_.lower_bound(ObjectId{process.worker, 0});
       it != pulls_.end() && it->first.owner == process.worker; ++it) {
    if (it->second.ref.owner_node == process.node) theirs.push_back(it->first);
  }
  return theirs;
}

std::vector<ObjectId> PullManager::OwnedOn(NodeId node) const {
  std::vector<ObjectId> theirs;
  for (const auto& [id, pull] : pulls_) {
    if (pull.ref.owner_node == node) theirs.push_back(id);
  }
  return theirs;
}

}  // namespace shoal::objectstore
