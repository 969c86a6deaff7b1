// Names of types and enumerators as the source spells them, cut from the compiler's rendering of a function.
//
//   TypeName<PushTask>()               "PushTask"
//   EnumeratorName<Role::kWorker>()    "kWorker"
//   kEnumerators<Role>                 5
#pragma once

#include <cstddef>
#include <string_view>

namespace shoal {

// The unqualified name of a struct or enum of namespace shoal.
template <class T>
constexpr std::string_view TypeName() {
  const std::string_view text = __PRETTY_FUNCTION__;  // "... [with T = PushTask; ..." or "... [T = shoal::PushTask]"
  const size_t begin = text.find("T = ") + 4;
  const std::string_view name = text.substr(begin, text.find_first_of(";]", begin) - begin);
  return name.substr(name.rfind(':') + 1);  // npos + 1 is 0
}

// Empty if the enum gives no name to this value.
template <auto kValue>
constexpr std::string_view EnumeratorName() {
  const std::string_view text = __PRETTY_FUNCTION__;  // "kValue = shoal::Role::kHead", or "= (shoal::Role)9"
  const size_t begin = text.find("kValue = ") + 9;
  const std::string_view name = text.substr(begin, text.find_first_of(";]", begin) - begin);
  return name.front() == '(' ? std::string_view() : name.substr(name.rfind(':') + 1);
}

template <class Enum, size_t kFrom = 0>
constexpr size_t CountEnumerators() {
  if constexpr (EnumeratorName<static_cast<Enum>(kFrom)>().empty()) {
    return kFrom;
  } else {
    return CountEnumerators<Enum, kFrom + 1>();
  }
}
// How many enumerators follow each other from 0.
template <class Enum>
inline constexpr size_t kEnumerators = CountEnumerators<Enum>();

}  // namespace shoal
