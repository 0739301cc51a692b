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
static_assert(tile_rows <= widest_panel<float> && tile_rows <= widest_panel<double>, "the rows of a tile are a panel");

// R rows of C (+)= the sums, of which `cols` columns count.
template <int R, class V, class Out>
[[gnu::always_inline]] inline void store_tile(V (&sum)[R][2], int64_t cols, bool add, Out* c, int64_t c_stride) {
  using T = std::remove_cvref_t<decltype(sum[0][0][0])>;
  constexpr int L = lanes<T>;
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
    for (int64_t j = 0; j < cols; ++j) c[j] = Out(add ? c[j] + edge[r][j] : edge[r][j]);
}

// R rows of C (+)= panel of A (K groups of R, a_step apart) times panel of B (K groups of tile_cols), of which `cols`
// columns count.
template <class T, int R, class Out>
void multiply_tile(int64_t K, const T* a, int64_t a_step, const T* b, int64_t cols, bool add, Out* c, int64_t c_stride,
                   Ahead ahead) {
  constexpr int L = lanes<T>;
  for (int r = 0; r < R; ++r) __builtin_prefetch(c + r * c_stride, 1), __builtin_prefetch(c + r * c_stride + L, 1);
  //@begin tile
  Vec<T> sum[R][2] = {};
  for (int64_t k = 0; k < K;) {
    ahead.fetch();
    const int64_t stop = k + fetch_every < K ? k + fetch_every : K;
    for (; k < stop; ++k, a += a_step, b += 2 * L) {
      const Vec<T> b0 = load(b), b1 = load(b + L);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Vec<T> x = splat(a[r]);
        sum[r][0] += x * b0;
        sum[r][1] += x * b1;
      }
    }
  }
  //@end tile
  store_tile<R>(sum, cols, add, c, c_stride);
}

// multiply_tile for any number of rows up to tile_rows.
template <class T, int R = tile_rows, class Out>
void multiply_rows(int64_t rows, int64_t K, const T* a, int64_t a_step, const T* b, int64_t cols, bool add, Out* c,
                   int64_t c_stride, Ahead ahead) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_tile<T, R>(K, a, a_step, b, cols, add, c, c_stride, ahead);
    multiply_rows<T, R - 1>(rows, K, a, a_step, b, cols, add, c, c_stride, ahead);
  }
}

// What the driver in gemm.cpp needs of a way to multiply: the sizes of a tile, how panels are packed, and the tile.
// This one multiplies in f32 or f64; bf16 becomes f32 when it is packed. Others are in gemm_bf16.h.
template <class T>
struct MultiplyAdd {
  using Element = T;
  using Packed = Wide<T>;
  static constexpr int64_t rows = tile_rows, cols = tile_cols<T>;
  static constexpr bool reads_in_place = std::is_same_v<T, Packed>;  // op(A), where it lies across k
  static constexpr int64_t k_unit = 1;                               // sums are cut at multiples of it
  static constexpr int64_t k_chunk = 8;  // k's that all panels of a block pack before the next
  // Elements of a panel of so many lines, and where its group k begins.
  static constexpr int64_t size(int64_t width, int64_t K) { return width * K + lanes<T>; }
  static constexpr int64_t at(int64_t width, int64_t k) { return width * k; }
  static void pack_rows(const Operand<T>& m, int64_t first, int64_t count, int64_t k0, int64_t n, Packed* out) {
    pack_panel<T>(m, first, count, count, k0, n, out);
  }
  static void pack_cols(const Operand<T>& m, int64_t first, int64_t count, int64_t k0, int64_t n, Packed* out) {
    pack_panel<T>(m, first, count, cols, k0, n, out);
  }
  template <class Out>
  static void multiply(int64_t height, int64_t K, const Packed* a, int64_t a_step, const Packed* b, int64_t width,
                       bool add, Out* c, int64_t c_stride, Ahead ahead) {
    multiply_rows<Packed>(height, K, a, a_step, b, width, add, c, c_stride, ahead);
  }
};

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
template <class T, int R, int J, class Out>
void multiply_lines(int64_t K, const Operand<T>& a, int64_t m, const Operand<T>& b, int64_t n, bool add, Out* c,
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
  Wide<T> total[sums];
  sum_lanes_of_each<Wide<T>, sums>(sum, total);
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < J; ++j) {
      Out& result = c[(m + r) * c_stride + n + j];
      for (int64_t i = k; i < K; ++i) total[r * J + j] += x[r][i] * w[j][i];
      result = Out(add ? result + total[r * J + j] : total[r * J + j]);
    }
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
