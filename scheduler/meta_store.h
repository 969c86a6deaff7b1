// What the head must remember over its own death: rows of key and value. The machine asks for writes (HeadActions::writes); its driver
// applies them, durably, before it carries out anything else of the same turn, so that nobody hears of what could be forgotten.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shoal::scheduler {

struct StoreRow {
  std::string key;    // "actor/0123..", sorted bytewise
  std::string value;
};

struct StoreWrite {
  std::string key;
  std::optional<std::string> value;  // nullopt: delete
};

class MetaStore {
 public:
  virtual ~MetaStore() = default;
  // All or none, durable on return, in order. An error means that nothing is known of them: the caller must stop, not retry.
  virtual absl::Status Apply(absl::Span<const StoreWrite> writes) = 0;
  // Everything, by key.
  virtual absl::StatusOr<std::vector<StoreRow>> Load() = 0;
};

// For tests and for the simulator, where it outlives the head. A head of one machine without a name to keep (`--local`) uses it, too.
class MemoryMetaStore : public MetaStore {
 public:
  absl::Status Apply(absl::Span<const StoreWrite> writes) override {
    for (const StoreWrite& write : writes) {
      if (write.value) {
        rows_[write.key] = *write.value;
      } else {
        rows_.erase(write.key);
      }
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<StoreRow>> Load() override {
    std::vector<StoreRow> rows;
    for (const auto& [key, value] : rows_) rows.push_back({key, value});
    return rows;
  }
  size_t size() const { return rows_.size(); }

 private:
  absl::btree_map<std::string, std::string> rows_;
};

}  // namespace shoal::scheduler
