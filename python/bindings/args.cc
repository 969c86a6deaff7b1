#include "python/bindings/args.h"

#include <cstring>
#include <string>

#include "absl/container/inlined_vector.h"

namespace shoal::python {
namespace {

enum ArgTag : uint8_t { kNone = 1, kFalse, kTrue, kInt, kFloat, kStr, kBytes, kRef, kValue };

// Shorter builtins are copied into the message without a look at their size class.
constexpr Py_ssize_t kSmallBytes = 4096;
// An argument above this goes to the store once the message as a whole has reached the inline limit.
constexpr uint64_t kWorthStoring = 1024;

void AppendShort(ArgTag tag, const char* data, Py_ssize_t size, ByteWriter* bytes) {
  bytes->AppendByte(tag);
  bytes->AppendNumber(static_cast<uint32_t>(size));
  bytes->Append(data, static_cast<size_t>(size));
}

// True if the argument was one of the small builtins and has been written.
bool AppendBuiltin(PyObject* arg, EncodedArgs* out) {
  ByteWriter& bytes = out->bytes;
  PyTypeObject* type = Py_TYPE(arg);
  if (arg == Py_None || type == &PyBool_Type) {
    bytes.AppendByte(arg == Py_None ? kNone : arg == Py_True ? kTrue : kFalse);
    return true;
  }
  if (type == &PyLong_Type) {
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(arg, &overflow);
    if (overflow != 0) return false;
    bytes.AppendByte(kInt);
    bytes.AppendNumber(value);
    return true;
  }
  if (type == &PyFloat_Type) {
    bytes.AppendByte(kFloat);
    bytes.AppendNumber(PyFloat_AS_DOUBLE(arg));
    return true;
  }
  if (type == &PyUnicode_Type) {
    Py_ssize_t size = 0;
    const char* utf8 = PyUnicode_AsUTF8AndSize(arg, &size);
    if (utf8 == nullptr) PyErr_Clear();
    if (utf8 == nullptr || size > kSmallBytes) return false;
    AppendShort(kStr, utf8, size, &bytes);
    return true;
  }
  if (type == &PyBytes_Type && PyBytes_GET_SIZE(arg) <= kSmallBytes) {
    AppendShort(kBytes, PyBytes_AS_STRING(arg), PyBytes_GET_SIZE(arg), &bytes);
    return true;
  }
  return false;
}

bool AppendRef(PyObjectRef* ref, EncodedArgs* out) {
  if (!CheckCurrent(ref)) return false;
  out->bytes.AppendByte(kRef);
  out->refs.push_back(ref->info);
  return true;
}

bool AppendValue(PyObject* arg, EncodedArgs* out) {
  Encoded value;
  if (!value.Encode(arg)) return false;
  const bool large = value.size() > kInlineLimitBytes ||
                     (value.size() > kWorthStoring && out->bytes.size() + value.size() > kInlineLimitBytes);
  if (large) {
    absl::StatusOr<ObjectRefInfo> put;
    {
      WithoutGil unlocked;
      put = session.core->Put({value.size(), [&value](char* to) { value.CopyTo(to); }, value.contained(), {}});
    }
    if (!put.ok()) return RaiseStatus(put.status()) != nullptr;
    out->kept.emplace_back(NewObjectRef(*put));
    return out->kept.back() && AppendRef(AsObjectRef(out->kept.back().get()), out);
  }
  out->bytes.AppendByte(kValue);
  out->bytes.AppendNumber(static_cast<uint32_t>(value.size()));
  while (out->bytes.size() % 8 != 0) out->bytes.AppendByte(0);
  value.CopyTo(out->bytes.Extend(value.size()));
  out->nested.insert(out->nested.end(), value.contained().begin(), value.contained().end());
  return true;
}

}  // namespace

bool EncodeArgs(PyObject* const* args, size_t nargs, PyObject* keyword_names, EncodedArgs* out) {
  const size_t keywords = keyword_names == nullptr ? 0 : static_cast<size_t>(PyTuple_GET_SIZE(keyword_names));
  if (nargs + keywords == 0) return true;
  if (nargs > UINT16_MAX || keywords > UINT16_MAX) {
    PyErr_SetString(PyExc_ValueError, "A call takes at most 65535 arguments; pass a list instead.");
    return false;
  }
  out->bytes.AppendNumber(static_cast<uint16_t>(nargs));
  out->bytes.AppendNumber(static_cast<uint16_t>(keywords));
  for (size_t i = 0; i < nargs + keywords; ++i) {
    PyObject* arg = args[i];
    const bool ok = IsObjectRef(arg) ? AppendRef(AsObjectRef(arg), out) : AppendBuiltin(arg, out) || AppendValue(arg, out);
    if (!ok) return false;
  }
  for (size_t i = 0; i < keywords; ++i) {
    Py_ssize_t size = 0;
    const char* name = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(keyword_names, i), &size);
    if (name == nullptr) return false;
    out->bytes.AppendNumber(static_cast<uint32_t>(size));
    out->bytes.Append(name, static_cast<size_t>(size));
  }
  return true;
}

namespace {

// Reads `bytes` from the front; every take is checked.
class Reader {
 public:
  explicit Reader(const Payload& payload) : all_(payload.view()) {}
  bool Take(size_t size, std::string_view* part) {
    if (all_.size() - at_ < size) return false;
    *part = all_.substr(at_, size);
    at_ += size;
    return true;
  }
  template <class T>
  bool Number(T* number) {
    std::string_view part;
    if (!Take(sizeof(T), &part)) return false;
    std::memcpy(number, part.data(), sizeof(T));
    return true;
  }
  bool Sized(std::string_view* part) {
    uint32_t size = 0;
    return Number(&size) && Take(size, part);
  }
  bool Aligned(std::string_view* part) {
    uint32_t size = 0;
    if (!Number(&size)) return false;
    std::string_view padding;
    return Take((8 - at_ % 8) % 8, &padding) && Take(size, part);
  }
  bool exhausted() const { return at_ == all_.size(); }

 private:
  std::string_view all_;
  size_t at_ = 0;
};

PyObject* Malformed() {
  PyErr_SetString(PyExc_ValueError, "Arguments are malformed; the caller and this worker run different versions.");
  return nullptr;
}

PyObject* DecodeRef(const TaskSpec& spec, const std::vector<io::PinnedBytes>& stored, size_t index) {
  if (index >= spec.refs.size()) return Malformed();
  const ArgRef& arg = spec.refs[index];
  if (arg.value.error) return RaiseErrorInfo(arg.value.error);
  Keep keep;
  if (index < stored.size() && stored[index]) {
    keep.pinned = stored[index];
  } else {
    keep.data = arg.value.data;
  }
  return DecodeValue(keep.view(), keep, arg.ref.id);
}

PyObject* DecodeArg(Reader* reader, const TaskSpec& spec, const std::vector<io::PinnedBytes>& stored,
                    size_t* next_ref) {
  uint8_t tag = 0;
  std::string_view part;
  if (!reader->Number(&tag)) return Malformed();
  switch (tag) {
    case kNone: Py_RETURN_NONE;
    case kFalse: Py_RETURN_FALSE;
    case kTrue: Py_RETURN_TRUE;
    case kInt: {
      int64_t value = 0;
      return reader->Number(&value) ? PyLong_FromLongLong(value) : Malformed();
    }
    case kFloat: {
      double value = 0;
      return reader->Number(&value) ? PyFloat_FromDouble(value) : Malformed();
    }
    case kStr:
      if (!reader->Sized(&part)) return Malformed();
      return PyUnicode_DecodeUTF8(part.data(), static_cast<Py_ssize_t>(part.size()), nullptr);
    case kBytes:
      if (!reader->Sized(&part)) return Malformed();
      return PyBytes_FromStringAndSize(part.data(), static_cast<Py_ssize_t>(part.size()));
    case kRef: return DecodeRef(spec, stored, (*next_ref)++);
    case kValue:
      if (!reader->Aligned(&part)) return Malformed();
      return DecodeValue(part, Keep{spec.args, {}}, std::nullopt);
    default: return Malformed();
  }
}

}  // namespace

bool DecodedArgs::Decode(const TaskSpec& spec, const std::vector<io::PinnedBytes>& stored) {
  if (spec.args.empty()) return true;
  // The views of values point into this copy, which shares the bytes of spec.args when they are many.
  Reader reader(spec.args);
  uint16_t positional = 0, keywords = 0;
  if (!reader.Number(&positional) || !reader.Number(&keywords)) return Malformed() != nullptr;
  positional_ = positional;
  values_.reserve(size_t{positional} + keywords);
  size_t next_ref = 0;
  for (size_t i = 0; i < size_t{positional} + keywords; ++i) {
    values_.emplace_back(DecodeArg(&reader, spec, stored, &next_ref));
    if (!values_.back()) return false;
  }
  if (keywords > 0) keyword_names_ = Ref(PyTuple_New(keywords));
  for (size_t i = 0; i < keywords; ++i) {
    std::string_view name;
    if (!reader.Sized(&name)) return Malformed() != nullptr;
    PyObject* text = PyUnicode_DecodeUTF8(name.data(), static_cast<Py_ssize_t>(name.size()), nullptr);
    if (text == nullptr) return false;
    PyUnicode_InternInPlace(&text);
    PyTuple_SET_ITEM(keyword_names_.get(), i, text);
  }
  return reader.exhausted() || Malformed() != nullptr;
}

PyObject* DecodedArgs::Call(PyObject* callable, PyObject* self) const {
  absl::InlinedVector<PyObject*, 8> stack;
  if (self != nullptr) stack.push_back(self);
  for (const Ref& value : values_) stack.push_back(value.get());
  return PyObject_Vectorcall(callable, stack.data(), positional_ + (self != nullptr), keyword_names_.get());
}

Ref DecodedArgs::ToTuple() const {
  Ref positional(PyTuple_New(static_cast<Py_ssize_t>(positional_)));
  Ref keywords(PyDict_New());
  if (!positional || !keywords) return {};
  for (size_t i = 0; i < positional_; ++i) PyTuple_SET_ITEM(positional.get(), i, Ref(values_[i]).release());
  for (size_t i = positional_; i < values_.size(); ++i) {
    if (PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(keyword_names_.get(), i - positional_), values_[i].get()) < 0) {
      return {};
    }
  }
  return Ref(PyTuple_Pack(2, positional.get(), keywords.get()));
}

}  // namespace shoal::python
