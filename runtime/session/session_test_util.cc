#include "runtime/session/session_test_util.h"

#include <algorithm>

#include "base/fields.h"

namespace shoal::session {

void World::BeginSegment(int end) {
  ends_[end].segment = ++segments_;
  ends_[end].sent = 0;
}

void World::Boot(int end) {
  End& e = ends_[end];
  e = End();
  e.incarnation = ++incarnations_ * 0x9e3779b97f4a7c15;  // neither rising nor falling
  SessionOptions options = OptionsOf(end, e.incarnation);
  options.window = static_cast<uint32_t>(rng_.Between(1, 200));
  options.batch_bytes = static_cast<uint32_t>(rng_.Between(100, 2000));
  BeginSegment(end);
  e.session = std::make_unique<Session>(options, rng_.Fork());
  SessionActions actions;
  e.session->Start(now_, &actions);
  Carry(end, &actions);
}

void World::Restart(int end) { Boot(end); }

void World::Reset(int end) {
  SessionActions actions;
  ends_[end].session->Reset(now_, &actions);
  if (!actions.reset) Violate("Reset does not report itself");
  Carry(end, &actions);
}

bool World::SendOne(int end) {
  End& e = ends_[end];
  SessionActions actions;
  const Label label{e.segment, e.sent, std::string(rng_.Below(rng_.Chance(0.02) ? 5000 : 40), 'x')};
  const bool taken = e.session->Send(now_, Encode(label), &actions);
  if (taken) ++e.sent;
  Carry(end, &actions);
  return taken;
}

void World::Carry(int end, SessionActions* actions) {
  End& e = ends_[end];
  if (actions->reset) {
    ++resets_;
    BeginSegment(end);
    e.oldest_allowed = e.from_segment + 1;
    e.from_segment = e.expected = 0;
  }
  for (const std::string& payload : actions->delivered) Take(end, payload);
  for (std::string& frame : actions->frames) {
    if (rng_.Chance(faults_.loss)) continue;
    const int copies = rng_.Chance(faults_.duplication) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      // Without reordering all take the same time; an old frame may come very late indeed.
      Duration delay = Duration(100'000);
      if (rng_.Chance(faults_.reordering)) {
        delay += Duration(rng_.Between(0, (rng_.Chance(0.05) ? 500 : 1) * faults_.delay_max.count()));
      }
      flying_.emplace(now_ + delay, std::make_pair(1 - end, frame));
    }
  }
}

void World::Take(int end, const std::string& payload) {
  End& e = ends_[end];
  Label label;
  if (!Decode(payload, &label)) return Violate("something arrives that nobody sent");
  if (e.from_segment == 0) {
    if (label.segment < e.oldest_allowed) Violate("a segment comes back after a reset");
    e.from_segment = label.segment;
  }
  if (label.segment != e.from_segment) {
    Violate(absl::StrCat("segment ", label.segment, " follows ", e.from_segment, " without a reset"));
  }
  if (label.index != e.expected) Violate(absl::StrCat("message ", label.index, " comes where ", e.expected, " should"));
  e.expected = label.index + 1;
  ++delivered_;
}

TimePoint World::NextTime() const {
  TimePoint next = flying_.empty() ? TimePoint::max() : flying_.begin()->first;
  for (const End& e : ends_) next = std::min(next, e.session->NextDeadline().value_or(TimePoint::max()));
  return std::max(next, now_);
}

void World::Step() {
  now_ = NextTime();
  SessionActions actions;
  if (!flying_.empty() && flying_.begin()->first <= now_) {
    const auto [end, frame] = std::move(flying_.begin()->second);
    flying_.erase(flying_.begin());
    ends_[end].session->OnFrame(now_, frame, &actions);
    Carry(end, &actions);
    actions.Clear();
  }
  for (int end : {0, 1}) {
    const std::optional<TimePoint> deadline = ends_[end].session->NextDeadline();
    if (!deadline || *deadline > now_) continue;
    ends_[end].session->OnTick(now_, &actions);
    Carry(end, &actions);
    actions.Clear();
  }
  for (const End& e : ends_) e.session->CheckInvariants();
}

void World::Run(int steps) {
  for (int step = 0; step < steps && violation_.empty(); ++step) {
    for (int end : {0, 1}) {
      if (rng_.Chance(faults_.restart)) Restart(end);
      if (rng_.Chance(faults_.reset)) Reset(end);
      if (!rng_.Chance(0.3)) continue;
      for (uint64_t i = rng_.Below(30); i > 0 && ends_[end].session->queued_bytes() < 20'000; --i) SendOne(end);
    }
    Step();
  }
}

void World::Settle() {
  const TimePoint until = now_ + 120s;
  const auto settled = [this] {
    return std::all_of(std::begin(ends_), std::end(ends_), [](const End& e) {
      return e.session->established() && e.session->queued_bytes() == 0 && e.session->reachable();
    });
  };
  while (!settled() && now_ < until && violation_.empty()) Step();
  if (!violation_.empty()) return;
  if (!settled()) return Violate("the ends do not find together");
  for (int end : {0, 1}) {
    const End& sender = ends_[end];
    const End& receiver = ends_[1 - end];
    if (sender.sent == 0) continue;
    if (receiver.from_segment != sender.segment || receiver.expected != sender.sent) {
      Violate(absl::StrCat("of ", sender.sent, " acknowledged messages, ", receiver.expected, " arrived"));
    }
  }
}

}  // namespace shoal::session
