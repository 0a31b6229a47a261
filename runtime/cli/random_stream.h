// Random numbers that are the same on every machine, standard library and compiler.
#pragma once

#include <cstdint>

namespace heddle::cli {

// A bijection on 64 bits whose outputs look random (Stafford's variant 13 of MurmurHash3's finalizer).
constexpr uint64_t scramble(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014). Streams of
// other (seed, stream) pairs start elsewhere.
class RandomStream {
 public:
  RandomStream(uint64_t seed, uint64_t stream)
      : state_(scramble(seed + step) ^ scramble(stream * step + 1)) {}

  uint64_t next() { return scramble(state_ += step); }
  // In [0, bound), bound > 0; the bias of at most bound / 2^64 does not matter here.
  uint64_t below(uint64_t bound) { return next() % bound; }

 private:
  static constexpr uint64_t step = 0x9e3779b97f4a7c15u;
  uint64_t state_;
};

}  // namespace heddle::cli
