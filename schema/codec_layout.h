// Where each field of each message struct lies on the wire. Binder walks a C++ struct's Fields() and its Cap'n Proto schema side by
// side, once; after that encoding and decoding are plain stores and loads by these tables. Private to schema/codec.cc and its test.
//
//   Binder binder;
//   binder.BindStruct<PushTask>(schema);           // and every struct inside it
//   if (!binder.problems().empty()) ...            // "TaskSpec field 3: ..." where the two descriptions differ
//   const StructLayout& layout = g_layout<PushTask>;
//
// Agreement means: same struct and enum names, same number of fields, same order, same types, same defaults, same
// enumerators. The field names are for people.
#pragma once

#include <capnp/schema.h>

#include <array>
#include <bit>
#include <cctype>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/fields.h"
#include "base/ids.h"
#include "base/resources.h"
#include "schema/type_names.h"

namespace shoal::codec {

template <class T>
struct IsId : std::false_type {};
template <class Tag>
struct IsId<Id<Tag>> : std::true_type {};

template <class T>
inline constexpr bool kIsDataField = shoal::internal::kIsScalar<T> || IsId<T>::value || std::is_same_v<T, Duration>;
template <class T>
inline constexpr bool kIsBytes = std::is_same_v<T, std::string> || std::is_same_v<T, Payload>;
template <class T>
inline constexpr bool kIsList = shoal::internal::IsVector<T>::value || shoal::internal::IsOptional<T>::value;

// Data fields as the bits that stand on the wire, before the default is XORed in. Enums take 16 bits, bools one.
template <class T>
uint64_t ToBits(const T& value) {
  if constexpr (IsId<T>::value) {
    return value.value;
  } else if constexpr (std::is_same_v<T, Duration>) {
    return static_cast<uint64_t>(value.count());
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<uint64_t>(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    return value;
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<uint16_t>(value);
  } else {
    return static_cast<std::make_unsigned_t<T>>(value);
  }
}
template <class T>
void FromBits(uint64_t bits, T* value) {
  if constexpr (IsId<T>::value) {
    value->value = bits;
  } else if constexpr (std::is_same_v<T, Duration>) {
    *value = Duration(static_cast<int64_t>(bits));
  } else if constexpr (std::is_same_v<T, double>) {
    *value = std::bit_cast<double>(bits);
  } else {
    *value = static_cast<T>(bits);
  }
}
template <class T>
using Stored = std::conditional_t<
    std::is_enum_v<T>, uint16_t,
    std::conditional_t<sizeof(T) == 8, uint64_t,
                       std::conditional_t<sizeof(T) == 4, uint32_t,
                                          std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>>;

struct FieldLayout {
  uint32_t at = 0;            // data fields: byte in the data section; bools: bit; others: index in the pointer section
  uint16_t enumerants = 0;    // enums, also in lists: values at or above are unknown here
  bool is_text = false;       // strings, also in lists: Text, not Data
  uint64_t default_bits = 0;  // data fields
};

inline constexpr size_t kMaxFields = 32;

struct StructLayout {
  uint64_t schema_id = 0;
  uint16_t data_words = 0;
  uint16_t pointers = 0;
  std::array<FieldLayout, kMaxFields> fields;
};

// Filled by Binder, constant afterwards.
template <class T>
constinit inline StructLayout g_layout{};

class Binder {
 public:
  const std::vector<std::string>& problems() const { return problems_; }

  template <class T>
  void BindStruct(capnp::StructSchema schema);

 private:
  // Visits the fields of a default-constructed struct.
  class FieldBinder {
   public:
    FieldBinder(Binder* binder, capnp::StructSchema schema, StructLayout* layout)
        : binder_(binder), schema_(schema), layout_(layout) {}
    template <class... T>
    void operator()(const T&... defaults) {
      (BindField(defaults), ...);
    }
    uint32_t count() const { return count_; }

   private:
    template <class T>
    void BindField(const T& default_value);

    Binder* binder_;
    capnp::StructSchema schema_;
    StructLayout* layout_;
    uint32_t count_ = 0;
  };

  template <class T>
  void BindType(capnp::Type type, FieldLayout* layout);
  template <class T>
  void BindEnum(capnp::EnumSchema schema, FieldLayout* layout);
  void Complain(std::string what) { problems_.push_back(absl::StrCat(place_, ": ", what)); }

  static std::string ShortName(capnp::Schema schema) { return schema.getShortDisplayName().cStr(); }
  template <class T>
  static capnp::schema::Type::Which WireType();
  static uint64_t DefaultBits(capnp::schema::Value::Reader value);

  std::vector<std::string> problems_;
  std::string place_;
};

template <class T>
capnp::schema::Type::Which Binder::WireType() {
  using Wire = capnp::schema::Type;
  if constexpr (std::is_same_v<T, bool>) {
    return Wire::BOOL;
  } else if constexpr (std::is_same_v<T, double>) {
    return Wire::FLOAT64;
  } else if constexpr (IsId<T>::value || std::is_same_v<T, uint64_t>) {
    return Wire::UINT64;
  } else if constexpr (std::is_same_v<T, Duration> || std::is_same_v<T, int64_t>) {
    return Wire::INT64;
  } else if constexpr (std::is_same_v<T, uint32_t>) {
    return Wire::UINT32;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return Wire::INT32;
  } else if constexpr (std::is_same_v<T, uint16_t>) {
    return Wire::UINT16;
  } else {
    static_assert(std::is_same_v<T, uint8_t>, "this type has no Cap'n Proto form yet");
    return Wire::UINT8;
  }
}

inline uint64_t Binder::DefaultBits(capnp::schema::Value::Reader value) {
  using Value = capnp::schema::Value;
  switch (value.which()) {
    case Value::BOOL: return value.getBool();
    case Value::ENUM: return value.getEnum();
    case Value::INT32: return ToBits(value.getInt32());
    case Value::INT64: return ToBits(static_cast<int64_t>(value.getInt64()));
    case Value::UINT8: return value.getUint8();
    case Value::UINT16: return value.getUint16();
    case Value::UINT32: return value.getUint32();
    case Value::UINT64: return value.getUint64();
    case Value::FLOAT64: return ToBits(value.getFloat64());
    default: return 0;
  }
}

template <class T>
void Binder::BindEnum(capnp::EnumSchema schema, FieldLayout* layout) {
  if (TypeName<T>() != ShortName(schema)) Complain(absl::StrCat("is an enum ", ShortName(schema)));
  layout->enumerants = static_cast<uint16_t>(schema.getEnumerants().size());
  std::vector<std::string> names;
  [&]<size_t... kValue>(std::index_sequence<kValue...>) {
    (names.emplace_back(EnumeratorName<static_cast<T>(kValue)>()), ...);
  }(std::make_index_sequence<kEnumerators<T>>());
  if (names.size() != layout->enumerants) {
    Complain(absl::StrCat("enum ", ShortName(schema), " has ", names.size(), " enumerators in C++, ",
                          layout->enumerants, " in the schema"));
    return;
  }
  for (size_t i = 0; i < names.size(); ++i) {
    std::string expected = schema.getEnumerants()[static_cast<unsigned>(i)].getProto().getName().cStr();
    expected[0] = static_cast<char>(std::toupper(expected[0]));
    if (names[i] != absl::StrCat("k", expected)) Complain(absl::StrCat("enumerator ", i, " is ", names[i], " here, ", expected, " there"));
  }
}

template <class T>
void Binder::BindType(capnp::Type type, FieldLayout* layout) {
  if constexpr (std::is_enum_v<T>) {
    type.isEnum() ? BindEnum<T>(type.asEnum(), layout) : Complain("is not an enum in the schema");
  } else if constexpr (kIsDataField<T>) {
    if (type.which() != WireType<T>()) Complain("has another type in the schema");
  } else if constexpr (kIsBytes<T>) {
    layout->is_text = type.isText();
    if (!type.isData() && !(type.isText() && std::is_same_v<T, std::string>)) Complain("holds bytes in C++ only");
  } else if constexpr (kIsList<T>) {
    using Element = typename T::value_type;
    static_assert(!std::is_same_v<Element, bool> && !std::is_enum_v<Element>, "lists of these have no form yet");
    type.isList() ? BindType<Element>(type.asList().getElementType(), layout) : Complain("is not a list in the schema");
  } else {
    type.isStruct() ? BindStruct<T>(type.asStruct()) : Complain("is not a struct in the schema");
  }
}

template <class T>
void Binder::FieldBinder::BindField(const T& default_value) {
  const uint32_t index = count_++;
  if (index >= schema_.getFields().size() || index >= kMaxFields) return;
  const capnp::StructSchema::Field field = schema_.getFields()[index];
  binder_->place_ = absl::StrCat(ShortName(schema_), " field ", index, " (", field.getProto().getName().cStr(), ")");
  if (!field.getProto().isSlot()) return binder_->Complain("is a group");
  const auto slot = field.getProto().getSlot();
  FieldLayout& layout = layout_->fields[index];
  layout.at = slot.getOffset();
  if constexpr (kIsDataField<T>) {
    if constexpr (!std::is_same_v<T, bool>) layout.at *= static_cast<uint32_t>(sizeof(Stored<T>));
    layout.default_bits = DefaultBits(slot.getDefaultValue());
    if (layout.default_bits != ToBits(default_value)) binder_->Complain("has another default in the schema");
  }
  binder_->BindType<T>(field.getType(), &layout);
}

template <class T>
void Binder::BindStruct(capnp::StructSchema schema) {
  StructLayout& layout = g_layout<T>;
  const auto node = schema.getProto();
  if (layout.schema_id != 0) {
    if (layout.schema_id != node.getId()) Complain(absl::StrCat("one C++ type, but ", ShortName(schema), " here"));
    return;
  }
  layout.schema_id = node.getId();
  layout.data_words = node.getStruct().getDataWordCount();
  layout.pointers = node.getStruct().getPointerCount();
  FieldBinder fields(this, schema, &layout);
  T value{};
  if constexpr (shoal::internal::IsPair<T>::value) {
    fields(value.first, value.second);
  } else {
    value.Fields(fields);
  }
  place_ = ShortName(schema);
  if constexpr (!shoal::internal::IsPair<T>::value) {
    if (TypeName<T>() != place_) Complain(absl::StrCat("is ", std::string(TypeName<T>()), " in C++"));
  }
  if (fields.count() != schema.getFields().size() || fields.count() > kMaxFields) {
    Complain(absl::StrCat("has ", fields.count(), " fields in C++, ", schema.getFields().size(), " in the schema (",
                          kMaxFields, " at most)"));
  }
}

// Where schema/*.capnp and the headers differ, for all messages; empty in a tree that passes its tests.
const std::vector<std::string>& SchemaProblems();

}  // namespace shoal::codec
