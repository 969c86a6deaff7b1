// The receiving half of a link: takes message n + 1 after message n and nothing else, and knows when to say so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "runtime/session/frame.h"
#include "runtime/session/session.h"

namespace shoal::session {

class Receiver {
 public:
  explicit Receiver(const SessionOptions& options) : options_(options) {}

  // A new link: the next message is number 1.
  void BeginLink();
  // Appends what is new in a data frame. False, and nothing is taken, for a frame that is not whole.
  bool OnData(TimePoint now, const FrameHeader& header, std::string_view body, std::vector<std::string>* delivered);
  // The peer says that it has sent everything up to `last`.
  void OnAnnounced(uint64_t last) { gap_ = gap_ || last > delivered_; }
  // The number to put into every frame that goes out, which counts as said.
  uint64_t Acknowledge();

  uint64_t delivered() const { return delivered_; }
  // Something waits to be acknowledged: by then at the latest, at once if it is in the past.
  std::optional<TimePoint> AckAt() const { return ack_at_; }
  bool gap() const { return gap_; }

 private:
  const SessionOptions& options_;
  uint64_t delivered_ = 0;
  uint64_t acknowledged_ = 0;
  std::optional<TimePoint> ack_at_;
  bool gap_ = false;  // since the last acknowledgement something came too early
};

}  // namespace shoal::session
