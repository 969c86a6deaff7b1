// Messages in both of their forms. What was understood must survive being written and read again.
#include <variant>

#include "base/check.h"
#include "base/fields.h"
#include "schema/codec.h"
#include "schema/random_message.h"
#include "tests/fuzz/target.h"

namespace shoal::fuzz {
namespace {

void RunMessage(std::string_view bytes) {
  const absl::StatusOr<Message> message = DecodeMessage(bytes);
  if (!message.ok()) {
    SHOAL_CHECK(message.status().code() == absl::StatusCode::kInvalidArgument) << message.status();
    return;
  }
  const absl::StatusOr<Message> again = DecodeMessage(EncodeMessage(*message));
  SHOAL_CHECK(again.ok()) << again.status();
  SHOAL_CHECK(Encode(*again) == Encode(*message)) << MessageName(*message);
}

void RunRingForm(std::string_view bytes) {
  Message message;
  if (!Decode(bytes, &message)) return;
  SHOAL_CHECK(Encode(message) == bytes) << MessageName(message) << " has two forms";
}

template <class ToBytes>
std::vector<std::string> SeedsAs(ToBytes&& to_bytes) {
  Rng rng(1);
  std::vector<std::string> seeds;
  for (size_t index = 0; index < std::variant_size_v<MessageVariant>; ++index) {
    for (int i = 0; i < 2; ++i) seeds.push_back(to_bytes(RandomMessage(rng, index)));
  }
  return seeds;
}

std::vector<std::string> MessageSeeds() { return SeedsAs(EncodeMessage); }
std::vector<std::string> RingFormSeeds() { return SeedsAs(Encode<Message>); }

}  // namespace

const Target kMessage{"message", RunMessage, MessageSeeds};
const Target kRingForm{"ring_form", RunRingForm, RingFormSeeds};

}  // namespace shoal::fuzz
