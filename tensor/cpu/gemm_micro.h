// Multiplying: the innermost loops of gemm, each a small tile of C held in registers.
#pragma once
#include "tensor/cpu/gemm_pack.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

// The tile: so many rows times two vectors of columns fill the registers, leaving a few for A and B.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile_rows = 14;  // 28 sums of 32 registers
constexpr int line_sums = 16;  // of multiply_lines
#else
constexpr int tile_rows = 6;  // 12 sums of 16 registers
constexpr int line_sums = 8;
#endif
template <class T>
constexpr int tile_cols = 2 * lanes<T>;

// R rows of C (+)= panel of A (K groups of R) times panel of B (K groups of tile_cols), of which `cols` columns count.
template <class T, int R>
void multiply_tile(int64_t K, const T* a, const T* b, int64_t cols, bool add, T* c, int64_t c_stride) {
  constexpr int L = lanes<T>;
  for (int r = 0; r < R; ++r) __builtin_prefetch(c + r * c_stride, 1), __builtin_prefetch(c + r * c_stride + L, 1);
  //@begin tile
  Vec<T> sum[R][2] = {};
  for (int64_t k = 0; k < K; ++k, a += R, b += 2 * L) {
    const Vec<T> b0 = load(b), b1 = load(b + L);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec<T> x = splat(a[r]);
      sum[r][0] += x * b0;
      sum[r][1] += x * b1;
    }
  }
  //@end tile
  if (cols == 2 * L) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r, c += c_stride) {
      store(c, add ? load(c) + sum[r][0] : sum[r][0]);
      store(c + L, add ? load(c + L) + sum[r][1] : sum[r][1]);
    }
    return;
  }
  T edge[R][2 * L];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) store(edge[r], sum[r][0]), store(edge[r] + L, sum[r][1]);
  for (int r = 0; r < R; ++r, c += c_stride)
    for (int64_t j = 0; j < cols; ++j) c[j] = add ? c[j] + edge[r][j] : edge[r][j];
}

// multiply_tile for any number of rows up to tile_rows.
template <class T, int R = tile_rows>
void multiply_rows(int64_t rows, int64_t K, const T* a, const T* b, int64_t cols, bool add, T* c, int64_t c_stride) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_tile<T, R>(K, a, b, cols, add, c, c_stride);
    multiply_rows<T, R - 1>(rows, K, a, b, cols, add, c, c_stride);
  }
}

// total[i] = the sum of the lanes of x[i], each in the order of sum_lanes, for `lanes` vectors at a time.
template <class T, int n>
[[gnu::always_inline]] inline void sum_lanes_of_each(Vec<T>* x, T* total) {
  constexpr int L = lanes<T>;
#pragma GCC unroll 16
  for (int group = 0; group < n; group += L) {
    transpose<T>(x + group);
#pragma GCC unroll 4
    for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
      for (int i = 0; i < half; ++i) x[group + i] += x[group + i + half];
    store(total + group, x[group]);
  }
}

// For few rows or columns of C packing does not pay. If A and B both lie along k they are read as they lie, at the
// speed of memory: J columns of C (+)= R rows of A times J lines of B, the sums running over k lane by lane.
template <class T, int R, int J>
void multiply_lines(int64_t K, const Operand<T>& a, int64_t m, const Operand<T>& b, int64_t n, bool add, T* c,
                    int64_t c_stride) {
  constexpr int L = lanes<T>, sums = (R * J + L - 1) / L * L;
  const T *x[R], *w[J];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) x[r] = a.at(m + r);
#pragma GCC unroll 16
  for (int j = 0; j < J; ++j) w[j] = b.at(n + j);
  Vec<T> sum[sums] = {};
  int64_t k = 0;
  for (; k + L <= K; k += L) {
    Vec<T> y[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) y[r] = load(x[r] + k);
#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      const Vec<T> line = load(w[j] + k);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) sum[r * J + j] += y[r] * line;
    }
  }
  T total[sums];
  sum_lanes_of_each<T, sums>(sum, total);
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < J; ++j) {
      T& result = c[(m + r) * c_stride + n + j];
      for (int64_t i = k; i < K; ++i) total[r * J + j] += x[r][i] * w[j][i];
      result = add ? result + total[r * J + j] : total[r * J + j];
    }
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
