// Random use of the store by several workers, checked against what every client knows for itself: which bytes it may write or read.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "objectstore/core/object_store.h"

namespace shoal::objectstore {
namespace {

const NodeId kHere{1}, kElsewhere{2};
constexpr uint64_t kArena = 32 * 1024;

class Model {
 public:
  explicit Model(uint64_t seed)
      : rng_(seed), store_({.node = kHere, .arena_bytes = kArena, .room_timeout = 1s, .max_waiting = 16}) {
    for (uint64_t i = 1; i <= 4; ++i) workers_.push_back(WorkerId{i});
  }

  void Step() {
    now_ += Duration(rng_.Below(20'000'000));
    if (std::optional<TimePoint> deadline = store_.NextDeadline(); deadline && *deadline <= now_) {
      store_.OnTick(now_, &actions_);
      Settle();
    }
    RandomMove();
    Settle();
    store_.CheckInvariants();
    EveryBlockIsApart();
  }

  // Everybody leaves: nothing may remain.
  void Finish() {
    while (!transfers_.empty()) FinishTransfer(transfers_.begin(), rng_.Chance(0.5));
    for (const ObjectId& id : served_) store_.UnpinAfterTransfer(id);
    for (WorkerId worker : workers_) {
      KillWorker(worker);
      store_.OnOwnerGone(now_, {kHere, worker}, &actions_);
      store_.OnOwnerGone(now_, {kElsewhere, worker}, &actions_);
    }
    Settle();
    while (!transfers_.empty()) FinishTransfer(transfers_.begin(), false);
    EXPECT_EQ(store_.Remains(), "");
    EXPECT_EQ(store_.used_bytes(), 0u);
    store_.CheckInvariants();
  }
  uint64_t answers() const { return answers_; }

 private:
  struct Owned {
    WorkerId writer;
    Block block;
  };

  WorkerId AnyWorker() { return workers_[rng_.Below(workers_.size())]; }
  ObjectRefInfo AnyRef() {
    return {ObjectId{AnyWorker(), 1 + rng_.Below(12)}, rng_.Chance(0.5) ? kHere : kElsewhere};
  }
  uint64_t SizeOf(const ObjectId& id) const { return 500 * (id.index + id.owner.value); }

  void RandomMove() {
    switch (rng_.Below(9)) {
      case 0:
      case 1: {
        const WorkerId worker = AnyWorker();
        const RequestId request{next_request_++};
        creating_[request] = worker;
        return store_.OnCreateObject(now_, {kHere, worker}, {request, 1 + rng_.Below(kArena / 4)}, &actions_);
      }
      case 2: return SealOrAbort();
      case 3:
      case 4: {
        const ObjectRefInfo ref = AnyRef();
        const WorkerId reader = AnyWorker();
        ++pulling_[{reader, ref.id}];
        return store_.OnPullObject(now_, {kHere, reader}, {ref, SizeOf(ref.id), {kElsewhere, NodeId{3}}}, &actions_);
      }
      case 5:
        if (pins_.empty()) return;
        return Release(Any(pins_));
      case 6: {
        const ObjectId id = AnyRef().id;
        return store_.OnFreeObjects(now_, {kHere, id.owner}, {{id}}, &actions_);
      }
      case 7:
        if (!transfers_.empty()) return FinishTransfer(Any(transfers_), rng_.Chance(0.7));
        return ServeOrStop();
      case 8:
        if (rng_.Chance(0.1)) KillWorker(AnyWorker());
    }
  }
  template <class Map>
  typename Map::iterator Any(Map& map) {
    return std::next(map.begin(), static_cast<ptrdiff_t>(rng_.Below(map.size())));
  }

  void SealOrAbort() {
    if (open_.empty()) return;
    auto it = Any(open_);
    const auto [offset, owned] = *it;
    if (rng_.Chance(0.3)) {
      open_.erase(it);
      return store_.OnAbortObject(now_, {kHere, owned.writer}, {offset}, &actions_);
    }
    const ObjectRefInfo ref = AnyRef();
    pins_.insert({{owned.writer, ref.id}, owned.block});
    open_.erase(it);
    store_.OnSealObject(now_, {kHere, owned.writer}, {ref, offset, owned.block.size}, &actions_);
  }
  // Copies of one id are released in the order in which they were made, so the oldest block of this reader is let go.
  using Pins = std::multimap<std::pair<WorkerId, ObjectId>, Block>;
  void Release(Pins::iterator it) {
    const auto key = it->first;
    pins_.erase(pins_.lower_bound(key));
    store_.OnReleaseObject(now_, {kHere, key.first}, {key.second}, &actions_);
  }
  void FinishTransfer(std::map<ObjectId, Block>::iterator it, bool ok) {
    const ObjectId id = it->first;
    transfers_.erase(it);
    store_.OnTransferDone(now_, id, ok, &actions_);
    Settle();
  }
  void ServeOrStop() {
    if (!served_.empty() && rng_.Chance(0.5)) {
      store_.UnpinAfterTransfer(*served_.begin());
      served_.erase(served_.begin());
      return;
    }
    const ObjectId id = AnyRef().id;
    if (store_.PinForTransfer(id)) served_.insert(id);
  }
  void KillWorker(WorkerId worker) {
    Settle();
    std::erase_if(open_, [&](const auto& entry) { return entry.second.writer == worker; });
    std::erase_if(pins_, [&](const auto& entry) { return entry.first.first == worker; });
    std::erase_if(creating_, [&](const auto& entry) { return entry.second == worker; });
    std::erase_if(pulling_, [&](const auto& entry) { return entry.first.first == worker; });
    store_.OnWorkerGone(now_, worker, &actions_);
    Settle();
  }

  // Takes note of what the store said; nobody gets an answer he did not ask for.
  void Settle() {
    for (const Send& send : actions_.sends) {
      if (const auto* created = std::get_if<ObjectCreated>(&send.message)) {
        ASSERT_EQ(creating_.count(created->request), 1u);
        const WorkerId worker = creating_[created->request];
        creating_.erase(created->request);
        ASSERT_EQ(worker, send.to.worker);
        ++answers_;
        if (!created->error) open_[created->offset] = {worker, {created->offset, 1}};
      } else if (const auto* local = std::get_if<ObjectLocal>(&send.message)) {
        auto asked = pulling_.find({send.to.worker, local->id});
        ASSERT_TRUE(asked != pulling_.end()) << local->id.Hex() << " for " << send.to.worker.Hex();
        if (--asked->second == 0) pulling_.erase(asked);
        ++answers_;
        if (!local->error) pins_.insert({{send.to.worker, local->id}, {local->offset, local->size}});
      }
    }
    for (const Transfer& transfer : actions_.transfers) {
      const bool inserted = transfers_.insert({transfer.object, {transfer.offset, transfer.size}}).second;
      ASSERT_TRUE(inserted) << "an object is fetched twice at a time";
    }
    actions_.Clear();
  }

  // Nobody writes where another writes or reads; readers of one object may share.
  void EveryBlockIsApart() {
    std::map<uint64_t, uint64_t> written;
    auto writes = [&](const Block& block) { ASSERT_TRUE(written.emplace(block.offset, block.size).second); };
    for (const auto& [offset, owned] : open_) writes(owned.block);
    for (const auto& [id, block] : transfers_) writes(block);
    uint64_t end = 0;
    for (const auto& [offset, size] : written) {
      ASSERT_GE(offset, end);
      end = offset + size;
      ASSERT_LE(end, kArena);
    }
    for (const auto& [key, block] : pins_) {
      auto after = written.lower_bound(block.offset + block.size);
      if (after == written.begin()) continue;
      --after;
      ASSERT_LE(after->first + after->second, block.offset) << "pinned bytes of " << key.second.Hex() << " are written to";
    }
  }

  Rng rng_;
  TimePoint now_ = FromNanoseconds(1);
  ObjectStore store_;
  StoreActions actions_;
  std::vector<WorkerId> workers_;
  std::map<RequestId, WorkerId> creating_;
  std::map<std::pair<WorkerId, ObjectId>, int> pulling_;
  std::map<uint64_t, Owned> open_;
  Pins pins_;
  std::map<ObjectId, Block> transfers_;
  std::multiset<ObjectId> served_;
  uint64_t next_request_ = 1;
  uint64_t answers_ = 0;
};

TEST(StoreModelTest, RandomUseNeverMixesUpMemory) {
  uint64_t answers = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed);
    for (int i = 0; i < 1500 && !::testing::Test::HasFailure(); ++i) model.Step();
    model.Finish();
    answers += model.answers();
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(answers, 10'000u);
}

}  // namespace
}  // namespace shoal::objectstore
