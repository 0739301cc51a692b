// Cross-entropy of rows of logits.
#include "tensor/cuda/row_steps.h"
#include "tensor/cuda/rows.cuh"

namespace switchyard::gpu {
namespace {

// Writes a row's results from the sum of its exponentials.
template <class T>
__device__ inline void finish_row(ExpSum all, const T* row, int32_t target, float* loss, float* logsumexp) {
  const float log_sum = logf(all.sum);
  *logsumexp = all.shift + log_sum;
  // Not logsumexp - row[target]: between large logits, that difference has lost the digits of log_sum.
  *loss = target < 0 ? 0 : log_sum + (all.shift - float(row[target]));
}

// The plain step: a thread takes a row, and reads it twice.
template <class T>
__global__ void cross_entropy_plain_kernel(int64_t rows, int64_t V, const T* x, const int32_t* target, float* loss,
                                           float* logsumexp) {
  for (int64_t r = global_index(); r < rows; r += global_size()) {
    const T* row = x + r * V;
    ExpSum all{-INFINITY, 0};
    for (int64_t i = 0; i < V; ++i) all.shift = fmaxf(all.shift, row[i]);
    if (isinf(all.shift)) all.shift = 0;
    for (int64_t i = 0; i < V; ++i) all.sum += expf(row[i] - all.shift);
    finish_row(all, row, target[r], loss + r, logsumexp + r);
  }
}

// f(i, Constant<width>) for the thread's share of a row of any alignment: single elements as far as the first 16-byte
// boundary, packs from there on, single elements at the end. Most vocabularies are a multiple of nothing.
template <int team, int width, class T, class F>
__device__ inline void for_each_in_ragged_row(int64_t V, const T* row, F f) {
  const int64_t beyond = reinterpret_cast<uintptr_t>(row) % vector_bytes / sizeof(T);
  const int64_t to_boundary = (width - beyond) % width, head = to_boundary < V ? to_boundary : V;
  const int64_t tail = head + (V - head) / width * width;
  const int rank = team_rank<team>();
  for (int64_t i = rank; i < head; i += team) f(i, Constant<1>{});
  for (int64_t i = head + rank * width; i < tail; i += team * width) f(i, Constant<width>{});
  for (int64_t i = tail + rank; i < V; i += team) f(i, Constant<1>{});
}

template <int team, int width, class T>
__global__ void cross_entropy_kernel(int64_t rows, int64_t V, const T* x, const int32_t* target, float* loss,
                                     float* logsumexp) {
  for_each_row<team>(rows, [&](int64_t r) {
    //@begin cross-entropy
    const T* row = x + r * V;
    ExpSum own;
    const auto add = [&](int64_t i, auto n) { own.add(load<n>(row + i)); };
    for_each_in_ragged_row<team, width>(V, row, add);
    const ExpSum all = own.whole<team>();
    //@end cross-entropy
    if (team_rank<team>() == 0) finish_row(all, row, target[r], loss + r, logsumexp + r);
  });
}

// With packs, x and dx must lie alike towards 16-byte boundaries.
template <int team, int width, class T>
__global__ void cross_entropy_backward_kernel(int64_t rows, int64_t V, const T* x, const int32_t* target,
                                              const float* logsumexp, const float* g, T* dx) {
  for_each_row<team>(rows, [&](int64_t r) {
    const T* row = x + r * V;
    const float shift = logsumexp[r], factor = g[r];
    const int64_t own = target[r];
    for_each_in_ragged_row<team, width>(V, row, [&](int64_t i, auto some) {
      Floats<some> v = {};
      if (own >= 0) {
        v = load<some>(row + i);
        for (int j = 0; j < some; ++j) {
          v.at[j] = factor * expf(v.at[j] - shift);
          if (i + j == own) v.at[j] -= factor;
        }
      }
      store(dx + r * V + i, v);
    });
  });
}

}  // namespace

template <class T>
void cross_entropy_plain(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss,
                         Wide<T>* logsumexp) {
  if (rows == 0) return;
  launch(cross_entropy_plain_kernel<T>, blocks_for(rows, block_threads), block_threads, 0, stream(), rows, V, x, target,
         loss, logsumexp);
}

template <class T>
void cross_entropy(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss, Wide<T>* logsumexp) {
  with_team<T>(V, true, [&](auto team, auto width) {
    launch_teams(cross_entropy_kernel<team, width, T>, team, rows, V, x, target, loss, logsumexp);
  });
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t V, const T* x, const int32_t* target, const Wide<T>* logsumexp,
                            const Wide<T>* g, T* dx) {
  const bool alike = (reinterpret_cast<uintptr_t>(x) - reinterpret_cast<uintptr_t>(dx)) % vector_bytes == 0;
  with_team<T>(V, alike, [&](auto team, auto width) {
    launch_teams(cross_entropy_backward_kernel<team, width, T>, team, rows, V, x, target, logsumexp, g, dx);
  });
}

#define INSTANTIATE(T)                                                                                                \
  template void cross_entropy<T>(int64_t, int64_t, const T*, const int32_t*, Wide<T>*, Wide<T>*);                     \
  template void cross_entropy_plain<T>(int64_t, int64_t, const T*, const int32_t*, Wide<T>*, Wide<T>*);               \
  template void cross_entropy_backward<T>(int64_t, int64_t, const T*, const int32_t*, const Wide<T>*, const Wide<T>*, \
                                          T*);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::gpu
