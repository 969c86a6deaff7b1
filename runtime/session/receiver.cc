#include "runtime/session/receiver.h"

#include <algorithm>

#include "base/buggify.h"

namespace shoal::session {
namespace {

bool IsWhole(const FrameHeader& header, std::string_view body) {
  if (header.count == 0 || header.count > kMaxMessagesPerFrame || header.seq == 0) return false;
  if (header.seq > UINT64_MAX - header.count) return false;
  DataReader reader(body);
  for (uint32_t i = 0; i < header.count; ++i) {
    if (!reader.Next()) return false;
  }
  return reader.exhausted();
}

}  // namespace

void Receiver::BeginLink() {
  delivered_ = acknowledged_ = 0;
  ack_at_.reset();
  gap_ = false;
}

uint64_t Receiver::Acknowledge() {
  acknowledged_ = delivered_;
  ack_at_.reset();
  gap_ = false;
  return delivered_;
}

bool Receiver::OnData(TimePoint now, const FrameHeader& header, std::string_view body,
                      std::vector<std::string>* delivered) {
  if (!IsWhole(header, body)) return false;
  const uint64_t last = header.seq + header.count - 1;
  if (header.seq > delivered_ + 1 && !SHOAL_DELIBERATE_BUG("session.accept_gap")) {
    if (SHOAL_DELIBERATE_BUG("session.lost_ack")) delivered_ = last;
    gap_ = true;
    ack_at_ = now;
    return true;
  }
  if (last <= delivered_ && !SHOAL_DELIBERATE_BUG("session.duplicate_delivery")) {
    ack_at_ = now;  // the peer repeats itself, so an acknowledgement was lost
    return true;
  }
  DataReader reader(body);
  for (uint64_t seq = header.seq; seq <= last; ++seq) {
    const std::string_view payload = *reader.Next();
    if (seq <= delivered_ && !SHOAL_DELIBERATE_BUG("session.duplicate_delivery")) continue;
    delivered->emplace_back(payload);
  }
  delivered_ = std::max(delivered_, last);
  if (delivered_ - acknowledged_ >= options_.ack_every || (header.flags & kAckNowFlag) != 0) {
    ack_at_ = now;
  } else if (!ack_at_) {
    ack_at_ = now + options_.ack_after;
  }
  return true;
}

}  // namespace shoal::session
