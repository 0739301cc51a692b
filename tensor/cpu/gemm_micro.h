// Multiplying: the innermost loops of gemm, each a small tile of C held in registers.
#pragma once
#include "tensor/cpu/gemm_pack.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

// The tile: so many rows times two vectors of columns fill the registers, leaving a few for A and B.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int tile_rows = 14;  // 28 sums of 32 registers
#else
constexpr int tile_rows = 6;  // 12 sums of 16 registers
#endif
template <class T>
constexpr int tile_cols = 2 * lanes<T>;

// R rows of C (+)= panel of A (K groups of R) times panel of B (K groups of tile_cols), of which `cols` columns count.
template <class T, int R>
void multiply_tile(int64_t K, const T* a, const T* b, int64_t cols, bool add, T* c, int64_t c_stride) {
  constexpr int L = lanes<T>;
  for (int r = 0; r < R; ++r) __builtin_prefetch(c + r * c_stride, 1), __builtin_prefetch(c + r * c_stride + L, 1);
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

// For few rows of C packing does not pay: these read B once, as it lies, at the speed of memory. Here for B along k:
// J columns of C (+)= R rows of A times J lines of B, the sums running over k lane by lane.
template <class T, int R, int J>
void multiply_lines(int64_t K, const Operand<T>& a, int64_t m, const Operand<T>& b, int64_t n, bool add, T* c,
                    int64_t c_stride) {
  constexpr int L = lanes<T>;
  const T *x[R], *w[J];
  for (int r = 0; r < R; ++r) x[r] = a.at(m + r);
  for (int j = 0; j < J; ++j) w[j] = b.at(n + j);
  Vec<T> sum[R][J] = {};
  int64_t k = 0;
  for (; k + L <= K; k += L) {
    Vec<T> line[J];
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) line[j] = load(w[j] + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<T> y = load(x[r] + k);
#pragma GCC unroll 8
      for (int j = 0; j < J; ++j) sum[r][j] += y * line[j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < J; ++j) {
      T total = sum_lanes<T>(sum[r][j]);
      for (int64_t i = k; i < K; ++i) total += x[r][i] * w[j][i];
      T& result = c[(m + r) * c_stride + n + j];
      result = add ? result + total : total;
    }
}

// The same for B across k: R rows of A times V vectors of columns, k by k.
template <class T, int R, int V>
void multiply_columns(int64_t K, const Operand<T>& a, int64_t m, const Operand<T>& b, int64_t n, bool add, T* c,
                      int64_t c_stride) {
  constexpr int L = lanes<T>;
  const T* x[R];
  for (int r = 0; r < R; ++r) x[r] = a.at(m + r);
  Vec<T> sum[R][V] = {};
  for (int64_t k = 0; k < K; ++k) {
    const T* w = b.at(k) + n;
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      const Vec<T> y = load(w + v * L);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sum[r][v] += splat(x[r][k]) * y;
    }
  }
  c += m * c_stride + n;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      T* to = c + r * c_stride + v * L;
      store(to, add ? load(to) + sum[r][v] : sum[r][v]);
    }
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
