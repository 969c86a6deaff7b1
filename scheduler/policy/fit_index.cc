#include "scheduler/policy/fit_index.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "schema/labels.h"

namespace shoal::scheduler {
namespace {

constexpr int64_t kStartsAtLeast = 64;
constexpr int64_t kStartsPerCpu = 2;

int64_t StartsOf(const ResourceSet& total) {
  return std::max(kStartsAtLeast, kStartsPerCpu * total.Get(kCpu) / ResourceSet::kStepsPerUnit);
}

std::string Units(int64_t steps) {
  return absl::StrCat(static_cast<double>(steps) / static_cast<double>(ResourceSet::kStepsPerUnit));
}

}  // namespace

uint32_t FitIndex::IndexOf(const std::string& resource) {
  auto [it, added] = resource_index_.try_emplace(resource, static_cast<uint32_t>(resource_names_.size()));
  if (added) resource_names_.push_back(resource);
  return it->second;
}

FitIndex::Amounts FitIndex::Dense(const ResourceSet& resources) {
  Amounts amounts(1);
  for (const auto& [name, steps] : resources.amounts()) {
    const uint32_t index = IndexOf(name);
    if (index >= amounts.size()) amounts.resize(index + 1);
    amounts[index] = steps;
  }
  return amounts;
}

uint32_t FitIndex::AddNode(const ResourceSet& total, const StringMap& labels) {
  uint32_t at;
  if (free_slots_.empty()) {
    at = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    at = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& slot = slots_[at];
  slot.used = true;
  slot.closed = false;
  slot.labels = labels;
  slot.total = Dense(total);
  slot.total[0] = StartsOf(total);
  slot.available.assign(1, 0);  // nothing before the first report
  slot.excluded.clear();
  for (NeedId id : live_) {
    Entry& entry = needs_[id];
    entry.fits.Resize(at + 1);
    if (entry.key->labels.empty()) continue;
    entry.label_ok.Resize(at + 1);
    if (LabelsMatch(entry.key->labels, labels)) entry.label_ok.Set(at);
  }
  Update(at);
  return at;
}

void FitIndex::RemoveNode(uint32_t at) {
  SHOAL_CHECK(slots_[at].used);
  slots_[at].used = false;
  slots_[at].labels.clear();
  slots_[at].excluded.clear();
  for (NeedId id : live_) {
    needs_[id].fits.Clear(at);
    if (needs_[id].label_ok.Test(at)) needs_[id].label_ok.Clear(at);
  }
  free_slots_.push_back(at);
}

void FitIndex::SetAvailable(uint32_t at, const ResourceSet& available) {
  Slot& slot = slots_[at];
  slot.excluded.clear();
  slot.available = Dense(available);
  slot.available[0] = slot.total[0];
  Update(at);
}

NeedId FitIndex::Intern(const Need& need) {
  auto [it, added] = ids_.try_emplace(need, 0);
  if (!added) {
    if (needs_[it->second].users++ == 0) idle_.erase(std::find(idle_.begin(), idle_.end(), it->second));
    return it->second;
  }
  if (free_needs_.empty()) {
    free_needs_.push_back(static_cast<NeedId>(needs_.size()));
    needs_.emplace_back();
    keys_.emplace_back();
  }
  const NeedId id = free_needs_.back();
  free_needs_.pop_back();
  it->second = id;
  keys_[id] = std::make_unique<Need>(need);
  Entry& entry = needs_[id];
  entry = Entry{};
  entry.users = 1;
  entry.key = keys_[id].get();
  entry.amounts.emplace_back(0, need.starts ? 1 : 0);
  for (const auto& [name, steps] : need.resources.amounts()) entry.amounts.emplace_back(IndexOf(name), steps);
  entry.fits.Resize(slot_count());
  if (!need.labels.empty()) entry.label_ok.Resize(slot_count());
  live_.push_back(id);
  const bool grew = grew_;
  for (uint32_t at = 0; at < slot_count(); ++at) {
    if (!slots_[at].used) continue;
    if (!need.labels.empty() && LabelsMatch(need.labels, slots_[at].labels)) entry.label_ok.Set(at);
    UpdateOne(id, at);
  }
  grew_ = grew;
  return id;
}

void FitIndex::Release(NeedId id) {
  SHOAL_CHECK(needs_[id].users > 0);
  if (--needs_[id].users > 0) return;
  idle_.push_back(id);
  if (idle_.size() <= kMostIdle) return;
  Drop(idle_.front());
  idle_.erase(idle_.begin());
}

void FitIndex::Drop(NeedId id) {
  const bool was_excluded = needs_[id].was_excluded;
  ids_.erase(*needs_[id].key);
  keys_[id].reset();
  needs_[id] = Entry{};
  live_.erase(std::find(live_.begin(), live_.end(), id));
  free_needs_.push_back(id);
  if (!was_excluded) return;
  for (Slot& slot : slots_) {
    auto it = std::find(slot.excluded.begin(), slot.excluded.end(), id);
    if (it != slot.excluded.end()) slot.excluded.erase(it);
  }
}

void FitIndex::Change(uint32_t at, NeedId id, int64_t count) {
  Slot& slot = slots_[at];
  for (const auto& [index, steps] : needs_[id].amounts) {
    if (index >= slot.available.size()) slot.available.resize(index + 1);
    slot.available[index] += steps * count;
  }
  Update(at);
}

void FitIndex::Exclude(uint32_t at, NeedId id) {
  auto& excluded = slots_[at].excluded;
  if (std::find(excluded.begin(), excluded.end(), id) != excluded.end()) return;
  excluded.push_back(id);
  needs_[id].was_excluded = true;
  needs_[id].fits.Clear(at);
}

void FitIndex::SetClosed(uint32_t at, bool closed) {
  slots_[at].closed = closed;
  for (NeedId id : live_) UpdateOne(id, at);
}

bool FitIndex::Computed(const Entry& entry, NeedId id, uint32_t at) const {
  const Slot& slot = slots_[at];
  if (slot.closed) return false;
  for (const auto& [index, steps] : entry.amounts) {
    if (index >= slot.available.size() || slot.available[index] < steps) return false;
  }
  if (!entry.key->labels.empty() && !entry.label_ok.Test(at)) return false;
  return std::find(slot.excluded.begin(), slot.excluded.end(), id) == slot.excluded.end();
}

void FitIndex::UpdateOne(NeedId id, uint32_t at) {
  Entry& entry = needs_[id];
  if (!Computed(entry, id, at)) {
    entry.fits.Clear(at);
  } else if (entry.fits.Set(at) && entry.users > 0) {
    grew_ = true;
  }
}

void FitIndex::Update(uint32_t at) {
  Slot& slot = slots_[at];
  float load = 0;
  for (size_t i = 1; i < slot.total.size() && i < slot.available.size(); ++i) {
    if (slot.total[i] <= 0) continue;
    load = std::max(load, 1 - static_cast<float>(slot.available[i]) / static_cast<float>(slot.total[i]));
  }
  slot.load = load + 0.001f * static_cast<float>(slot.total[0] - slot.available[0]);
  for (NeedId id : live_) UpdateOne(id, at);
}

uint32_t FitIndex::BetterOfTwo(NeedId id, Rng& rng) const {
  const Bitmap& fits = needs_[id].fits;
  if (!fits.any()) return kNone;
  const uint64_t random = rng.Next();
  const uint64_t slots = slots_.size();
  const uint32_t a = fits.NextCyclic(static_cast<uint32_t>((random >> 32) * slots >> 32));
  const uint32_t b = fits.NextCyclic(static_cast<uint32_t>((random & 0xffffffff) * slots >> 32));
  return slots_[b].load < slots_[a].load ? b : a;
}

bool FitIndex::CouldFit(NeedId id, uint32_t at) const {
  const Entry& entry = needs_[id];
  const Slot& slot = slots_[at];
  if (!slot.used || (!entry.key->labels.empty() && !entry.label_ok.Test(at))) return false;
  return std::all_of(entry.amounts.begin(), entry.amounts.end(), [&](const auto& amount) {
    return amount.first < slot.total.size() && slot.total[amount.first] >= amount.second;
  });
}

std::string FitIndex::WhyNot(NeedId id, uint32_t at, bool* never) const {
  const Entry& entry = needs_[id];
  const Slot& slot = slots_[at];
  *never = true;
  const std::string label = LabelMismatch(entry.key->labels, slot.labels);
  if (!label.empty()) return label;
  for (const auto& [index, steps] : entry.amounts) {
    const int64_t total = index < slot.total.size() ? slot.total[index] : 0;
    if (total >= steps) continue;
    return absl::StrCat("it has ", Units(total), " ", resource_names_[index], " in all, ", Units(steps), " wanted");
  }
  *never = false;
  for (const auto& [index, steps] : entry.amounts) {
    const int64_t free = index < slot.available.size() ? slot.available[index] : 0;
    if (free >= steps) continue;
    if (index == 0) return "much was sent there just now, or it has not reported yet";
    return absl::StrCat("it has ", Units(free), " ", resource_names_[index], " free, ", Units(steps), " wanted");
  }
  if (slot.closed) return "it has not been heard of for a while";
  return Fits(id, at) ? "" : "it refused just now";
}

void FitIndex::CheckInvariants() const {
  SHOAL_CHECK(live_.size() == ids_.size());
  for (const auto& [need, id] : ids_) {
    const Entry& entry = needs_[id];
    const bool is_idle = std::find(idle_.begin(), idle_.end(), id) != idle_.end();
    SHOAL_CHECK((entry.users == 0) == is_idle && *entry.key == need);
    uint32_t count = 0;
    for (uint32_t at = 0; at < slot_count(); ++at) {
      const bool fits = slots_[at].used && Computed(entry, id, at);
      SHOAL_CHECK(fits == entry.fits.Test(at)) << "need " << need.resources.ToString() << " at slot " << at;
      count += fits ? 1 : 0;
    }
    SHOAL_CHECK(count == entry.fits.count());
  }
}

}  // namespace shoal::scheduler
