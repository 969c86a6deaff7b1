// Limits of what a program may hand over in one call. They are checked there, so that nobody further on meets a message that no
// link takes (kMostMessageBytes); what is refused is named in one sentence, an InvalidArgument.
//
//   if (absl::Status status = CheckSize(spec); !status.ok()) return status;   // "the task's arguments take 5242880 bytes ..."
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "schema/actor_messages.h"
#include "schema/task_messages.h"

namespace shoal {

inline constexpr size_t kMostNameBytes = 64 << 10;      // of a task, an actor, a namespace, ...
inline constexpr size_t kMostArgumentBytes = 4 << 20;   // small arguments together; large ones travel by themselves
inline constexpr size_t kMostSettingsBytes = 1 << 20;   // a shape with its environment, a task's options, a handle
inline constexpr size_t kMostCodeBytes = 8 << 20;
inline constexpr size_t kMostBundleBytes = 4 << 20;     // the bundles of a placement group
inline constexpr size_t kMostErrorBytes = 64 << 10;     // the text of an error; what is longer is shortened

// `what` begins the sentence: "the actor's name".
absl::Status CheckName(const std::string& what, std::string_view name);
absl::Status CheckSize(const TaskSpec& spec);
absl::Status CheckSize(const Shape& shape);
absl::Status CheckSize(const ActorSpec& spec);
absl::Status CheckSize(const PlacementGroupSpec& spec);
// References inside a value that is put, or inside all results of a task.
absl::Status CheckContained(size_t count);

// The text itself, or its beginning and its end if it is longer than `most`.
std::string Shortened(std::string text, size_t most);

}  // namespace shoal
