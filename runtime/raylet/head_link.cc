#include "runtime/raylet/head_link.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/buggify.h"

namespace shoal::raylet {
namespace {

// The link is reliable, so a registration is repeated only in case the head chose not to answer.
constexpr Duration kRegisterAgain = 2s;

}  // namespace

void HeadLink::Register(const Turn& t) {
  registered_ = false;
  if (!asked_) asked_ = t.now;
  next_register_ = t.now + kRegisterAgain;
  RegisterNode& message = Post<RegisterNode>(t, Address::Head());
  message.info = options_.info;
  message.last_epoch = epoch_;
}

bool HeadLink::OnReply(const Turn& t, const RegisterNodeReply& message) {
  if (message.error) {
    Note(t, absl::StrCat("node ", options_.info.id.Hex()), "", "refused", message.error.message);
    return false;
  }
  if (message.epoch < epoch_) return false;
  epoch_ = message.epoch;
  fence_after_ = message.fence_after;
  const bool again = registered_;
  registered_ = true;
  // The head heard of us no earlier than we first asked. If that is long ago, the first beat has to show that it still does.
  if (asked_ && t.now < *asked_ + fence_after_ && (!answered_ || *answered_ < *asked_)) answered_ = asked_;
  asked_.reset();
  if (again) return false;
  Beat(t);
  return true;
}

void HeadLink::Beat(const Turn& t) {
  next_beat_ = t.now + options_.heartbeat;
  Heartbeat& beat = Post<Heartbeat>(t, Address::Head());
  beat.node = options_.info.id;
  beat.incarnation = options_.info.incarnation;
  beat.sent_at_ns = ToNanoseconds(t.now);
}

void HeadLink::OnAck(const Turn& t, const HeartbeatAck& message) {
  const TimePoint sent_at = FromNanoseconds(message.sent_at_ns);
  if (!Accept(t, message.epoch) || !registered_ || sent_at > t.now) return;
  if (!answered_ || *answered_ < sent_at) answered_ = sent_at;
}

void HeadLink::OnReset(const Turn& t) {
  asked_.reset();  // what was asked before is lost
  Register(t);
}

bool HeadLink::Accept(const Turn& t, uint64_t epoch) {
  if (epoch == epoch_) return true;
  if (epoch < epoch_) return SHOAL_DELIBERATE_BUG("raylet.stale_epoch");
  epoch_ = epoch;
  if (registered_) Register(t);
  return true;
}

bool HeadLink::FallsNow(TimePoint now) {
  if (!answered_ || now < *answered_ + fence_after_ || SHOAL_DELIBERATE_BUG("raylet.no_fence")) return false;
  answered_.reset();
  return true;
}

void HeadLink::Tick(const Turn& t) {
  if (!registered_ && next_register_ <= t.now) Register(t);
  if (registered_ && next_beat_ <= t.now) Beat(t);
}

std::optional<TimePoint> HeadLink::NextDeadline() const {
  std::optional<TimePoint> next = registered_ ? next_beat_ : next_register_;
  if (answered_ && !SHOAL_DELIBERATE_BUG("raylet.no_fence")) Earliest(&next, *answered_ + fence_after_);
  return next;
}

}  // namespace shoal::raylet
