// For tests of core workers: a few of them in one small world, whose raylets, store and head do the least that the protocols ask for.
//
//   World world(/*seed=*/1);
//   Process& driver = world.Driver();
//   world.AddWorkers(2);
//   const TaskId task = driver.Submit("echo", "hello");
//   world.Run();                                  // until nothing is under way
//   EXPECT_EQ(driver.ValueOf(task.Return(0)), "hello");
//
// Messages between two processes keep their order; which pair comes next is drawn from the seed. Time passes in Advance, and in each step if step_time says so.
// After each delivery the machine that got it checks its invariants.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "runtime/core_worker/core_worker.h"

namespace shoal::core_worker {

inline constexpr NodeId kNode{1};
inline constexpr NodeId kOtherNode{2};
inline constexpr JobId kJob{7};

class World;

// A core worker and the least of a language.
class Process {
 public:
  Process(World* w, Address at, Role role, uint64_t seed);

  // ---- as a program; results and puts are held once
  TaskSubmission Make(const std::string& name, const std::string& args);
  TaskId Submit(TaskSubmission submission);
  TaskId Submit(const std::string& name, const std::string& args = "", int32_t max_retries = 0);
  TaskId SubmitWith(const std::string& name, std::vector<ObjectRefInfo> refs, std::vector<ObjectRefInfo> nested,
                    int32_t max_retries = 0);
  ActorId CreateActor(ActorSpec spec = {});
  TaskId Call(ActorId actor, const std::string& name, const std::string& args = "", int32_t max_retries = 0);
  ObjectRefInfo Put(const std::string& text, std::vector<ObjectRefInfo> contained = {});
  ObjectRefInfo PutStored(const std::string& text);
  void Drop(const ObjectId& id);
  ObjectRefInfo RefOf(const TaskId& task) const { return core->RefOf(task.Return(0)); }
  // Text of a value, "error KIND", or "pending".
  std::string ValueOf(const ObjectId& id);
  std::string ValueOf(const TaskId& task) { return ValueOf(task.Return(0)); }
  ErrorInfo ErrorOf(const TaskId& task) const;

  // ---- as a runner; tasks named "wait..." run until Finish
  void Finish(const TaskId& task, const std::string& text = "done", std::vector<ObjectRefInfo> contained = {});
  const ExecuteTask* Running(const TaskId& task) const;

  // Runs `call(actions)` and carries out what it wishes.
  template <class F>
  void Do(F&& call) {
    call(&actions);
    Carry();
  }
  void Carry();

  World& world;
  const Address address;
  std::unique_ptr<CoreWorker> core;
  CoreWorkerActions actions;
  ShapeId shape;
  bool alive = true;
  bool exited = false;
  std::vector<ExecuteTask> running;
  std::vector<std::string> started;  // "name:args#attempt", in order
  std::vector<TaskId> interrupted;
  std::set<ObjectId> ready, freed;
  std::vector<Message> for_language;
  std::map<ObjectId, ObjectRefInfo> kept;  // references that "keep" holds, one local reference each

 private:
  void Execute(ExecuteTask task);
  void RunBody(const ExecuteTask& task);
  std::string TextOf(const ObjectValue& value, const std::optional<LocalBlock>& block);
};

class World {
 public:
  explicit World(uint64_t seed, CoreWorkerOptions options = {}) : options_(options), rng_(seed) {}

  Process& Driver(NodeId node = kNode);
  // Idle workers that raylets grant.
  void AddWorkers(int count, NodeId node = kNode);
  Process& worker(size_t i) { return *processes_[worker_index_[i]]; }
  size_t workers() const { return worker_index_.size(); }
  Process* Find(const Address& address);

  // Delivers what is under way until nothing is, at this time.
  void Run();
  bool Step();
  // Lets time pass, with the ticks that are due.
  void Advance(Duration duration);
  // Kills a process; what it had sent arrives, then everybody hears of it.
  void Kill(Process& process);
  // Everybody elsewhere hears that the node is dead; its processes are gone.
  void KillNode(NodeId node);
  // Puts a message under way.
  void Send(const Address& from, const Address& to, Message message);
  // Counts messages of one kind that were delivered so far.
  template <class M>
  size_t Count() const {
    auto it = delivered_.find(Message(M{}).index());
    return it == delivered_.end() ? 0 : it->second;
  }
  // Sees each message before it is delivered; false drops it.
  std::function<bool(const Address& from, const Address& to, const Message&)> filter;

  TimePoint now = TimePoint(1s);
  bool grants = true;                   // raylets answer demands
  Duration ttl = 60s;
  Duration step_time{};                 // how long each delivery takes
  std::map<std::pair<NodeId, ObjectId>, std::string> store;  // sealed bytes by node
  std::map<uint64_t, std::pair<NodeId, std::string>> blocks;  // written, by offset
  std::map<std::pair<Address, ObjectId>, int> pins;
  uint64_t next_offset = 4096;
  uint32_t last_demand = 0;

 private:
  friend class Process;
  struct LeaseRow {
    Address owner, worker;
    ShapeId shape;
  };
  struct ActorRow {
    ActorSpec spec;
    ActorUpdate update;
    std::set<Address> watchers;
    int32_t restarts = 0;
  };
  struct Demand {
    Shape shape;
    uint32_t wanted = 0;
  };

  void ToRaylet(NodeId node, const Address& from, Message&& message);
  void ToHead(const Address& from, Message&& message);
  void Grant();
  Process* IdleWorker();
  void PlaceActor(ActorRow& actor);
  void TellActor(ActorRow& actor);
  void ActorLost(const Address& worker, bool intended);
  void EndLease(LeaseId id);

  CoreWorkerOptions options_;
  Rng rng_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<size_t> worker_index_;
  uint64_t next_worker_ = 100;
  std::map<std::pair<Address, Address>, std::deque<Message>> links_;
  std::map<size_t, size_t> delivered_;
  std::map<std::pair<Address, ShapeId>, Demand> demands_;
  std::map<LeaseId, LeaseRow> leases_;
  std::set<Address> busy_, leaving_;
  std::map<ActorId, ActorRow> actors_;
  uint64_t next_lease_ = 1;
};

}  // namespace shoal::core_worker
