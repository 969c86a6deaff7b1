// Encoding and decoding by the tables of codec_layout.h, over capnp's untyped structs: its own builder and reader do the
// allocation, the pointers and the bounds, the tables say which member goes where.
#include "schema/codec.h"

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "message.capnp.h"
#include "schema/codec_layout.h"

namespace shoal {
namespace codec {
namespace {

using capnp::AnyList;
using capnp::AnyPointer;
using capnp::AnyStruct;
using capnp::ElementSize;

inline constexpr size_t kMessages = std::variant_size_v<MessageVariant>;

// The root: a union, whose alternatives share one pointer.
struct RootLayout {
  uint16_t data_words = 0;
  uint16_t pointers = 0;
  uint32_t tag_at = 0;                       // byte in the data section
  uint32_t pointer = 0;
  std::array<uint16_t, kMessages> tags{};    // by index in the variant
  std::vector<size_t> indices;               // by tag
  std::vector<std::string> problems;
};

template <size_t kIndex>
void BindAlternative(capnp::StructSchema schema, Binder* binder, RootLayout* root) {
  using T = std::variant_alternative_t<kIndex, MessageVariant>;
  std::string name(TypeName<T>());
  name[0] = static_cast<char>(std::tolower(name[0]));
  KJ_IF_MAYBE(field, schema.findFieldByName(name.c_str())) {
    const uint16_t tag = field->getProto().getDiscriminantValue();
    root->tags[kIndex] = tag;
    root->indices[tag] = kIndex;
    if (!field->getType().isStruct() || field->getProto().getSlot().getOffset() != root->pointer) {
      root->problems.push_back(absl::StrCat("Message.", name, " is not a struct"));
      return;
    }
    binder->BindStruct<T>(field->getType().asStruct());
  } else {
    root->problems.push_back(absl::StrCat("schema/message.capnp has no alternative ", name));
  }
}

RootLayout BindAll() {
  const capnp::StructSchema schema = capnp::Schema::from<wire::Message>();
  const auto node = schema.getProto().getStruct();
  RootLayout root{.data_words = node.getDataWordCount(),
                  .pointers = node.getPointerCount(),
                  .tag_at = node.getDiscriminantOffset() * 2};
  root.indices.assign(schema.getUnionFields().size(), kMessages);
  Binder binder;
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) {
    (BindAlternative<kIndex>(schema, &binder, &root), ...);
  }(std::make_index_sequence<kMessages>());
  if (schema.getFields().size() != kMessages) root.problems.push_back("schema/message.capnp has alternatives that Message lacks");
  root.problems.insert(root.problems.end(), binder.problems().begin(), binder.problems().end());
  return root;
}

const RootLayout& BoundRoot() {
  static const RootLayout& root = *new RootLayout(BindAll());
  return root;
}

const RootLayout& Root() {
  const RootLayout& root = BoundRoot();
  SHOAL_CHECK(root.problems.empty()) << absl::StrJoin(root.problems, "; ");
  return root;
}

// ---- writing

template <class T>
constexpr ElementSize ElementSizeOf() {
  return sizeof(T) == 8   ? ElementSize::EIGHT_BYTES
         : sizeof(T) == 4 ? ElementSize::FOUR_BYTES
         : sizeof(T) == 2 ? ElementSize::TWO_BYTES
                          : ElementSize::BYTE;
}

template <class T>
void WriteStruct(T& value, AnyStruct::Builder to);

// Empty strings, payloads and lists stay null pointers.
template <class T>
void WritePointer(T& value, const FieldLayout& field, AnyPointer::Builder to);

template <class Element>
void WriteList(Element* elements, size_t count, const FieldLayout& field, AnyPointer::Builder to) {
  const unsigned size = static_cast<unsigned>(count);
  if constexpr (kIsDataField<Element>) {
    auto list = to.initAsAnyList(ElementSizeOf<Element>(), size).template as<capnp::List<Stored<Element>>>();
    for (unsigned i = 0; i < size; ++i) list.set(i, static_cast<Stored<Element>>(ToBits(elements[i])));
  } else if constexpr (kIsBytes<Element> || kIsList<Element>) {
    auto list = to.initAsAnyList(ElementSize::POINTER, size).as<capnp::List<AnyPointer>>();
    for (unsigned i = 0; i < size; ++i) WritePointer(elements[i], field, list[i]);
  } else {
    const StructLayout& layout = g_layout<Element>;
    auto list = to.initAsListOfAnyStruct(layout.data_words, layout.pointers, size);
    for (unsigned i = 0; i < size; ++i) WriteStruct(elements[i], list[i]);
  }
}

template <class T>
void WritePointer(T& value, const FieldLayout& field, AnyPointer::Builder to) {
  if constexpr (kIsBytes<T>) {
    if (value.empty()) return;
    if (field.is_text) {
      if constexpr (std::is_same_v<T, std::string>) to.setAs<capnp::Text>({value.c_str(), value.size()});
    } else {
      to.setAs<capnp::Data>({reinterpret_cast<const kj::byte*>(value.data()), value.size()});
    }
  } else if constexpr (shoal::internal::IsVector<T>::value) {
    if (!value.empty()) WriteList(value.data(), value.size(), field, to);
  } else if constexpr (shoal::internal::IsOptional<T>::value) {
    if (value) WriteList(&*value, 1, field, to);
  } else {
    WriteStruct(value, to.initAsAnyStruct(g_layout<T>.data_words, g_layout<T>.pointers));
  }
}

class Writer {
 public:
  Writer(const StructLayout& layout, AnyStruct::Builder to)
      : field_(layout.fields.data()), data_(to.getDataSection().begin()), pointers_(to.getPointerSection()) {}

  template <class... T>
  void operator()(T&... values) {
    (Write(values, *field_++), ...);
  }

 private:
  template <class T>
  void Write(T& value, const FieldLayout& field) {
    if constexpr (std::is_same_v<T, bool>) {
      const bool bit = value != (field.default_bits != 0);
      data_[field.at / 8] |= static_cast<kj::byte>(bit << (field.at % 8));
    } else if constexpr (kIsDataField<T>) {
      const auto bits = static_cast<Stored<T>>(ToBits(value) ^ field.default_bits);
      std::memcpy(data_ + field.at, &bits, sizeof(bits));
    } else {
      WritePointer(value, field, pointers_[field.at]);
    }
  }

  const FieldLayout* field_;
  kj::byte* data_;
  capnp::List<AnyPointer>::Builder pointers_;
};

template <class T>
void WriteStruct(T& value, AnyStruct::Builder to) {
  Writer writer(g_layout<T>, to);
  if constexpr (shoal::internal::IsPair<T>::value) {
    writer(value.first, value.second);
  } else {
    value.Fields(writer);
  }
}

// ---- reading

// What one message may still make us allocate for list elements, and the first thing that was wrong with it.
struct Progress {
  uint64_t memory_left = 0;
  std::string problem;
  void Fail(std::string what) {
    if (problem.empty()) problem = std::move(what);
  }
};

// Honest lists take at most five times as much memory as bytes on the wire (std::string for an empty text).
inline constexpr uint64_t kMemoryPerByte = 16;

template <class T>
void ReadStruct(AnyStruct::Reader from, Progress* progress, T* value);

template <class T>
void ReadPointer(AnyPointer::Reader from, const FieldLayout& field, Progress* progress, T* value);

template <class Element>
void ReadList(AnyPointer::Reader from, const FieldLayout& field, Progress* progress, size_t most,
              std::vector<Element>* elements) {
  const AnyList::Reader any = from.getAs<AnyList>();
  const unsigned size = any.size();
  if (size == 0) return;
  const uint64_t memory = uint64_t{size} * sizeof(Element);
  if (size > most || memory > progress->memory_left) return progress->Fail("a list is longer than its message can hold");
  progress->memory_left -= memory;
  const ElementSize expected = kIsDataField<Element>                        ? ElementSizeOf<Element>()
                               : kIsBytes<Element> || kIsList<Element> ? ElementSize::POINTER
                                                                            : ElementSize::INLINE_COMPOSITE;
  if (any.getElementSize() != expected) return progress->Fail("a list has elements of another type");
  elements->resize(size);
  if constexpr (kIsDataField<Element>) {
    const auto list = any.as<capnp::List<Stored<Element>>>();
    for (unsigned i = 0; i < size; ++i) FromBits(list[i], &(*elements)[i]);
  } else if constexpr (kIsBytes<Element> || kIsList<Element>) {
    const auto list = any.as<capnp::List<AnyPointer>>();
    for (unsigned i = 0; i < size; ++i) ReadPointer(list[i], field, progress, &(*elements)[i]);
  } else {
    const auto list = any.as<capnp::List<AnyStruct>>();
    for (unsigned i = 0; i < size && progress->problem.empty(); ++i) ReadStruct(list[i], progress, &(*elements)[i]);
  }
}

std::string_view ReadBytes(AnyPointer::Reader from, bool is_text) {
  if (is_text) {
    const capnp::Text::Reader text = from.getAs<capnp::Text>();
    return {text.begin(), text.size()};
  }
  const capnp::Data::Reader data = from.getAs<capnp::Data>();
  return {reinterpret_cast<const char*>(data.begin()), data.size()};
}

// A null pointer leaves the default in place.
template <class T>
void ReadPointer(AnyPointer::Reader from, const FieldLayout& field, Progress* progress, T* value) {
  if (from.isNull()) return;
  if constexpr (kIsBytes<T>) {
    *value = T(ReadBytes(from, field.is_text));
  } else if constexpr (shoal::internal::IsVector<T>::value) {
    ReadList(from, field, progress, UINT32_MAX, value);
  } else if constexpr (shoal::internal::IsOptional<T>::value) {
    std::vector<typename T::value_type> elements;
    ReadList(from, field, progress, 1, &elements);
    if (!elements.empty()) *value = std::move(elements.front());
  } else {
    ReadStruct(from.getAs<AnyStruct>(), progress, value);
  }
}

class Reader {
 public:
  Reader(const StructLayout& layout, AnyStruct::Reader from, Progress* progress)
      : field_(layout.fields.data()), data_(from.getDataSection()), pointers_(from.getPointerSection()), progress_(progress) {}

  template <class... T>
  void operator()(T&... values) {
    (Read(values, *field_++), ...);
  }

 private:
  // An older peer's structs are shorter; what they lack has its default.
  template <class T>
  void Read(T& value, const FieldLayout& field) {
    if constexpr (std::is_same_v<T, bool>) {
      const bool bit = field.at / 8 < data_.size() && (data_[field.at / 8] >> (field.at % 8) & 1);
      value = bit != (field.default_bits != 0);
    } else if constexpr (kIsDataField<T>) {
      Stored<T> bits = 0;
      if (field.at + sizeof(bits) <= data_.size()) std::memcpy(&bits, data_.begin() + field.at, sizeof(bits));
      bits = static_cast<Stored<T>>(bits ^ field.default_bits);
      if constexpr (std::is_enum_v<T>) {
        if (bits >= field.enumerants) {
          return progress_->Fail(absl::StrCat(std::string(TypeName<T>()), " has no value ", bits, " here"));
        }
      }
      FromBits(bits, &value);
    } else {
      if (field.at < pointers_.size()) ReadPointer(pointers_[field.at], field, progress_, &value);
    }
  }

  const FieldLayout* field_;
  kj::ArrayPtr<const kj::byte> data_;
  capnp::List<AnyPointer>::Reader pointers_;
  Progress* progress_;
};

// The sums in the scheduler rely on this form, so it is checked where it comes in.
bool IsCanonical(const ResourceSet& resources) {
  const auto& amounts = resources.amounts();
  const auto not_ascending = [](const auto& a, const auto& b) { return a.first >= b.first; };
  return std::adjacent_find(amounts.begin(), amounts.end(), not_ascending) == amounts.end() &&
         std::all_of(amounts.begin(), amounts.end(), [](const auto& amount) { return amount.second != 0; });
}

template <class T>
void ReadStruct(AnyStruct::Reader from, Progress* progress, T* value) {
  Reader reader(g_layout<T>, from, progress);
  if constexpr (shoal::internal::IsPair<T>::value) {
    reader(value->first, value->second);
  } else {
    value->Fields(reader);
  }
  if constexpr (std::is_same_v<T, ResourceSet>) {
    if (!IsCanonical(*value)) progress->Fail("resources are not sorted by name without zeros");
  }
}

template <size_t kIndex>
void ReadAlternative(AnyPointer::Reader from, Progress* progress, Message* message) {
  auto& value = message->emplace<kIndex>();
  ReadPointer(from, FieldLayout{}, progress, &value);
}

using ReadFunction = void (*)(AnyPointer::Reader, Progress*, Message*);

template <size_t... kIndex>
constexpr std::array<ReadFunction, kMessages> ReadFunctions(std::index_sequence<kIndex...>) {
  return {ReadAlternative<kIndex>...};
}
constexpr auto kReadFunctions = ReadFunctions(std::make_index_sequence<kMessages>());

void ReadRoot(AnyPointer::Reader from, Progress* progress, Message* message) {
  if (!from.isStruct()) return progress->Fail("it is empty");
  const RootLayout& layout = Root();
  const AnyStruct::Reader root = from.getAs<AnyStruct>();
  const auto data = root.getDataSection();
  uint16_t tag = 0;
  if (layout.tag_at + sizeof(tag) <= data.size()) std::memcpy(&tag, data.begin() + layout.tag_at, sizeof(tag));
  if (tag >= layout.indices.size()) return progress->Fail(absl::StrCat("kind ", tag, " is unknown here"));
  const auto pointers = root.getPointerSection();
  if (layout.pointer >= pointers.size()) return progress->Fail("it is empty");
  kReadFunctions[layout.indices[tag]](pointers[layout.pointer], progress, message);
}

// Memory for one message at a time per thread, kept between messages unless it grew large.
class Scratch {
 public:
  // Zeroed in the beginning; what is used must be zeroed again.
  kj::ArrayPtr<capnp::word> ForBuilding() {
    if (words_ == nullptr) words_ = std::make_unique<uint64_t[]>(kWords);
    return {reinterpret_cast<capnp::word*>(words_.get()), kWords};
  }
  kj::ArrayPtr<const capnp::word> Align(std::string_view bytes) {
    const size_t words = bytes.size() / sizeof(uint64_t);
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) == 0) {
      return {reinterpret_cast<const capnp::word*>(bytes.data()), words};
    }
    if (words > aligned_words_ || aligned_words_ > kMostKeptWords) {
      aligned_words_ = std::max(words, kWords);
      aligned_.reset(new uint64_t[aligned_words_]);
    }
    std::memcpy(aligned_.get(), bytes.data(), bytes.size());
    return {reinterpret_cast<const capnp::word*>(aligned_.get()), words};
  }

 private:
  static constexpr size_t kWords = 4096;
  static constexpr size_t kMostKeptWords = size_t{1} << 17;
  std::unique_ptr<uint64_t[]> words_;
  std::unique_ptr<uint64_t[]> aligned_;
  size_t aligned_words_ = 0;
};

// A pointer, because messages are encoded also after the destructors of a thread's objects have run: in atexit. Then one is made anew.
thread_local Scratch* t_scratch = nullptr;

struct ScratchOwner {
  ~ScratchOwner() { delete std::exchange(t_scratch, nullptr); }
};

Scratch& ThreadScratch() {
  if (t_scratch == nullptr) {
    thread_local ScratchOwner owner;
    t_scratch = new Scratch();
  }
  return *t_scratch;
}

absl::Status NotAMessage(std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("these bytes are not a message that this version of Shoal understands: ", std::string(why)));
}

}  // namespace

const std::vector<std::string>& SchemaProblems() { return BoundRoot().problems; }

}  // namespace codec

std::string EncodeMessage(const Message& message) {
  const codec::RootLayout& layout = codec::Root();
  capnp::MallocMessageBuilder builder(codec::ThreadScratch().ForBuilding());
  capnp::AnyStruct::Builder root = builder.getRoot<capnp::AnyPointer>().initAsAnyStruct(layout.data_words, layout.pointers);
  std::memcpy(root.getDataSection().begin() + layout.tag_at, &layout.tags[message.index()], sizeof(uint16_t));
  std::visit(
      [&](const auto& value) {
        // Fields is one template for reading and writing, so it is not const.
        using T = std::decay_t<decltype(value)>;
        codec::WritePointer(const_cast<T&>(value), codec::FieldLayout{}, root.getPointerSection()[layout.pointer]);
      },
      message);
  const auto segments = builder.getSegmentsForOutput();
  std::string bytes(capnp::computeSerializedSizeInWords(segments) * sizeof(capnp::word), '\0');
  kj::ArrayOutputStream stream({reinterpret_cast<kj::byte*>(bytes.data()), bytes.size()});
  capnp::writeMessage(stream, segments);
  return bytes;
}

absl::StatusOr<Message> DecodeMessage(std::string_view bytes) {
  if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0) return codec::NotAMessage("it is not made of whole words");
  capnp::ReaderOptions options;
  options.traversalLimitInWords = std::max<uint64_t>(bytes.size() / sizeof(capnp::word) * 4, 1024);
  options.nestingLimit = 16;
  codec::Progress progress{.memory_left = bytes.size() * codec::kMemoryPerByte};
  Message message;
  try {
    const auto words = codec::ThreadScratch().Align(bytes);
    capnp::FlatArrayMessageReader reader(words, options);
    if (reader.getEnd() != words.end()) return codec::NotAMessage("something follows its end");
    codec::ReadRoot(reader.getRoot<capnp::AnyPointer>(), &progress, &message);
  } catch (const kj::Exception& exception) {
    return codec::NotAMessage(exception.getDescription().cStr());
  }
  if (!progress.problem.empty()) return codec::NotAMessage(progress.problem);
  return message;
}

}  // namespace shoal
