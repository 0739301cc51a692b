// Reading by index, and the sums that undo it. An index of -1 reads zeros and takes part in no sum.
#include "tensor/cuda/counting_sort.cuh"
#include "tensor/cuda/packs.cuh"
#include "tensor/cuda/route.h"

namespace switchyard::gpu {
namespace {

template <int width, class T>
__global__ void gather_rows_kernel(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y) {
  for_each_pack<width>(n, cols, [&](int64_t i, int64_t c) {
    using Piece = Pack<T, width>;
    const int64_t from = index[i];
    *reinterpret_cast<Piece*>(y + i * cols + c) =
        from >= 0 ? *reinterpret_cast<const Piece*>(x + from * cols + c) : Piece{};
  });
}

}  // namespace

template <class T>
void gather_rows(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y) {
  with_width<T>(rows_aligned<T>(cols, x, y),
                [&](auto width) { launch_rows(gather_rows_kernel<width, T>, width, n, cols, index, x, y); });
}

namespace {

template <class T>
__global__ void gather_rows_backward_plain_kernel(int64_t n, int64_t rows, int64_t cols, const int32_t* index,
                                                  const T* dy, T* dx) {
  for (int64_t at = global_index(); at < rows * cols; at += global_size()) {
    float sum = 0;
    for (int64_t i = 0; i < n; ++i)
      if (index[i] == at / cols) sum += float(dy[i * cols + at % cols]);
    dx[at] = T(sum);
  }
}

}  // namespace

template <class T>
void gather_rows_backward_plain(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx) {
  if (rows * cols == 0) return;
  launch(gather_rows_backward_plain_kernel<T>, blocks_for(rows * cols, block_threads), block_threads, 0, stream(), n,
         rows, cols, index, dy, dx);
}

namespace {

// With the entries sorted by index, equal ones stand in a run. A warp (per slice of columns) stands at each entry; the
// one at the beginning of a run adds it up.
template <int width, class T>
__global__ void sum_runs(int64_t n, int64_t cols, const int32_t* index, const int32_t* order, const T* dy, T* dx) {
  const int64_t begin = global_index() / warp_size;
  const int lane = threadIdx.x % warp_size;
  const int64_t c = (int64_t{blockIdx.y} * warp_size + lane) * width;
  if (begin >= n) return;
  const int32_t row = index[order[begin]];
  if (row < 0 || (begin > 0 && index[order[begin - 1]] == row)) return;
  //@begin sum-runs
  Floats<width> sum{};
  int length = warp_size;
  for (int64_t first = begin; length == warp_size; first += warp_size) {
    // Each lane looks at one of the next 32 entries; then all add up
    // those that are still of this run.
    const int32_t entry = first + lane < n ? order[first + lane] : -1;
    const bool here = entry >= 0 && index[entry] == row;
    length = __popc(__ballot_sync(whole_warp, here));
#pragma unroll 8
    for (int i = 0; i < length; ++i) {
      const int64_t from = __shfl_sync(whole_warp, entry, i);
      if (c < cols) sum = sum + load<width>(dy + from * cols + c);
    }
  }
  if (c < cols) store(dx + row * cols + c, sum);
  //@end sum-runs
}

}  // namespace

template <class T>
void gather_rows_backward(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx) {
  if (rows * cols == 0) return;
  check_cuda(cudaMemsetAsync(dx, 0, size_t(rows * cols) * sizeof(T), stream()), "gather_rows_backward");
  if (n == 0) return;
  const GroupOf row{index, uint32_t(rows)};
  const Scratch<int32_t> order = stable_sort(n, row, row.bits());
  with_width<T>(rows_aligned<T>(cols, dy, dx), [&](auto width) {
    const dim3 grid(blocks_for(n, block_threads / warp_size), blocks_for(cols, warp_size * width));
    launch(sum_runs<width, T>, grid, block_threads, 0, stream(), n, cols, index, order.data(), dy, dx);
  });
}

namespace {

template <class T>
__global__ void take_columns_kernel(int64_t n, int64_t cols, int64_t k, const int32_t* index, const T* x, T* y) {
  for (int64_t j = global_index(); j < n; j += global_size())
    y[j] = index[j] >= 0 ? x[j / k * cols + index[j]] : T(0.0f);
}

// A thread per element looks for its column among the row's k: a gather, where scattering would need atomics.
template <class T>
__global__ void take_columns_backward_kernel(int64_t n, int64_t cols, int64_t k, const int32_t* index, const T* dy,
                                             T* dx) {
  for (int64_t at = global_index(); at < n; at += global_size()) {
    const int64_t r = at / cols, c = at % cols;
    float sum = 0;
    for (int64_t j = r * k; j < r * k + k; ++j)
      if (index[j] == c) sum += float(dy[j]);
    dx[at] = T(sum);
  }
}

}  // namespace

template <class T>
void take_columns(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* x, T* y) {
  if (rows * k == 0) return;
  launch(take_columns_kernel<T>, blocks_for(rows * k, block_threads), block_threads, 0, stream(), rows * k, cols, k,
         index, x, y);
}

template <class T>
void take_columns_backward(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* dy, T* dx) {
  if (rows * cols == 0) return;
  launch(take_columns_backward_kernel<T>, blocks_for(rows * cols, block_threads), block_threads, 0, stream(),
         rows * cols, cols, k, index, dy, dx);
}

#define INSTANTIATE(T)                                                                               \
  template void gather_rows(int64_t, int64_t, const int32_t*, const T*, T*);                         \
  template void gather_rows_backward(int64_t, int64_t, int64_t, const int32_t*, const T*, T*);       \
  template void gather_rows_backward_plain(int64_t, int64_t, int64_t, const int32_t*, const T*, T*); \
  template void take_columns(int64_t, int64_t, int64_t, const int32_t*, const T*, T*);               \
  template void take_columns_backward(int64_t, int64_t, int64_t, const int32_t*, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::gpu
