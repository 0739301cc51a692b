// The parts of the Hopper kernel (hopper.cu): tiles in shared memory as wgmma reads them, the ring of them that
// producer and consumers share, and which tile of which product a number means.
#pragma once
#include "tensor/cuda/gemm_choice.cuh"
#include "tensor/cuda/hopper_ptx.cuh"

namespace switchyard::gpu {

constexpr int group_threads = 128;  // of a warpgroup

//@begin swizzled-tile
// A tile of A or B in shared memory, `size` rows (columns) by 64 k's: panels
// of lines of 64 elements. Along k there is one, and each row has a line;
// else a panel is 64 rows wide, and each k has a line.
template <int size, bool along_k>
struct SwizzledTile {
  static constexpr int depth = 64, lines = along_k ? size : depth;
  static constexpr int panels = along_k ? 1 : size / box_width;
  static constexpr int panel = lines * box_width, elements = size * depth;
  static constexpr int bytes = elements * sizeof(bf16);

  // What wgmma is told of 16 k's, from k on, of the rows from `row` on.
  static __device__ uint64_t descriptor(const bf16* tile, int row, int k) {
    constexpr int group = 8 * box_width * sizeof(bf16);
    constexpr int next_panel = along_k ? 16 : panel * sizeof(bf16);
    const int in_line = row * box_width + k;
    const int in_panel = row / box_width * panel + k * box_width;
    const bf16* const first = tile + (along_k ? in_line : in_panel);
    return matrix_descriptor(first, next_panel, group);
  }
  //@end swizzled-tile

  // Starts the copy engine's copies of the tile that begins at row `first` and first_k.
  static __device__ void fetch(bf16* tile, const TensorMap& from, int first, int first_k, int layer, Barrier* full) {
    for (int p = 0; p < panels; ++p)
      copy_box(tile + p * panel, from, along_k ? first_k : first + p * box_width, along_k ? first : first_k, layer,
               full);
  }

  // Starts the same copies by the threads of a warpgroup, for lines that lie anywhere. Rows from `end` on and k's from
  // K on are zeros.
  static __device__ void copy(bf16* tile, const Operand<bf16>& from, int first, int end, int first_k, int K) {
    constexpr int per_chunk = Chunk<bf16>::size, per_line = elements / lines / per_chunk, in_panel = 8;
    const int first_line = along_k ? first : first_k, end_line = along_k ? end : K;
    const int first_element = along_k ? first_k : first, end_element = along_k ? K : end;
    const int thread = threadIdx.x % group_threads;
#pragma unroll 4
    for (int i = 0; i < lines * per_line / group_threads; ++i) {
      const int line = (thread + i * group_threads) / per_line, chunk = (thread + i * group_threads) % per_line;
      const int element = first_element + chunk * per_chunk;
      const bool exists = first_line + line < end_line && element < end_element;
      bf16* const to = tile + chunk / in_panel * panel + line * box_width + (chunk % in_panel ^ line % 8) * per_chunk;
      copy_async_16(to, exists ? from.line(first_line + line) + element : from.data, exists ? 16 : 0);
    }
  }
};

// What a number means: a tile of a product, whose place is counted in tiles. The copy engine finds A's rows from
// first_row on, all k's from first_k on, and B in a layer of its own.
struct HopperTile {
  Product<bf16> product;
  Corner place;
  int first_row, first_k, layer;
};

template <class Tile, bool along_k>
TensorMap map_of(const bf16* data, int64_t size, int64_t K, int64_t layers) {
  return tensor_map(data, along_k ? K : size, along_k ? size : K, layers, Tile::lines);
}

template <int cols, bool a_along_, bool b_along_>
struct HopperDense {
  static constexpr bool a_along = a_along_, b_along = b_along_, a_by_threads = false, b_by_threads = false;
  using A = SwizzledTile<128, a_along>;
  using B = SwizzledTile<cols, b_along>;
  Dense<bf16> dense;
  TensorMap a, b;
  int count;

  explicit HopperDense(const Dense<bf16>& from)
      : dense(from),
        a(map_of<A, a_along>(from.whole.a.data, from.whole.M, from.whole.K, 1)),
        b(map_of<B, b_along>(from.whole.b.data, from.whole.N, from.whole.K, 1)),
        count(int(from.tiles(128, cols))) {}

  __device__ HopperTile find(int number) const {
    HopperTile tile{};
    tile.product = dense.find(number, 128, cols, tile.place);
    tile.first_k = number / (count / dense.splits) * dense.split_k;
    return tile;
  }
};

// Expert e, and which of its tiles of `rows` rows is the `tile`-th of all experts'; e = E + 1 if there are not so many.
// The slots that belong to no expert are expert E's. All lanes of a warp must call.
__device__ inline int expert_of_tile(const int32_t* offset, int E, int N, int rows, int& tile) {
  const int lane = threadIdx.x % warp_size;
  for (int first = 0; first <= E; first += warp_size) {
    const int e = first + lane;
    const int mine = e > E ? 0 : tiles_of((e < E ? offset[e + 1] : N) - offset[e], rows);
    int through = mine;  // this and all earlier lanes'
    for (int lanes = 1; lanes < warp_size; lanes *= 2) {
      const int before = __shfl_up_sync(whole_warp, through, lanes);
      if (lane >= lanes) through += before;
    }
    const unsigned beyond = __ballot_sync(whole_warp, through > tile);
    const int owner = beyond ? __ffs(int(beyond)) - 1 : warp_size - 1;
    tile -= __shfl_sync(whole_warp, beyond ? through - mine : through, owner);
    if (beyond) return first + owner;
  }
  return E + 1;
}

template <int cols, bool gathers, bool w_along_>
struct HopperRows {
  static constexpr bool a_along = true, b_along = w_along_, a_by_threads = gathers, b_by_threads = false;
  using A = SwizzledTile<128, true>;
  using B = SwizzledTile<cols, b_along>;
  GroupedRows<bf16> rows;
  TensorMap a{}, b;
  int count;

  explicit HopperRows(const GroupedRows<bf16>& from)
      : rows(from), b(map_of<B, b_along>(from.w, from.cols, from.K, from.E)), count(int(from.tiles(128, cols))) {
    if (!gathers) a = map_of<A, true>(from.x, from.N, from.K, 1);
  }

  // Experts' tiles are numbered without gaps, for a block's share of them is decided by their numbers.
  __device__ HopperTile find(int number) const {
    Corner place = tile_number(number, rows.N / 128 + rows.E + 1, tiles_of(rows.cols, cols));
    const int e = expert_of_tile(rows.offset, rows.E, rows.N, 128, place.row);
    if (e > rows.E) return {};
    const int begin = rows.offset[e], end = e < rows.E ? rows.offset[e + 1] : rows.N;
    const Operand<bf16> slots{rows.x, rows.K, true, rows.row ? rows.row + begin : nullptr};
    const Product<bf16> product{end - begin, rows.cols, e < rows.E ? rows.K : 0,    slots,
                                {},          rows.y,    int64_t{begin} * rows.cols, false,
                                false,       true};
    return {product, place, begin, 0, e};
  }
};

// An expert's slots end anywhere, where the copy engine would go on to the next one's: the threads copy.
template <int cols>
struct HopperWeights {
  static constexpr bool a_along = false, b_along = false, a_by_threads = true, b_by_threads = true;
  using A = SwizzledTile<128, false>;
  using B = SwizzledTile<cols, false>;
  GroupedWeights<bf16> weights;
  TensorMap a{}, b{};  // of nothing
  int count;

  explicit HopperWeights(const GroupedWeights<bf16>& from) : weights(from), count(int(from.tiles(128, cols))) {}

  __device__ HopperTile find(int number) const {
    HopperTile tile{};
    tile.product = weights.find(number, 128, cols, tile.place);
    return tile;
  }
};

}  // namespace switchyard::gpu
