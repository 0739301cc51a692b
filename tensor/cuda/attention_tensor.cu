// Tiled attention on tensor cores (Dao 2023, "FlashAttention-2"). 4 warps share a tile of queries, each with rows of
// its own; scores, weights and sums stay in registers. While a tile of keys is multiplied, its values are on their way
// to shared memory; while these are, the next keys.
#include "tensor/cuda/attention_tensor.cuh"

namespace switchyard::gpu {
namespace {

// A warp's queries: 16 for each m. Its lanes hold rows lane / 4 and lane / 4 + 8 of each 16 (`half`).
template <int width_, int own_, int keys_>
struct Cut {
  static constexpr int width = width_, own = own_, keys = keys_, pitch = pitch_of<width>;
  static constexpr int warps = 4, threads = warps * warp_size, warp_rows = own * fragment, queries = warps * warp_rows;
  static constexpr int shared_bytes = (queries + 2 * keys) * pitch * int(sizeof(bf16));
};

template <class C>
struct Running {
  float scores[C::own][C::keys / 8][4], y[C::own][C::width / 8][4];
  float largest[C::own][2], sum[C::own][2];  // the sum over this lane's columns only, until the end

  __device__ Running() {
#pragma unroll
    for (int m = 0; m < C::own; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) largest[m][half] = -INFINITY, sum[m][half] = 0;
#pragma unroll
      for (auto& four : y[m])
#pragma unroll
        for (float& x : four) x = 0;
    }
  }
  // Scores of keys behind a query become -inf; `ahead` is the first query's position less the first key's.
  __device__ void mask(int ahead) {
    const int lane = threadIdx.x % warp_size;
#pragma unroll
    for (int m = 0; m < C::own; ++m)
#pragma unroll
      for (int n = 0; n < C::keys / 8; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (n * 8 + lane % 4 * 2 + i % 2 - (m * fragment + i / 2 * 8 + lane / 4) > ahead) scores[m][n][i] = -INFINITY;
  }
  // Turns scores into weights, 2^(scale score - shift), and brings sum and y up to the new maximum.
  __device__ void take(float scale) {
#pragma unroll
    for (int m = 0; m < C::own; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = largest[m][half], total = 0;
#pragma unroll
        for (const auto& four : scores[m]) most = fmaxf(most, fmaxf(four[2 * half], four[2 * half + 1]));
        most = quad_max(most);
        const float shift = most == -INFINITY ? 0 : most * scale;  // no -inf - -inf
        const float shrink = exp2_approximately(largest[m][half] * scale - shift);
#pragma unroll
        for (auto& four : scores[m])
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) total += four[i] = exp2_approximately(four[i] * scale - shift);
        largest[m][half] = most, sum[m][half] = sum[m][half] * shrink + total;
#pragma unroll
        for (auto& four : y[m]) four[2 * half] *= shrink, four[2 * half + 1] *= shrink;
      }
  }
};

// A warp's results; `tile` is its rows of shared memory.
template <class C>
__device__ void finish(const Running<C>& run, const AttentionShape& s, const HeadTile& at, int64_t first, bf16* tile,
                       bf16* y, float* logsumexp) {
  const int lane = threadIdx.x % warp_size;
  float factor[C::own][2];
#pragma unroll
  for (int m = 0; m < C::own; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = quad_sum(run.sum[m][half]);
      const int64_t query = first + m * fragment + half * 8 + lane / 4;
      factor[m][half] = 1 / sum;
      if (lane % 4 == 0 && query < s.Tq)
        logsumexp[statistic_at(s, at.b, query, at.h)] = run.largest[m][half] * float(s.scale) + logf(sum);
    }
  warp_store<C::width, C::own>(run.y, factor, tile, result_rows(s, y, at.b, at.h), first, s.D);
}

template <class C>
__global__ void __launch_bounds__(C::threads)
    tensor_kernel(AttentionShape s, const bf16* q, const bf16* k, const bf16* v, bf16* y, float* logsumexp) {
  DYNAMIC_SHARED(bf16, queries);
  bf16 *keys = queries + C::queries * C::pitch, *values = keys + C::keys * C::pitch;
  const HeadTile at(s.Tq, C::queries, s.H, true);
  const int64_t kv = at.h / (s.H / s.K), first = int64_t{at.index} * C::queries;
  const int own = threadIdx.x / warp_size * C::warp_rows, keys_of_s = int(s.Tk);
  const int position = int(s.Tk - s.Tq + first), last = position + C::queries,
            end = last < keys_of_s ? last : keys_of_s;
  const HeadRows<const bf16> key_of = key_rows(s, k, at.b, kv), value_of = key_rows(s, v, at.b, kv);
  Running<C> run;
  start_tile<C::width, C::queries, C::threads>(query_rows(s, q, at.b, at.h), first, s.D, queries);
  start_tile<C::width, C::keys, C::threads>(key_of, 0, s.D, keys);
  commit_copies();
  for (int key = 0; key < end; key += C::keys) {
    const int ahead = position + own - key;
    const bool seen = ahead + C::warp_rows > 0 && first + own < s.Tq;  // by any of the warp's queries
    wait_copies<0>();
    __syncthreads();  // the keys are there, and nobody reads the values before
    start_tile<C::width, C::keys, C::threads>(value_of, key, s.D, values);
    commit_copies();
    if (seen) {
      warp_products<C::width, C::own, C::keys>(queries + own * C::pitch, keys, run.scores);
      if (ahead < C::keys - 1) run.mask(ahead);
      run.take(float(s.scale) * log2_e);
    }
    wait_copies<0>();
    __syncthreads();
    if (key + C::keys < end) start_tile<C::width, C::keys, C::threads>(key_of, key + C::keys, s.D, keys);
    commit_copies();
    if (seen) warp_add_weighted<C::width, C::own, C::keys>(run.scores, values, run.y);
  }
  finish(run, s, at, first + own, queries + own * C::pitch, y, logsumexp);
}

template <class C>
void launch_cut(const AttentionShape& s, const bf16* q, const bf16* k, const bf16* v, bf16* y, float* logsumexp) {
  launch(tensor_kernel<C>, head_tiles(s, s.Tq, C::queries, s.H), C::threads, C::shared_bytes, stream(), s, q, k, v, y,
         logsumexp);
}

// Two fragments a warp make twice as much of each operand that it loads; where that would leave multiprocessors idle,
// one, with the same bits as result.
template <int width>
void launch_width(const AttentionShape& s, const bf16* q, const bf16* k, const bf16* v, bf16* y, float* logsumexp) {
  using Large = Cut<width, 2, 64>;
  if (head_tiles(s, s.Tq, Large::queries, s.H) >= unsigned(multiprocessors()))
    launch_cut<Large>(s, q, k, v, y, logsumexp);
  else
    launch_cut<Cut<width, 1, 64>>(s, q, k, v, y, logsumexp);
}

}  // namespace

void attention_tensor_cores(const AttentionShape& s, const bf16* q, const bf16* k, const bf16* v, bf16* y,
                            float* logsumexp) {
  if (s.D <= 32)
    launch_width<32>(s, q, k, v, y, logsumexp);
  else if (s.D <= 64)
    launch_width<64>(s, q, k, v, y, logsumexp);
  else if (s.D <= 96)
    launch_width<96>(s, q, k, v, y, logsumexp);
  else
    launch_width<128>(s, q, k, v, y, logsumexp);
}

}  // namespace switchyard::gpu
