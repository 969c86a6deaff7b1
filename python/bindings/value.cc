#include "python/bindings/value.h"

#include <cstring>
#include <new>
#include <utility>

namespace shoal::python {
namespace {

enum Tag : uint8_t {
  kTagNone = 1,
  kTagFalse,
  kTagTrue,
  kTagInt,
  kTagFloat,
  kTagStr,
  kTagBytes,
  kTagBytearray,
  kTagMemoryview,  // format length u8, dimensions u8, 5 zero bytes, shape i64 each, format, pad to 64, bytes
  kTagPickle,
  kTagPickleBuffers,
};

constexpr uint64_t kAlignment = 64;
constexpr size_t kHeaderBytes = 16;
constexpr size_t kEntryBytes = 16;
constexpr int kMaxPlainDepth = 16;
constexpr Py_ssize_t kMaxPlainItems = 100'000;

uint64_t AlignUp(uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

template <class T>
T Load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

PyObject* Malformed() {
  PyErr_SetString(PyExc_ValueError, "A stored value is malformed; its writer and this process run different versions.");
  return nullptr;
}

// ---- the buffer under decoded arrays

struct PyPinned {
  PyObject_HEAD
  Keep keep;
  size_t offset, size;
};

void PinnedDealloc(PyObject* object) {
  reinterpret_cast<PyPinned*>(object)->keep.~Keep();
  PyObject_Free(object);
}

int PinnedGetBuffer(PyObject* object, Py_buffer* view, int flags) {
  auto* self = reinterpret_cast<PyPinned*>(object);
  char* data = const_cast<char*>(self->keep.view().data()) + self->offset;
  return PyBuffer_FillInfo(view, object, data, static_cast<Py_ssize_t>(self->size), /*readonly=*/1, flags);
}

PyBufferProcs pinned_buffer_procs = {PinnedGetBuffer, nullptr};
PyTypeObject pinned_type = {
    PyVarObject_HEAD_INIT(nullptr, 0) "shoal._shoal._Pinned",
};

PyObject* NewPinned(const Keep& keep, std::string_view bytes) {
  PyPinned* self = PyObject_New(PyPinned, &pinned_type);
  if (self == nullptr) return nullptr;
  new (&self->keep) Keep(keep);
  self->offset = static_cast<size_t>(bytes.data() - keep.view().data());
  self->size = bytes.size();
  return reinterpret_cast<PyObject*>(self);
}

// ---- which objects need no cloudpickle

// True for trees of builtins, references and arrays of numbers: nothing in them is pickled by the name of something that
// the other side may lack. `budget` bounds the walk.
bool IsPlain(PyObject* object, int depth, Py_ssize_t* budget) {
  if (--*budget < 0 || depth > kMaxPlainDepth) return false;
  PyTypeObject* type = Py_TYPE(object);
  if (object == Py_None || type == &PyLong_Type || type == &PyUnicode_Type || type == &PyBytes_Type ||
      type == &PyFloat_Type || type == &PyBool_Type || type == &PyComplex_Type || type == &object_ref_type ||
      type == &PyByteArray_Type) {
    return true;
  }
  if (type == &PyTuple_Type || type == &PyList_Type) {
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(object);
    for (Py_ssize_t i = 0; i < size; ++i) {
      if (!IsPlain(PySequence_Fast_GET_ITEM(object, i), depth + 1, budget)) return false;
    }
    return true;
  }
  if (type == &PyDict_Type) {
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(object, &position, &key, &value)) {
      if (!IsPlain(key, depth + 1, budget) || !IsPlain(value, depth + 1, budget)) return false;
    }
    return true;
  }
  if (reinterpret_cast<PyObject*>(type) == hooks.ndarray_type && hooks.ndarray_type != nullptr) {
    Ref dtype(PyObject_GetAttrString(object, "dtype"));
    Ref has_object(dtype ? PyObject_GetAttrString(dtype.get(), "hasobject") : nullptr);
    if (has_object) return has_object.get() == Py_False;
    PyErr_Clear();
  }
  return false;
}

// numpy is not imported for its own sake: once the program has it, arrays take the fast way.
void NoticeNumpy() {
  if (hooks.ndarray_type != nullptr) return;
  PyObject* modules = PyImport_GetModuleDict();
  PyObject* numpy = PyDict_GetItemString(modules, "numpy");
  if (numpy == nullptr) return;
  hooks.ndarray_type = PyObject_GetAttrString(numpy, "ndarray");
  if (hooks.ndarray_type == nullptr) PyErr_Clear();  // still being imported
}

PyObject* CollectBuffer(PyObject*, PyObject* buffer) {
  if (pickle_scope == nullptr || pickle_scope->buffers == nullptr) Py_RETURN_TRUE;
  Py_INCREF(buffer);
  pickle_scope->buffers->push_back(buffer);
  Py_RETURN_FALSE;
}
PyMethodDef collect_buffer_def = {"_collect_buffer", CollectBuffer, METH_O, nullptr};
PyObject* collect_buffer = nullptr;
PyObject* buffer_callback_name = nullptr;  // ("buffer_callback",)
PyObject* buffers_name = nullptr;          // ("buffers",)
PyObject* protocol_five = nullptr;

}  // namespace

Encoded::~Encoded() {
  for (Py_buffer& buffer : buffers_) PyBuffer_Release(&buffer);
}

void Encoded::SetSmall(uint8_t tag, const void* data, size_t size) {
  small_[0] = static_cast<char>(tag);
  if (size > 0) std::memcpy(small_ + 1, data, size);
  small_size_ = static_cast<uint32_t>(size + 1);
  size_ = small_size_;
}

bool Encoded::Encode(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  if (object == Py_None) return SetSmall(kTagNone, nullptr, 0), true;
  if (type == &PyBool_Type) return SetSmall(object == Py_True ? kTagTrue : kTagFalse, nullptr, 0), true;
  if (type == &PyLong_Type) {
    int overflow = 0;
    const int64_t value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) return SetSmall(kTagInt, &value, sizeof(value)), true;
    return EncodePickle(object);
  }
  if (type == &PyFloat_Type) {
    const double value = PyFloat_AS_DOUBLE(object);
    return SetSmall(kTagFloat, &value, sizeof(value)), true;
  }
  if (type == &PyUnicode_Type) {
    Py_ssize_t size = 0;
    const char* utf8 = PyUnicode_AsUTF8AndSize(object, &size);
    if (utf8 == nullptr) {  // lone surrogates
      PyErr_Clear();
      return EncodePickle(object);
    }
    SetSmall(kTagStr, nullptr, 0);
    body_owner_ = Ref::Borrow(object);
    body_ = {utf8, static_cast<size_t>(size)};
    size_ += body_.size();
    return true;
  }
  if (type == &PyBytes_Type) return EncodeBytesLike(object, kTagBytes);
  if (type == &PyByteArray_Type) return EncodeBytesLike(object, kTagBytearray);
  if (type == &PyMemoryView_Type) return EncodeMemoryview(object);
  return EncodePickle(object);
}

bool Encoded::EncodeBytesLike(PyObject* object, uint8_t tag) {
  Py_buffer& buffer = buffers_.emplace_back();
  if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0) {
    buffers_.pop_back();
    return false;
  }
  SetSmall(tag, nullptr, 0);
  body_ = {static_cast<const char*>(buffer.buf), static_cast<size_t>(buffer.len)};
  size_ += body_.size();
  return true;
}

bool Encoded::EncodeMemoryview(PyObject* object) {
  Py_buffer& buffer = buffers_.emplace_back();
  if (PyObject_GetBuffer(object, &buffer, PyBUF_FULL_RO) < 0) {
    buffers_.pop_back();
    return false;
  }
  Ref contiguous;
  if (!PyBuffer_IsContiguous(&buffer, 'C')) {
    contiguous = Ref(PyMemoryView_GetContiguous(object, PyBUF_READ, 'C'));
    if (!contiguous) return false;
    PyBuffer_Release(&buffer);
    buffers_.pop_back();
    if (PyObject_GetBuffer(contiguous.get(), &buffers_.emplace_back(), PyBUF_FULL_RO) < 0) {
      buffers_.pop_back();
      return false;
    }
  }
  const Py_buffer& view = buffers_.front();
  const std::string_view format = view.format == nullptr ? "B" : view.format;
  if (format.size() > 255 || view.ndim > 64) {
    PyErr_SetString(PyExc_ValueError, "This memoryview has a format that cannot be stored; pass bytes instead.");
    return false;
  }
  table_.assign(8, '\0');
  table_[0] = static_cast<char>(kTagMemoryview);
  table_[1] = static_cast<char>(format.size());
  table_[2] = static_cast<char>(view.ndim);
  for (int i = 0; i < view.ndim; ++i) {
    const int64_t extent = view.shape[i];
    table_.append(reinterpret_cast<const char*>(&extent), sizeof(extent));
  }
  table_.append(format);
  table_.resize(AlignUp(table_.size()), '\0');
  body_ = {static_cast<const char*>(view.buf), static_cast<size_t>(view.len)};
  size_ = table_.size() + body_.size();
  return true;
}

bool Encoded::EncodePickle(PyObject* object) {
  NoticeNumpy();
  Py_ssize_t budget = kMaxPlainItems;
  PyObject* dumps = IsPlain(object, 0, &budget) ? hooks.plain_dumps : hooks.cloud_dumps;
  std::vector<PyObject*> picked;
  Ref pickled;
  {
    PickleScope scope(&contained_);
    scope.buffers = &picked;
    PyObject* args[] = {object, protocol_five, collect_buffer};
    pickled = Ref(PyObject_Vectorcall(dumps, args, 2, buffer_callback_name));
  }
  bool ok = static_cast<bool>(pickled) && PyBytes_CheckExact(pickled.get());
  buffers_.reserve(picked.size());
  for (PyObject* buffer : picked) {
    if (ok && PyObject_GetBuffer(buffer, &buffers_.emplace_back(), PyBUF_FULL_RO) < 0) {
      buffers_.pop_back();
      ok = false;
    }
    Py_DECREF(buffer);
  }
  if (!ok) return false;
  body_owner_ = std::move(pickled);
  body_ = {PyBytes_AS_STRING(body_owner_.get()), static_cast<size_t>(PyBytes_GET_SIZE(body_owner_.get()))};
  if (buffers_.empty()) {
    SetSmall(kTagPickle, nullptr, 0);
    size_ += body_.size();
    return true;
  }
  table_.assign(kHeaderBytes + kEntryBytes * buffers_.size(), '\0');
  table_[0] = static_cast<char>(kTagPickleBuffers);
  const auto count = static_cast<uint32_t>(buffers_.size());
  const uint64_t pickle_size = body_.size();
  std::memcpy(table_.data() + 4, &count, 4);
  std::memcpy(table_.data() + 8, &pickle_size, 8);
  size_ = table_.size() + body_.size();
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const uint64_t entry[2] = {AlignUp(size_), static_cast<uint64_t>(buffers_[i].len)};
    std::memcpy(table_.data() + kHeaderBytes + kEntryBytes * i, entry, sizeof(entry));
    offsets_.push_back(entry[0]);
    size_ = entry[0] + entry[1];
  }
  return true;
}

void Encoded::CopyTo(char* to) const {
  if (table_.empty()) {
    std::memcpy(to, small_, small_size_);
    if (!body_.empty()) std::memcpy(to + small_size_, body_.data(), body_.size());
    return;
  }
  std::memcpy(to, table_.data(), table_.size());
  if (!body_.empty()) std::memcpy(to + table_.size(), body_.data(), body_.size());
  uint64_t end = table_.size() + body_.size();
  for (size_t i = 0; i < offsets_.size(); ++i) {
    std::memset(to + end, 0, offsets_[i] - end);
    const Py_buffer& buffer = buffers_[i];
    if (buffer.len > 0) std::memcpy(to + offsets_[i], buffer.buf, static_cast<size_t>(buffer.len));
    end = offsets_[i] + static_cast<uint64_t>(buffer.len);
  }
}

Payload Encoded::ToPayload() const {
  return Payload::Allocate(size_, [this](char* to) { CopyTo(to); });
}

void ByteWriter::Grow(size_t more) {
  const bool first = heap_.empty();
  const size_t wanted = std::max(capacity() * 2, size_ + more);
  std::string next(wanted, '\0');
  std::memcpy(next.data(), first ? stack_ : heap_.data(), size_);
  heap_ = std::move(next);
}

namespace {

PyObject* DecodeMemoryview(std::string_view bytes, const Keep& keep) {
  if (bytes.size() < 8) return Malformed();
  const auto format_size = static_cast<uint8_t>(bytes[1]);
  const auto dimensions = static_cast<uint8_t>(bytes[2]);
  const uint64_t header = AlignUp(8 + 8 * uint64_t{dimensions} + format_size);
  if (bytes.size() < header) return Malformed();
  Ref pinned(NewPinned(keep, bytes.substr(header)));
  Ref flat(pinned ? PyMemoryView_FromObject(pinned.get()) : nullptr);
  if (!flat) return nullptr;
  const std::string_view format = bytes.substr(8 + 8 * size_t{dimensions}, format_size);
  if (format == "B" && dimensions == 1) return flat.release();
  Ref shape(PyList_New(dimensions));
  for (int i = 0; shape && i < dimensions; ++i) {
    PyObject* extent = PyLong_FromLongLong(Load<int64_t>(bytes.data() + 8 + 8 * i));
    if (extent == nullptr) return nullptr;
    PyList_SET_ITEM(shape.get(), i, extent);
  }
  if (!shape) return nullptr;
  return PyObject_CallMethod(flat.get(), "cast", "s#O", format.data(), static_cast<Py_ssize_t>(format.size()),
                             shape.get());
}

PyObject* Unpickle(std::string_view pickle, PyObject* buffers, std::optional<ObjectId> outer) {
  Ref bytes(PyMemoryView_FromMemory(const_cast<char*>(pickle.data()), static_cast<Py_ssize_t>(pickle.size()), PyBUF_READ));
  if (!bytes) return nullptr;
  PickleScope scope(outer);
  PyObject* args[] = {bytes.get(), buffers};
  return PyObject_Vectorcall(hooks.loads, args, 1, buffers == nullptr ? nullptr : buffers_name);
}

PyObject* DecodePickleBuffers(std::string_view bytes, const Keep& keep, std::optional<ObjectId> outer) {
  if (bytes.size() < kHeaderBytes) return Malformed();
  const auto count = Load<uint32_t>(bytes.data() + 4);
  const auto pickle_size = Load<uint64_t>(bytes.data() + 8);
  const uint64_t table_end = kHeaderBytes + kEntryBytes * uint64_t{count};
  if (bytes.size() < table_end || bytes.size() - table_end < pickle_size) return Malformed();
  Ref buffers(PyList_New(count));
  if (!buffers) return nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    const char* entry = bytes.data() + kHeaderBytes + kEntryBytes * i;
    const auto offset = Load<uint64_t>(entry), size = Load<uint64_t>(entry + 8);
    if (offset > bytes.size() || bytes.size() - offset < size) return Malformed();
    PyObject* pinned = NewPinned(keep, bytes.substr(offset, size));
    if (pinned == nullptr) return nullptr;
    PyList_SET_ITEM(buffers.get(), i, pinned);
  }
  return Unpickle(bytes.substr(table_end, pickle_size), buffers.get(), outer);
}

}  // namespace

PyObject* DecodeValue(std::string_view bytes, const Keep& keep, std::optional<ObjectId> outer) {
  if (bytes.empty()) return Malformed();
  const std::string_view body = bytes.substr(1);
  const auto size = static_cast<Py_ssize_t>(body.size());
  switch (static_cast<uint8_t>(bytes[0])) {
    case kTagNone: Py_RETURN_NONE;
    case kTagFalse: Py_RETURN_FALSE;
    case kTagTrue: Py_RETURN_TRUE;
    case kTagInt: return body.size() == 8 ? PyLong_FromLongLong(Load<int64_t>(body.data())) : Malformed();
    case kTagFloat: return body.size() == 8 ? PyFloat_FromDouble(Load<double>(body.data())) : Malformed();
    case kTagStr: return PyUnicode_DecodeUTF8(body.data(), size, nullptr);
    case kTagBytes: return PyBytes_FromStringAndSize(body.data(), size);
    case kTagBytearray: return PyByteArray_FromStringAndSize(body.data(), size);
    case kTagMemoryview: return DecodeMemoryview(bytes, keep);
    case kTagPickle: return Unpickle(body, nullptr, outer);
    case kTagPickleBuffers: return DecodePickleBuffers(bytes, keep, outer);
    default: return Malformed();
  }
}

bool AddBufferType(PyObject* module) {
  pinned_type.tp_basicsize = sizeof(PyPinned);
  pinned_type.tp_flags = Py_TPFLAGS_DEFAULT;
  pinned_type.tp_dealloc = PinnedDealloc;
  pinned_type.tp_as_buffer = &pinned_buffer_procs;
  if (PyType_Ready(&pinned_type) < 0) return false;
  collect_buffer = PyCFunction_New(&collect_buffer_def, module);
  buffer_callback_name = Py_BuildValue("(s)", "buffer_callback");
  buffers_name = Py_BuildValue("(s)", "buffers");
  protocol_five = PyLong_FromLong(5);
  return collect_buffer != nullptr && buffer_callback_name != nullptr && buffers_name != nullptr &&
         protocol_five != nullptr;
}

}  // namespace shoal::python
