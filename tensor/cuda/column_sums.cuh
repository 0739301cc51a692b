// Sums of columns: rows are cut into chunks by the sizes alone, and the chunks' sums are then added in order.
#pragma once
#include "tensor/cuda/packs.cuh"

namespace switchyard::gpu {

constexpr int strands = block_threads / warp_size;  // chains of additions to a column and chunk

// sums[i][c] = the sum of x[r][c] over the rows r of chunk i = blockIdx.y; rows of x lie `stride` elements apart. A
// warp reads a row's next 32 packs; the block's warps take turns with the rows.
template <int width, class T>
__global__ void column_sum_kernel(int64_t rows, int64_t cols, int64_t stride, int64_t chunk, const T* x, float* sums) {
  constexpr int tile = warp_size * width;
  __shared__ float part[strands][tile];
  const int64_t first = blockIdx.y * chunk;
  const int64_t last = first + chunk < rows ? first + chunk : rows;
  const int64_t c = int64_t{blockIdx.x} * tile + threadIdx.x * width;
  Floats<width> total = {};
  //@begin column-sum
  if (c < cols)
    for (int64_t r = first + threadIdx.y; r < last; r += strands) {
      total = total + load<width>(x + r * stride + c);
    }
  float* own = &part[threadIdx.y][threadIdx.x * width];
  for (int j = 0; j < width; ++j) own[j] = total.at[j];
  __syncthreads();
  //@end column-sum
  const int thread = threadIdx.y * warp_size + threadIdx.x;
  for (int i = thread; i < tile; i += block_threads) {
    const int64_t column = int64_t{blockIdx.x} * tile + i;
    float sum = part[0][i];
    for (int s = 1; s < strands; ++s) sum += part[s][i];
    if (column < cols) sums[blockIdx.y * cols + column] = sum;
  }
}

template <int width, class T>
void launch_column_sum(int64_t rows, int64_t cols, int64_t stride, int64_t chunk, int64_t chunks, const T* x,
                       float* sums) {
  if (cols == 0) return;
  launch(column_sum_kernel<width, T>, dim3(blocks_for(cols, warp_size * width), static_cast<unsigned>(chunks)),
         dim3(warp_size, strands), 0, stream(), rows, cols, stride, chunk, x, sums);
}

// y[c] = the sum of column c of a few rows: partial sums.
inline void add_partial_sums(int64_t rows, int64_t cols, int64_t stride, const float* partial, float* y) {
  launch_column_sum<1>(rows, cols, stride, rows, 1, partial, y);
}

}  // namespace switchyard::gpu
