// What both ends of a bulk transfer share: keys, limits, checksum. See README.md for the protocol
// and server.h, client.h for its ends.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

namespace shoal::bulk {

// Bytes of one block, the unit of encryption, credit and resumption.
inline constexpr uint64_t kBlockBytes = uint64_t{1} << 20;
// Blocks that a server may send ahead of what the client has checked.
inline constexpr uint32_t kCreditBlocks = 16;

// A secret that two nodes share, agreed over their control channel and named by an id. Everything a
// connection encrypts with is derived from it and from fresh random numbers of both ends, so that
// no two connections, and within one no two frames, ever use the same key and nonce. There is no
// mode without.
struct BulkKey {
  uint64_t id = 0;
  std::array<uint8_t, 32> secret{};
};

// Runs work in the thread of the owner, usually [loop](auto work) { loop->Post(std::move(work)); }.
// What is posted may still run after the poster is destroyed (it then does nothing), but the
// owner's thread must be the one that destroys it.
using Post = std::function<void(std::function<void()> work)>;

// Fast 64-bit checksum of an object's bytes, against mistakes; never 0. Forgery is the business of
// AES-GCM. Four independent lanes of multiply and rotate, as in xxHash, so that it runs at memory
// speed.
class Checksummer {
 public:
  // In order; all pieces but the last have a multiple of 32 bytes.
  void Add(const char* data, uint64_t size);
  uint64_t Finish() const;

 private:
  static constexpr int kLanes = 4;
  uint64_t lanes_[kLanes] = {1, 2, 3, 4};
  uint64_t size_ = 0;
};
uint64_t Checksum(const char* data, uint64_t size);

}  // namespace shoal::bulk
