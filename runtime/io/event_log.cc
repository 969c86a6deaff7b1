#include "runtime/io/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "runtime/io/clock.h"
#include "runtime/io/json.h"

namespace shoal::io {

void EventLog::Add(const std::vector<ClusterEvent>& events) {
  if (file_.empty() || events.empty()) return;
  if (bytes_ > kMaxBytes) {
    fd_.Reset();
    bytes_ = 0;
    std::rename(file_.c_str(), (file_ + ".1").c_str());
  }
  if (!fd_.valid()) {
    fd_ = UniqueFd(open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    struct stat info;
    if (fd_.valid() && fstat(fd_.get(), &info) == 0) bytes_ = static_cast<size_t>(info.st_size);  // of a process before this one
  }
  std::string text;
  const int64_t now_ms = WallClockNs() / 1'000'000;
  for (const ClusterEvent& event : events) {
    Json line = Json::Object();
    line.Set("time_ms", now_ms).Set("subject", event.subject).Set("from", event.from).Set("to", event.to);
    line.Set("reason", event.reason);
    text += line.ToString() + "\n";
  }
  bytes_ += text.size();
  if (fd_.valid()) static_cast<void>(!write(fd_.get(), text.data(), text.size()));
}

}  // namespace shoal::io
