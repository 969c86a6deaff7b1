#include "runtime/core_worker/object_table.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/rng.h"
#include "runtime/core_worker/entries.h"

namespace shoal::core_worker {
namespace {

TEST(ObjectTable, FindsWhatAMapFinds) {
  const WorkerId self{7}, other{8};
  ObjectTable table(self);
  std::map<ObjectId, ObjectEntry> model;
  Rng rng(1);
  uint64_t next = 1;
  for (int step = 0; step < 100'000; ++step) {
    // Mostly young ones, in order; now and then any index, also one that was never given out.
    const bool mine = rng.Chance(0.9);
    const uint64_t index = rng.Chance(0.6) ? next++ : rng.Chance(0.01) ? rng.Next() : next - 1 - rng.Below(next);
    const ObjectId id{mine ? self : other, index};
    if (rng.Chance(0.02)) next += 100'000;
    ObjectEntry* found = table.Find(id);
    const auto known = model.find(id);
    ASSERT_EQ(found, known == model.end() ? nullptr : &known->second);
    if (found == nullptr) {
      table.Insert(id, &model[id]);
    } else {
      table.Erase(id);
      model.erase(known);
    }
    // Old ones go, so that pages are emptied and used again.
    while (model.size() > 3'000) {
      auto oldest = model.begin();
      table.Erase(oldest->first);
      model.erase(oldest);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  std::set<const ObjectEntry*> seen, wanted;
  table.ForEach([&](ObjectEntry* entry) { seen.insert(entry); });
  for (const auto& [id, entry] : model) wanted.insert(&entry);
  EXPECT_EQ(seen, wanted);
}

}  // namespace
}  // namespace shoal::core_worker
