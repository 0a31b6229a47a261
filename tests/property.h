// Random inputs for property tests. Every such test says
//   const uint64_t seed = property_seed();
//   CAPTURE(seed);
//   std::mt19937_64 random(seed);
// so that a failure prints the seed, and HEDDLE_TEST_SEED=<number> repeats it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

#include "tests/catch.h"

namespace heddle::test {

// The environment's HEDDLE_TEST_SEED, "random" meaning a fresh one; otherwise always the same.
inline uint64_t property_seed() {
  const char* text = std::getenv("HEDDLE_TEST_SEED");
  if (text == nullptr || *text == '\0') return 20240229;
  if (std::string(text) == "random") return std::random_device{}();
  return std::strtoull(text, nullptr, 10);
}

// Uniform in [low, high].
inline int64_t draw(std::mt19937_64& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

}  // namespace heddle::test
