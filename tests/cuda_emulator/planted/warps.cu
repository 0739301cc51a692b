// Planted bugs: the lanes of a warp.
#include "tests/cuda_emulator/planted/planted.h"

namespace planted {
namespace {

template <bool right>
__global__ void sum_of_fifty(const float* x, float* y) {
  const int t = threadIdx.x;
  if (!right && t >= 50) return;
  float sum = t < 50 ? x[t] : 0;
  for (int lanes = 16; lanes > 0; lanes /= 2)
    sum += __shfl_xor_sync(whole, sum, lanes);  // bug: return before a shuffle
  if (t % 32 == 0) y[t / 32] = sum;
}
Floats run_sum_of_fifty(bool right) { return result_of(right ? sum_of_fifty<true> : sum_of_fifty<false>, 64, 2); }

// 48 threads: half of the second warp is not there.
template <bool right>
__global__ void count_small(const float* x, float* y) {
  const int t = threadIdx.x;
  const unsigned mask = right && t >= 32 ? 0xffff : whole;
  y[t] = static_cast<float>(__popc(__ballot_sync(mask, x[t] < 40)));  // bug: the mask names lanes that do not exist
}
Floats run_count_small(bool right) { return result_of(right ? count_small<true> : count_small<false>, 48, 48); }

template <bool right>
__global__ void half_a_warp(const float* x, float* y) {
  const int t = threadIdx.x;
  if (t < 16)
    y[t] = __shfl_sync(right ? 0xffff : whole, x[t], 15 - t);  // bug: the mask names lanes that go elsewhere
  else
    y[t] = x[t];
}
Floats run_half_a_warp(bool right) { return result_of(right ? half_a_warp<true> : half_a_warp<false>, 32, 32); }

template <bool right>
__global__ void not_me(const float* x, float* y) {
  const int t = threadIdx.x;
  const unsigned mask = right ? whole : 0xffff;
  y[t] = __shfl_down_sync(mask, x[t], 1);  // bug: the mask lacks the caller
}
Floats run_not_me(bool right) { return result_of(right ? not_me<true> : not_me<false>, 32, 32); }

template <bool right>
__global__ void warp_tree_sum(const float* x, float* y) {
  __shared__ float s[32];
  const int t = threadIdx.x;
  s[t] = x[t];
  __syncwarp();
  for (int step = 16; step > 0; step /= 2) {
    if (t < step) s[t] += s[t + step];  // bug: no __syncwarp between the steps of a sum
    if (right) __syncwarp();
  }
  if (t == 0) *y = s[0];
}
Floats run_warp_tree_sum(bool right) { return result_of(right ? warp_tree_sum<true> : warp_tree_sum<false>, 32, 1); }

// All lanes meet in the shuffle, but what they wrote before need not be visible after.
template <bool right>
__global__ void scaled(const float* x, float* y) {
  __shared__ float s[32];
  const int t = threadIdx.x;
  s[t] = x[t];
  if (right) __syncwarp();
  const float scale = __shfl_sync(whole, x[t], 5);
  y[t] = scale * s[31 - t];  // bug: a shuffle as a barrier
}
Floats run_scaled(bool right) { return result_of(right ? scaled<true> : scaled<false>, 32, 32); }

}  // namespace

std::vector<Bug> warp_bugs() {
  const Noticed returned{
      "RRR", {"thread (32,0,0): deadlock: it waits in __shfl_xor_sync at @, but thread (50,0,0) has returned"}};
  const Noticed absent{
      "RRR", {"thread (32,0,0): deadlock: it waits in __ballot_sync at @, but lane 16 of its mask does not exist"}};
  const Noticed elsewhere{"RRR",
                          {"thread (0,0,0): deadlock: it waits in __shfl_sync at @, but thread (16,0,0) has returned"}};
  const Noticed foreign{"RRR", {"__shfl_down_sync at @: its mask lacks the caller"}};
  return {
      {"return before a shuffle", __FILE__, run_sum_of_fifty, returned, returned, returned},
      {"the mask names lanes that do not exist", __FILE__, run_count_small, absent, absent, absent},
      {"the mask names lanes that go elsewhere", __FILE__, run_half_a_warp, elsewhere, elsewhere, elsewhere},
      {"the mask lacks the caller", __FILE__, run_not_me, foreign, foreign, foreign},
      {"no __syncwarp between the steps of a sum",
       __FILE__,
       run_warp_tree_sum,
       {"w-w"},
       {"w-w"},
       {"RRR", {"race (", " in shared memory at @"}}},
      {"a shuffle as a barrier",
       __FILE__,
       run_scaled,
       {"---"},
       {"---"},
       {"RRR", {"race (read after write) in shared memory at @; thread ("}}},
  };
}

}  // namespace planted
