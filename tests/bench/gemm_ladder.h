// The ladder of matrix multiplication: C = A B in f32 on one thread, each step a little more than the one before it.
// The last step is the library's gemm, built from the same packing and the same tile as `packed` here. bench_gemm
// prints what each is worth; the first is the oracle of the tests. All matrices are row-major: A is M x K, B is K x N.
#pragma once
#include <algorithm>
#include <vector>

#include "tensor/cpu/gemm_micro.h"

namespace switchyard::cpu::SWITCHYARD_ISA::ladder {

// 1. The definition. Along k, B is read down a column: one new cache line for every product.
template <class T>
void naive(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  //@begin naive
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) {
      T sum = 0;
      for (int64_t k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];
      c[i * N + j] = sum;
    }
  //@end naive
}

// 2. Loops exchanged: B and C are read along their rows, and the compiler makes vectors of the inner loop. For each
// multiply-add it still loads and stores an element of C.
template <class T>
void row_by_row(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  std::fill(c, c + M * N, T(0));
  for (int64_t i = 0; i < M; ++i)
    //@begin row-by-row
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < N; ++j) c[i * N + j] += a[i * K + k] * b[k * N + j];
  //@end row-by-row
}

// 3. The same in blocks: 16 x 512 elements of B stay in the level 1 cache for all rows of A. While B fits the level 2
// cache this gains nothing, for step 2 does not wait for B but for its loads and stores of C: what pays is step 4.
template <class T>
void blocked(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  std::fill(c, c + M * N, T(0));
  for (int64_t j0 = 0; j0 < N; j0 += 512)
    for (int64_t k0 = 0; k0 < K; k0 += 16)
      for (int64_t i = 0; i < M; ++i)
        for (int64_t k = k0; k < std::min(K, k0 + 16); ++k) {
          const int64_t last = std::min(N, j0 + 512);
          for (int64_t j = j0; j < last; ++j) c[i * N + j] += a[i * K + k] * b[k * N + j];
        }
}

// 4. A tile of C in registers: each element of it is loaded and stored once, not K times. A and B are read as they lie,
// so with a stride that is a power of two their lines push each other out of the cache. The edges fall back to step 1.
template <class T>
void register_tile(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  constexpr int64_t R = tile_rows, W = tile_cols<T>;
  const auto by_hand = [&](int64_t i, int64_t first, int64_t last) {
    for (int64_t j = first; j < last; ++j) {
      c[i * N + j] = 0;
      for (int64_t k = 0; k < K; ++k) c[i * N + j] += a[i * K + k] * b[k * N + j];
    }
  };
  const int64_t whole_rows = M / R * R, whole_cols = N / W * W;
  for (int64_t j = 0; j < whole_cols; j += W)
    for (int64_t i = 0; i < whole_rows; i += R) {
      Vec<T> sum[R][2] = {};
      for (int64_t k = 0; k < K; ++k) {
        const Vec<T> b0 = load(b + k * N + j), b1 = load(b + k * N + j + lanes<T>);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
          const Vec<T> x = splat(a[(i + r) * K + k]);
          sum[r][0] += x * b0, sum[r][1] += x * b1;
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        store(c + (i + r) * N + j, sum[r][0]);
        store(c + (i + r) * N + j + lanes<T>, sum[r][1]);
      }
    }
  for (int64_t i = 0; i < M; ++i) by_hand(i, i < whole_rows ? whole_cols : 0, N);
}

// 5. Panels of A and B copied in the order in which the tile reads them, in blocks that fit the caches.
template <class T>
void packed(int64_t M, int64_t N, int64_t K, const T* a, const T* b, T* c) {
  constexpr int64_t rows = tile_rows * 32, depth = 256, W = tile_cols<T>;
  std::vector<T> panel_a(rows * depth + lanes<T>), panel_b(W * depth + lanes<T>);
  const Operand<T> A{a, K, true}, B{b, N, false};
  for (int64_t i0 = 0; i0 < M; i0 += rows)
    for (int64_t k0 = 0; k0 < K; k0 += depth) {
      const int64_t k = std::min(depth, K - k0), end = std::min(M, i0 + rows);
      for (int64_t i = i0; i < end; i += tile_rows) {
        const int64_t height = std::min<int64_t>(tile_rows, end - i);
        pack_panel<T>(A, i, height, height, k0, k, panel_a.data() + (i - i0) * k);
      }
      for (int64_t j = 0; j < N; j += W) {
        const int64_t width = std::min(W, N - j);
        pack_panel<T>(B, j, width, W, k0, k, panel_b.data());
        for (int64_t i = i0; i < end; i += tile_rows)
          multiply_rows<T>(std::min<int64_t>(tile_rows, end - i), k, panel_a.data() + (i - i0) * k,
                           std::min<int64_t>(tile_rows, end - i), panel_b.data(), width, k0 > 0, c + i * N + j, N, {});
      }
    }
}

// The limit: multiply-adds on registers alone, `steps` times 24 vectors. Returns a number that depends on all of them.
template <class T>
T fma_loop(int64_t steps) {
  //@begin limit
  Vec<T> sum[24];
  Vec<T> x = splat(T(0.5)), y = splat(T(1));
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) sum[i] = splat(T(i));
  for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sum[i] = sum[i] * x + y;
#pragma GCC unroll 24
  for (int i = 1; i < 24; ++i) sum[0] += sum[i];
  return sum_lanes<T>(sum[0]);
  //@end limit
}
template <class T>
constexpr double fma_loop_flops = 2.0 * 24 * lanes<T>;  // of one step

}  // namespace switchyard::cpu::SWITCHYARD_ISA::ladder
