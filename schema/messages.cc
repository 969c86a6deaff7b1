#include "schema/messages.h"

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

namespace shoal {
namespace {

// The type's own name, cut from the compiler's rendering of this function.
template <class T>
constexpr std::string_view TypeName() {
  const std::string_view text = __PRETTY_FUNCTION__;  // "... [with T = shoal::PushTask; ..." or "[T = shoal::PushTask]"
  const size_t begin = text.rfind("shoal::", text.find_first_of(";]", text.find("T = "))) + 7;
  return text.substr(begin, text.find_first_of(";]", begin) - begin);
}

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
