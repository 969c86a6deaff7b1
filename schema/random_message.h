// Random values of any struct with Fields, for tests, seed corpora and benchmarks.
//
//   Rng rng(seed);
//   PushTask push = RandomValue<PushTask>(rng);
//   Message message = RandomMessage(rng, index);   // the index-th alternative
//
// Every value is legal: enumerators have names, resource sets are sorted. Lists hold up to three elements.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/fields.h"
#include "base/rng.h"
#include "schema/messages.h"
#include "schema/type_names.h"

namespace shoal {

class RandomFiller {
 public:
  explicit RandomFiller(Rng& rng) : rng_(rng) {}

  template <class... T>
  void operator()(T&... values) {
    (Fill(values), ...);
  }

 private:
  std::string RandomBytes() {
    std::string bytes(rng_.Chance(0.3) ? 0 : rng_.Below(60), '\0');
    for (char& c : bytes) c = static_cast<char>(rng_.Next());
    return bytes;
  }

  template <class T>
  void Fill(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      value = rng_.Chance(0.5);
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(rng_.Below(kEnumerators<T>));
    } else if constexpr (std::is_floating_point_v<T>) {
      value = (rng_.Uniform() - 0.5) * 1e12;
    } else if constexpr (std::is_arithmetic_v<T>) {
      value = rng_.Chance(0.2) ? T{} : static_cast<T>(rng_.Next());
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = RandomBytes();
    } else if constexpr (std::is_same_v<T, Payload>) {
      value = Payload(RandomBytes());
    } else if constexpr (std::is_same_v<T, Duration>) {
      value = Duration(static_cast<int64_t>(rng_.Next()));
    } else if constexpr (std::is_same_v<T, ResourceSet>) {
      value = {};
      for (uint64_t i = rng_.Below(4); i > 0; --i) value.Set(RandomBytes(), static_cast<int64_t>(rng_.Next()));
    } else if constexpr (internal::IsVector<T>::value) {
      value.clear();
      for (uint64_t i = rng_.Below(4); i > 0; --i) Fill(value.emplace_back());
    } else if constexpr (internal::IsPair<T>::value) {
      Fill(value.first);
      Fill(value.second);
    } else if constexpr (internal::IsOptional<T>::value) {
      value.reset();
      if (rng_.Chance(0.5)) Fill(value.emplace());
    } else {
      value.Fields(*this);
    }
  }

  Rng& rng_;
};

template <class T>
T RandomValue(Rng& rng) {
  T value;
  RandomFiller fill(rng);
  fill(value);
  return value;
}

// `index` < std::variant_size_v<MessageVariant>.
template <size_t kIndex = 0>
Message RandomMessage(Rng& rng, size_t index) {
  if constexpr (kIndex + 1 < std::variant_size_v<MessageVariant>) {
    if (index != kIndex) return RandomMessage<kIndex + 1>(rng, index);
  }
  return RandomValue<std::variant_alternative_t<kIndex, MessageVariant>>(rng);
}

}  // namespace shoal
