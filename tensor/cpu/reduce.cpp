// Kernels that fold a row, a column or everything into few numbers.
#include "tensor/cpu/rows.h"
#include "tensor/precedes.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

// The sum of f(x[i]): at most 64 blocks, cut by n alone, are summed and then added in order.
template <class T, class F>
double sum_blocks(int64_t n, const T* x, F f) {
  //@begin blocks
  constexpr int64_t most_blocks = 64;
  const int64_t at_least = (n + most_blocks - 1) / most_blocks;
  const int64_t block = at_least > block_elements ? at_least : block_elements;
  //@end blocks
  double partial[most_blocks] = {};
  parallel_blocks(
      n, block, [&](int64_t first, int64_t last) { partial[first / block] = sum_double(last - first, x + first, f); });
  double total = 0;
  for (double part : partial) total += part;
  return total;
}

template <class T>
[[gnu::always_inline]] inline Wide<T> dot(int64_t n, const T* a, const T* b) {
  Vec<T> strand[4] = {};
  int64_t i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>)
    for (int j = 0; j < 4; ++j) strand[j] += load(a + i + j * lanes<T>) * load(b + i + j * lanes<T>);
  for (; i < n; i += lanes<T>) strand[0] += load_up_to(a + i, n - i) * load_up_to(b + i, n - i);
  return sum_lanes<T>((strand[0] + strand[1]) + (strand[2] + strand[3]));
}

// Moves heap[i] down until no child comes later in the order; the root is then the last of the n.
template <class T>
void sift_down(const T* x, int32_t* heap, int64_t i, int64_t n) {
  const int32_t moving = heap[i];
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && precedes(x, heap[child], heap[child + 1])) ++child;
    if (precedes(x, heap[child], moving)) break;
    heap[i] = heap[child];
  }
  heap[i] = moving;
}

// The best k so far form a heap whose root is the first to go; sorting the heap puts them in order.
template <class T>
void top_k_of_row(int64_t cols, int64_t k, const T* x, int32_t* index) {
  if (k == 0) return;
  for (int64_t i = 0; i < k; ++i) index[i] = int32_t(i);
  for (int64_t i = k / 2 - 1; i >= 0; --i) sift_down(x, index, i, k);
  for (int64_t i = k; i < cols; ++i) {
    if (x[i] <= x[index[0]] || !precedes(x, i, index[0])) continue;
    index[0] = int32_t(i);
    sift_down(x, index, 0, k);
  }
  for (int64_t end = k - 1; end > 0; --end) {
    const int32_t last = index[0];
    index[0] = index[end], index[end] = last;
    sift_down(x, index, 0, end);
  }
}

}  // namespace

template <class T>
void sum(int64_t n, const T* x, Wide<T>* y) {
  *y = Wide<T>(sum_blocks(n, x, [](auto v) { return v; }));
}

template <class T>
void sum_squares(int64_t n, const T* x, double* y) {
  *y = sum_blocks(n, x, [](auto v) { return v * v; });
}

template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, Wide<T>* y) {
  using W = Wide<T>;
  sum_over_rows<W>(rows, cols, y, nullptr, [&](int64_t first, int64_t last, W* sums, W*) {
    int64_t r = first;
    for (; r + 4 <= last; r += 4) {  // four rows a pass, so that the sums are read and written less often
      const T *x0 = x + r * cols, *x1 = x0 + cols, *x2 = x1 + cols, *x3 = x2 + cols;
      const auto add_four = [](Vec<T> s, Vec<T> a, Vec<T> b, Vec<T> c, Vec<T> d) { return s + ((a + b) + (c + d)); };
      map_row(add_four, cols, sums, sums, x0, x1, x2, x3);
    }
    for (; r < last; ++r) map_row([](Vec<T> s, Vec<T> v) { return s + v; }, cols, sums, sums, x + r * cols);
  });
}

template <class T>
void row_dot(int64_t rows, int64_t cols, const T* a, const T* b, Wide<T>* y) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) y[r] = dot(cols, a + r * cols, b + r * cols);
  });
}

template <class T>
void scale_rows(int64_t rows, int64_t cols, const T* x, const Wide<T>* s, T* y) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const Wide<T> factor = s[r];
      map_row([factor](Vec<T> v) { return factor * v; }, cols, y + r * cols, x + r * cols);
    }
  });
}

// A row that is -inf throughout has no softmax: it comes back as NaN (0 / 0), not as a distribution nobody asked for.
template <class T>
void softmax(int64_t rows, int64_t cols, const T* x, T* y) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T* row = x + r * cols;
      const Wide<T> shift = finite_maximum(cols, row), factor = 1 / sum_exp(cols, row, shift);
      map_row([=](Vec<T> v) { return factor * exp<Wide<T>>(v - shift); }, cols, y + r * cols, row);
    }
  });
}

template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* y, const T* dy, T* dx) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T *p = y + r * cols, *d = dy + r * cols;
      const Wide<T> mean = dot(cols, p, d);
      map_row([mean](Vec<T> pv, Vec<T> dv) { return pv * (dv - mean); }, cols, dx + r * cols, p, d);
    }
  });
}

template <class T>
void logsumexp(int64_t rows, int64_t cols, const T* x, Wide<T>* y) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T* row = x + r * cols;
      const Wide<T> shift = finite_maximum(cols, row);
      y[r] = shift + log_of(sum_exp(cols, row, shift));
    }
  });
}

template <class T>
void top_k(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index) {
  parallel_blocks(rows, rows_per_block(4 * cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) top_k_of_row(cols, k, x + r * cols, index + r * k);
  });
}

template <class T>
void softmax_top_k(int64_t rows, int64_t cols, int64_t k, const T* x, T* y, int32_t* index) {
  softmax(rows, cols, x, y);
  top_k(rows, cols, k, x, index);
}

#define INSTANTIATE(T)                                                      \
  template void sum(int64_t, const T*, Wide<T>*);                           \
  template void sum_squares(int64_t, const T*, double*);                    \
  template void column_sum(int64_t, int64_t, const T*, Wide<T>*);           \
  template void row_dot(int64_t, int64_t, const T*, const T*, Wide<T>*);    \
  template void scale_rows(int64_t, int64_t, const T*, const Wide<T>*, T*); \
  template void softmax(int64_t, int64_t, const T*, T*);                    \
  template void softmax_backward(int64_t, int64_t, const T*, const T*, T*); \
  template void logsumexp(int64_t, int64_t, const T*, Wide<T>*);            \
  template void top_k(int64_t, int64_t, int64_t, const T*, int32_t*);       \
  template void softmax_top_k(int64_t, int64_t, int64_t, const T*, T*, int32_t*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
