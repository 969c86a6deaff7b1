// A daemon's network in a thread of its own, and what its handlers were told.
//
//   TestNode head(0, keys_of_head), node(7, keys_of_node);
//   node.SetPeers({head.AsPeer()});  head.SetPeers({node.AsPeer("")});
//   node.Send(NodeId{0}, "hello");
//   EXPECT_TRUE(head.Await([](const Heard& h) { return h.messages.size() == 1; }));
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/io/clock.h"
#include "runtime/io/network.h"

namespace shoal::io {

inline constexpr uint64_t kTestCluster = 99;

struct Heard {
  std::vector<std::string> messages;
  std::vector<Address> from, to;
  std::vector<NodeId> resets;
  std::vector<std::pair<NodeId, bool>> reachable;
  std::vector<std::string> refused;
  std::vector<std::pair<std::string, std::string>> enrolled;
};

class TestNode {
 public:
  explicit TestNode(uint64_t node, KeyPair keys = KeyPair::Draw(),
                    std::function<void(NetworkOptions*)> change = nullptr)
      : keys_(std::move(keys)), node_(node) {
    NetworkOptions options{.keys = keys_,
                           .cluster_id = kTestCluster,
                           .role = node_ ? Role::kRaylet : Role::kHead,
                           .self = node_,
                           .incarnation = RandomSeed() | 1,
                           .listen_host = "127.0.0.1"};
    if (change) change(&options);
    loop_ = *EventLoop::Create();
    auto started = Network::Start(options, loop_.get(), Handlers());
    EXPECT_TRUE(started.ok()) << started.status();
    network_ = *std::move(started);
    thread_ = std::thread([this] { loop_->Run(); });
  }
  ~TestNode() { Stop(); }
  void Stop() {
    loop_->Stop();
    if (thread_.joinable()) thread_.join();
    network_.reset();
  }

  Peer AsPeer() const { return {node_, absl::StrCat("127.0.0.1:", network_->port()), keys_.public_key}; }
  Peer AsSilentPeer() const { return {node_, "", keys_.public_key}; }  // must be waited for
  std::string endpoint() const { return AsPeer().endpoint; }
  const KeyPair& keys() const { return keys_; }

  // Runs in the loop's thread, and waits for it.
  void InLoop(const std::function<void(Network*)>& work) {
    std::mutex mutex;
    std::condition_variable done;
    bool finished = false;
    loop_->Post([&] {
      work(network_.get());
      std::lock_guard lock(mutex);
      finished = true;
      done.notify_one();
    });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return finished; });
  }
  void SetPeers(std::vector<Peer> peers) {
    InLoop([&](Network* network) { network->SetPeers(peers); });
  }
  absl::Status Send(NodeId peer, const std::string& message) { return SendAs(peer, {node_, {}}, message); }
  absl::Status SendAs(NodeId peer, const Address& from, const std::string& message) {
    absl::Status status;
    InLoop([&](Network* network) { status = network->Send(peer, from, {peer, WorkerId{5}}, message); });
    return status;
  }

  // Until `condition` holds; false if that takes too long.
  bool Await(const std::function<bool(const Heard&)>& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return condition(heard_); });
  }
  Heard heard() {
    std::lock_guard lock(mutex_);
    return heard_;
  }
  // Called in the loop after a message was noted.
  void OnMessage(std::function<void(Network*, const std::string&)> act) {
    InLoop([&](Network*) { on_message_ = std::move(act); });
  }
  void AnswerEnrolWith(std::function<absl::StatusOr<NodeId>(const std::string&, const std::string&)> answer) {
    InLoop([&](Network*) { enrol_ = std::move(answer); });
  }

 private:
  void Note(const std::function<void(Heard*)>& note) {
    std::lock_guard lock(mutex_);
    note(&heard_);
    changed_.notify_all();
  }
  NetworkHandlers Handlers() {
    return {.deliver =
                [this](const Address& from, const Address& to, std::string message) {
                  Note([&](Heard* h) {
                    h->messages.push_back(message);
                    h->from.push_back(from);
                    h->to.push_back(to);
                  });
                  if (on_message_) on_message_(network_.get(), message);
                },
            .peer_reset = [this](NodeId peer) { Note([&](Heard* h) { h->resets.push_back(peer); }); },
            .peer_reachable = [this](NodeId peer,
                                     bool ok) { Note([&](Heard* h) { h->reachable.emplace_back(peer, ok); }); },
            .refused = [this](NodeId, const std::string& why) { Note([&](Heard* h) { h->refused.push_back(why); }); },
            .enrol =
                [this](const std::string& token, const std::string& key) {
                  Note([&](Heard* h) { h->enrolled.emplace_back(token, key); });
                  return enrol_(token, key);
                }};
  }

  const KeyPair keys_;
  const NodeId node_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Network> network_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;  // guarded by mutex_
  std::function<absl::StatusOr<NodeId>(const std::string&, const std::string&)> enrol_;
  std::function<void(Network*, const std::string&)> on_message_;
  std::thread thread_;
};

inline std::function<bool(const Heard&)> HasMessages(size_t count) {
  return [count](const Heard& h) { return h.messages.size() >= count; };
}
inline bool IsReachable(const Heard& h) { return !h.reachable.empty() && h.reachable.back().second; }
inline bool WasRefused(const Heard& h) { return !h.refused.empty(); }

}  // namespace shoal::io
