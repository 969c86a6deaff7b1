// The frames of a session: a header of fixed layout, little-endian, and a body that depends on the kind.
//
//   | magic u32 | kind u8 | flags u8 | 0 u16 | count u32 | 0 u32 | from u64 | to u64 | ack u64 | seq u64 |   48 bytes
//
// `from` and `to` are the link numbers of sender and receiver (session.cc); `ack` is the last message in order that
// the sender of the frame has delivered.
//
//   kind          body                     seq                       says
//   kHello        HelloBody                -                         I look for a link; my number for it is `from`
//   kOffer        HelloBody                -                         to a hello: mine would be `from`, yours is `to`
//   kData         count x (u32 size, bytes) number of the first one
//   kAck          -                        -                         nothing but `ack`
//   kHeartbeat    u64 last message sent    any                       echo this at once
//   kEcho         -                        that of the heartbeat
//   kUnknown      -                        -                         a link of these numbers is not known here
//   kRefuse       HelloBody, sentence      -                         we do not fit
//
// Bytes come from a peer: ParseFrame reads nothing outside of them, and whoever reads bodies does it through
// DataReader.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::session {

static_assert(std::endian::native == std::endian::little);

enum class FrameKind : uint8_t { kHello = 1, kOffer, kData, kAck, kHeartbeat, kEcho, kUnknown, kRefuse };

inline constexpr uint32_t kFrameMagic = 0x4c4f4853;  // "SHOL"
inline constexpr uint8_t kGapFlag =
    1;  // on any frame of a link: something between `ack` and what came since is missing
inline constexpr uint8_t kAckNowFlag = 2;  // on data: the sender waits for the acknowledgement
inline constexpr uint32_t kMaxMessagesPerFrame = 16384;
inline constexpr size_t kMaxSentenceBytes = 512;
// What a payload costs in a frame beyond its bytes.
inline constexpr size_t kPayloadPrefixBytes = 4;

struct FrameHeader {
  uint32_t magic = kFrameMagic;
  FrameKind kind = FrameKind::kAck;
  uint8_t flags = 0;
  uint16_t unused = 0;
  uint32_t count = 0;
  uint32_t unused_too = 0;
  uint64_t from = 0;
  uint64_t to = 0;
  uint64_t ack = 0;
  uint64_t seq = 0;
};
static_assert(sizeof(FrameHeader) == 48);

// Who speaks. The same for all versions up to and including `version`, so that any two can refuse each other in
// words.
struct HelloBody {
  uint32_t version = 0;
  uint32_t role = 0;
  uint64_t cluster_id = 0;
  uint64_t node = 0;
  uint64_t peer = 0;         // whom the sender wants to speak to
  uint64_t incarnation = 0;  // of the sender's process, never 0
};
static_assert(sizeof(HelloBody) == 40);

inline void AppendBytes(const void* from, size_t size, std::string* to) {
  to->append(static_cast<const char*>(from), size);
}

inline std::string BuildGreeting(FrameKind kind, uint64_t from, uint64_t to, const HelloBody& hello,
                                 std::string_view sentence) {
  const FrameHeader header{.kind = kind, .from = from, .to = to};
  std::string frame;
  AppendBytes(&header, sizeof(header), &frame);
  AppendBytes(&hello, sizeof(hello), &frame);
  frame.append(sentence.substr(0, kMaxSentenceBytes));
  return frame;
}

// Moves past a T at the front of `bytes`, or says that it is not there.
template <class T>
std::optional<T> TakeFixed(std::string_view* bytes) {
  if (bytes->size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes->data(), sizeof(T));
  bytes->remove_prefix(sizeof(T));
  return value;
}

// The header, and `body` set to what follows; nullopt for what is not a frame.
inline std::optional<FrameHeader> ParseFrame(std::string_view frame, std::string_view* body) {
  const std::optional<FrameHeader> header = TakeFixed<FrameHeader>(&frame);
  if (!header || header->magic != kFrameMagic) return std::nullopt;
  if (header->kind < FrameKind::kHello || header->kind > FrameKind::kRefuse) return std::nullopt;
  *body = frame;
  return header;
}

// The payloads of a data frame, one after the other.
class DataReader {
 public:
  explicit DataReader(std::string_view body) : rest_(body) {}
  std::optional<std::string_view> Next() {
    const std::optional<uint32_t> size = TakeFixed<uint32_t>(&rest_);
    if (!size || rest_.size() < *size) return std::nullopt;
    const std::string_view payload = rest_.substr(0, *size);
    rest_.remove_prefix(*size);
    return payload;
  }
  bool exhausted() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace shoal::session
