// Random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). It is a
// function, not a state: the same key and counter give the same number on every device, for any number of threads.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"

namespace switchyard {

// Names one stream of numbers: the run's seed and what the numbers are for.
struct RandomKey {
  uint64_t seed = 0;
  uint64_t stream = 0;
};

// The 128 random bits at `counter` of a stream.
[[gnu::always_inline]] HOST_DEVICE inline std::array<uint32_t, 4> philox(RandomKey key, uint64_t counter) {
  std::array<uint32_t, 4> x = {uint32_t(counter), uint32_t(counter >> 32), uint32_t(key.stream),
                               uint32_t(key.stream >> 32)};
  uint32_t k0 = uint32_t(key.seed), k1 = uint32_t(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0], b = uint64_t{0xCD9E8D57} * x[2];
    x = {uint32_t(b >> 32) ^ x[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ x[3] ^ k1, uint32_t(a)};
    k0 += 0x9E3779B9, k1 += 0xBB67AE85;
  }
  return x;
}

// Number `index` of a stream, as 32 bits. Four consecutive indices share one philox() call.
[[gnu::always_inline]] HOST_DEVICE inline uint32_t random_bits(RandomKey key, uint64_t index) {
  return philox(key, index / 4)[index % 4];
}

// Uniform in [0, 1) with 24 bits, so that a float holds it exactly.
[[gnu::always_inline]] HOST_DEVICE inline float uniform(RandomKey key, uint64_t index) {
  return float(random_bits(key, index) >> 8) * 0x1p-24f;
}

// Standard normal by Box and Muller (1958), from two uniforms of its own.
inline double normal(RandomKey key, uint64_t index) {
  const std::array<uint32_t, 4> bits = philox(key, index);
  const double u = (bits[0] + 0.5) * 0x1p-32, v = bits[1] * 0x1p-32;
  return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
}

__extension__ typedef unsigned __int128 uint128;

// A stream that hands out its numbers in order; `position` is all there is to save.
struct Random {
  RandomKey key;
  uint64_t position = 0;
  float next() { return float(philox(key, position++)[0] >> 8) * 0x1p-24f; }
  // Uniform in 0 .. n-1, n at least 1 (bias below n / 2^64).
  int64_t below(int64_t n) {
    const std::array<uint32_t, 4> x = philox(key, position++);
    const uint64_t bits = uint64_t{x[0]} << 32 | x[1];
    return static_cast<int64_t>((uint128(bits) * static_cast<uint64_t>(n)) >> 64);
  }
};

}  // namespace switchyard
