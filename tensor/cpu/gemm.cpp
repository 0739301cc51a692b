// Matrix products: one driver for gemm and for the products of all experts at once. The scheme is that of Goto and van
// de Geijn (2008), "Anatomy of high-performance matrix multiplication": blocks of op(A) are packed to stay in the
// level 2 cache, narrow panels of op(B) to stay in level 1, and a tile of C stays in registers.
#include <new>

#include "tensor/cpu/declarations.h"
#include "tensor/cpu/gemm_micro.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

constexpr int64_t block_rows = 512;                           // of op(A), packed at a time
constexpr int64_t block_k = 256;                              // one panel of B: 32 KiB of f32 on AVX-512
constexpr int64_t few_rows = 8;                               // up to here packing does not pay
constexpr int64_t least_work = 1 << 20, most_work = 1 << 23;  // of an item, in multiply-adds
constexpr int64_t item_bytes = 1 << 16;                       // of B, where rows are few and memory is the limit

// C (M x N) = or += op(A) op(B). Its blocks are work items numbered from `first_item`.
template <class T>
struct Problem {
  int64_t M, N, K;
  Operand<T> a, b;
  T* c;
  bool add;
  int64_t row_blocks, col_blocks, first_item;
};

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
thread_local Scratch packed_a, packed_b, problem_list;

template <class T>
bool is_small(const Problem<T>& p) {
  return p.M <= few_rows && p.a.along_k;
}

// A block of op(A), packed as panels of nearly equal height: panel i starts at start(i).
template <class T>
struct PackedRows {
  T* data;
  Range rows, k;
  int64_t panels() const { return ceil_divide(rows.size(), tile_rows); }
  Range panel(int64_t i) const { return piece(rows.size(), panels(), i); }
  T* start(int64_t i) const { return data + panel(i).first * k.size() + i * lanes<T>; }
};

template <class T>
PackedRows<T> pack_rows(const Operand<T>& a, Range rows, Range k, T* data) {
  const PackedRows<T> packed{data, rows, k};
  // Across k, all panels advance together: then the rows of memory are read from one end to the other.
  const int64_t n = k.size(), chunk = a.along_k ? larger(n, 1) : 16;
  for (int64_t k0 = 0; k0 < n; k0 += chunk)
    for (int64_t i = 0; i < packed.panels(); ++i) {
      const Range r = packed.panel(i);
      pack_panel<T>(a, rows.first + r.first, r.size(), r.size(), k.first + k0, smaller(chunk, n - k0),
                    packed.start(i) + k0 * r.size());
    }
  return packed;
}

template <class T>
void multiply_block(const Problem<T>& p, Range rows, Range cols) {
  T* a = static_cast<T*>(packed_a.get(sizeof(T) * (block_rows * block_k + (block_rows / tile_rows + 2) * lanes<T>)));
  T* b = static_cast<T*>(packed_b.get(sizeof(T) * (tile_cols<T> * block_k + lanes<T>)));
  const int64_t steps = larger(1, ceil_divide(p.K, block_k));
  for (int64_t step = 0; step < steps; ++step) {
    const Range k = piece(p.K, steps, step);
    const PackedRows<T> packed = pack_rows(p.a, rows, k, a);
    for (int64_t n = cols.first; n < cols.last; n += tile_cols<T>) {
      const int64_t width = smaller(tile_cols<T>, cols.last - n);
      pack_panel<T>(p.b, n, width, tile_cols<T>, k.first, k.size(), b);
      for (int64_t i = 0; i < packed.panels(); ++i) {
        const Range r = packed.panel(i);
        multiply_rows<T>(r.size(), k.size(), packed.start(i), b, width, p.add || step > 0,
                         p.c + (rows.first + r.first) * p.N + n, p.N);
      }
    }
  }
}

// R rows from m on, all columns of the range.
template <class T, int R>
void multiply_few(const Problem<T>& p, int64_t m, Range cols) {
  constexpr int L = lanes<T>;
  int64_t n = cols.first;
  if (p.b.along_k) {
    for (; n + 4 <= cols.last; n += 4) multiply_lines<T, R, 4>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
    for (; n < cols.last; ++n) multiply_lines<T, R, 1>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
    return;
  }
  for (; n + 4 * L <= cols.last; n += 4 * L) multiply_columns<T, R, 4>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
  for (; n + L <= cols.last; n += L) multiply_columns<T, R, 1>(p.K, p.a, m, p.b, n, p.add, p.c, p.N);
  for (int64_t r = m; r < m + R; ++r)
    for (int64_t j = n; j < cols.last; ++j) {
      T total = 0;
      for (int64_t k = 0; k < p.K; ++k) total += p.a.at(r)[k] * p.b.at(k)[j];
      p.c[r * p.N + j] = p.add ? p.c[r * p.N + j] + total : total;
    }
}

template <class T>
void multiply_item(const Problem<T>& p, int64_t item) {
  const Range rows = piece(p.M, p.row_blocks, item / p.col_blocks);
  const Range cols = piece(p.N, p.col_blocks, item % p.col_blocks, tile_cols<T>);
  if (!is_small(p)) return multiply_block(p, rows, cols);
  int64_t m = 0;
  for (; m + 4 <= p.M; m += 4) multiply_few<T, 4>(p, m, cols);
  for (; m + 2 <= p.M; m += 2) multiply_few<T, 2>(p, m, cols);
  if (m < p.M) multiply_few<T, 1>(p, m, cols);
}

// How problems are cut into items depends on the sizes of all of them alone, and no sum is cut: so no thread count
// changes a bit. A small total makes small items, so that several threads find something; larger items pack less.
template <class T>
void cut(Problem<T>& p, int64_t item_work) {
  p.row_blocks = p.col_blocks = 0;
  if (p.M == 0 || p.N == 0) return;
  const int64_t tiles = ceil_divide(p.N, tile_cols<T>), elements_of_b = tiles * tile_cols<T> * larger(p.K, 1);
  if (is_small(p)) {
    p.row_blocks = 1;
    p.col_blocks = clamp(elements_of_b * int64_t(sizeof(T)) / item_bytes, 1, tiles);
  } else {
    p.row_blocks = ceil_divide(p.M, block_rows);
    p.col_blocks = clamp(p.M * elements_of_b / (p.row_blocks * item_work), 1, ceil_divide(tiles, 4));
  }
}

template <class T>
void multiply_all(int64_t count, Problem<T>* list) {
  int64_t work = 0, items = 0;
  for (int64_t i = 0; i < count; ++i) work += list[i].M * list[i].N * list[i].K;
  for (int64_t i = 0; i < count; ++i) {
    cut(list[i], clamp(work / 8, least_work, most_work));
    list[i].first_item = items;
    items += list[i].row_blocks * list[i].col_blocks;
  }
  parallel_for(items, [&](int64_t item) {
    int64_t low = 0, high = count;  // the last problem whose first item is not beyond this one
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (list[middle].first_item <= item ? low : high) = middle;
    }
    multiply_item(list[low], item - list[low].first_item);
  });
}

template <class T>
Problem<T>* problems(int64_t count) {
  return static_cast<Problem<T>*>(problem_list.get(size_t(count) * sizeof(Problem<T>)));
}

}  // namespace

template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b, bool accumulate,
          T* c) {
  Problem<T> p{M, N, K, {a, transpose_a ? M : K, !transpose_a}, {b, transpose_b ? K : N, transpose_b}, c, accumulate,
               0, 0, 0};
  multiply_all(1, &p);
}

template <class T>
void grouped_forward(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row, const T* x,
                     const T* w, T* y) {
  Problem<T>* list = problems<T>(E);
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    const Operand<T> slots = row ? Operand<T>{x, in, true, row + s} : Operand<T>{x + s * in, in, true};
    list[e] = {offset[e + 1] - s, out, in, slots, {w + e * out * in, in, true}, y + s * out, false, 0, 0, 0};
  }
  multiply_all(E, list);
}

template <class T>
void grouped_backward_input(int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy, const T* w, T* dx) {
  Problem<T>* list = problems<T>(E);
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    list[e] = {offset[e + 1] - s,
               in,
               out,
               {dy + s * out, out, true},
               {w + e * out * in, in, false},
               dx + s * in,
               false,
               0,
               0,
               0};
  }
  multiply_all(E, list);
}

template <class T>
void grouped_backward_weight(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row, const T* dy,
                             const T* x, T* dw) {
  Problem<T>* list = problems<T>(E);
  for (int64_t e = 0; e < E; ++e) {
    const int64_t s = offset[e];
    const Operand<T> slots = row ? Operand<T>{x, in, false, row + s} : Operand<T>{x + s * in, in, false};
    list[e] = {out, in, offset[e + 1] - s, {dy + s * out, out, false}, slots, dw + e * out * in, false, 0, 0, 0};
  }
  multiply_all(E, list);
}

#define INSTANTIATE(T)                                                                                                 \
  template void gemm<T>(bool, bool, int64_t, int64_t, int64_t, const T*, const T*, bool, T*);                          \
  template void grouped_forward<T>(int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const T*, const T*, T*); \
  template void grouped_backward_input<T>(int64_t, int64_t, int64_t, const int32_t*, const T*, const T*, T*);          \
  template void grouped_backward_weight<T>(int64_t, int64_t, int64_t, const int32_t*, const int32_t*, const T*,        \
                                           const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
