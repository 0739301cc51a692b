// Attention of few queries over many keys, as when text is generated (Dao et al. 2023, "Flash-Decoding"): there the
// memory's speed is the limit, so every key and value is read once, by one block for all the query heads that share
// it, and enough blocks read at once: each has a chunk of the keys. A second kernel joins what the chunks found, in
// their order.
#include "tensor/cuda/attention.cuh"
#include "tensor/cuda/ptx.cuh"

namespace switchyard::gpu {
namespace {

constexpr int threads = 128, warps = threads / warp_size;
constexpr int longest_chunk = threads;  // keys: a thread for each
constexpr int chunk_bytes = 32 << 10;   // of keys, and again of values
constexpr int together = 8;             // queries that a thread works on at once
constexpr int eight = 8;                // elements that it reads at once

// Keys of a chunk: fewer of wide heads.
template <class T>
HOST_DEVICE int chunk_of(const AttentionShape& s) {
  const int fit = chunk_bytes / int(s.D * int64_t{sizeof(T)});
  return fit < longest_chunk ? fit : longest_chunk;
}
template <class T>
HOST_DEVICE int64_t chunks_of(const AttentionShape& s) {
  return (s.Tk + chunk_of<T>(s) - 1) / chunk_of<T>(s);
}

// A block's shared memory. Rows of keys and values lie 16 bytes apart, so that threads that read the same column of
// neighbouring rows read different banks.
template <class T>
struct Shared {
  int chunk, pitch;
  T *keys, *values;      // (chunk, pitch)
  float *queries, *sum;  // (together, D); (threads, eight): partial sums
  float* weight;         // (together, longest_chunk): scores, then weights
  static size_t bytes(const AttentionShape& s) {
    return 2 * chunk_of<T>(s) * (s.D * sizeof(T) + 16) + together * s.D * 4 + 4 * threads * (eight + together);
  }
  __device__ Shared(const AttentionShape& s, unsigned char* memory)
      : chunk(chunk_of<T>(s)), pitch(int(s.D) + 16 / int(sizeof(T))) {
    keys = reinterpret_cast<T*>(memory), values = keys + chunk * pitch;
    queries = reinterpret_cast<float*>(values + chunk * pitch), sum = queries + together * s.D;
    weight = sum + threads * eight;
  }
};

// What each chunk found for each query: its largest score, the sum of e^(score - largest), and the values so weighted.
struct Partial {
  float *largest, *sum, *y;  // (chunks, B, H, Tq); the same; (chunks, B, H, Tq, D)
  __device__ static int64_t at(const AttentionShape& s, int64_t c, int64_t b, int64_t i, int64_t h) {
    return c * s.B * s.H * s.Tq + statistic_at(s, b, i, h);
  }
};

// A query among those of a key/value head: number i * group + g is query i of the group's head g.
struct Query {
  int64_t i, h;
  __device__ Query(const AttentionShape& s, int64_t kv, int64_t number) {
    const int64_t group = s.H / s.K;
    i = number / group, h = kv * group + number % group;
  }
};

__device__ void load_eight(const float* x, float (&y)[eight]) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
    *reinterpret_cast<float4*>(y + 4 * half) = *reinterpret_cast<const float4*>(x + 4 * half);
}
__device__ void load_eight(const bf16* x, float (&y)[eight]) {
  const uint4 four = *reinterpret_cast<const uint4*>(x);
  const uint32_t pairs[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    y[2 * i] = __uint_as_float(pairs[i] << 16);
    y[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000);
  }
}

// Starts to copy a chunk's rows; zeros beyond the last.
template <class T>
__device__ void start_chunk(const HeadRows<const T>& rows, int64_t first, int64_t D, const Shared<T>& shared, T* to) {
  constexpr int unit = 16 / sizeof(T);
  const int across = int(D) / unit;
  for (int e = threadIdx.x; e < shared.chunk * across; e += threads) {
    const int r = e / across, d = e % across * unit;
    const bool valid = first + r < rows.count;
    copy_async_16(to + r * shared.pitch + d, valid ? rows.row(first + r) + d : rows.data, valid ? 16 : 0);
  }
  commit_copies();
}

// The scores of `count` queries with the thread's key; keys behind the query and after the last have -inf.
template <class T>
__device__ void find_scores(const AttentionShape& s, const Shared<T>& shared, int64_t key, int64_t kv, int64_t first,
                            int count) {
  const int j = threadIdx.x;
  float score[together] = {};
  if (j < shared.chunk)
    for (int d = 0; d < s.D; d += eight) {
      alignas(16) float x[eight];
      load_eight(shared.keys + j * shared.pitch + d, x);
#pragma unroll
      for (int r = 0; r < together; ++r)
        if (r < count) {
          alignas(16) float w[eight];
          load_eight(shared.queries + r * s.D + d, w);
#pragma unroll
          for (int e = 0; e < eight; ++e) score[r] += w[e] * x[e];
        }
    }
#pragma unroll
  for (int r = 0; r < together; ++r)
    if (r < count) {
      const bool seen = j < shared.chunk && key + j <= s.Tk - s.Tq + Query(s, kv, first + r).i;
      shared.weight[r * longest_chunk + j] = seen ? score[r] * float(s.scale) : -INFINITY;
    }
}

// A warp turns a query's scores into weights.
__device__ void find_weights(float* score, float* largest, float* sum) {
  const int lane = threadIdx.x % warp_size;
  float most = -INFINITY, total = 0;
  for (int j = lane; j < longest_chunk; j += warp_size) most = fmaxf(most, score[j]);
  most = warp_max(most);
  const float shift = most == -INFINITY ? 0 : most;  // no -inf - -inf
  for (int j = lane; j < longest_chunk; j += warp_size) total += score[j] = expf(score[j] - shift);
  total = warp_sum(total);
  if (lane == 0) *largest = most, *sum = total;
}

// The weighted sums of the values. A thread has 8 columns and every so-many-th key; for each query, those with the
// same columns then add up, in order.
template <class T>
__device__ void find_values(const AttentionShape& s, const Shared<T>& shared, const Partial& partial, int64_t c,
                            int64_t b, int64_t kv, int64_t first, int count) {
  const int across = int(s.D) / eight, down = threads / across, column = threadIdx.x % across * eight;
  const int begin = threadIdx.x / across;
  float sum[together][eight] = {};
  if (begin < down)
    for (int j = begin; j < shared.chunk; j += down) {
      alignas(16) float x[eight];
      load_eight(shared.values + j * shared.pitch + column, x);
#pragma unroll
      for (int r = 0; r < together; ++r)
        if (r < count)
#pragma unroll
          for (int e = 0; e < eight; ++e) sum[r][e] += shared.weight[r * longest_chunk + j] * x[e];
    }
#pragma unroll
  for (int r = 0; r < together; ++r)
    if (r < count) {
#pragma unroll
      for (int e = 0; e < eight; ++e)
        if (begin < down) shared.sum[begin * s.D + column + e] = sum[r][e];
      __syncthreads();
      const Query query(s, kv, first + r);
      float* y = partial.y + Partial::at(s, c, b, query.i, query.h) * s.D;
      for (int d = threadIdx.x; d < s.D; d += threads) {
        float total = 0;
        for (int i = 0; i < down; ++i) total += shared.sum[i * s.D + d];
        y[d] = total;
      }
      __syncthreads();
    }
}

template <class T>
__global__ void __launch_bounds__(threads)
    chunk_kernel(AttentionShape s, const T* q, const T* k, const T* v, Partial partial) {
  DYNAMIC_SHARED(unsigned char, memory);
  const Shared<T> shared(s, memory);
  const int64_t chunks = chunks_of<T>(s), c = blockIdx.x % chunks, head = blockIdx.x / chunks;
  const int64_t b = head / s.K, kv = head % s.K, key = c * shared.chunk, queries = s.Tq * (s.H / s.K);
  start_chunk(key_rows(s, k, b, kv), key, s.D, shared, shared.keys);
  start_chunk(key_rows(s, v, b, kv), key, s.D, shared, shared.values);
  for (int64_t first = 0; first < queries; first += together) {
    const int count = queries - first < together ? int(queries - first) : together;
    for (int e = threadIdx.x; e < count * int(s.D); e += threads) {
      const Query query(s, kv, first + e / int(s.D));
      shared.queries[e] = float(q[query_at(s, b, query.i, query.h) + e % int(s.D)]);
    }
    if (first == 0) wait_copies<1>();  // the keys
    __syncthreads();
    find_scores(s, shared, key, kv, first, count);
    __syncthreads();
    for (int r = threadIdx.x / warp_size; r < count; r += warps) {
      const Query query(s, kv, first + r);
      const int64_t at = Partial::at(s, c, b, query.i, query.h);
      find_weights(shared.weight + r * longest_chunk, partial.largest + at, partial.sum + at);
    }
    if (first == 0) wait_copies<0>();  // the values
    __syncthreads();
    find_values(s, shared, partial, c, b, kv, first, count);
  }
}

// A block for each query. A thread has 4 columns and every so-many-th chunk, then those with the same columns add up.
template <class T>
__global__ void __launch_bounds__(threads)
    join_kernel(AttentionShape s, int chunks, Partial partial, T* y, float* logsumexp) {
  DYNAMIC_SHARED(float, memory);
  float *const sums = memory, *const weight = sums + threads * 4;  // (threads / across, D), (chunks)
  const unsigned H = unsigned(s.H), Tq = unsigned(s.Tq), h = blockIdx.x % H, i = blockIdx.x / H % Tq,
                 b = blockIdx.x / H / Tq;
  const int64_t begin = Partial::at(s, 0, b, i, h), step = s.B * s.H * s.Tq;  // from one chunk to the next
  float most = -INFINITY, sum = 0;
  for (int c = threadIdx.x; c < chunks; c += threads) most = fmaxf(most, partial.largest[begin + c * step]);
  most = block_max<threads>(most);
  const float shift = most == -INFINITY ? 0 : most;  // no -inf - -inf
  //@begin join
  for (int c = threadIdx.x; c < chunks; c += threads) {
    weight[c] = expf(partial.largest[begin + c * step] - shift);
    sum += weight[c] * partial.sum[begin + c * step];
  }
  sum = block_sum<threads>(sum);
  //@end join
  const int across = int(s.D) / 4, down = threads / across, column = threadIdx.x % across * 4;
  const int first = threadIdx.x / across;
  float4 total = make_float4(0, 0, 0, 0);
#pragma unroll 8  // so many reads are under way at once
  for (int c = first < down ? first : chunks; c < chunks; c += down) {
    const float4 x = *reinterpret_cast<const float4*>(partial.y + (begin + c * step) * s.D + column);
    total.x += weight[c] * x.x, total.y += weight[c] * x.y, total.z += weight[c] * x.z, total.w += weight[c] * x.w;
  }
  if (first < down) *reinterpret_cast<float4*>(sums + first * s.D + column) = total;
  __syncthreads();
  for (int d = threadIdx.x; d < s.D; d += threads) {
    float all = 0;
    for (int r = 0; r < down; ++r) all += sums[r * s.D + d];
    y[result_at(s, b, i, h) + d] = T(all / sum);
  }
  if (threadIdx.x == 0) logsumexp[statistic_at(s, b, i, h)] = most + logf(sum);
}

}  // namespace

template <class T>
void attention_split_keys(const AttentionShape& s, const T* q, const T* k, const T* v, T* y, float* logsumexp) {
  const int64_t chunks = chunks_of<T>(s), queries = s.B * s.H * s.Tq;
  const Scratch<float> largest(chunks * queries), sum(chunks * queries), partial_y(chunks * queries * s.D);
  const Partial partial{largest.data(), sum.data(), partial_y.data()};
  launch(chunk_kernel<T>, blocks_for(s.B * s.K * chunks, 1), threads, Shared<T>::bytes(s), stream(), s, q, k, v,
         partial);
  launch(join_kernel<T>, blocks_for(queries, 1), threads, (threads * 4 + size_t(chunks)) * sizeof(float), stream(), s,
         int(chunks), partial, y, logsumexp);
}

template void attention_split_keys(const AttentionShape&, const float*, const float*, const float*, float*, float*);
template void attention_split_keys(const AttentionShape&, const bf16*, const bf16*, const bf16*, bf16*, float*);

}  // namespace switchyard::gpu
