// What a machine with a token and the head say to each other when it joins: fixed layout, so that any two versions
// can refuse each other in words. The connection itself is CURVE with the token's key pair; its User-Id tells the
// head which token it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/io/network.h"

namespace shoal::io {

struct EnrolRequest {
  uint32_t version = 0;
  uint64_t cluster_id = 0;
  std::string node_public_key;
};

std::string EncodeEnrolRequest(const EnrolRequest& request);
// Nothing for what is not one.
std::optional<EnrolRequest> DecodeEnrolRequest(std::string_view bytes);

std::string EncodeEnrolReply(const absl::StatusOr<Enrolment>& reply);
// Internal for what is not one.
absl::StatusOr<Enrolment> DecodeEnrolReply(std::string_view bytes);

}  // namespace shoal::io
