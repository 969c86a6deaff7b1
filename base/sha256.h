// SHA-256 (FIPS 180-4), for names that must not be forged: a node is named by the hash of its public key. Not for bulk data.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace shoal {

std::array<uint8_t, 32> Sha256(std::string_view data);

}  // namespace shoal
