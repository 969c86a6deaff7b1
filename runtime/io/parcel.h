// A message on its way through a daemon: a struct where this process made it, bytes where it came from elsewhere. What is only
// passed on stays bytes.
//
//   Parcel parcel{.from = worker, .to = Address::Head(), .body = std::move(bytes)};
//   if (is_for_us) absl::StatusOr<Message> message = std::move(parcel).TakeMessage();
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "schema/codec.h"
#include "schema/messages.h"

namespace shoal::io {

struct Parcel {
  Address from, to;
  std::variant<Message, std::string> body;

  std::string TakeBytes() && {
    if (auto* message = std::get_if<Message>(&body)) return EncodeMessage(*message);
    return std::move(std::get<std::string>(body));
  }
  // InvalidArgument for bytes that are not a message.
  absl::StatusOr<Message> TakeMessage() && {
    if (auto* message = std::get_if<Message>(&body)) return std::move(*message);
    return DecodeMessage(std::get<std::string>(body));
  }
};

}  // namespace shoal::io
