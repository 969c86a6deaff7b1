#include "schema/messages.h"

#include <array>
#include <cstddef>
#include <utility>

#include "schema/type_names.h"

namespace shoal {
namespace {

template <size_t... kIndex>
const char* NameAt(size_t index, std::index_sequence<kIndex...>) {
  static const std::array<std::string, sizeof...(kIndex)> names = {
      std::string(TypeName<std::variant_alternative_t<kIndex, Message>>())...};
  return names[index].c_str();
}

}  // namespace

const char* MessageName(const Message& message) {
  return NameAt(message.index(), std::make_index_sequence<std::variant_size_v<Message>>());
}

}  // namespace shoal
