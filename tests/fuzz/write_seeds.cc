// Writes the seeds of one target into a directory, one file each:
//
//   message_seeds DIRECTORY
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/fuzz/target.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const std::filesystem::path directory = argv[1];
  std::filesystem::create_directories(directory);
  int number = 0;
  for (const std::string& seed : shoal::fuzz::SHOAL_FUZZ_TARGET.seeds()) {
    std::ofstream(directory / ("seed" + std::to_string(number++)), std::ios::binary) << seed;
  }
  return 0;
}
