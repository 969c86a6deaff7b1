#include "runtime/session/sender.h"

#include <algorithm>

#include "base/buggify.h"
#include "base/check.h"

namespace shoal::session {
namespace {

// Small enough that a link of 1 Mbit/s stays reachable behind it.
constexpr uint64_t kFirstBudget = 256 * 1024;
// Round trips that are so much longer than the shortest one stand in queues.
constexpr Duration kCrowded = 200ms, kOvercrowded = 500ms;
// A repetition on a link that still transmits makes it slower yet, so bytes are given the time that they take at
// 1 Mbit/s. What really was lost shows in the next heartbeat.
constexpr int64_t kNanosecondsPerByte = 8000;
constexpr uint32_t kMaxDoublings = 5;  // of the time between repetitions to a silent peer
constexpr size_t kMaxChecked = 256;    // longer queues are not added up by CheckInvariants

}  // namespace

Sender::Sender(const SessionOptions& options) : options_(options) { BeginLink(); }

void Sender::BeginLink() {
  acked_ = highest_sent_ = 0;
  unsent_bytes_ += in_flight_bytes_;
  in_flight_ = 0;
  in_flight_bytes_ = 0;
  budget_bytes_ = std::min(std::max(kFirstBudget, OneFrame()), options_.window_bytes);
  last_progress_ = last_gap_ = TimePoint();
  silences_ = 0;
  round_trip_ = newest_round_trip_ = shortest_round_trip_ = Duration();
  timed_ = 0;
}

void Sender::Clear() {
  queue_.clear();
  BeginLink();
  unsent_bytes_ = 0;
}

bool Sender::Accept(std::string&& payload) {
  if (unsent_bytes_ >= options_.max_queued_bytes) return false;
  unsent_bytes_ += Cost(payload);
  queue_.push_back(std::move(payload));
  return true;
}

bool Sender::OnAck(TimePoint now, uint64_t ack) {
  if (ack > highest_sent_) return false;
  if (ack <= acked_) return true;  // old news
  if (timed_ != 0 && ack >= timed_) {
    timed_ = 0;
    OnRoundTrip(now - timed_at_);
  }
  const bool crowded = newest_round_trip_ > shortest_round_trip_ + kCrowded;
  while (acked_ < ack) {
    // After going back, the peer may acknowledge what we were about to repeat.
    const uint64_t cost = Cost(queue_[0]);
    if (in_flight_ > 0) {
      --in_flight_;
      in_flight_bytes_ -= cost;
    } else {
      unsent_bytes_ -= cost;
    }
    if (!crowded) budget_bytes_ = std::min(budget_bytes_ + cost, options_.window_bytes);
    queue_.pop_front();
    ++acked_;
  }
  silences_ = 0;
  last_progress_ = now;
  return true;
}

void Sender::OnGap(TimePoint now) {
  if (in_flight_ == 0 || now - last_gap_ < std::max<Duration>(round_trip_, options_.ack_after)) return;
  last_gap_ = now;
  const uint64_t half = budget_bytes_ / 2;  // the peer lives, so this is less than a silence
  GoBack(now);
  budget_bytes_ = std::max(budget_bytes_, half);
}

void Sender::GoBack(TimePoint now) {
  unsent_bytes_ += in_flight_bytes_;
  in_flight_ = 0;
  in_flight_bytes_ = 0;
  timed_ = 0;  // which of its copies is acknowledged would be anybody's guess (Karn)
  budget_bytes_ = OneFrame();
  last_progress_ = now;
}

void Sender::OnTick(TimePoint now) {
  if (in_flight_ == 0) return;
  if (now - last_progress_ >= Timeout()) {
    silences_ = std::min(silences_ + 1, kMaxDoublings);
    GoBack(now);
  } else if (SHOAL_BUGGIFY("session.early_resend")) {
    GoBack(now);
  }
}

Duration Sender::Timeout() const {
  const Duration transmission(static_cast<int64_t>(in_flight_bytes_) * kNanosecondsPerByte);
  return (std::max<Duration>(options_.resend_after, 2 * round_trip_) + transmission) * (1 << silences_);
}

void Sender::OnRoundTrip(Duration round_trip) {
  const bool first = round_trip_ == Duration();
  round_trip_ = first ? round_trip : (7 * round_trip_ + round_trip) / 8;
  shortest_round_trip_ = first ? round_trip : std::min(shortest_round_trip_, round_trip);
  newest_round_trip_ = round_trip;
  if (round_trip > shortest_round_trip_ + kOvercrowded) budget_bytes_ = std::max(budget_bytes_ / 2, OneFrame());
}

std::optional<TimePoint> Sender::ResendAt() const {
  if (in_flight_ == 0) return std::nullopt;
  return last_progress_ + Timeout();
}

// Whether queue_[index], the first that is not under way, fits the window. One message always does.
bool Sender::MaySend(size_t index) const {
  if (index >= queue_.size()) return false;
  if (in_flight_ == 0) return true;
  return in_flight_ < options_.window && in_flight_bytes_ + Cost(queue_[index]) <= budget_bytes_;
}

bool Sender::HasSendable() const { return MaySend(in_flight_); }

uint32_t Sender::WindowRoom() const {
  if (queue_.size() >= options_.window || queued_bytes() >= options_.window_bytes) return 0;
  return options_.window - static_cast<uint32_t>(queue_.size());
}

void Sender::Pump(TimePoint now, bool only_full, const FrameHeader& link, std::vector<std::string>* frames) {
  while (HasSendable() && (!only_full || HasFullFrame())) {
    if (in_flight_ > 0 && SHOAL_BUGGIFY("session.tiny_window")) return;
    if (in_flight_ == 0) last_progress_ = now;
    frames->push_back(NextFrame(now, link));
  }
}

// One payload of any size, or as many small ones as share a frame.
std::string Sender::NextFrame(TimePoint now, const FrameHeader& link) {
  FrameHeader header = link;
  header.kind = FrameKind::kData;
  header.seq = acked_ + in_flight_ + 1;
  const size_t first = in_flight_;
  uint64_t size = sizeof(header);
  do {
    const uint64_t cost = Cost(queue_[in_flight_]);
    size += cost;
    unsent_bytes_ -= cost;
    in_flight_bytes_ += cost;
    ++in_flight_;
    ++header.count;
  } while (header.count < kMaxMessagesPerFrame && MaySend(in_flight_) &&
           size + Cost(queue_[in_flight_]) <= options_.batch_bytes && !SHOAL_BUGGIFY("session.small_frame"));
  highest_sent_ = std::max(highest_sent_, acked_ + in_flight_);
  if (timed_ == 0) {
    timed_ = acked_ + in_flight_;
    timed_at_ = now;
  }
  if (in_flight_ < queue_.size() && !MaySend(in_flight_)) header.flags |= kAckNowFlag;

  std::string frame;
  frame.reserve(size);
  AppendBytes(&header, sizeof(header), &frame);
  for (size_t i = first; i < in_flight_; ++i) {
    const std::string& payload = queue_[i];
    const uint32_t length = static_cast<uint32_t>(payload.size());
    AppendBytes(&length, sizeof(length), &frame);
    frame.append(payload);
  }
  return frame;
}

void Sender::CheckInvariants() const {
  SHOAL_CHECK(in_flight_ <= queue_.size());
  SHOAL_CHECK(in_flight_ <= options_.window || in_flight_ == 1);
  SHOAL_CHECK(acked_ + in_flight_ <= highest_sent_);
  SHOAL_CHECK(budget_bytes_ > 0);
  if (queue_.size() > kMaxChecked) return;
  uint64_t bytes = 0;
  for (size_t i = 0; i < queue_.size(); ++i) {
    if (i == in_flight_) SHOAL_CHECK(bytes == in_flight_bytes_);
    bytes += Cost(queue_[i]);
  }
  SHOAL_CHECK(bytes == queued_bytes()) << bytes << " bytes are queued, " << queued_bytes() << " are counted";
}

}  // namespace shoal::session
