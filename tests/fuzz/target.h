// A fuzz target: something that takes bytes from outside. libFuzzer drives each in a program of its own (README.md), and
// smoke_test drives all of them for a moment with every compiler, so that they cannot rot.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::fuzz {

struct Target {
  const char* name;
  // Aborts (SHOAL_CHECK, a sanitizer) if something is wrong. Keeps no state that would make a second call differ.
  void (*run)(std::string_view bytes);
  // Honest inputs to begin with.
  std::vector<std::string> (*seeds)();
};

extern const Target kMessage;      // DecodeMessage: Cap'n Proto from a network
extern const Target kRingForm;     // Decode<Message>: the layout of the rings
extern const Target kSession;      // two session ends and a network that the input directs
extern const Target kLocalFrame;   // the frames of a unix socket
extern const Target kJoinToken;    // what a person pastes
extern const Target kBulkServer;   // what a client that holds the key may send
extern const Target kJson;

// Cuts values off the front of the input; zeros once it is used up.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  template <class T>
  T Take() {
    T value{};
    const std::string_view bytes = TakeBytes(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // At most what is left.
  std::string_view TakeBytes(size_t size) {
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  std::string_view rest_;
};

}  // namespace shoal::fuzz
