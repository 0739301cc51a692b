// Packing: a panel of a matrix, copied so that the multiplication reads memory strictly forwards. Packing and
// multiplying (gemm_micro.h) know of each other only the layout described at pack_panel.
#pragma once
#include <utility>

#include "tensor/cpu/simd.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

// One operand of a product, seen as lines (the rows of op(A), the columns of op(B)) that are summed over k. In memory
// it is a row-major matrix of which each row is either one line (along_k) or one k of all lines. With `row`, memory
// row i is row[i] of `data`: so experts read the rows of their tokens where they lie.
//@begin operand
template <class T>
struct Operand {
  const T* data;
  int64_t stride;  // elements of a memory row
  bool along_k;
  const int32_t* row = nullptr;
  const T* at(int64_t i) const { return data + (row ? row[i] : i) * stride; }
};
//@end operand

// Addresses of lines of memory that will be read later. A tile fetches some in passing, so that packing the next panel
// finds them in the cache. All at once they would queue up before the tile.
//@begin ahead
struct Ahead {
  const void *const *next = nullptr, *const *last = nullptr;
  int each = 0;  // lines that one call fetches
  [[gnu::always_inline]] void fetch() {
    for (int i = 0; i < each && next < last; ++i) __builtin_prefetch(*next++);
  }
};
constexpr int64_t fetch_every = 32;  // so many k's
//@end ahead

// The lanes of a and b chosen by index: 0 .. lanes-1 are a's, the next are b's.
template <class T, int... index>
[[gnu::always_inline]] inline Vec<T> shuffle(Vec<T> a, Vec<T> b, std::integer_sequence<int, index...>) {
  return __builtin_shufflevector(a, b, index...);
}

// Of the two vectors x and y of a square, `step` apart, exchanges the blocks off the diagonal.
template <class T, int step, int... lane>
[[gnu::always_inline]] inline void exchange(Vec<T>& x, Vec<T>& y, std::integer_sequence<int, lane...>) {
  constexpr int L = lanes<T>;
  const Vec<T> a = x, b = y;
  x = shuffle<T>(a, b, std::integer_sequence<int, (lane & step ? L + lane - step : lane)...>{});
  y = shuffle<T>(a, b, std::integer_sequence<int, (lane & step ? L + lane : lane + step)...>{});
}

// Transposes a square of lanes x lanes elements: blocks of half its size first, single elements last.
template <class T, int step = lanes<T> / 2>
[[gnu::always_inline]] inline void transpose(Vec<T>* x) {
  if constexpr (step > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i)
      if (!(i & step)) exchange<T, step>(x[i], x[i + step], std::make_integer_sequence<int, lanes<T>>{});
    transpose<T, step / 2>(x);
  }
}

// One k of all lines: copied vector by vector while those stay inside the memory row.
template <class T, int V>
void pack_across(const Operand<T>& m, int64_t first, int64_t count, int64_t width, int64_t k0, int64_t n,
                 Wide<T>* out) {
  constexpr int L = lanes<T>;
  const bool inside = first + V * L <= m.stride;
  for (int64_t k = 0; k < n; ++k, out += width) {
    const T* from = m.at(k0 + k) + first;
    if (inside) {
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) store(out + v * L, load(from + v * L));
    } else {
      for (int64_t i = 0; i < width; ++i) out[i] = i < count ? Wide<T>(from[i]) : 0;
    }
  }
}

// Squares of L lines x L k's are transposed in registers. From the last lines to the first, so that again the next
// store mends what the last one wrote too much. Lines that are not there repeat the last one.
template <class T, int V>
void pack_along(const Operand<T>& m, int64_t first, int64_t count, int64_t width, int64_t k0, int64_t n, Wide<T>* out) {
  constexpr int L = lanes<T>;
  const T* from[V * L];
  for (int64_t i = 0; i < V * L; ++i) from[i] = m.at(first + (i < count ? i : count - 1)) + k0;
  int64_t k = 0;
  for (; k + L <= n; k += L)
    for (int v = V - 1; v >= 0; --v) {
      Vec<T> square[L];
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) square[i] = load(from[v * L + i] + k);
      transpose<Wide<T>>(square);
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) store(out + (k + i) * width + v * L, square[i]);
    }
  for (; k < n; ++k)
    for (int64_t i = 0; i < width; ++i) out[k * width + i] = from[i][k];
}

// The most lines that a panel can have: those of A's or of B's, whichever are more.
template <class T>
constexpr int widest_panel = 2 * lanes<T> > 16 ? 2 * lanes<T> : 16;

// Lines first .. first+count-1 of m at k0 .. k0+n-1, as n groups of `width` >= count: out[k * width + i]. What lies
// behind the last line of a group is a number of no meaning. Writes up to `lanes` elements beyond the panel. bf16 is
// packed as floats.
template <class T, int V = 1>
void pack_panel(const Operand<T>& m, int64_t first, int64_t count, int64_t width, int64_t k0, int64_t n, Wide<T>* out) {
  if constexpr (V * lanes<T> < widest_panel<T>)
    if (width > V * lanes<T>) return pack_panel<T, V + 1>(m, first, count, width, k0, n, out);
  if (m.along_k)
    pack_along<T, V>(m, first, count, width, k0, n, out);
  else
    pack_across<T, V>(m, first, count, width, k0, n, out);
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
