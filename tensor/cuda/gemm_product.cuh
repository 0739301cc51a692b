// What all matrix products share: what a product is, which block computes which tile of which product, and the kernel
// in which a way to find tiles (Dense, GroupedRows, GroupedWeights) meets a way to multiply them (gemm_steps.cuh,
// gemm_pipeline.cuh). Sizes are int, since no matrix has a billion rows or columns; offsets into one are 64-bit.
#pragma once
#include "tensor/cuda/common.cuh"
#include "tensor/cuda/gemm.h"

namespace switchyard::gpu {

// 16 bytes of a line: its elements from i on, where those beyond its end are 0.
template <class T>
struct Chunk {
  static constexpr int size = 16 / sizeof(T);
  alignas(16) T x[size];

  static __device__ Chunk load(const T* line, int i, int line_size, bool whole) {
    Chunk chunk;
    if (whole && i < line_size) {
      *reinterpret_cast<uint4*>(chunk.x) = *reinterpret_cast<const uint4*>(line + i);
    } else {
      for (int j = 0; j < size; ++j) chunk.x[j] = i + j < line_size ? line[i + j] : T(0.f);
    }
    return chunk;
  }
};

//@begin operand
// op(A), as rows m of K elements; or op(B), as columns n of K elements.
// In memory it is lines of consecutive elements.
template <class T>
struct Operand {
  const T* data;
  int stride;          // from line to line
  bool along_k;        // a line is a row m (a column n), else all of one k
  const int32_t* row;  // line i is line row[i] of data; null: i itself

  __device__ const T* line(int i) const {
    const int64_t where = row ? row[i] : i;
    return data + where * stride;
  }
  __device__ float at(int m, int k) const {
    const T* const element = along_k ? line(m) + k : line(k) + m;
    return float(*element);
  }
};
//@end operand

// C (M x N) = op(A) op(B), or C +=.
template <class T>
struct Product {
  using In = T;
  int M, N, K;
  Operand<T> a, b;
  void* c;
  int64_t first;      // C begins at this element of c,
  bool wide;          // whose type is float instead of T
  bool add;           // C +=
  bool whole_chunks;  // 16 bytes of a line from a multiple of 16 bytes on are aligned and end inside the line

  __device__ void store(int m, int n, float sum) const {
    if (wide)
      put(static_cast<float*>(c), m, n, sum);
    else
      put(static_cast<T*>(c), m, n, sum);
  }
  // Columns n and n + 1, for even n.
  __device__ void store_two(int m, int n, float x, float y) const {
    if (wide)
      put_two(static_cast<float*>(c), m, n, x, y);
    else
      put_two(static_cast<T*>(c), m, n, x, y);
  }

 private:
  template <class Out>
  __device__ void put(Out* elements, int m, int n, float sum) const {
    if (m >= M || n >= N) return;
    Out& to = elements[first + int64_t{m} * N + n];
    to = Out(add ? float(to) + sum : sum);
  }
  template <class Out>
  __device__ void put_two(Out* elements, int m, int n, float x, float y) const {
    struct alignas(2 * sizeof(Out)) Two {
      Out x, y;
    };
    if (N % 2 || reinterpret_cast<uintptr_t>(elements) % sizeof(Two)) {
      put(elements, m, n, x), put(elements, m, n + 1, y);
    } else if (m < M && n < N) {
      Two& to = *reinterpret_cast<Two*>(elements + first + int64_t{m} * N + n);
      to = add ? Two{Out(float(to.x) + x), Out(float(to.y) + y)} : Two{Out(x), Out(y)};
    }
  }
};

// Where in C a block's tile begins.
struct Corner {
  int row, col;
};

template <class Int>
HOST_DEVICE constexpr Int tiles_of(Int n, int size) {
  return (n + size - 1) / size;
}

// The tile of a given number, counted in tiles. Blocks that run at the same time should read the same lines of A and
// B from the level 2 cache: tiles are numbered down columns that are 8 tiles high.
//@begin tile-order
__device__ inline Corner tile_number(int i, int down, int across) {
  constexpr int height = 8;
  const int first = i / (height * across) * height;
  const int here = down - first < height ? down - first : height;
  i -= first * across;
  return {first + i % here, i / here};
}
//@end tile-order

// One product; with `splits`, its K is cut into that many pieces of `split_k`, whose results lie one after another.
template <class T>
struct Dense {
  Product<T> whole;
  int splits, split_k;

  int64_t tiles(int rows, int cols) const {
    return int64_t{tiles_of(whole.M, rows)} * tiles_of(whole.N, cols) * splits;
  }
  __device__ Product<T> find(int number, int rows, int cols, Corner& tile) const {
    const int down = tiles_of(whole.M, rows), across = tiles_of(whole.N, cols);
    const int split = number / (down * across), skipped = split * split_k;
    tile = tile_number(number % (down * across), down, across);
    Product<T> p = whole;
    p.K = min(split_k, whole.K - skipped);
    p.a.data += p.a.along_k ? skipped : int64_t{skipped} * p.a.stride;
    p.b.data += p.b.along_k ? skipped : int64_t{skipped} * p.b.stride;
    p.first = int64_t{split} * p.M * p.N;
    return p;
  }
};

// The rows of expert e's slots, times its weights. The slots that belong to no expert are those of another one, whose
// K is 0.
template <class T>
struct GroupedRows {
  int N, E, K, cols;  // slots, experts, length of the sums, columns of the result
  const int32_t *offset, *row;
  const T *x, *w;
  bool w_along_k;
  T* y;
  bool whole_chunks;

  int64_t tiles(int rows, int tile_cols) const {
    return N > 0 ? int64_t{N / rows + E + 1} * tiles_of(cols, tile_cols) : 0;
  }
  //@begin find-expert
  // The tiles of expert e are numbered from offset[e] / rows + e on: this
  // leaves every expert enough numbers, and needs no sum over the others'.
  __device__ int find_expert(int tile, int rows) const {
    int e = -1;
    for (int first = 0; first <= E; first += blockDim.x) {
      const int i = first + threadIdx.x;
      e += __syncthreads_count(i <= E && offset[i] / rows + i <= tile);
    }
    return e;
  }
  //@end find-expert
  __device__ Product<T> find(int number, int rows, int tile_cols, Corner& tile) const {
    tile = tile_number(number, N / rows + E + 1, tiles_of(cols, tile_cols));
    const int e = find_expert(tile.row, rows), begin = offset[e], end = e < E ? offset[e + 1] : N;
    tile.row -= begin / rows + e;
    const Operand<T> slots{row ? x : x + int64_t{begin} * K, K, true, row ? row + begin : nullptr};
    const Operand<T> weights{w + int64_t{e} * K * cols, w_along_k ? K : cols, w_along_k, nullptr};
    return {end - begin, cols, e < E ? K : 0, slots, weights, y, int64_t{begin} * cols, false, false, whole_chunks};
  }
};

// dW_e = sum over the expert's slots of dy[slot]^T x[row[slot]].
template <class T>
struct GroupedWeights {
  int E, out, in;
  const int32_t *offset, *row;
  const T *dy, *x;
  float* dw;
  bool whole_chunks;

  int64_t tiles(int rows, int cols) const { return int64_t{E} * tiles_of(out, rows) * tiles_of(in, cols); }
  __device__ Product<T> find(int number, int rows, int cols, Corner& tile) const {
    const int down = tiles_of(out, rows), across = tiles_of(in, cols), e = number / (down * across);
    tile = tile_number(number % (down * across), down, across);
    const int begin = offset[e], K = offset[e + 1] - begin;
    const Operand<T> gradients{dy + int64_t{begin} * out, out, false, nullptr};
    const Operand<T> slots{row ? x : x + int64_t{begin} * in, in, false, row ? row + begin : nullptr};
    return {out, in, K, gradients, slots, dw, int64_t{e} * out * in, true, false, whole_chunks};
  }
};

//@begin tile-kernel
template <class Step, class Tiles>
__global__ void __launch_bounds__(Step::threads, 1) tile_kernel(Tiles tiles) {
  Corner tile;
  const auto product =  // and which tile of it
      tiles.find(int(blockIdx.x), Step::rows, Step::cols, tile);
  const Corner corner{tile.row * Step::rows, tile.col * Step::cols};
  if (corner.row < product.M) Step::multiply(product, corner);
}
//@end tile-kernel

// Whether the lines of a matrix can be read 16 bytes at a time.
template <class T>
bool has_whole_chunks(const T* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * sizeof(T) % 16 == 0;
}

template <class Step, class Tiles>
void multiply_tiles(const Tiles& tiles) {
  const int64_t count = tiles.tiles(Step::rows, Step::cols);
  if (count > 0)
    launch(tile_kernel<Step, Tiles>, static_cast<unsigned>(count), Step::threads, Step::shared_bytes, stream(), tiles);
}

}  // namespace switchyard::gpu
