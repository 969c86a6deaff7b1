// Which nodes have room for what, now: per interned need (resources and labels) a bitmap over the slots of nodes. A choice is a
// search in that bitmap, so there is never a false "does not fit"; a change on one node costs one comparison per need.
//
//   FitIndex index;
//   uint32_t slot = index.AddNode(total, labels);
//   index.SetAvailable(slot, total);
//   NeedId need = index.Intern({.resources = cpu1});
//   uint32_t chosen = index.BetterOfTwo(need, rng);    // FitIndex::kNone if nothing fits
//   index.Take(chosen, need, 1);
//
// Besides its resources each node offers a number of "starts": what may be sent there before its next report. So shapes without
// resources spread, too, and no raylet is flooded. Source of the idea: the power of two choices (Mitzenmacher 2001) among
// feasible nodes only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "base/resources.h"
#include "base/rng.h"
#include "scheduler/policy/bitmap.h"
#include "schema/task_messages.h"

namespace shoal::scheduler {

using NeedId = uint32_t;

struct Need {
  ResourceSet resources;
  StringMap labels;
  bool starts = true;  // a worker, of which a node has so many at a time; false: a bundle, which is an amount and no more
  uint64_t salt = 0;  // keeps apart what asks for the same of different pools (bundles)
  friend auto operator<=>(const Need&, const Need&) = default;
};

class FitIndex {
 public:
  static constexpr uint32_t kNone = Bitmap::kNone;
  static constexpr size_t kMostIdle = 16;  // each costs a comparison with every change

  uint32_t AddNode(const ResourceSet& total, const StringMap& labels);
  void RemoveNode(uint32_t slot);
  // What the node says of itself; forgets exclusions and everything taken.
  void SetAvailable(uint32_t slot, const ResourceSet& available);

  // Counts users. Comparing all nodes with a new need takes long where there are many of them, so the last few needs that lost all
  // their users are kept up to date, as somebody often comes back for the same.
  NeedId Intern(const Need& need);
  void AddUser(NeedId need) { ++needs_[need].users; }
  void Release(NeedId need);

  void Take(uint32_t slot, NeedId need, uint32_t count) { Change(slot, need, -int64_t{count}); }
  void Give(uint32_t slot, NeedId need, uint32_t count) { Change(slot, need, count); }
  // Nothing of this need there until the next SetAvailable: it was refused.
  void Exclude(uint32_t slot, NeedId need);

  // A closed node keeps its room, but nothing new goes there.
  void SetClosed(uint32_t slot, bool closed);

  bool Fits(NeedId need, uint32_t slot) const { return needs_[need].fits.Test(slot); }
  bool AnyFits(NeedId need) const { return needs_[need].fits.any(); }
  uint32_t CountFits(NeedId need) const { return needs_[need].fits.count(); }
  // The less loaded of two random nodes with room; a member at or after `from`, going round.
  uint32_t BetterOfTwo(NeedId need, Rng& rng) const;
  uint32_t NextFrom(NeedId need, uint32_t from) const { return needs_[need].fits.NextCyclic(from); }
  // How loaded a node is: the fraction used of its scarcest resource, plus a little per thing on its way there.
  float Load(uint32_t slot) const { return slots_[slot].load; }
  // Whether it would fit if the node were empty.
  bool CouldFit(NeedId need, uint32_t slot) const;
  // Why it does not fit there, in words; "" if it does. `never` tells whether waiting is in vain.
  std::string WhyNot(NeedId need, uint32_t slot, bool* never) const;

  // True if something fits somewhere where it did not at the last call; new needs apart. Who takes and gives back in thought only
  // restores what it found.
  bool TakeGrew() { return std::exchange(grew_, false); }
  bool grew() const { return grew_; }
  void RestoreGrew(bool grew) { grew_ = grew; }
  uint32_t slot_count() const { return static_cast<uint32_t>(slots_.size()); }
  const Need& need(NeedId need) const { return *needs_[need].key; }
  void CheckInvariants() const;

 private:
  using Amounts = absl::InlinedVector<int64_t, 6>;  // by resource index; [0] are starts

  struct Slot {
    bool used = false;
    bool closed = false;
    float load = 0;
    Amounts total, available;
    absl::InlinedVector<NeedId, 2> excluded;
    StringMap labels;
  };
  struct Entry {
    uint32_t users = 0;
    bool was_excluded = false;  // somewhere
    const Need* key = nullptr;
    absl::InlinedVector<std::pair<uint32_t, int64_t>, 3> amounts;
    Bitmap fits;
    Bitmap label_ok;  // only if there are labels
  };

  uint32_t IndexOf(const std::string& resource);
  Amounts Dense(const ResourceSet& resources);
  void Change(uint32_t slot, NeedId need, int64_t count);
  bool Computed(const Entry& entry, NeedId id, uint32_t slot) const;
  void UpdateOne(NeedId id, uint32_t slot);
  void Drop(NeedId id);
  void Update(uint32_t slot);

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  absl::btree_map<Need, NeedId> ids_;
  std::vector<Entry> needs_;
  std::vector<std::unique_ptr<Need>> keys_;  // by NeedId, at fixed addresses
  std::vector<NeedId> live_, free_needs_;
  std::vector<NeedId> idle_;  // of live_, without users; the one that was needed last at the end
  absl::flat_hash_map<std::string, uint32_t> resource_index_;
  std::vector<std::string> resource_names_ = {"starts"};
  bool grew_ = false;
};

}  // namespace shoal::scheduler
