// Messages as bytes for whatever leaves this process other than by a ring: Cap'n Proto, unpacked, after schema/*.capnp.
//
//   std::string bytes = EncodeMessage(message);
//   absl::StatusOr<Message> message = DecodeMessage(bytes);
//
// Bytes come from peers that may be hostile or of another version: DecodeMessage never reads outside of them, bounds the
// work by their length, and says InvalidArgument in one sentence for everything that is not one whole message. Fields
// that a newer peer added are ignored. `bytes` may start at any address.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "schema/messages.h"

namespace shoal {

std::string EncodeMessage(const Message& message);
absl::StatusOr<Message> DecodeMessage(std::string_view bytes);

}  // namespace shoal
