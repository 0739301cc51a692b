// Reading by index, and the sums that undo it. An index of -1 reads zeros and takes part in no sum.
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

// Where n sums of T grow: in the result itself, or in floats that become bf16 at the end.
template <class T>
struct Sums {
  std::shared_ptr<Storage> scratch;
  Wide<T>* data;
  Sums(int64_t n, T* result) {
    if constexpr (of_bf16<T>) {
      scratch = allocate(size_t(n) * sizeof(Wide<T>), Device::cpu);
      data = static_cast<Wide<T>*>(scratch->data);
    } else {
      data = result;
    }
  }
  void finish(int64_t first, int64_t last, T* result) const {
    if constexpr (of_bf16<T>) map_row([](Vec<T> v) { return v; }, last - first, result + first, data + first);
  }
};

}  // namespace

template <class T>
void gather_rows(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y) {
  parallel_blocks(n, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      if (index[i] >= 0)
        for (int64_t c = 0; c < cols; ++c) y[i * cols + c] = x[index[i] * cols + c];
      else
        for (int64_t c = 0; c < cols; ++c) y[i * cols + c] = T{};
    }
  });
}

// Each block owns a range of rows and reads all indices for those that fall in it, so every sum runs in order of i.
// Reading an index costs about as much as adding four elements, hence not more blocks than cols / 4.
template <class T>
void gather_rows_backward(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx) {
  int64_t blocks = (rows + n) * cols / block_elements;
  if (blocks > cols / 4) blocks = cols / 4;
  if (blocks > 64) blocks = 64;
  const Sums<T> sums(rows * cols, dx);
  parallel_blocks(rows, rows / (blocks > 1 ? blocks : 1) + 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first * cols; i < last * cols; ++i) sums.data[i] = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (index[i] < first || index[i] >= last) continue;
      const auto plus = [](Vec<T> s, Vec<T> v) { return s + v; };
      map_row(plus, cols, sums.data + index[i] * cols, sums.data + index[i] * cols, dy + i * cols);
    }
    sums.finish(first * cols, last * cols, dx);
  });
}

template <class T>
void take_columns(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* x, T* y) {
  parallel_blocks(rows, rows_per_block(k), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t j = r * k; j < r * k + k; ++j) y[j] = index[j] >= 0 ? x[r * cols + index[j]] : T{};
  });
}

template <class T>
void take_columns_backward(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* dy, T* dx) {
  parallel_blocks(rows, rows_per_block(cols + k), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      for (int64_t c = r * cols; c < r * cols + cols; ++c) dx[c] = T{};
      for (int64_t j = r * k; j < r * k + k; ++j) {
        if (index[j] < 0) continue;
        Wide<T> sum = 0;  // of all that read this column
        for (int64_t i = r * k; i < r * k + k; ++i)
          if (index[i] == index[j]) sum += dy[i];
        dx[r * cols + index[j]] = T(sum);
      }
    }
  });
}

#define INSTANTIATE(T)                                                                         \
  template void gather_rows(int64_t, int64_t, const int32_t*, const T*, T*);                   \
  template void gather_rows_backward(int64_t, int64_t, int64_t, const int32_t*, const T*, T*); \
  template void take_columns(int64_t, int64_t, int64_t, const int32_t*, const T*, T*);         \
  template void take_columns_backward(int64_t, int64_t, int64_t, const int32_t*, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
