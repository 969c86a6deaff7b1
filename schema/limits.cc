#include "schema/limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/fields.h"

namespace shoal {
namespace {

absl::Status CheckBytes(const std::string& what, size_t size, size_t most, const std::string& fix = "") {
  if (size <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " take", what.back() == 's' ? " " : "s ", size, " bytes, ", most, " at most", fix));
}

// The beginning of the UTF-8 character that `at` lies in or before; `at` where there is none near.
size_t CharacterAt(std::string_view text, size_t at) {
  for (size_t here = at; here < std::min(at + 4, text.size()); ++here) {
    if ((static_cast<unsigned char>(text[here]) & 0xC0) != 0x80) return here;
  }
  return at;
}

}  // namespace

absl::Status CheckName(const std::string& what, std::string_view name) { return CheckBytes(what, name.size(), kMostNameBytes); }

absl::Status CheckContained(size_t count) {
  if (count <= kMostContained) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("values hold ", count, " references, ", kMostContained, " at most in one put or return: put lists of them"));
}

absl::Status CheckSize(const TaskSpec& spec) {
  if (spec.name.size() > kMostNameBytes) return CheckName("the task's name", spec.name);
  if (spec.concurrency_group.size() > kMostNameBytes) return CheckName("the concurrency group's name", spec.concurrency_group);
  if (spec.options.size() > kMostSettingsBytes) return CheckBytes("the task's options", spec.options.size(), kMostSettingsBytes);
  if (spec.args.size() > kMostArgumentBytes) {
    return CheckBytes("the task's arguments", spec.args.size(), kMostArgumentBytes, "; put them into one object and pass its reference");
  }
  if (spec.num_returns > kMostReturns) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_returns is ", spec.num_returns, ", ", kMostReturns, " at most: return lists of values"));
  }
  const size_t references = spec.refs.size() + spec.nested.size();
  if (references > kMostContained) {
    return absl::InvalidArgumentError(absl::StrCat("the task's arguments hold ", references, " references, ", kMostContained,
                                                   " at most: put lists of them and pass the lists' references"));
  }
  return absl::OkStatus();
}

absl::Status CheckSize(const Shape& shape) {
  return CheckBytes("the resources, labels and environment variables", EncodedSize(shape), kMostSettingsBytes);
}

absl::Status CheckSize(const ActorSpec& spec) {
  absl::Status status = CheckSize(spec.creation);
  status.Update(CheckSize(spec.shape));
  status.Update(CheckName("the actor's name", spec.name));
  status.Update(CheckName("the actor's namespace", spec.ns));
  status.Update(CheckBytes("the actor's handle", spec.handle.size(), kMostSettingsBytes, ": its class has too many methods"));
  status.Update(CheckBytes("the actor's code", spec.code.size(), kMostCodeBytes, ": put large values and pass the references"));
  return status;
}

absl::Status CheckSize(const PlacementGroupSpec& spec) {
  absl::Status status = CheckName("the placement group's name", spec.name);
  status.Update(CheckBytes("the placement group's bundles", EncodedSize(spec), kMostBundleBytes + kMostNameBytes));
  return status;
}

std::string Shortened(std::string text, size_t most) {
  if (text.size() <= most) return text;
  const size_t head = CharacterAt(text, most / 2);
  const size_t tail = CharacterAt(text, text.size() - most / 2);
  return absl::StrCat(text.substr(0, head), "\n... ", tail - head, " bytes are left out here ...\n", text.substr(tail));
}

}  // namespace shoal
