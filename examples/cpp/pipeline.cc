// A pipeline over objects: large values stay in the node's store and are read in place.
#include <cstdio>
#include <numeric>
#include <vector>

#include "runtime/sdk/shoal.h"

namespace {

constexpr size_t kValues = 1'000'000;

shoal::Buffer Make(float start) {
  std::vector<float> values(kValues);
  std::iota(values.begin(), values.end(), start);
  return shoal::Buffer::CopyOf(values.data(), values.size() * sizeof(float));
}

double Mean(const shoal::Buffer& buffer) {
  const float* values = reinterpret_cast<const float*>(buffer.data());
  return std::accumulate(values, values + buffer.size() / sizeof(float), 0.0) / kValues;
}

}  // namespace

int main(int argc, char** argv) {
  shoal::Init(argc, argv);
  auto made = shoal::Task<Make>().Remote(0.0f);
  const double mean = shoal::Get(shoal::Task<Mean>().Remote(made));
  std::printf("%zu bytes, mean %.1f\n", shoal::Get(made).size(), mean);
  return mean > 499'000 && mean < 501'000 ? 0 : 1;
}
