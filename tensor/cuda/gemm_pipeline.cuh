// The fast steps: while one tile of A and B is multiplied, the copies of the next ones are under way (cp.async). What
// multiplies is either ordinary arithmetic (FmaTile) or the tensor cores (MmaTile).
#pragma once
#include "tensor/cuda/gemm_product.cuh"
#include "tensor/cuda/ptx.cuh"

namespace switchyard::gpu {

// A tile of A or B in shared memory, `size` rows (columns) by `depth` k's: lines as in memory, in chunks of 16 bytes.
// In line l, chunk c stands at place c ^ l % 8: eight chunks of one line, or one chunk of eight lines, lie in different
// banks.
template <class T, int size, int depth, bool along_k>
struct SharedTile {
  static constexpr int per_chunk = Chunk<T>::size;
  static constexpr int lines = along_k ? size : depth, chunks = (along_k ? depth : size) / per_chunk;
  static constexpr int elements = size * depth;
  static_assert(chunks % 8 == 0 && lines % 8 == 0, "the places are permuted among eight");

  //@begin place
  static __device__ int place(int line, int chunk) {  // its first element
    return (line * chunks + (chunk ^ line % 8)) * per_chunk;
  }
  //@end place

  // Starts to copy the tile that begins at row `first` (of `end`) and `first_k` (of K).
  template <int threads>
  static __device__ void copy(T* tile, const Operand<T>& from, int first, int end, int first_k, int K,
                              bool whole_chunks) {
    const int first_line = along_k ? first : first_k, end_line = along_k ? end : K;
    const int first_element = along_k ? first_k : first, end_element = along_k ? K : end;
    // Addresses kept from before the loop, or those of more than two copies, would take registers that the sums need.
    const unsigned thread = opaque(threadIdx.x);
#pragma unroll 2
    for (int i = 0; i < lines * chunks / threads; ++i) {
      const int line = (thread + i * threads) / chunks, chunk = (thread + i * threads) % chunks;
      const int element = first_element + chunk * per_chunk;
      const bool exists = first_line + line < end_line && element < end_element;
      const T* source = exists ? from.line(first_line + line) : from.data;
      T* to = tile + place(line, chunk);
      if (whole_chunks)
        copy_async_16(to, exists ? source + element : source, exists ? 16 : 0);
      else
        *reinterpret_cast<Chunk<T>*>(to) = Chunk<T>::load(source, element, exists ? end_element : 0, false);
    }
  }
};

// Tile says how large the tiles are and multiplies them: start() reads the first fragments of a stage into registers,
// add() multiplies all but its last fragments, which then are in registers, and finish() multiplies those.
template <class Tile>
struct Pipelined : Tile {
  using T = typename Tile::In;
  using A = typename Tile::A;
  using B = typename Tile::B;
  static constexpr int stages = 3, threads = Tile::threads;
  static constexpr int stage_size = A::elements + B::elements;
  static constexpr int shared_bytes = stages * stage_size * sizeof(T);

  // Where the tiles of step i are.
  static __device__ T* stage(T* memory, int i) { return memory + i % stages * stage_size; }

  // Starts the copies of step i. Each step is a group, even if there is nothing left to copy.
  static __device__ void fetch(const Product<T>& p, Corner corner, int i, T* memory) {
    const int k = i * Tile::depth;
    if (k < p.K) {
      T* const tiles = stage(memory, i);
      A::template copy<threads>(tiles, p.a, corner.row, p.M, k, p.K, p.whole_chunks);
      B::template copy<threads>(tiles + A::elements, p.b, corner.col, p.N, k, p.K, p.whole_chunks);
    }
    commit_copies();
  }

  static __device__ void multiply(const Product<T>& p, Corner corner) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // nobody asks for it on older ones
    DYNAMIC_SHARED(T, memory);
    Tile sums;
    //@begin pipeline
    const int steps = tiles_of(p.K, Tile::depth);
    for (int i = 0; i < stages; ++i) fetch(p, corner, i, memory);
    wait_copies<stages - 1>();  // mine for step 0 are here
    __syncthreads();            // and everyone's
    if (steps > 0) sums.start(stage(memory, 0));
    for (int i = 0; i < steps; ++i) {
      sums.add(stage(memory, i));
      wait_copies<stages - 2>();  // mine for step i + 1 are here
      __syncthreads();            // everyone's; nobody reads step i's now
      fetch(p, corner, i + stages, memory);
      if (i + 1 < steps) sums.start(stage(memory, i + 1));
      sums.finish();
    }
    //@end pipeline
    sums.store(p, corner);
#endif
  }
};

// f32: each thread has `own` x `own` sums, in chunks' rows: `groups` threads side by side. Its rows of an operand are
// chosen so that neighbouring threads read from different banks: where lines run along k, every groups-th row; else
// fours of rows, 4 * groups apart.
template <int size, bool a_along, bool b_along>
struct FmaTile {
  using In = float;
  static constexpr int rows = size, cols = size, depth = 32, own = 8, groups = size / own, threads = groups * groups;
  using A = SharedTile<float, rows, depth, a_along>;
  using B = SharedTile<float, cols, depth, b_along>;
  float sum[own][own] = {};

  template <bool along_k>
  static __device__ int row_of(int thread, int i) {
    return along_k ? thread + i * groups : thread * 4 + i % 4 + i / 4 * 4 * groups;
  }

  // x[j][i] = k + j of the thread's row i, for four k's.
  template <class Shared, bool along_k>
  static __device__ void read(const float* tile, int thread, int k, float (&x)[4][own]) {
    if constexpr (along_k) {
#pragma unroll
      for (int i = 0; i < own; ++i) {
        const int place = Shared::place(row_of<along_k>(thread, i), k / 4);
        const float4 four = *reinterpret_cast<const float4*>(tile + place);
        x[0][i] = four.x, x[1][i] = four.y, x[2][i] = four.z, x[3][i] = four.w;
      }
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < own; i += 4) {
          const int place = Shared::place(k + j, row_of<along_k>(thread, i) / 4);
          const float4 four = *reinterpret_cast<const float4*>(tile + place);
          x[j][i] = four.x, x[j][i + 1] = four.y, x[j][i + 2] = four.z, x[j][i + 3] = four.w;
        }
    }
  }

  __device__ void start(const float*) {}
  __device__ void finish() {}
  __device__ void add(const float* a) {
    const float* const b = a + A::elements;
    const int down = threadIdx.x / groups, across = threadIdx.x % groups;
#pragma unroll 1
    for (int k = 0; k < depth; k += 4) {
      float x[4][own], y[4][own];
      read<A, a_along>(a, down, k, x);
      read<B, b_along>(b, across, k, y);
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int r = 0; r < own; ++r)
#pragma unroll
          for (int c = 0; c < own; ++c) sum[r][c] += x[j][r] * y[j][c];
    }
  }

  __device__ void store(const Product<In>& p, Corner corner) const {
    const int down = threadIdx.x / groups, across = threadIdx.x % groups;
#pragma unroll
    for (int r = 0; r < own; ++r)
#pragma unroll
      for (int c = 0; c < own; ++c)
        p.store(corner.row + row_of<a_along>(down, r), corner.col + row_of<b_along>(across, c), sum[r][c]);
  }
};

// bf16: each warp has warp_rows x warp_cols sums, in pieces of 16 x 8 that mma.sync adds 16 k's to.
template <int tile_rows, int tile_cols, int warp_rows, int warp_cols, bool a_along, bool b_along>
struct MmaTile {
  using In = bf16;
  static constexpr int rows = tile_rows, cols = tile_cols, depth = 64;
  static constexpr int warps_across = cols / warp_cols, threads = rows / warp_rows * warps_across * warp_size;
  using A = SharedTile<bf16, rows, depth, a_along>;
  using B = SharedTile<bf16, cols, depth, b_along>;
  float sum[warp_rows / 16][warp_cols / 8][4] = {};

  // 16 rows (columns) by 16 k's for mma_bf16: 8 x 8 each, r[0] the first, r[1] the rows further down, r[2] the k's
  // further on, r[3] both.
  template <class Shared, bool along_k>
  static __device__ void read(uint32_t (&r)[4], const bf16* tile, int row, int k) {
    const int lane = threadIdx.x % warp_size;
    //@begin fragment
    const int inner = lane % 16, half = lane / 16, odd = lane / 8 % 2;
    const int line = along_k ? row + inner : k + half * 8 + lane % 8;
    const int chunk = along_k ? k / 8 + half : row / 8 + odd;
    load_matrices<!along_k>(r, tile + Shared::place(line, chunk));
    //@end fragment
  }

  struct Fragments {
    uint32_t a[warp_rows / 16][4], b[warp_cols / 16][4];
  };
  Fragments fragments[2];  // one is read while the tensor cores multiply the other

  __device__ void read_all(Fragments& to, const bf16* tiles, int k) {
    const int warp = threadIdx.x / warp_size;
#pragma unroll
    for (int i = 0; i < warp_rows / 16; ++i)
      read<A, a_along>(to.a[i], tiles, warp / warps_across * warp_rows + 16 * i, k);
#pragma unroll
    for (int j = 0; j < warp_cols / 16; ++j)
      read<B, b_along>(to.b[j], tiles + A::elements, warp % warps_across * warp_cols + 16 * j, k);
  }
  __device__ void multiply_all(const Fragments& now) {
    //@begin warp-multiply
#pragma unroll
    for (int i = 0; i < warp_rows / 16; ++i)
#pragma unroll
      for (int j = 0; j < warp_cols / 8; ++j) {
        const uint32_t(&b)[4] = now.b[j / 2];
        const uint32_t half[2] = {b[j % 2], b[2 + j % 2]};
        mma_bf16(sum[i][j], now.a[i], half);
      }
    //@end warp-multiply
  }

  __device__ void start(const bf16* tiles) { read_all(fragments[0], tiles, 0); }
  __device__ void add(const bf16* tiles) {
    //@begin add
#pragma unroll
    for (int i = 1; i < depth / 16; ++i) {
      read_all(fragments[i % 2], tiles, 16 * i);
      multiply_all(fragments[(i + 1) % 2]);
    }
    //@end add
  }
  __device__ void finish() { multiply_all(fragments[1]); }

  __device__ void store(const Product<In>& p, Corner corner) const {
    const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
    const int m = corner.row + warp / warps_across * warp_rows + lane / 4;
    const int n = corner.col + warp % warps_across * warp_cols + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < warp_rows / 16; ++i)
#pragma unroll
      for (int j = 0; j < warp_cols / 8; ++j) {
        p.store_two(m + 16 * i, n + 8 * j, sum[i][j][0], sum[i][j][1]);
        p.store_two(m + 16 * i + 8, n + 8 * j, sum[i][j][2], sum[i][j][3]);
      }
  }
};

}  // namespace switchyard::gpu
