// The program of one target: libFuzzer brings main().
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shoal::fuzz::SHOAL_FUZZ_TARGET.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
