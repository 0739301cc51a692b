// Loops along a row that the elementwise, reduction, normalisation and loss kernels share.
#pragma once
#include <memory>

#include "tensor/cpu/declarations.h"
#include "tensor/storage.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

// One block of a parallel loop: enough work to be worth handing to a thread, little enough to share evenly.
constexpr int64_t block_elements = 1 << 14;

inline int64_t rows_per_block(int64_t cols) {
  return cols < block_elements ? block_elements / (cols > 1 ? cols : 1) : 1;
}

template <class T>
[[gnu::always_inline]] inline T log_of(T x) {
  if constexpr (sizeof(T) == 8) return __builtin_log(x);
  return __builtin_logf(x);
}
template <class T>
[[gnu::always_inline]] inline T log1p_of(T x) {
  if constexpr (sizeof(T) == 8) return __builtin_log1p(x);
  return __builtin_log1pf(x);
}
template <class T>
[[gnu::always_inline]] inline T sqrt_of(T x) {
  if constexpr (sizeof(T) == 8) return __builtin_sqrt(x);
  return __builtin_sqrtf(x);
}

// A whole vector, or what is left of the row (n >= 1 elements).
template <class T>
[[gnu::always_inline]] inline Vec<T> load_up_to(const T* p, int64_t n, Wide<T> rest = 0) {
  return n >= lanes<T> ? load(p) : load_part(p, n, rest);
}
template <class T>
[[gnu::always_inline]] inline void store_up_to(T* p, Vec<T> v, int64_t n) {
  n >= lanes<T> ? store(p, v) : store_part(p, v, n);
}

// y[i] = f(x[i]...), a vector at a time. y may be one of the inputs.
template <class T, class F, class... Input>
[[gnu::always_inline]] inline void map_row(F f, int64_t n, T* y, const Input*... x) {
  for (int64_t i = 0; i < n; i += lanes<T>) store_up_to(y + i, f(load_up_to(x + i, n - i)...), n - i);
}

// As many elements of a row as a vector holds doubles.
template <class T>
[[gnu::always_inline]] inline Vec<double> load_double(const T* p) {
  typedef T Narrow __attribute__((vector_size(sizeof(T) * lanes<double>)));
  Narrow v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, Vec<double>);
}
template <>
[[gnu::always_inline]] inline Vec<double> load_double(const bf16* p) {
  float v[lanes<double>];
  for (int i = 0; i < lanes<double>; ++i) v[i] = p[i];
  return load_double(v);
}

// The sum of f(x[i]) in double: no overflow of squares, and no error that grows with n. f takes a vector or a number.
template <class T, class F>
[[gnu::always_inline]] inline double sum_double(int64_t n, const T* x, F f) {
  //@begin strands
  constexpr int64_t width = lanes<double>;
  Vec<double> strand[4] = {};  // four chains of additions, so that they overlap
  int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width)
    for (int j = 0; j < 4; ++j) strand[j] += f(load_double(x + i + j * width));
  double rest = 0;
  for (; i < n; ++i) rest += f(double(Wide<T>(x[i])));
  //@end strands
  return sum_lanes<double>((strand[0] + strand[1]) + (strand[2] + strand[3])) + rest;
}

// The largest element, for use as the shift of exponentials; 0 if it is infinite, so that inf - inf never arises.
template <class T>
[[gnu::always_inline]] inline Wide<T> finite_maximum(int64_t n, const T* x) {
  constexpr Wide<T> lowest = -__builtin_inf();
  Vec<T> most = splat(lowest);
  for (int64_t i = 0; i < n; i += lanes<T>) most = maximum<T>(most, load_up_to(x + i, n - i, lowest));
  const Wide<T> m = max_lanes<T>(most);
  return __builtin_isfinite(m) ? m : 0;
}

// The sum of e^(x[i] - shift).
template <class T>
[[gnu::always_inline]] inline Wide<T> sum_exp(int64_t n, const T* x, Wide<T> shift) {
  Vec<T> total = {};
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const Vec<T> e = exp<Wide<T>>(load_up_to(x + i, n - i, -__builtin_inf()) - shift);  // beyond the row: e^-inf = 0
    total += e;
  }
  return sum_lanes<T>(total);
}

// Column sums. add_rows(first, last, sums, more_sums) adds what rows first .. last-1 contribute to cols sums each,
// which begin at zero. Rows are cut into chunks by the sizes alone, and the chunks' sums are then added in order into y
// and more_y (cols each; more_y may be null, and more_sums is then not to be used).
template <class T, class F>
void sum_over_rows(int64_t rows, int64_t cols, T* y, T* more_y, F add_rows) {
  constexpr int64_t most_chunks = 64;
  const int64_t at_least = (rows + most_chunks - 1) / most_chunks, usual = rows_per_block(cols);
  const int64_t chunk = at_least > usual ? at_least : usual, chunks = (rows + chunk - 1) / chunk;
  const int64_t width = more_y == nullptr ? cols : 2 * cols;
  const std::shared_ptr<Storage> scratch = allocate(size_t(chunks * width) * sizeof(T), Device::cpu);
  T* sums = static_cast<T*>(scratch->data);
  parallel_for(chunks, [&](int64_t i) {
    T* own = sums + i * width;
    for (int64_t c = 0; c < width; ++c) own[c] = 0;
    add_rows(i * chunk, (i + 1) * chunk < rows ? (i + 1) * chunk : rows, own, own + cols);
  });
  parallel_blocks(width, rows_per_block(chunks), [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) {
      T total = 0;
      for (int64_t i = 0; i < chunks; ++i) total += sums[i * width + c];
      (c < cols ? y[c] : more_y[c - cols]) = total;
    }
  });
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
