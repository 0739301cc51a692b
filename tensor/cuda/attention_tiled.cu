// Attention in tiles (Dao 2023, "FlashAttention-2"): a block of threads holds a tile of queries in shared memory, and
// one tile of keys after another passes by, so that an element fetched from memory serves as many products as a tile
// has rows. All arithmetic is in f32.
//
// A block's threads stand in rows of 16. Each owns 4 rows of its tile: of the scores every 16th column, of what is
// summed up (as wide as a head) 4 neighbouring columns in each 64.
#include "tensor/cuda/attention.cuh"

namespace switchyard::gpu {
namespace {

constexpr int across = 16, own_rows = 4;

struct alignas(16) Four {
  float at[4];
};
__device__ Four load_four(const float* x) { return *reinterpret_cast<const Four*>(x); }

// How a head of at most `width` elements is cut. A row's last 4 floats are unused: without them, the columns of 8
// neighbouring rows would lie in the same bank of shared memory.
template <int width_, int tile_>
struct Cut {
  static constexpr int width = width_, tile = tile_, pitch = width + 4, score_pitch = tile + 4;
  static constexpr int threads = tile / own_rows * across, score_columns = tile / across, columns = width / across;
  static constexpr int rows = tile * pitch, scores = tile * score_pitch;  // floats of a tile
  __device__ static int row() { return threadIdx.x / across * own_rows; }
  __device__ static int score_column(int c) { return threadIdx.x % across + c * across; }
  __device__ static int column(int c) { return c / 4 * 64 + threadIdx.x % across * 4 + c % 4; }
};

// A tile of rows, zeros beyond the last and beyond D.
template <class C, class T>
__device__ void load_tile(const HeadRows<T>& rows, int64_t first, int64_t D, float* tile) {
  for (int e = threadIdx.x; e < C::tile * C::width; e += C::threads) {
    const int r = e / C::width, d = e % C::width;
    tile[r * C::pitch + d] = first + r < rows.count && d < D ? float(rows.row(first + r)[d]) : 0;
  }
}

// sum[r][c] = row r of a . row c of b: the thread's part of a tile of scores.
template <class C>
__device__ void products(int64_t D, const float* a, const float* b, float (&sum)[own_rows][C::score_columns]) {
  for (auto& row : sum)
    for (float& x : row) x = 0;
  for (int d = 0; d < D; d += 4) {
    Four left[own_rows], right[C::score_columns];
#pragma unroll
    for (int r = 0; r < own_rows; ++r) left[r] = load_four(a + (C::row() + r) * C::pitch + d);
#pragma unroll
    for (int c = 0; c < C::score_columns; ++c) right[c] = load_four(b + C::score_column(c) * C::pitch + d);
#pragma unroll
    for (int r = 0; r < own_rows; ++r)
#pragma unroll
      for (int c = 0; c < C::score_columns; ++c)
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[r][c] += left[r].at[i] * right[c].at[i];
  }
}

// sum[r][c] += column c of x, weighted by row r of `weight`.
template <class C>
__device__ void add_weighted(const float* weight, const float* x, float (&sum)[own_rows][C::columns]) {
  for (int j = 0; j < C::tile; j += 4) {
    Four left[own_rows];
#pragma unroll
    for (int r = 0; r < own_rows; ++r) left[r] = load_four(weight + (C::row() + r) * C::score_pitch + j);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < C::columns; c += 4) {
        const Four right = load_four(x + (j + i) * C::pitch + C::column(c));
#pragma unroll
        for (int r = 0; r < own_rows; ++r)
#pragma unroll
          for (int n = 0; n < 4; ++n) sum[r][c + n] += left[r].at[i] * right.at[n];
      }
  }
}

template <class C>
__device__ void store_scores(const float (&x)[own_rows][C::score_columns], float* tile) {
#pragma unroll
  for (int r = 0; r < own_rows; ++r)
#pragma unroll
    for (int c = 0; c < C::score_columns; ++c) tile[(C::row() + r) * C::score_pitch + C::score_column(c)] = x[r][c];
}

// The thread's part of a tile of results: rows from `first` on, each times its factor.
template <class C, class T>
__device__ void store_tile(const float (&x)[own_rows][C::columns], const float (&factor)[own_rows],
                           const HeadRows<T>& rows, int64_t first, int64_t D) {
  for (int r = 0; r < own_rows; ++r)
    for (int c = 0; c < C::columns; ++c)
      if (first + C::row() + r < rows.count && C::column(c) < D)
        rows.row(first + C::row() + r)[C::column(c)] = T(x[r][c] * factor[r]);
}

// Over the 16 threads that share rows.
__device__ float row_max(float x) {
  for (int lanes = across / 2; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(whole_warp, x, lanes));
  return x;
}
__device__ float row_sum(float x) {
  for (int lanes = across / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(whole_warp, x, lanes);
  return x;
}

// What a thread keeps of its queries: y so far is the sum, weighted by e^(score - largest), of the values.
template <class C>
struct Running {
  float largest[own_rows], sum[own_rows], y[own_rows][C::columns];
  __device__ Running() {
    for (int r = 0; r < own_rows; ++r) {
      largest[r] = -INFINITY, sum[r] = 0;
      for (float& x : y[r]) x = 0;
    }
  }
  // Turns scores into exponentials, and brings sum and y up to the new maximum.
  __device__ void take(float (&scores)[own_rows][C::score_columns]) {
#pragma unroll
    for (int r = 0; r < own_rows; ++r) {
      //@begin take
      float most = largest[r], total = 0;
      for (const float x : scores[r]) most = fmaxf(most, x);
      most = row_max(most);
      const float shift = most == -INFINITY ? 0 : most;  // no -inf - -inf
      for (float& x : scores[r]) total += x = expf(x - shift);
      const float shrink = expf(largest[r] - shift);
      largest[r] = most, sum[r] = sum[r] * shrink + row_sum(total);
      for (float& x : y[r]) x *= shrink;
      //@end take
    }
  }
};

template <class C, class T>
__global__ void __launch_bounds__(C::threads)
    tiled_kernel(AttentionShape s, const T* q, const T* k, const T* v, T* y, float* logsumexp) {
  DYNAMIC_SHARED(float, queries);
  float *keys = queries + C::rows, *weights = keys + C::rows;  // the values take the place of the keys
  const HeadTile at(s.Tq, C::tile, s.H, true);
  const int64_t first = int64_t{at.index} * C::tile, position = s.Tk - s.Tq + first, kv = at.h / (s.H / s.K);
  Running<C> run;
  load_tile<C>(query_rows(s, q, at.b, at.h), first, s.D, queries);
  for (int64_t key = 0; key < s.Tk && key < position + C::tile; key += C::tile) {
    load_tile<C>(key_rows(s, k, at.b, kv), key, s.D, keys);
    __syncthreads();
    float scores[own_rows][C::score_columns];
    products<C>(s.D, queries, keys, scores);
    for (int r = 0; r < own_rows; ++r)
      for (int c = 0; c < C::score_columns; ++c)
        scores[r][c] = key + C::score_column(c) > position + C::row() + r ? -INFINITY : scores[r][c] * float(s.scale);
    //@begin tile-loop
    run.take(scores);
    store_scores<C>(scores, weights);
    __syncthreads();
    load_tile<C>(key_rows(s, v, at.b, kv), key, s.D, keys);
    __syncthreads();
    add_weighted<C>(weights, keys, run.y);
    __syncthreads();
    //@end tile-loop
  }
  float factor[own_rows];
  for (int r = 0; r < own_rows; ++r) {
    factor[r] = 1 / run.sum[r];
    if (threadIdx.x % across == 0 && first + C::row() + r < s.Tq)
      logsumexp[statistic_at(s, at.b, first + C::row() + r, at.h)] = run.largest[r] + logf(run.sum[r]);
  }
  store_tile<C>(run.y, factor, result_rows(s, y, at.b, at.h), first, s.D);
}

template <class C, class T>
void launch_forward(const AttentionShape& s, const T* q, const T* k, const T* v, T* y, float* logsumexp) {
  launch(tiled_kernel<C, T>, head_tiles(s, s.Tq, C::tile, s.H), C::threads, (2 * C::rows + C::scores) * sizeof(float),
         stream(), s, q, k, v, y, logsumexp);
}

// Own rows' gradients from one tile of others, whose two matrices are in shared memory: p from the scores of `left`
// with `right`, its gradient from the same product with dy and v; then sums weighted by both.
template <class C, bool of_keys, class T>
struct Backward {
  float *left, *left_dy, *right, *right_dy, *p, *ds;                // in shared memory
  float first[own_rows][C::columns], second[own_rows][C::columns];  // dq or dk; dv

  __device__ explicit Backward(float* shared) {
    left = shared, left_dy = left + C::rows, right = left_dy + C::rows, right_dy = right + C::rows;
    p = right_dy + C::rows, ds = p + C::scores;
    for (int r = 0; r < own_rows; ++r)
      for (int c = 0; c < C::columns; ++c) first[r][c] = second[r][c] = 0;
  }
  __device__ void add_tile(const AttentionShape& s, const BackwardRows<of_keys, T>& rows, int64_t own, int64_t other) {
    float score[own_rows][C::score_columns], d_score[own_rows][C::score_columns];
    products<C>(s.D, left, right, score);
    products<C>(s.D, left_dy, right_dy, d_score);
    for (int r = 0; r < own_rows; ++r)
      for (int c = 0; c < C::score_columns; ++c) {
        const int64_t own_row = own + C::row() + r, other_row = other + C::score_column(c);
        const int64_t query = of_keys ? other_row : own_row, key = of_keys ? own_row : other_row;
        const bool seen = query < s.Tq && key <= s.Tk - s.Tq + query;
        score[r][c] = seen ? expf(score[r][c] * float(s.scale) - rows.logsumexp[query]) : 0;
        d_score[r][c] = seen ? score[r][c] * (d_score[r][c] - rows.delta[query]) : 0;
      }
    store_scores<C>(d_score, ds);
    if (of_keys) store_scores<C>(score, p);
    __syncthreads();
    add_weighted<C>(ds, right, first);
    if (of_keys) add_weighted<C>(p, right_dy, second);
  }
};

template <class C, bool of_keys, class T>
__global__ void __launch_bounds__(C::threads, 1) backward_kernel(AttentionShape s, AttentionGradients<T> g) {
  DYNAMIC_SHARED(float, shared);
  const int64_t group = of_keys ? s.H / s.K : 1;  // query heads that add to the same gradients
  const HeadTile at(of_keys ? s.Tk : s.Tq, C::tile, of_keys ? s.K : s.H, !of_keys);
  const int64_t own = int64_t{at.index} * C::tile;
  const OtherRange<of_keys, C::tile, C::tile> others(s, own);
  Backward<C, of_keys, T> run(shared);
  //@begin group
  for (int64_t h = at.h * group; h < (at.h + 1) * group; ++h) {
    const BackwardRows<of_keys, T> rows(s, g, at.b, h, h / (s.H / s.K));
    for (int64_t other = others.begin; other < others.end; other += C::tile) {
      __syncthreads();  // the tile before is no longer read
      if (other == others.begin) {
        load_tile<C>(rows.left, own, s.D, run.left);
        load_tile<C>(rows.left_dy, own, s.D, run.left_dy);
      }
      load_tile<C>(rows.right, other, s.D, run.right);
      load_tile<C>(rows.right_dy, other, s.D, run.right_dy);
      __syncthreads();
      run.add_tile(s, rows, own, other);
    }
  }
  //@end group
  const float scale[own_rows] = {float(s.scale), float(s.scale), float(s.scale), float(s.scale)};
  const float one[own_rows] = {1, 1, 1, 1};
  if constexpr (of_keys) {
    store_tile<C>(run.first, scale, key_rows(s, g.dk, at.b, at.h), own, s.D);
    store_tile<C>(run.second, one, key_rows(s, g.dv, at.b, at.h), own, s.D);
  } else {
    store_tile<C>(run.first, scale, query_rows(s, g.dq, at.b, at.h), own, s.D);
  }
}

template <class C, class T>
void launch_backward(const AttentionShape& s, const AttentionGradients<T>& g) {
  const size_t shared_bytes = (4 * C::rows + 2 * C::scores) * sizeof(float);
  launch(backward_kernel<C, true, T>, head_tiles(s, s.Tk, C::tile, s.K), C::threads, shared_bytes, stream(), s, g);
  if (s.Tq > 0)
    launch(backward_kernel<C, false, T>, head_tiles(s, s.Tq, C::tile, s.H), C::threads, shared_bytes, stream(), s, g);
}

}  // namespace

template <class T>
void attention_tiled(const AttentionShape& s, const T* q, const T* k, const T* v, T* y, float* logsumexp) {
  if (s.D <= 64)
    launch_forward<Cut<64, 64>>(s, q, k, v, y, logsumexp);
  else if (s.D <= 128)
    launch_forward<Cut<128, 32>>(s, q, k, v, y, logsumexp);
  else
    launch_forward<Cut<256, 16>>(s, q, k, v, y, logsumexp);
}

template <class T>
void attention_backward_tiled(const AttentionShape& s, const AttentionGradients<T>& g) {
  if (s.D <= 64)
    launch_backward<Cut<64, 32>>(s, g);
  else if (s.D <= 128)
    launch_backward<Cut<128, 16>>(s, g);
  else
    launch_backward<Cut<256, 16>>(s, g);
}

#define INSTANTIATE(T)                                                                            \
  template void attention_tiled(const AttentionShape&, const T*, const T*, const T*, T*, float*); \
  template void attention_backward_tiled(const AttentionShape&, const AttentionGradients<T>&);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::gpu
