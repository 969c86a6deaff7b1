#include "objectstore/core/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shoal::objectstore {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const NodeId kHere{1}, kNorth{2}, kSouth{3};
const WorkerId kOwner{10}, kWorker{11}, kReader{12};
constexpr uint64_t kKiB = 1024;

// A store and what it said; messages are taken out by kind, and each test ends with none left.
class ObjectStoreTest : public ::testing::Test {
 protected:
  ObjectStoreTest() : store_({.node = kHere, .arena_bytes = 64 * kKiB, .room_timeout = 5s}) {}
  ~ObjectStoreTest() override {
    store_.CheckInvariants();
    for (const Send& send : actions_.sends) {
      ADD_FAILURE() << "nobody expected " << MessageName(send.message) << " to " << send.to.ToString();
    }
    EXPECT_TRUE(actions_.transfers.empty());
  }

  static Address At(WorkerId worker) { return {kHere, worker}; }
  static ObjectRefInfo Ref(uint64_t index, NodeId owner_node = kHere) { return {ObjectId{kOwner, index}, owner_node}; }

  template <class M>
  M Take(const Address& to) {
    for (auto it = actions_.sends.begin(); it != actions_.sends.end(); ++it) {
      if (it->to != to || !std::holds_alternative<M>(it->message)) continue;
      M message = std::get<M>(it->message);
      actions_.sends.erase(it);
      return message;
    }
    ADD_FAILURE() << "no such message was sent to " << to.ToString();
    return M{};
  }
  Transfer TakeTransfer() {
    if (actions_.transfers.size() != 1) {
      ADD_FAILURE() << actions_.transfers.size() << " transfers instead of one";
      return {};
    }
    const Transfer transfer = actions_.transfers[0];
    actions_.transfers.clear();
    return transfer;
  }
  void Create(WorkerId worker, uint64_t request, uint64_t size) {
    store_.OnCreateObject(now_, At(worker), {RequestId{request}, size}, &actions_);
  }
  uint64_t CreateNow(WorkerId worker, uint64_t request, uint64_t size) {
    Create(worker, request, size);
    const ObjectCreated created = Take<ObjectCreated>(At(worker));
    EXPECT_FALSE(created.error) << created.error.message;
    return created.offset;
  }
  void Seal(WorkerId worker, const ObjectRefInfo& ref, uint64_t offset, uint64_t size) {
    store_.OnSealObject(now_, At(worker), {ref, offset, size}, &actions_);
  }
  // A sealed object that its owner put, still pinned.
  uint64_t Put(uint64_t index, uint64_t size) {
    const uint64_t offset = CreateNow(kOwner, index, size);
    Seal(kOwner, Ref(index), offset, size);
    return offset;
  }
  void Pull(WorkerId reader, const ObjectRefInfo& ref, uint64_t size, std::vector<NodeId> locations) {
    store_.OnPullObject(now_, At(reader), {ref, size, std::move(locations)}, &actions_);
  }
  void Release(WorkerId reader, uint64_t index) {
    store_.OnReleaseObject(now_, At(reader), {ObjectId{kOwner, index}}, &actions_);
  }
  void Free(uint64_t index) { store_.OnFreeObjects(now_, At(kOwner), {{ObjectId{kOwner, index}}}, &actions_); }
  void Done(uint64_t index, bool ok) { store_.OnTransferDone(now_, ObjectId{kOwner, index}, ok, &actions_); }
  // A secondary copy, not pinned.
  void Fetch(uint64_t index, uint64_t size) {
    Pull(kReader, Ref(index, kNorth), size, {kNorth});
    TakeTransfer();
    Done(index, true);
    EXPECT_TRUE(Take<ObjectLocation>({kNorth, kOwner}).present);
    EXPECT_FALSE(Take<ObjectLocal>(At(kReader)).error);
    Release(kReader, index);
  }

  TimePoint now_ = FromNanoseconds(1'000'000'000);
  ObjectStore store_;
  StoreActions actions_;
};

TEST_F(ObjectStoreTest, AnObjectLivesFromCreationToFreeing) {
  const uint64_t offset = Put(1, 1000);
  Pull(kReader, Ref(1), 1000, {kHere});
  const ObjectLocal local = Take<ObjectLocal>(At(kReader));
  EXPECT_EQ(local.offset, offset);
  EXPECT_EQ(local.size, 1000u);
  Release(kReader, 1);
  Release(kOwner, 1);
  EXPECT_EQ(store_.objects(), 1u) << "a primary copy stays until its owner frees it";
  Free(1);
  EXPECT_EQ(store_.used_bytes(), 0u);
  EXPECT_EQ(store_.Remains(), "");
}

TEST_F(ObjectStoreTest, BytesStayWhileAReaderHasThemPinned) {
  const uint64_t offset = Put(1, 60 * kKiB);
  Pull(kReader, Ref(1), 60 * kKiB, {kHere});
  Take<ObjectLocal>(At(kReader));
  Free(1);
  Release(kOwner, 1);
  EXPECT_EQ(store_.PinForTransfer(ObjectId{kOwner, 1}), std::nullopt) << "freed objects get no new readers";
  Create(kWorker, 7, 60 * kKiB);  // waits
  Release(kReader, 1);
  EXPECT_EQ(Take<ObjectCreated>(At(kWorker)).offset, offset);
}

TEST_F(ObjectStoreTest, EachPullWantsOneRelease) {
  Put(1, 100);
  for (int i = 0; i < 3; ++i) {
    Pull(kReader, Ref(1), 100, {});
    Take<ObjectLocal>(At(kReader));
  }
  Free(1);
  Release(kOwner, 1);
  Release(kReader, 1);
  Release(kReader, 1);
  EXPECT_EQ(store_.objects(), 1u);
  Release(kReader, 1);
  Release(kReader, 1);  // once too often: ignored
  EXPECT_EQ(store_.objects(), 0u);
}

TEST_F(ObjectStoreTest, ACreationSaidTwiceGetsOneBlock) {
  const uint64_t offset = CreateNow(kWorker, 5, 100);
  EXPECT_EQ(CreateNow(kWorker, 5, 100), offset);
  EXPECT_EQ(store_.used_bytes(), 128u);
}

TEST_F(ObjectStoreTest, AChunkHoldsSeveralObjectsAndGoesWithTheLast) {
  const uint64_t chunk = CreateNow(kOwner, 1, 4096);
  Seal(kOwner, Ref(1), chunk, 1000);
  Seal(kOwner, Ref(2), chunk + 1024, 3000);
  Pull(kReader, Ref(2), 3000, {});
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).offset, chunk + 1024);
  Release(kReader, 2);
  Release(kOwner, 1);
  Release(kOwner, 2);
  Free(2);
  EXPECT_EQ(store_.used_bytes(), 4096u) << "object 1 lies there still";
  Free(1);
  EXPECT_EQ(store_.used_bytes(), 4096u) << "its creator may seal more in it";
  store_.OnAbortObject(now_, At(kOwner), {chunk}, &actions_);
  EXPECT_EQ(store_.used_bytes(), 0u);
}

TEST_F(ObjectStoreTest, OnlyTheCreatorSealsAndOnlyInsideItsBlock) {
  const uint64_t offset = CreateNow(kWorker, 1, 1000);
  Seal(kReader, Ref(1), offset, 1000);
  Seal(kWorker, Ref(1), offset, 1001);
  Seal(kWorker, Ref(1), offset + 64, 1000);
  Seal(kWorker, Ref(1), UINT64_MAX, 1000);
  Seal(kWorker, Ref(1), offset, UINT64_MAX);
  EXPECT_EQ(store_.objects(), 0u);
  store_.OnAbortObject(now_, At(kReader), {offset}, &actions_);
  EXPECT_EQ(store_.used_bytes(), 1024u) << "nobody aborts what is not his";
  store_.OnAbortObject(now_, At(kWorker), {offset}, &actions_);
  store_.OnAbortObject(now_, At(kWorker), {offset}, &actions_);
  EXPECT_EQ(store_.used_bytes(), 0u);
}

TEST_F(ObjectStoreTest, OnlyTheOwnerFrees) {
  Put(1, 100);
  Release(kOwner, 1);
  store_.OnFreeObjects(now_, At(kReader), {{ObjectId{kOwner, 1}}}, &actions_);
  EXPECT_EQ(store_.objects(), 1u);
  Free(1);
  Free(1);
  EXPECT_EQ(store_.objects(), 0u);
}

TEST_F(ObjectStoreTest, ADeadWorkersBlocksPinsAndWishesGo) {
  Put(1, 100);
  Pull(kReader, Ref(1), 100, {});
  Take<ObjectLocal>(At(kReader));
  CreateNow(kReader, 1, 60 * kKiB);
  Create(kReader, 2, 60 * kKiB);  // waits
  Pull(kReader, Ref(5, kNorth), 100, {kNorth});
  TakeTransfer();
  Free(1);
  Release(kOwner, 1);
  store_.OnWorkerGone(now_, kReader, &actions_);
  EXPECT_EQ(store_.objects(), 0u);
  Done(5, false);
  EXPECT_EQ(store_.Remains(), "");
}

TEST_F(ObjectStoreTest, ForeignPrimariesAreAnnouncedSoThatTheyAreFoundIfTheReplyIsNot) {
  const uint64_t offset = CreateNow(kWorker, 1, 100);
  Seal(kWorker, Ref(1, kSouth), offset, 100);
  const ObjectLocation told = Take<ObjectLocation>({kSouth, kOwner});
  EXPECT_TRUE(told.present);
  EXPECT_EQ(told.node, kHere);
  store_.OnWorkerGone(now_, kWorker, &actions_);
  EXPECT_EQ(store_.objects(), 1u);
  store_.OnOwnerGone(now_, {kSouth, kOwner}, &actions_);
  EXPECT_EQ(store_.objects(), 0u);
}

// ---- pulls

TEST_F(ObjectStoreTest, AnObjectIsFetchedOnceHoweverManyAsk) {
  Pull(kReader, Ref(1, kNorth), 500, {kNorth, kSouth});
  const Transfer transfer = TakeTransfer();
  EXPECT_EQ(transfer.from, kNorth);
  EXPECT_EQ(transfer.size, 500u);
  Pull(kWorker, Ref(1, kNorth), 500, {kNorth});
  Pull(kReader, Ref(1, kNorth), 500, {kNorth});
  Done(1, true);
  EXPECT_TRUE(Take<ObjectLocation>({kNorth, kOwner}).present);
  for (WorkerId reader : {kReader, kReader, kWorker}) {
    EXPECT_EQ(Take<ObjectLocal>(At(reader)).offset, transfer.offset);
  }
  Done(1, true);  // said twice
}

TEST_F(ObjectStoreTest, LocationAfterLocationIsTriedBeforeAnObjectIsLost) {
  Pull(kReader, Ref(1, kNorth), 500, {kHere, kNorth, kSouth});
  EXPECT_EQ(TakeTransfer().from, kNorth);
  Done(1, false);
  EXPECT_EQ(TakeTransfer().from, kSouth);
  Done(1, false);
  const ObjectLocal lost = Take<ObjectLocal>(At(kReader));
  EXPECT_EQ(lost.error.kind, ErrorKind::kObjectLost);
  EXPECT_EQ(lost.lost_at, kSouth);
  EXPECT_THAT(lost.error.message, HasSubstr(kNorth.Hex()));
  EXPECT_EQ(store_.Remains(), "");
}

TEST_F(ObjectStoreTest, AnObjectThatOnlyThisNodeShouldHaveIsLostHere) {
  Pull(kReader, Ref(1), 500, {kHere});
  const ObjectLocal lost = Take<ObjectLocal>(At(kReader));
  EXPECT_EQ(lost.error.kind, ErrorKind::kObjectLost);
  EXPECT_EQ(lost.lost_at, kHere);
}

TEST_F(ObjectStoreTest, ADeadNodeIsNotAsked) {
  Pull(kReader, Ref(1), 500, {kNorth, kSouth});
  TakeTransfer();
  store_.OnNodeGone(now_, kSouth, &actions_);
  Done(1, false);
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).lost_at, kNorth);
}

TEST_F(ObjectStoreTest, AnObjectMadeHereWhileItIsFetchedServesItsReaders) {
  Pull(kReader, Ref(1, kNorth), 500, {kNorth});
  TakeTransfer();
  const uint64_t offset = CreateNow(kWorker, 1, 500);
  Seal(kWorker, Ref(1, kNorth), offset, 500);
  Take<ObjectLocation>({kNorth, kOwner});
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).offset, offset);
  Done(1, true);
  EXPECT_EQ(store_.objects(), 1u);
  EXPECT_EQ(store_.used_bytes(), 512u) << "the second copy is dropped";
}

TEST_F(ObjectStoreTest, SealingAgainGivesNewReadersTheNewBytes) {
  const uint64_t old_offset = Put(1, 100);
  Pull(kReader, Ref(1), 100, {});
  Take<ObjectLocal>(At(kReader));
  const uint64_t new_offset = Put(1, 100);
  EXPECT_NE(old_offset, new_offset);
  Pull(kWorker, Ref(1), 100, {});
  EXPECT_EQ(Take<ObjectLocal>(At(kWorker)).offset, new_offset);
  EXPECT_EQ(store_.objects(), 2u);
  Release(kReader, 1);
  Release(kOwner, 1);
  EXPECT_EQ(store_.objects(), 1u);
}

TEST_F(ObjectStoreTest, FreeingDuringATransferDropsWhatArrives) {
  Pull(kReader, Ref(1, kNorth), 500, {kNorth});
  TakeTransfer();
  Free(1);
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).error.kind, ErrorKind::kObjectLost);
  Done(1, true);
  EXPECT_EQ(store_.Remains(), "");
}

TEST_F(ObjectStoreTest, PullsOfADeadOwnersObjectsSaySo) {
  Pull(kReader, Ref(1, kNorth), 500, {kNorth});
  TakeTransfer();
  store_.OnNodeGone(now_, kNorth, &actions_);
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).error.kind, ErrorKind::kOwnerDied);
  Done(1, true);
  EXPECT_EQ(store_.Remains(), "");
}

// ---- memory

TEST_F(ObjectStoreTest, TheSecondaryCopyUsedLongestAgoMakesRoom) {
  Fetch(1, 20 * kKiB);
  Fetch(2, 20 * kKiB);
  Fetch(3, 20 * kKiB);
  Pull(kReader, Ref(1, kNorth), 20 * kKiB, {});  // used again
  Take<ObjectLocal>(At(kReader));
  Release(kReader, 1);
  CreateNow(kOwner, 9, 10 * kKiB);
  const ObjectLocation told = Take<ObjectLocation>({kNorth, kOwner});
  EXPECT_EQ(told.id.index, 2u);
  EXPECT_FALSE(told.present);
}

TEST_F(ObjectStoreTest, PrimariesAndPinnedCopiesAreNeverEvicted) {
  Put(1, 30 * kKiB);
  Release(kOwner, 1);
  Fetch(2, 30 * kKiB);
  Pull(kReader, Ref(2, kNorth), 30 * kKiB, {});
  Take<ObjectLocal>(At(kReader));
  Create(kWorker, 1, 10 * kKiB);
  EXPECT_EQ(store_.objects(), 2u);
  ASSERT_EQ(store_.NextDeadline(), now_ + 5s);
  now_ += 5s;
  store_.OnTick(now_, &actions_);
  const ErrorInfo error = Take<ObjectCreated>(At(kWorker)).error;
  EXPECT_EQ(error.kind, ErrorKind::kObjectStoreFull);
  for (const char* part : {"10240 bytes", "61440 of 65536", "drop references"}) {
    EXPECT_THAT(error.message, HasSubstr(part));
  }
}

TEST_F(ObjectStoreTest, WhatCanNeverFitFailsAtOnce) {
  Create(kWorker, 1, 65 * kKiB);
  EXPECT_EQ(Take<ObjectCreated>(At(kWorker)).error.kind, ErrorKind::kObjectStoreFull);
  Pull(kReader, Ref(1, kNorth), 65 * kKiB, {kNorth});
  EXPECT_EQ(Take<ObjectLocal>(At(kReader)).error.kind, ErrorKind::kObjectStoreFull);
}

TEST_F(ObjectStoreTest, AReleaseServesThoseWhoWaitInTurn) {
  Put(1, 60 * kKiB);
  Pull(kReader, Ref(2, kNorth), 30 * kKiB, {kNorth});
  Create(kWorker, 1, 20 * kKiB);
  EXPECT_TRUE(actions_.transfers.empty());
  Release(kOwner, 1);
  Free(1);
  EXPECT_EQ(TakeTransfer().object.index, 2u);
  EXPECT_FALSE(Take<ObjectCreated>(At(kWorker)).error);
  Done(2, true);
  Take<ObjectLocation>({kNorth, kOwner});
  Take<ObjectLocal>(At(kReader));
}

TEST_F(ObjectStoreTest, AnEndedTransferMakesRoomAtTheNextTick) {
  Put(1, 60 * kKiB);
  ASSERT_TRUE(store_.PinForTransfer(ObjectId{kOwner, 1}));
  Release(kOwner, 1);
  Free(1);
  Create(kWorker, 1, 20 * kKiB);
  store_.UnpinAfterTransfer(ObjectId{kOwner, 1});
  ASSERT_TRUE(store_.NextDeadline().has_value());
  EXPECT_LE(*store_.NextDeadline(), now_);
  store_.OnTick(now_, &actions_);
  EXPECT_FALSE(Take<ObjectCreated>(At(kWorker)).error);
}

TEST_F(ObjectStoreTest, RowsForPeopleAreJson) {
  Put(1, 100);
  EXPECT_THAT(store_.ListObjects(10), HasSubstr("\"size_bytes\":100,\"state\":\"primary\",\"pins\":1}]"));
  EXPECT_EQ(store_.ListObjects(0), "[]");
}

}  // namespace
}  // namespace shoal::objectstore
