// The backward of tiled attention on tensor cores: two launches of one kernel, see BackwardRows. 4 warps share a tile
// of own rows, 16 each; tiles of the others pass by in pairs, one in use while the next is on its way. Probabilities
// and gradients of scores stay in registers: computed with the own rows first, they are left operands as they are.
#include "tensor/cuda/attention_tensor.cuh"

namespace switchyard::gpu {
namespace {

// A warp has 16 own rows for each of `fragments`: more of them make more of each operand that it loads, but take
// registers.
template <int width_, int fragments_, int others_>
struct Cut {
  static constexpr int width = width_, fragments = fragments_, others = others_, pitch = pitch_of<width>;
  static constexpr int warps = 4, threads = warps * warp_size, warp_rows = fragments * fragment,
                       own = warps * warp_rows;
  static constexpr int own_elements = own * pitch, other_elements = others * pitch;
  static constexpr int shared_bytes =
      2 * (own_elements + 2 * other_elements) * int(sizeof(bf16)) + 2 * 2 * others * int(sizeof(float));
  static_assert(others <= threads);
};

// A tile of the others in shared memory: q and dy, or k and v; and of queries, their statistics.
struct OtherTile {
  bf16 *rows, *dy;
  float *log2_sum, *delta;  // log2_sum = log2(e) logsumexp
};

template <class C>
struct Shared {
  bf16 *left, *left_dy;
  __device__ explicit Shared(bf16* memory) : left(memory), left_dy(left + C::own_elements) {}
  __device__ OtherTile others(int i) const {
    bf16* rows = left_dy + C::own_elements + i * 2 * C::other_elements;
    float* sums = reinterpret_cast<float*>(left_dy + C::own_elements + 4 * C::other_elements) + i * 2 * C::others;
    return {rows, rows + C::other_elements, sums, sums + C::others};
  }
};

// Of a query beyond the last, whose every probability shall be 0, log2_sum is infinite.
__device__ float log2_sum_of(const AttentionShape& s, const float* logsumexp, int64_t query) {
  return query < s.Tq ? logsumexp[query] * log2_e : INFINITY;
}
__device__ float delta_of(const AttentionShape& s, const float* delta, int64_t query) {
  return query < s.Tq ? delta[query] : 0;
}

template <class C, bool of_keys>
__device__ void start_others(const AttentionShape& s, const BackwardRows<of_keys, bf16>& rows, int64_t first,
                             const OtherTile& tile) {
  start_tile<C::width, C::others, C::threads>(rows.right, first, s.D, tile.rows);
  start_tile<C::width, C::others, C::threads>(rows.right_dy, first, s.D, tile.dy);
  commit_copies();
  if (of_keys && threadIdx.x < C::others) {
    tile.log2_sum[threadIdx.x] = log2_sum_of(s, rows.logsumexp, first + threadIdx.x);
    tile.delta[threadIdx.x] = delta_of(s, rows.delta, first + threadIdx.x);
  }
}

// What a warp keeps. `ahead` is how far its first row, if a query, sees beyond the first of the tile's keys; if a key,
// how far the tile's first query sees beyond it.
template <class C, bool of_keys>
struct Warp {
  using Sums = float[C::fragments][C::width / 8][4];
  using Scores = float[C::fragments][C::others / 8][4];
  Sums first, second;                                       // dq or dk; dv
  float log2_sum[C::fragments][2], delta[C::fragments][2];  // of the lane's rows, if they are queries

  __device__ Warp() {
#pragma unroll
    for (int m = 0; m < C::fragments; ++m)
#pragma unroll
      for (int n = 0; n < C::width / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) first[m][n][i] = second[m][n][i] = 0;
  }
  __device__ void load_statistics(const AttentionShape& s, const BackwardRows<of_keys, bf16>& rows, int64_t query) {
#pragma unroll
    for (int m = 0; m < C::fragments; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t at = query + m * fragment + half * 8 + threadIdx.x % warp_size / 4;
        log2_sum[m][half] = log2_sum_of(s, rows.logsumexp, at);
        delta[m][half] = delta_of(s, rows.delta, at);
      }
  }
  // Scores of keys behind a query become -inf.
  __device__ void mask(int ahead, Scores& scores) const {
    const int lane = threadIdx.x % warp_size;
#pragma unroll
    for (int m = 0; m < C::fragments; ++m)
#pragma unroll
      for (int n = 0; n < C::others / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int row = m * fragment + i / 2 * 8 + lane / 4, column = n * 8 + lane % 4 * 2 + i % 2;
          if ((of_keys ? row - column : column - row) > ahead) scores[m][n][i] = -INFINITY;
        }
  }
  // From scores to probabilities, and from their gradients to those of the scores.
  __device__ void through_softmax(float scale, const OtherTile& tile, Scores& p, Scores& ds) const {
#pragma unroll
    for (int n = 0; n < C::others / 8; ++n)
#pragma unroll
      for (int m = 0; m < C::fragments; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = n * 8 + threadIdx.x % 4 * 2 + i % 2;
          const float sum = of_keys ? tile.log2_sum[column] : log2_sum[m][i / 2];
          const float mean = of_keys ? tile.delta[column] : delta[m][i / 2];
          p[m][n][i] = exp2_approximately(p[m][n][i] * scale - sum);
          ds[m][n][i] = p[m][n][i] * (ds[m][n][i] - mean);
        }
  }
  __device__ void add_tile(float scale, int ahead, const bf16* left, const bf16* left_dy, const OtherTile& tile) {
    Scores p, ds;
    warp_products<C::width, C::fragments, C::others>(left, tile.rows, p);
    if (ahead < (of_keys ? C::warp_rows : C::others) - 1) mask(ahead, p);
    warp_products<C::width, C::fragments, C::others>(left_dy, tile.dy, ds);
    through_softmax(scale, tile, p, ds);
    if constexpr (of_keys) warp_add_weighted<C::width, C::fragments, C::others>(p, tile.dy, second);
    warp_add_weighted<C::width, C::fragments, C::others>(ds, tile.rows, first);
  }
  // `left` and `left_dy`, the warp's own, are no longer read, and serve on the way.
  __device__ void store(const AttentionShape& s, const AttentionGradients<bf16>& g, const HeadTile& at, int64_t own,
                        bf16* left, bf16* left_dy) const {
    float scale[C::fragments][2], one[C::fragments][2];
#pragma unroll
    for (int m = 0; m < C::fragments; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) scale[m][half] = float(s.scale), one[m][half] = 1;
    const HeadRows<bf16> to = of_keys ? key_rows(s, g.dk, at.b, at.h) : query_rows(s, g.dq, at.b, at.h);
    warp_store<C::width, C::fragments>(first, scale, left, to, own, s.D);
    if constexpr (of_keys)
      warp_store<C::width, C::fragments>(second, one, left_dy, key_rows(s, g.dv, at.b, at.h), own, s.D);
  }
};

template <class C, bool of_keys>
__global__ void __launch_bounds__(C::threads) backward_kernel(AttentionShape s, AttentionGradients<bf16> g) {
  DYNAMIC_SHARED(bf16, memory);
  const Shared<C> shared(memory);
  const int heads_of_key = int(s.H / s.K), group = of_keys ? heads_of_key : 1;  // query heads that share gradients
  const HeadTile at(of_keys ? s.Tk : s.Tq, C::own, of_keys ? s.K : s.H, !of_keys);
  const int own = at.index * C::own, warp = threadIdx.x / warp_size * C::warp_rows;
  bf16 *const left = shared.left + warp * C::pitch, *const left_dy = shared.left_dy + warp * C::pitch;
  const int before = int(s.Tk - s.Tq);
  const OtherRange<of_keys, C::own, C::others> others(s, own);
  const int begin = int(others.begin), end = int(others.end), last_head = (at.h + 1) * group;
  const int kv = of_keys ? at.h : at.h / heads_of_key;
  Warp<C, of_keys> run;
  int h = at.h * group, other = begin, in_use = 0;
  if (begin < end) {
    const BackwardRows<of_keys, bf16> rows(s, g, at.b, h, kv);
    start_tile<C::width, C::own, C::threads>(rows.left, own, s.D, shared.left);
    start_tile<C::width, C::own, C::threads>(rows.left_dy, own, s.D, shared.left_dy);
    start_others<C>(s, rows, begin, shared.others(0));
    if constexpr (!of_keys) run.load_statistics(s, rows, own + warp);
  } else {
    h = last_head;  // no queries, so the keys' gradients are zeros
  }
  while (h < last_head) {
    const int ahead = of_keys ? before + other - own - warp : before + own + warp - other;
    const OtherTile tile = shared.others(in_use);
    wait_copies<0>();
    __syncthreads();  // this tile is there, and nobody reads the one before
    other += C::others, in_use ^= 1;
    if (other >= end) other = begin, ++h;
    if (h < last_head) start_others<C>(s, BackwardRows<of_keys, bf16>(s, g, at.b, h, kv), other, shared.others(in_use));
    if (ahead + (of_keys ? C::others : C::warp_rows) > 0)
      run.add_tile(float(s.scale) * log2_e, ahead, left, left_dy, tile);
  }
  run.store(s, g, at, own + warp, left, left_dy);
}

template <class C, bool of_keys>
void launch_backward(const AttentionShape& s, const AttentionGradients<bf16>& g) {
  const unsigned blocks = head_tiles(s, of_keys ? s.Tk : s.Tq, C::own, of_keys ? s.K : s.H);
  if (blocks > 0) launch(backward_kernel<C, of_keys>, blocks, C::threads, C::shared_bytes, stream(), s, g);
}

// The shared memory that a block may have: 99 KiB on some devices, 163 or 227 on others.
int most_shared_bytes() {
  static const int bytes = [] {
    int device = 0, most = 0;
    check_cuda(cudaGetDevice(&device), "device");
    check_cuda(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "device attribute");
    return most;
  }();
  return bytes;
}

}  // namespace

void attention_backward_tensor_cores(const AttentionShape& s, const AttentionGradients<bf16>& g) {
  constexpr bool of_keys = true, of_queries = false;
  using Roomy = Cut<128, 2, 32>;
  if (s.D <= 32) {
    launch_backward<Cut<32, 2, 32>, of_keys>(s, g);
    launch_backward<Cut<32, 2, 32>, of_queries>(s, g);
  } else if (s.D <= 64) {
    launch_backward<Cut<64, 2, 32>, of_keys>(s, g);
    launch_backward<Cut<64, 2, 32>, of_queries>(s, g);
  } else if (s.D <= 96) {
    launch_backward<Cut<96, 1, 32>, of_keys>(s, g);
    launch_backward<Cut<96, 2, 32>, of_queries>(s, g);
  } else {
    launch_backward<Cut<128, 1, 32>, of_keys>(s, g);
    if (Roomy::shared_bytes <= most_shared_bytes())
      launch_backward<Roomy, of_queries>(s, g);
    else
      launch_backward<Cut<128, 1, 32>, of_queries>(s, g);
  }
}

}  // namespace switchyard::gpu
