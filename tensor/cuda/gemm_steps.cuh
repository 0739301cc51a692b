// The first steps to a fast matrix product: a thread an element, tiles in shared memory, tiles in registers. Each Step
// multiplies one tile of C, `rows` x `cols`, with one block.
#pragma once
#include "tensor/cuda/gemm_product.cuh"

namespace switchyard::gpu {

//@begin naive
struct Naive {
  static constexpr int rows = 16, cols = 16, threads = 256, shared_bytes = 0;

  template <class Product>
  static __device__ void multiply(const Product& p, Corner corner) {
    const int m = corner.row + threadIdx.x / cols;
    const int n = corner.col + threadIdx.x % cols;
    if (m >= p.M || n >= p.N) return;
    float sum = 0;
    for (int k = 0; k < p.K; ++k) sum += p.a.at(m, k) * p.b.at(n, k);
    p.store(m, n, sum);
  }
};
//@end naive

// Each element of A and B is read from memory once a tile instead of once an element of C.
struct Tiled {
  static constexpr int rows = 32, cols = 32, depth = 32, threads = 256, shared_bytes = 0;
  static constexpr int per_thread = rows * cols / threads;

  // Neighbouring threads read neighbouring elements of a line. One column more than needed, so that those who write
  // along k do not meet in one bank.
  template <class T>
  static __device__ void load(float (&tile)[depth][rows + 1], const Operand<T>& from, int first, int size, int first_k,
                              int K) {
    for (int i = threadIdx.x; i < rows * depth; i += threads) {
      const int r = from.along_k ? i / depth : i % rows, k = from.along_k ? i % depth : i / rows;
      const bool inside = first + r < size && first_k + k < K;
      tile[k][r] = inside ? from.at(first + r, first_k + k) : 0.f;
    }
  }

  template <class Product>
  static __device__ void multiply(const Product& p, Corner corner) {
    __shared__ float a[depth][rows + 1], b[depth][cols + 1];
    const int m = threadIdx.x / cols * per_thread, n = threadIdx.x % cols;
    float sum[per_thread] = {};
    //@begin tiled
    for (int first = 0; first < p.K; first += depth) {
      load(a, p.a, corner.row, p.M, first, p.K);
      load(b, p.b, corner.col, p.N, first, p.K);
      __syncthreads();
      for (int k = 0; k < depth; ++k)
        for (int i = 0; i < per_thread; ++i) sum[i] += a[k][m + i] * b[k][n];
      __syncthreads();
    }
    //@end tiled
    for (int i = 0; i < per_thread; ++i) p.store(corner.row + m + i, corner.col + n, sum[i]);
  }
};

// Each element in shared memory is read once for 8 products instead of one: a thread has 8 x 8 sums, two groups of 4
// rows by two groups of 4 columns, half a tile apart.
struct Registers {
  static constexpr int rows = 128, cols = 128, depth = 16, threads = 256, shared_bytes = 0;
  static constexpr int padded = rows + 4;  // float4 stay aligned, and those who write along k meet in fewer banks

  template <class T>
  static __device__ void load(float (&tile)[depth][padded], const Operand<T>& from, int first, int size, int first_k,
                              int K, bool whole) {
    constexpr int per_chunk = Chunk<T>::size;
    for (int i = threadIdx.x; i < rows * depth / per_chunk; i += threads) {
      const int r = from.along_k ? i / (depth / per_chunk) : i % (rows / per_chunk) * per_chunk;
      const int k = from.along_k ? i % (depth / per_chunk) * per_chunk : i / (rows / per_chunk);
      Chunk<T> chunk{};
      if (from.along_k) {
        if (first + r < size) chunk = Chunk<T>::load(from.line(first + r), first_k + k, K, whole);
        for (int j = 0; j < per_chunk; ++j) tile[k + j][r] = float(chunk.x[j]);
      } else {
        if (first_k + k < K) chunk = Chunk<T>::load(from.line(first_k + k), first + r, size, whole);
        const T* x = chunk.x;
        for (int j = 0; j < per_chunk; j += 4)
          *reinterpret_cast<float4*>(&tile[k][r + j]) = make_float4(x[j], x[j + 1], x[j + 2], x[j + 3]);
      }
    }
  }
  // Eight of a tile's rows: 4 from r on, and 4 half a tile further.
  static __device__ void read_eight(const float (&tile)[padded], int r, float (&x)[8]) {
    *reinterpret_cast<float4*>(x) = *reinterpret_cast<const float4*>(&tile[r]);
    *reinterpret_cast<float4*>(x + 4) = *reinterpret_cast<const float4*>(&tile[r + rows / 2]);
  }

  template <class Product>
  static __device__ void multiply(const Product& p, Corner corner) {
    alignas(16) __shared__ float a[depth][padded], b[depth][padded];
    const int m = threadIdx.x / 16 * 4, n = threadIdx.x % 16 * 4;
    float sum[8][8] = {};
    for (int first = 0; first < p.K; first += depth) {
      load(a, p.a, corner.row, p.M, first, p.K, p.whole_chunks);
      load(b, p.b, corner.col, p.N, first, p.K, p.whole_chunks);
      __syncthreads();
      //@begin registers
      for (int k = 0; k < depth; ++k) {
        alignas(16) float x[8], y[8];
        read_eight(a[k], m, x);
        read_eight(b[k], n, y);
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
          for (int j = 0; j < 8; ++j) sum[i][j] += x[i] * y[j];
      }
      //@end registers
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
        p.store(corner.row + m + i % 4 + i / 4 * 64, corner.col + n + j % 4 + j / 4 * 64, sum[i][j]);
  }
};

// For a few rows, where reading B is all the work: each warp has two columns, whose lines it reads 16 bytes a lane.
struct FewRows {
  static constexpr int rows = 4, per_warp = 2, threads = 256, cols = threads / warp_size * per_warp, shared_bytes = 0;

  template <class Product>
  static __device__ void multiply(const Product& p, Corner corner) {
    using T = typename Product::In;
    constexpr int per_chunk = Chunk<T>::size;
    const int n = corner.col + threadIdx.x / warp_size * per_warp;
    float sum[rows][per_warp] = {};
#pragma unroll 2
    for (int k = threadIdx.x % warp_size * per_chunk; k < p.K; k += warp_size * per_chunk) {
      Chunk<T> b[per_warp];
      for (int j = 0; j < per_warp; ++j)
        b[j] = n + j < p.N ? Chunk<T>::load(p.b.line(n + j), k, p.K, p.whole_chunks) : Chunk<T>{};
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        if (corner.row + i >= p.M) break;
        const Chunk<T> a = Chunk<T>::load(p.a.line(corner.row + i), k, p.K, p.whole_chunks);
        for (int j = 0; j < per_warp; ++j)
          for (int c = 0; c < per_chunk; ++c) sum[i][j] += float(a.x[c]) * float(b[j].x[c]);
      }
    }
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < per_warp; ++j) {
        const float total = warp_sum(sum[i][j]);
        if (threadIdx.x % warp_size == 0) p.store(corner.row + i, n + j, total);
      }
  }
};

}  // namespace switchyard::gpu
