// Chapter 34: bf16, and one product by tiles, as AMX does it and in plain loops. --rows: B as it lies, not in pairs.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "tensor/cpu/amx_tiles.h"
#include "tensor/random.h"

using namespace switchyard;
using Tiles = cpu::SWITCHYARD_ISA::EmulatedTiles;

namespace {

constexpr int M = 16, N = 16, K = 32;  // of one tile instruction
bf16 a[M][K], b[K][N];
float c[M][N];

void multiply_by_tiles(bool in_pairs) {
  //@begin pairs
  bf16 pairs[K / 2][N][2];  // a row of the tile: two rows of B, interleaved
  for (int k = 0; k < K; ++k)
    for (int n = 0; n < N; ++n) pairs[k / 2][n][k % 2] = b[k][n];
  //@end pairs
  //@begin product
  Tiles tiles;
  tiles.zero<0>();
  tiles.load<1>(a, sizeof a[0]);
  if (in_pairs)
    tiles.load<2>(pairs, sizeof pairs[0]);
  else
    tiles.load<2>(b, 2 * sizeof b[0]);  // two rows of B, one behind the other
  tiles.multiply<0, 1, 2>();
  tiles.store<0>(c, sizeof c[0]);
  //@end product
}

// The largest distance of c from the product of the bf16 numbers, and of that from the product of the floats.
void compare(const float (&wide_a)[M][K], const float (&wide_b)[K][N]) {
  double of_tiles = 0, of_rounding = 0, size = 0;
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      double narrow = 0, wide = 0;
      for (int k = 0; k < K; ++k) {
        narrow += double(float(a[m][k])) * float(b[k][n]);
        wide += double(wide_a[m][k]) * wide_b[k][n];
      }
      of_tiles = std::max(of_tiles, std::abs(c[m][n] - narrow));
      of_rounding = std::max(of_rounding, std::abs(narrow - wide));
      size = std::max(size, std::abs(wide));
    }
  fmt::print("C's largest number {:.2f}; adding up in f32 is off by {:.7f}, rounding A and B by {:.3f}\n", size, of_tiles,
             of_rounding);
}

}  // namespace

int main(int argc, char** argv) {
  const bool rows = argc > 1 && !std::strcmp(argv[1], "--rows");
  fmt::print("pi as bf16: {}; 1 + 1/256: {}; 1 + 3/256: {}\n", float(bf16(3.14159265f)), float(bf16(1 + 1 / 256.0f)),
             float(bf16(1 + 3 / 256.0f)));
  bf16 narrow_sum(0.0f);
  float wide_sum = 0;
  for (int i = 0; i < 1000; ++i) narrow_sum = bf16(narrow_sum + 1.0f), wide_sum += bf16(1.0f);
  fmt::print("1 added a thousand times: {} in bf16, {} in f32\n", float(narrow_sum), wide_sum);

  float wide_a[M][K], wide_b[K][N];
  for (int m = 0; m < M; ++m)
    for (int k = 0; k < K; ++k) a[m][k] = bf16(wide_a[m][k] = float(normal({1, 1}, uint64_t(m * K + k))));
  for (int k = 0; k < K; ++k)
    for (int n = 0; n < N; ++n) b[k][n] = bf16(wide_b[k][n] = float(normal({1, 2}, uint64_t(k * N + n))));
  multiply_by_tiles(!rows);
  compare(wide_a, wide_b);
}
