// Matrix products: one driver for gemm and for the products of all experts at once. The scheme is that of Goto and van
// de Geijn (2008), "Anatomy of high-performance matrix multiplication": blocks of op(A) are packed to stay in the
// level 2 cache, narrow panels of op(B) to stay in level 1, and a tile of C stays in registers.
#include <new>

#include "tensor/cpu/declarations.h"
#include "tensor/cpu/gemm_bf16.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

constexpr int64_t block_bytes = 512 << 10;  // of op(A), packed at a time: half of a level 2 cache
constexpr int64_t most_rows = 512;          // of such a block
constexpr int64_t panel_bytes = 32 << 10;   // of op(B), packed at a time, on AVX-512
constexpr int64_t few = line_sums;          // rows or columns of C, for which packing does not pay
constexpr int64_t least_work = 1 << 20;     // multiply-adds worth handing to another thread
constexpr int64_t packing_cost = 32;        // multiply-adds in the time of packing one element
constexpr int64_t most_items = 8;           // for each thread
constexpr int64_t item_bytes = 1 << 17;     // of the longer operand, where the other is short and memory is the limit

//@begin problem
// C (M x N) = or += op(A) op(B).
// Its blocks are work items numbered from `first_item`.
template <class T, class Out = T>
struct Problem {
  int64_t M, N, K;
  Operand<T> a, b;
  Out* c;
  bool add;
  // An expert's rows on average: other tokens' choices must not change the
  // order of a sum.
  int64_t usual_rows = M;
  int64_t row_blocks = 0, col_blocks = 0, first_item = 0;
};
//@end problem

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t clamp(int64_t x, int64_t low, int64_t high) { return smaller(larger(x, low), high); }
int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Piece i of 0 .. n-1 dealt into `parts` pieces as evenly as whole units allow.
struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};
Range piece(int64_t n, int64_t parts, int64_t i, int64_t unit = 1) {
  const int64_t units = (n + unit - 1) / unit;
  return {units * i / parts * unit, smaller(n, units * (i + 1) / parts * unit)};
}

// Memory that a thread keeps from call to call.
struct Scratch {
  void* data = nullptr;
  size_t bytes = 0;
  void* get(size_t wanted) {
    if (wanted > bytes) {
      release();
      data = ::operator new (wanted, std::align_val_t{64});
      bytes = wanted;
    }
    return data;
  }
  void release() {
    if (data) ::operator delete (data, std::align_val_t{64});
    data = nullptr, bytes = 0;
  }
  ~Scratch() { release(); }
};
thread_local Scratch packed_a, packed_b, addresses, problem_list;

template <class T, class Out>
bool is_small(const Problem<T, Out>& p) {
  return smaller(p.usual_rows, p.N) <= few && p.a.along_k && p.b.along_k;
}

// How far a sum runs before it goes to C. A bf16 would lose digits there, so its sums run to their end.
template <class Micro, class Out>
int64_t block_k(int64_t K) {
  const int64_t usual = panel_bytes / (Micro::cols * int64_t(sizeof(typename Micro::Packed)));
  return sizeof(Out) == sizeof(bf16) || K <= usual ? larger(K, 1) : usual;
}
template <class Micro, class Out>
int64_t block_rows(int64_t K) {
  const int64_t bytes = block_k<Micro, Out>(K) * int64_t(sizeof(typename Micro::Packed));
  return clamp(block_bytes / bytes, Micro::rows, most_rows);
}

// A block of op(A): panels of equal height (the last one may be lower), packed or as they lie.
template <class Micro>
struct RowPanels {
  const typename Micro::Packed* data;
  int64_t rows, K, panels, height;
  int64_t to_next;     // elements from one panel to the next,
  int64_t k_step = 0;  // and from one k to the next; packed, that is the panel's own height
  int64_t first(int64_t i) const { return i * height; }
  int64_t size(int64_t i) const { return smaller(height, rows - first(i)); }
  int64_t step(int64_t i) const { return k_step ? k_step : size(i); }
  const typename Micro::Packed* panel(int64_t i) const { return data + i * to_next; }
};

template <class Micro>
RowPanels<Micro> row_panels(const Operand<typename Micro::Element>& a, Range rows, Range k) {
  using Packed = typename Micro::Packed;
  const int64_t height = ceil_divide(rows.size(), ceil_divide(rows.size(), Micro::rows));
  const int64_t panels = ceil_divide(rows.size(), height);
  // What lies across k has the rows of a tile side by side already.
  if constexpr (Micro::reads_in_place)
    if (!a.along_k && !a.row)
      return {a.at(k.first) + rows.first, rows.size(), k.size(), panels, height, height, a.stride};
  const int64_t to_next = Micro::size(height, k.size());
  Packed* const data = static_cast<Packed*>(packed_a.get(sizeof(Packed) * size_t(panels * to_next)));
  const RowPanels<Micro> packed{data, rows.size(), k.size(), panels, height, to_next};
  // Across k, all panels advance together, a few k's at a time: so memory is read in long rows.
  const int64_t chunk = a.along_k ? larger(packed.K, 1) : Micro::k_chunk;
  for (int64_t k0 = 0; k0 < packed.K; k0 += chunk)
    for (int64_t i = 0; i < panels; ++i) {
      const int64_t size = packed.size(i);
      Micro::pack_rows(a, rows.first + packed.first(i), size, k.first + k0, smaller(chunk, packed.K - k0),
                       data + i * to_next + Micro::at(size, k0));
    }
  return packed;
}

// Where so many lines of m lie at so many k's.
template <class T>
Ahead lines_of_memory(const Operand<T>& m, Range lines, Range k) {
  constexpr int64_t step = 64 / sizeof(T);
  const Range rows = m.along_k ? lines : k, of_row = m.along_k ? k : lines;
  const int64_t most = rows.size() * ceil_divide(of_row.size(), step);
  const void** const at = static_cast<const void**>(addresses.get(sizeof(void*) * size_t(most)));
  int64_t count = 0;
  for (int64_t i = rows.first; i < rows.last; ++i)
    for (int64_t j = of_row.first; j < of_row.last; j += step) at[count++] = m.at(i) + j;
  return {at, at + count};
}

// What tile i of so many fetches of it.
Ahead share(const Ahead& all, int64_t tiles, int64_t i, int64_t K) {
  const Range part = piece(all.last - all.next, tiles, i);
  const int64_t fetches = ceil_divide(larger(K, 1), fetch_every);
  return {all.next + part.first, all.next + part.last, int(ceil_divide(part.size(), fetches))};
}

template <class Micro, class T, class Out>
void multiply_block(const Problem<T, Out>& p, Range rows, Range cols) {
  using Packed = typename Micro::Packed;
  const int64_t steps = larger(1, ceil_divide(p.K, block_k<Micro, Out>(p.K)));
  for (int64_t step = 0; step < steps; ++step) {
    const Range k = piece(p.K, steps, step, Micro::k_unit);
    const RowPanels<Micro> a = row_panels<Micro>(p.a, rows, k);
    Packed* const b = static_cast<Packed*>(packed_b.get(sizeof(Packed) * size_t(Micro::size(Micro::cols, k.size()))));
    for (int64_t n = cols.first; n < cols.last; n += Micro::cols) {
      const int64_t width = smaller(Micro::cols, cols.last - n), next = n + width;
      Micro::pack_cols(p.b, n, width, k.first, k.size(), b);
      const Ahead ahead = lines_of_memory(p.b, {next, smaller(next + Micro::cols, cols.last)}, k);
      for (int64_t i = 0; i < a.panels; ++i)
        Micro::multiply(a.size(i), a.K, a.panel(i), a.step(i), b, width, p.add || step > 0,
                        p.c + (rows.first + a.first(i)) * p.N + n, p.N, share(ahead, a.panels, i, k.size()));
    }
  }
}

// R rows from m on, all columns of the range.
template <int R, class T, class Out>
void multiply_few(const Problem<T, Out>& p, int64_t m, Range cols) {
  constexpr int J = line_sums / R;
  int64_t n = cols.first;
  for (; n + J <= cols.last; n += J) multiply_lines<T, R, J>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
  for (; n < cols.last; ++n) multiply_lines<T, R, 1>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
}

template <class Micro, class T, class Out>
void multiply_item(const Problem<T, Out>& p, int64_t item) {
  const Range rows = piece(p.M, p.row_blocks, item / p.col_blocks);
  const Range cols = piece(p.N, p.col_blocks, item % p.col_blocks, Micro::cols);
  if (!is_small(p)) return multiply_block<Micro>(p, rows, cols);
  int64_t m = rows.first;
  for (; m + 4 <= rows.last; m += 4) multiply_few<4>(p, m, cols);
  for (; m + 2 <= rows.last; m += 2) multiply_few<2>(p, m, cols);
  if (m < rows.last) multiply_few<1>(p, m, cols);
}

// Cuts a problem into items by an estimate of how long a call of so much work in all would take, were all of it cut
// like this problem: the threads work in rounds and wait for a quarter of an item at the end, and each item packs its
// rows and columns. The cut changes no bit, for no sum is cut.
template <class Micro, class T, class Out>
void cut(Problem<T, Out>& p, int64_t work) {
  if (p.M == 0 || p.N == 0) return;  // no items
  p.row_blocks = p.col_blocks = 1;
  if (is_small(p)) {
    const int64_t longer = larger(p.M, p.N);
    (p.M > p.N ? p.row_blocks : p.col_blocks) = clamp(longer * p.K * int64_t(sizeof(T)) / item_bytes, 1, longer);
    return;
  }
  p.row_blocks = ceil_divide(p.M, block_rows<Micro, Out>(p.K));
  if (threads() == 1) return;
  const int64_t own = larger(p.M * p.N * p.K, 1), count = larger((work + own / 2) / own, 1);
  const int64_t most = clamp(own / least_work, 1, ceil_divide(most_items * threads(), count));
  int64_t rows = p.row_blocks, cols = 1, least = 0;
  while (true) {
    const int64_t height = ceil_divide(p.M, rows), panels = ceil_divide(ceil_divide(p.N, Micro::cols), cols);
    const int64_t width = panels * Micro::cols;  // columns are dealt out in whole panels
    const int64_t quarters = 4 * ceil_divide(rows * cols * count, threads()) + 1;
    const int64_t cost = quarters * (height * width + packing_cost * (height + width));
    if (least == 0 || cost < least) least = cost, p.row_blocks = rows, p.col_blocks = cols;
    if (rows * cols >= most) return;
    ++(height > width ? rows : cols);
  }
}

template <class Micro, class T, class Out>
void multiply_with(int64_t count, Problem<T, Out>* list) {
  int64_t work = 0, items = 0;
  for (int64_t i = 0; i < count; ++i) work += list[i].M * list[i].N * list[i].K;
  //@begin work-list
  for (int64_t i = 0; i < count; ++i) {
    cut<Micro>(list[i], work);
    list[i].first_item = items;
    items += list[i].row_blocks * list[i].col_blocks;
  }
  parallel_for(items, [&](int64_t item) {
    // The last problem whose first item is not beyond this one.
    int64_t low = 0, high = count;
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (list[middle].first_item <= item ? low : high) = middle;
    }
    multiply_item<Micro>(list[low], item - list[low].first_item);
  });
  //@end work-list
}

template <class T, class Out>
void multiply_all(int64_t count, Problem<T, Out>* list) {
#ifdef SWITCHYARD_BF16_PRODUCTS
  if constexpr (std::is_same_v<T, bf16>) {
    const Bf16Product how = bf16_product();
    if (how == Bf16Product::amx) return multiply_with<AmxTiles<HardwareTiles>>(count, list);
    if (how == Bf16Product::emulated_amx) return multiply_with<AmxTiles<EmulatedTiles>>(count, list);
    if (how == Bf16Product::dot) return multiply_with<DotPairs>(count, list);
  }
#endif
  multiply_with<MultiplyAdd<T>>(count, list);
}

template <class T, class Out>
void multiply(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b, bool add,
              Out* c) {
  const Operand<T> rows{a, transpose_a ? M : K, !transpose_a}, cols{b, transpose_b ? K : N, transpose_b};
  Problem<T, Out> p{M, N, K, rows, cols, c, add};
  multiply_all(1, &p);
}

template <class T, class Out = T>
Problem<T, Out>* problems(int64_t count) {
  return static_cast<Problem<T, Out>*>(problem_list.get(size_t(count) * sizeof(Problem<T, Out>)));
}

}  // namespace

template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b, bool accumulate,
          T* c) {
  multiply(transpose_a, transpose_b, M, N, K, a, b, accumulate, c);
}

template <class T>
void gemm_wide(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
               bool accumulate, Wide<T>* c) {
  multiply(transpose_a, transpose_b, M, N, K, a, b, accumulate, c);
}

// Zeros for the slots that no expert owns.
template <class T>
void clear_tail(int64_t N, int64_t E, int64_t cols, const int32_t* offset, T* y) {
  for (int64_t i = offset[E] * cols; i < N * cols; ++i) y[i] = T{};
}

template <class T>
void grouped_forward(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                     const T* x, const T* w, T* y) {
  Problem<T>* list = problems<T>(E);
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    const Operand<T> slots = row ? Operand<T>{x, in, true, row + s} : Operand<T>{x + s * in, in, true};
    const Operand<T> weight{w + e * out * in, in, true};
    list[e] = {offset[e + 1] - s, out, in, slots, weight, y + s * out, false, ceil_divide(offset[E], E)};
  }
  clear_tail(N, E, out, offset, y);
  multiply_all(E, list);
}

template <class T>
void grouped_backward_input(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy,
                            const T* w, T* dx) {
  Problem<T>* list = problems<T>(E);
  //@begin backward-input
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    const Operand<T> slots{dy + s * out, out, true};
    const Operand<T> weight{w + e * out * in, in, false};
    list[e] = {offset[e + 1] - s, in, out, slots, weight, dx + s * in, false};
  }
  //@end backward-input
  clear_tail(N, E, in, offset, dx);
  multiply_all(E, list);
}

template <class T>
void grouped_backward_weight(int64_t, int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                             const T* dy, const T* x, Wide<T>* dw) {
  Problem<T, Wide<T>>* list = problems<T, Wide<T>>(E);
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    const Operand<T> slots = row ? Operand<T>{x, in, false, row + s} : Operand<T>{x + s * in, in, false};
    list[e] = {out, in, offset[e + 1] - s, {dy + s * out, out, false}, slots, dw + e * out * in, false};
  }
  multiply_all(E, list);
}

#define INSTANTIATE(T)                                                                                                 \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, T*);                          \
  template void gemm_wide<T>(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, Wide<T>*);               \
  template void grouped_forward<T>(int64_t, int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const T*,       \
                                   const T*, T*);                                                                      \
  template void grouped_backward_input<T>(int64_t, int64_t, int64_t, int64_t, const int32_t*, const T*, const T*, T*); \
  template void grouped_backward_weight<T>(int64_t, int64_t, int64_t, int64_t, const int32_t*, const int32_t*,         \
                                           const T*, const T*, Wide<T>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
