#include "schema/messages.h"

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

#include "schema/type_names.h"

namespace shoal {
namespace {

template <size_t... kIndex>
const char* NameAt(size_t index, std::index_sequence<kIndex...>) {
  static const std::array<std::string, sizeof...(kIndex)> names = {
      std::string(TypeName<std::variant_alternative_t<kIndex, MessageVariant>>())...};
  return names[index].c_str();
}

}  // namespace

Message::Message() noexcept = default;
Message::Message(const Message& other) = default;
Message::Message(Message&& other) noexcept = default;
Message& Message::operator=(const Message& other) = default;
Message& Message::operator=(Message&& other) noexcept = default;
Message::~Message() = default;

template <class M>
M& Message::Become() {
  return emplace<M>();
}

template <class M>
Message Message::Of(M&& value) {
  Message message;
  message.emplace<M>(std::move(value));
  return message;
}

// Compiles both functions for each alternative: their addresses are needed.
template <class... M>
struct Message::Instances<std::variant<M...>> {
  static constexpr std::tuple<M& (Message::*)()...> become{&Message::Become<M>...};
  static constexpr std::tuple<Message (*)(M&&)...> of{&Message::Of<M>...};
};
template struct Message::Instances<MessageVariant>;

const char* MessageName(const Message& message) {
  return NameAt(message.index(), std::make_index_sequence<std::variant_size_v<MessageVariant>>());
}

}  // namespace shoal
