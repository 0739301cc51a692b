// The small matrix products and transposes that a tile of attention is made of, in registers all the while.
#pragma once
#include <type_traits>

#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

// A matrix that is only read by element: (r, i) is at data[r * row + i * inner].
template <class T>
struct Left {
  const T* data;
  int64_t row, inner;
};

// R rows x V vectors of C += A B, in registers all the while.
template <int R, int V, class T>
[[gnu::always_inline]] inline void product_block(int64_t inner, Left<T> a, const T* b, int64_t b_row, bool accumulate,
                                                 T* c, int64_t c_row) {
  Vec<T> sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = accumulate ? load(c + r * c_row + v * lanes<T>) : Vec<T>{};
  for (int64_t i = 0; i < inner; ++i) {
    Vec<T> right[V];
    for (int v = 0; v < V; ++v) right[v] = load(b + i * b_row + v * lanes<T>);
    for (int r = 0; r < R; ++r) {
      const Vec<T> left = splat(a.data[r * a.row + i * a.inner]);
      for (int v = 0; v < V; ++v) sum[r][v] += left * right[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store<T>(c + r * c_row + v * lanes<T>, sum[r][v]);
}

template <int V, class T>
void product_panel(int64_t rows, int64_t inner, Left<T> a, const T* b, int64_t b_row, bool accumulate, T* c,
                   int64_t c_row) {
  constexpr int R = V == 1 || (V < 4 && vector_bytes == 64) ? 8 : 4;
  int64_t r = 0;
  for (; r + R <= rows; r += R, a.data += R * a.row)
    product_block<R, V>(inner, a, b, b_row, accumulate, c + r * c_row, c_row);
  for (; r < rows; ++r, a.data += a.row) product_block<1, V>(inner, a, b, b_row, accumulate, c + r * c_row, c_row);
}

// C = A B, or C += A B. cols is a multiple of the lanes.
template <class T>
void product(int64_t rows, int64_t cols, int64_t inner, Left<T> a, const T* b, int64_t b_row, bool accumulate, T* c,
             int64_t c_row) {
  constexpr int V = vector_bytes == 64 ? 4 : 2;
  int64_t n = 0;
  for (; n + V * lanes<T> <= cols; n += V * lanes<T>)
    product_panel<V>(rows, inner, a, b + n, b_row, accumulate, c + n, c_row);
  const int64_t rest = (cols - n) / lanes<T>;
  if (V > 3 && rest == 3) product_panel<3>(rows, inner, a, b + n, b_row, accumulate, c + n, c_row);
  if (V > 2 && rest == 2) product_panel<2>(rows, inner, a, b + n, b_row, accumulate, c + n, c_row);
  if (rest == 1) product_panel<1>(rows, inner, a, b + n, b_row, accumulate, c + n, c_row);
}

// Transposes a square of as many vectors as each has lanes: quarters off the diagonal change places, first those of the
// whole, then those of each quarter, and so on.
template <int half, class T>
[[gnu::always_inline]] inline void swap_quarters(Vec<T>* v) {
  constexpr int L = lanes<T>;
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Int __attribute__((vector_size(vector_bytes)));
  Int upper{}, lower{};
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) upper[i] = i & half ? L + i - half : i, lower[i] = i & half ? L + i : i + half;
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r)
    if (!(r & half)) {
      const Vec<T> a = v[r], b = v[r + half];
      v[r] = __builtin_shuffle(a, b, upper), v[r + half] = __builtin_shuffle(a, b, lower);
    }
  if constexpr (half > 1) swap_quarters<half / 2, T>(v);
}

// out = factor * x^T, such a square; of x only the first `rows` rows are read, and the others are zero.
template <class T, class To>
void transpose_square(int64_t rows, const T* x, int64_t x_row, Wide<T> factor, To* out, int64_t out_row) {
  Vec<T> v[lanes<T>];
#pragma GCC unroll 16
  for (int r = 0; r < lanes<T>; ++r) v[r] = r < rows ? load(x + r * x_row) * factor : Vec<T>{};
  swap_quarters<lanes<T> / 2, Wide<T>>(v);
#pragma GCC unroll 16
  for (int r = 0; r < lanes<T>; ++r) store<To>(out + r * out_row, v[r]);
}

// out = factor * x^T, where x is rows x cols; out's rows are zero from `rows` to `padded`.
template <class T, class To>
void transpose(int64_t rows, int64_t padded, int64_t cols, const T* x, int64_t x_row, Wide<T> factor, To* out,
               int64_t out_row) {
  const int64_t whole = cols / lanes<T> * lanes<T>;
  int64_t i = 0;
  for (; i + lanes<T> <= padded; i += lanes<T>) {
    for (int64_t j = 0; j < whole; j += lanes<T>)
      transpose_square(rows - i, x + i * x_row + j, x_row, factor, out + j * out_row + i, out_row);
    for (int64_t j = whole; j < cols; ++j)
      for (int64_t r = i; r < i + lanes<T>; ++r) out[j * out_row + r] = To(r < rows ? factor * x[r * x_row + j] : 0);
  }
  for (; i < padded; ++i)
    for (int64_t j = 0; j < cols; ++j) out[j * out_row + i] = To(factor * x[i * x_row + j]);
}

// n rows of D elements in f32 or f64: where they lie, or, from bf16, in scratch.
template <class T>
Left<Wide<T>> wide_rows(int64_t n, int64_t D, const T* x, int64_t row, [[maybe_unused]] Wide<T>* scratch) {
  if constexpr (!of_bf16<T>) {
    return {x, row, 1};
  } else {
    for (int64_t j = 0; j < n; ++j) map_row([](Vec<T> v) { return v; }, D, scratch + j * D, x + j * row);
    return {scratch, D, 1};
  }
}
template <class T>
Left<T> transposed(Left<T> a) {
  return {a.data, a.inner, a.row};
}

}  // namespace
}  // namespace switchyard::cpu::SWITCHYARD_ISA
