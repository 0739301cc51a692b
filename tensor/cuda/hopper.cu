// Matrix products as Hopper wants them (compute capability 9.0; compiled for sm_90a alone). The threads of a block have
// two trades: one warpgroup fetches tiles of A and B into a ring in shared memory, two others multiply them. Each block
// goes through many tiles of C, and the fetching runs ahead of the multiplying from one to the next.
#include "tensor/cuda/hopper.cuh"

namespace switchyard::gpu {
namespace {

template <class Tiles>
struct HopperStep {
  using A = typename Tiles::A;
  using B = typename Tiles::B;
  static constexpr int rows = A::elements / A::depth, cols = B::elements / B::depth, depth = A::depth;
  static constexpr int consumers = rows / 64, threads = (consumers + 1) * group_threads;
  static constexpr bool by_engine = !Tiles::a_by_threads || !Tiles::b_by_threads;
  static constexpr bool by_threads = Tiles::a_by_threads || Tiles::b_by_threads;
  static constexpr int engine_bytes = (Tiles::a_by_threads ? 0 : A::bytes) + (Tiles::b_by_threads ? 0 : B::bytes);
  // Of 64 Ki registers; 168 a thread are what the launch gives.
  static constexpr int producer_registers = by_threads ? 72 : 40, consumer_registers = by_threads ? 216 : 232;

  static constexpr int stage_bytes = A::bytes + B::bytes, stages = (216 << 10) / stage_bytes, alignment = 1024;
  static constexpr int shared_bytes = alignment + stages * (stage_bytes + 2 * sizeof(Barrier));
  // The steps that the threads' copies may be behind: the others are full, or the consumers still read from them.
  static constexpr int under_way = stages - 2;
  static_assert(under_way > 0);
};

// Steps are counted over all of a block's tiles; step n is in stage n % stages. `full` says that its tiles have come,
// `empty` that both consumers are done with them.
template <class Step>
struct Ring {
  bf16* tiles;
  Barrier *full, *empty;

  explicit __device__ Ring(unsigned char* memory) {
    memory += -shared_address(memory) % Step::alignment;
    tiles = reinterpret_cast<bf16*>(memory);
    full = reinterpret_cast<Barrier*>(memory + Step::stages * Step::stage_bytes);
    empty = full + Step::stages;
  }
  __device__ void start() const {
    for (int i = 0; i < Step::stages; ++i) {
      start_barrier(full + i, (Step::by_engine ? 1 : 0) + (Step::by_threads ? group_threads : 0));
      start_barrier(empty + i, Step::consumers * group_threads / warp_size);
    }
    fence_barriers();
  }

  __device__ bf16* a(int n) const { return tiles + n % Step::stages * (Step::A::elements + Step::B::elements); }
  __device__ bf16* b(int n) const { return a(n) + Step::A::elements; }
  __device__ Barrier* filled(int n) const { return full + n % Step::stages; }
  __device__ void wait_full(int n) const { wait_for(full + n % Step::stages, n / Step::stages % 2); }
  __device__ void wait_empty(int n) const { wait_for(empty + n % Step::stages, n / Step::stages % 2 ^ 1); }
  // By all lanes of each consumer.
  __device__ void release(int n) const {
    if (threadIdx.x % warp_size == 0) arrive(empty + n % Step::stages);
  }
};

// Announces the threads' copies of step n, when all but the last `pending` steps' have landed.
template <int pending, class Step>
__device__ void announce(const Ring<Step>& ring, int n) {
  wait_copies<pending>();
  fence_shared_writes();
  arrive(ring.filled(n));
}

template <class Step, class Tiles>
__device__ void produce(const Tiles& tiles, const Ring<Step>& ring) {
  const int thread = threadIdx.x % group_threads;
  if (!Step::by_threads && thread >= warp_size) return;  // one thread commands the engine; its warp finds the tiles
  int n = 0;
  for (int number = blockIdx.x; number < tiles.count; number += gridDim.x) {
    const HopperTile tile = tiles.find(number);
    const Product<bf16>& p = tile.product;
    const int row = tile.place.row * Step::rows, col = tile.place.col * Step::cols;
    for (int k = 0; k < p.K; k += Step::depth, ++n) {
      ring.wait_empty(n);
      if (Step::by_engine && thread == 0) {
        Barrier* const full = ring.filled(n);
        arrive_expecting(full, Step::engine_bytes);
        if constexpr (!Tiles::a_by_threads)
          Step::A::fetch(ring.a(n), tiles.a, tile.first_row + row, tile.first_k + k, 0, full);
        if constexpr (!Tiles::b_by_threads) Step::B::fetch(ring.b(n), tiles.b, col, tile.first_k + k, tile.layer, full);
      }
      if constexpr (Step::by_threads) {
        if constexpr (Tiles::a_by_threads) Step::A::copy(ring.a(n), p.a, row, p.M, k, p.K);
        if constexpr (Tiles::b_by_threads) Step::B::copy(ring.b(n), p.b, col, p.N, k, p.K);
        commit_copies();
        if (n >= Step::under_way) announce<Step::under_way>(ring, n - Step::under_way);
      }
    }
  }
  if constexpr (Step::by_threads)
    for (int i = max(0, n - Step::under_way); i < n; ++i) announce<0>(ring, i);
}

template <class Step, class Tiles>
__device__ void store(const HopperTile& tile, const float (&sum)[Step::cols / 2]) {
  const int lane = threadIdx.x % warp_size;
  const int m = tile.place.row * Step::rows + threadIdx.x / warp_size * 16 + lane / 4;
  const int n = tile.place.col * Step::cols + lane % 4 * 2;
#pragma unroll
  for (int j = 0; j < Step::cols / 8; ++j) {
    tile.product.store_two(m, n + 8 * j, sum[4 * j], sum[4 * j + 1]);
    tile.product.store_two(m + 8, n + 8 * j, sum[4 * j + 2], sum[4 * j + 3]);
  }
}

template <class Step, class Tiles>
__device__ void consume(const Tiles& tiles, const Ring<Step>& ring) {
  const int row = threadIdx.x / group_threads * 64;  // of the tile: where this warpgroup's begin
  int n = 0;
  for (int number = blockIdx.x; number < tiles.count; number += gridDim.x) {
    const HopperTile tile = tiles.find(number);
    float sum[Step::cols / 2] = {};
    pin_sums(sum);
    //@begin consume
    for (int k = 0; k < tile.product.K; k += Step::depth, ++n) {
      ring.wait_full(n);
      fence_sums();
#pragma unroll
      for (int i = 0; i < Step::depth; i += 16) {
        const uint64_t a = Step::A::descriptor(ring.a(n), row, i);
        const uint64_t b = Step::B::descriptor(ring.b(n), 0, i);
        multiply_async<Tiles::a_along, Tiles::b_along>(sum, a, b);
      }
      commit_products();
      wait_products<1>();  // those of the step before are done
      if (k > 0) ring.release(n - 1);
    }
    wait_products<0>();
    pin_sums(sum);
    if (tile.product.K > 0) ring.release(n - 1);
    //@end consume
    store<Step, Tiles>(tile, sum);
  }
}

template <class Step, class Tiles>
__global__ void __launch_bounds__(Step::threads, 1) hopper_kernel(const __grid_constant__ Tiles tiles) {
  DYNAMIC_SHARED(unsigned char, memory);
  const Ring<Step> ring(memory);
  if (threadIdx.x == 0) ring.start();
  __syncthreads();
  if (threadIdx.x / group_threads == Step::consumers) {
    shrink_to<Step::producer_registers>();
    produce<Step>(tiles, ring);
  } else {
    grow_to<Step::consumer_registers>();
    consume<Step>(tiles, ring);
  }
}

template <class Tiles, class From>
void run(const From& from) {
  using Step = HopperStep<Tiles>;
  const Tiles tiles(from);
  if (tiles.count > 0)
    launch(hopper_kernel<Step, Tiles>, unsigned(tiles.count < multiprocessors() ? tiles.count : multiprocessors()),
           Step::threads, Step::shared_bytes, stream(), tiles);
}

// The wider tiles read less; if there are too few of them for all multiprocessors, narrower ones.
template <template <int> class Tiles, class From>
void run_widest(const From& from) {
  if (from.tiles(128, 256) >= multiprocessors())
    run<Tiles<256>>(from);
  else
    run<Tiles<128>>(from);
}

template <bool a_along, bool b_along>
struct DenseOf {
  template <int cols>
  using Tiles = HopperDense<cols, a_along, b_along>;
};
template <bool gathers, bool w_along>
struct RowsOf {
  template <int cols>
  using Tiles = HopperRows<cols, gathers, w_along>;
};

}  // namespace

void multiply_hopper(const Dense<bf16>& dense) {
  const bool a_along = dense.whole.a.along_k, b_along = dense.whole.b.along_k;
  if (a_along && b_along) return run_widest<DenseOf<true, true>::Tiles>(dense);
  if (a_along) return run_widest<DenseOf<true, false>::Tiles>(dense);
  if (b_along) return run_widest<DenseOf<false, true>::Tiles>(dense);
  return run_widest<DenseOf<false, false>::Tiles>(dense);
}

void multiply_hopper(const GroupedRows<bf16>& rows) {
  if (!rows.w_along_k) return run_widest<RowsOf<false, false>::Tiles>(rows);
  if (rows.row == nullptr) return run_widest<RowsOf<false, true>::Tiles>(rows);
  return run_widest<RowsOf<true, true>::Tiles>(rows);
}

void multiply_hopper(const GroupedWeights<bf16>& weights) { run_widest<HopperWeights>(weights); }

}  // namespace switchyard::gpu
