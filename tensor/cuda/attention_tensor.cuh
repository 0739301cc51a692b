// What attention's kernels on tensor cores share: tiles of bf16 rows in shared memory, and the products of a warp that
// owns 16 rows, or two times 16, with such a tile. For the layouts of the operands see ptx.cuh.
#pragma once
#include "tensor/cuda/attention.cuh"
#include "tensor/cuda/ptx.cuh"

namespace switchyard::gpu {

constexpr int fragment = 16;  // rows and columns of an mma operand

// Rows of up to `width` elements. 8 unused ones between two rows put 8 neighbouring rows into different banks.
template <int width>
constexpr int pitch_of = width + 8;

// Starts to copy a tile of rows; zeros beyond the last and beyond D. Rows are 16-byte aligned.
template <int width, int tile_rows, int threads>
__device__ void start_tile(const HeadRows<const bf16>& rows, int64_t first, int64_t D, bf16* tile) {
  constexpr int chunks = width / 8;  // of 16 bytes
  const bf16* const from = rows.row(first);
  const int left = int(rows.count - first), stride = int(rows.stride), wide = int(D);
#pragma unroll 1  // the addresses of several copies would take registers that the products need
  for (int e = threadIdx.x; e < tile_rows * chunks; e += threads) {
    const int r = e / chunks, d = e % chunks * 8;
    const bool valid = r < left && d < wide;
    copy_async_16(tile + r * pitch_of<width> + d, valid ? from + int64_t{r} * stride + d : rows.data, valid ? 16 : 0);
  }
}

// sum[m][n] = rows 16 m .. of a . rows 8 n .. of b: scores.
template <int width, int own, int columns>
__device__ void warp_products(const bf16* a, const bf16* b, float (&sum)[own][columns / 8][4]) {
  constexpr int pitch = pitch_of<width>;
  const int lane = threadIdx.x % warp_size;
  a += lane % 16 * pitch + lane / 16 * 8;
  b += (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
  for (int m = 0; m < own; ++m)
#pragma unroll
    for (int n = 0; n < columns / 8; ++n)
#pragma unroll
      for (float& x : sum[m][n]) x = 0;
#pragma unroll
  for (int d = 0; d < width; d += fragment) {
    uint32_t left[own][4];
#pragma unroll
    for (int m = 0; m < own; ++m) load_matrices<false>(left[m], a + m * fragment * pitch + d);
#pragma unroll
    for (int n = 0; n < columns; n += fragment) {
      uint32_t right[4];
      load_matrices<false>(right, b + n * pitch + d);
      const uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
#pragma unroll
      for (int m = 0; m < own; ++m) {
        mma_bf16(sum[m][n / 8], left[m], low);
        mma_bf16(sum[m][n / 8 + 1], left[m], high);
      }
    }
  }
}

// sum += weight x, where x is a tile of `rows` rows. The sums of one product, rounded to bf16, are in the right places
// to be the left operand of the next: nothing is exchanged between threads.
template <int width, int own, int rows>
__device__ void warp_add_weighted(const float (&weight)[own][rows / 8][4], const bf16* x,
                                  float (&sum)[own][width / 8][4]) {
  constexpr int pitch = pitch_of<width>;
  const int lane = threadIdx.x % warp_size;
  x += lane % 16 * pitch + lane / 16 * 8;
#pragma unroll
  for (int j = 0; j < rows; j += fragment) {
    uint32_t left[own][4];
#pragma unroll
    for (int m = 0; m < own; ++m)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        //@begin weights-as-operand
        const float* pair = &weight[m][j / 8 + i / 2][i % 2 * 2];
        left[m][i] = pack_bf16(pair[0], pair[1]);
        //@end weights-as-operand
      }
#pragma unroll
    for (int d = 0; d < width; d += fragment) {
      uint32_t right[4];
      load_matrices<true>(right, x + j * pitch + d);
      const uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
#pragma unroll
      for (int m = 0; m < own; ++m) {
        mma_bf16(sum[m][d / 8], left[m], low);
        mma_bf16(sum[m][d / 8 + 1], left[m], high);
      }
    }
  }
}

// Writes a warp's sums as its rows from `first` on, times factor[m][half] (the lane's rows 16 m + 8 half + lane / 4),
// by way of `tile`, its own rows of shared memory, so that a lane writes 16 bytes at once.
template <int width, int own>
__device__ void warp_store(const float (&sum)[own][width / 8][4], const float (&factor)[own][2], bf16* tile,
                           const HeadRows<bf16>& rows, int64_t first, int64_t D) {
  constexpr int pitch = pitch_of<width>, chunks = width / 8;
  const int lane = threadIdx.x % warp_size;
  __syncwarp();
#pragma unroll
  for (int m = 0; m < own; ++m)
#pragma unroll
    for (int n = 0; n < width / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float *pair = &sum[m][n][2 * half], by = factor[m][half];
        const int r = m * fragment + half * 8 + lane / 4, d = n * 8 + lane % 4 * 2;
        *reinterpret_cast<uint32_t*>(tile + r * pitch + d) = pack_bf16(pair[0] * by, pair[1] * by);
      }
  __syncwarp();
  for (int e = lane; e < own * fragment * chunks; e += warp_size) {
    const int r = e / chunks, d = e % chunks * 8;
    if (first + r < rows.count && d < D)
      *reinterpret_cast<uint4*>(rows.row(first + r) + d) = *reinterpret_cast<const uint4*>(tile + r * pitch + d);
  }
}

// Over the 4 lanes that share rows of a warp's sums.
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(whole_warp, x, 1));
  return fmaxf(x, __shfl_xor_sync(whole_warp, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(whole_warp, x, 1);
  return x + __shfl_xor_sync(whole_warp, x, 2);
}

}  // namespace switchyard::gpu
