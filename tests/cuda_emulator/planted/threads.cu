// Planted bugs: the threads of a block, and blocks, that do not wait for each other.
#include "tensor/cuda/ptx.cuh"
#include "tests/cuda_emulator/planted/planted.h"

namespace planted {
namespace {

using namespace switchyard::gpu;

template <bool right>
__global__ void backwards(const float* x, float* y) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  if (right) __syncthreads();
  y[t] = s[63 - t];  // bug: no barrier between write and read
}
Floats run_backwards(bool right) { return result_of(right ? backwards<true> : backwards<false>, 64, 64); }

template <bool right>
__global__ void tree_sum(const float* x, float* y) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  for (int step = 32; step > 0; step /= 2) {
    if (t < step) s[t] += s[t + step];  // bug: no barrier between the steps of a sum
    if (right) __syncthreads();
  }
  if (t == 0) *y = s[0];
}
Floats run_tree_sum(bool right) { return result_of(right ? tree_sum<true> : tree_sum<false>, 64, 1); }

template <bool right>
__global__ void weighted_tiles(const float* x, float* y) {
  __shared__ float tile[64];
  const int t = threadIdx.x;
  float sum = 0;
  for (int first = 0; first < 256; first += 64) {
    tile[t] = x[first + t];  // bug: no barrier before the next tile
    __syncthreads();
    for (int i = 0; i < 64; ++i) sum += tile[i] * static_cast<float>((i + t) % 5);
    if (right) __syncthreads();
  }
  y[t] = sum;
}
Floats run_weighted_tiles(bool right) {
  return result_of(right ? weighted_tiles<true> : weighted_tiles<false>, 64, 64);
}

template <bool right>
__device__ float sum_of_block(float x) {
  __shared__ float part[2];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;  // bug: no barrier before the next call
  __syncthreads();
  const float total = part[0] + part[1];
  if (right) __syncthreads();
  return total;
}
template <bool right>
__global__ void variance(const float* x, float* y) {
  const int t = threadIdx.x;
  const float mean = sum_of_block<right>(x[t]) / 64;
  y[t] = sum_of_block<right>((x[t] - mean) * (x[t] - mean));
}
Floats run_variance(bool right) { return result_of(right ? variance<true> : variance<false>, 64, 64); }

template <bool right>
__global__ void first_fifty(const float* x, float* y) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  if (!right && t >= 50) return;
  s[t] = x[t];
  __syncthreads();  // bug: return before a barrier
  if (t < 50) y[t] = s[49 - t];
}
Floats run_first_fifty(bool right) { return result_of(right ? first_fifty<true> : first_fifty<false>, 64, 50); }

template <bool right>
__global__ void two_halves(const float* x, float* y) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  if (right) {
    s[t] = t < 32 ? x[t] : -x[t];
    __syncthreads();
  } else if (t < 32) {
    s[t] = x[t];
    __syncthreads();
  } else {
    s[t] = -x[t];
    __syncthreads();  // bug: barriers at two places
  }
  y[t] = s[63 - t];
}
Floats run_two_halves(bool right) { return result_of(right ? two_halves<true> : two_halves<false>, 64, 64); }

// Each thread copies four numbers.
template <bool right>
__global__ void own_copy(const float* x, float* y) {
  __shared__ __align__(16) float s[128];
  const int t = threadIdx.x;
  copy_async_16(s + 4 * t, x + 4 * t, 16);
  commit_copies();
  if (right) wait_copies<0>();
  y[t] = s[4 * t];  // bug: cp.async without a wait
}
Floats run_own_copy(bool right) { return result_of(right ? own_copy<true> : own_copy<false>, 32, 32); }

template <bool right>
__global__ void uncommitted(const float* x, float* y) {
  __shared__ __align__(16) float s[128];
  const int t = threadIdx.x;
  copy_async_16(s + 4 * t, x + 4 * t, 16);
  if (right) commit_copies();
  wait_copies<0>();
  y[t] = s[4 * t];  // bug: cp.async without a commit
}
Floats run_uncommitted(bool right) { return result_of(right ? uncommitted<true> : uncommitted<false>, 32, 32); }

template <bool right>
__global__ void one_waits(const float* x, float* y) {
  __shared__ __align__(16) float s[128];
  const int t = threadIdx.x;
  copy_async_16(s + 4 * t, x + 4 * t, 16);
  commit_copies();
  if (right || t == 0) wait_copies<0>();
  __syncthreads();
  y[t] = s[127 - 4 * t];  // bug: only one thread waits for cp.async
}
Floats run_one_waits(bool right) { return result_of(right ? one_waits<true> : one_waits<false>, 32, 32); }

template <bool right>
__global__ void waits_alone(const float* x, float* y) {
  __shared__ __align__(16) float s[128];
  const int t = threadIdx.x;
  copy_async_16(s + 4 * t, x + 4 * t, 16);
  commit_copies();
  __syncthreads();
  wait_copies<0>();
  if (right) __syncthreads();
  y[t] = s[127 - 4 * t];  // bug: no barrier behind the wait for cp.async
}
Floats run_waits_alone(bool right) { return result_of(right ? waits_alone<true> : waits_alone<false>, 32, 32); }

template <bool right>
__global__ void histogram(const float* x, int* count) {
  int* mine = count + static_cast<int>(x[threadIdx.x]) % 7;
  if (right)
    atomicAdd(mine, 1);
  else
    *mine += 1;  // bug: a histogram without atomics
}
Floats run_histogram(bool right) {
  const Array<float> x(counting(64));
  const Array<int> count(std::vector<int>(7));
  run(right ? histogram<true> : histogram<false>, 1, 64, 0, x.data(), count.data());
  const auto got = count.read();
  return {got.begin(), got.end()};
}

template <bool right>
__global__ void every_second(const float* x, float* y) {
  const int t = threadIdx.x;
  if (!right || t % 2 == 0) y[t / 2] = x[t];  // bug: two threads write one word
}
Floats run_every_second(bool right) { return result_of(right ? every_second<true> : every_second<false>, 64, 32); }

template <bool right>
__global__ void total(const float* x, int* sum) {
  const int mine = __syncthreads_count(x[blockIdx.x * 64 + threadIdx.x] > 100);
  if (threadIdx.x != 0) return;
  if (right)
    atomicAdd(sum, mine);
  else
    *sum += mine;  // bug: blocks write one word
}
Floats run_total(bool right) {
  const Array<float> x(counting(256));
  const Array<int> sum(std::vector<int>(1));
  run(right ? total<true> : total<false>, 4, 64, 0, x.data(), sum.data());
  return {static_cast<float>(sum.read()[0])};
}

// The last block to arrive adds up what all have left.
template <bool right>
__global__ void last_block(const float* x, float* part, unsigned* ticket, float* y) {
  if (threadIdx.x != 0) return;
  part[blockIdx.x] = 2 * x[blockIdx.x];
  if (right) __threadfence();
  if (atomicAdd(ticket, 1) + 1 < gridDim.x) return;
  float sum = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) sum += part[b];  // bug: no fence before the last block
  *y = sum;
}
Floats run_last_block(bool right) {
  const Array<float> x(counting(4)), part(4), y(1);
  const Array<unsigned> ticket(std::vector<unsigned>(1));
  run(right ? last_block<true> : last_block<false>, 4, 32, 0, x.data(), part.data(), ticket.data(), y.data());
  return y.read();
}

}  // namespace

std::vector<Bug> thread_bugs() {
  const std::string deadlock = "block (0,0,0) thread (0,0,0): deadlock: it waits in __syncthreads at @, but thread ";
  const Noticed returned{"RRR", {deadlock + "(50,0,0) has returned"}};
  const Noticed divergent{"RRR", {"divergent barriers: it calls __syncthreads at ", "@"}};
  return {
      {"no barrier between write and read",
       __FILE__,
       run_backwards,
       {"www"},
       {"www"},
       {"RRR", {"uninitialised read of shared memory at @"}}},
      {"no barrier between the steps of a sum",
       __FILE__,
       run_tree_sum,
       {"w-w"},
       {"w-w"},
       {"RRR", {"race (", " in shared memory at @"}}},
      {"no barrier before the next tile",
       __FILE__,
       run_weighted_tiles,
       {"www"},
       {"www"},
       {"RRR", {"race (", " in shared memory at ", "@"}}},
      {"no barrier before the next call",
       __FILE__,
       run_variance,
       {"--w"},
       {"--w"},
       {"RRR", {"race (", " in shared memory at ", "@"}}},
      {"return before a barrier", __FILE__, run_first_fifty, returned, returned, returned},
      {"barriers at two places", __FILE__, run_two_halves, divergent, divergent, divergent},
      {"a histogram without atomics",
       __FILE__,
       run_histogram,
       {"---"},
       {"---"},
       {"RRR", {"race (read after write) in device memory at @; thread (", "wrote it at @"}}},
      {"two threads write one word",
       __FILE__,
       run_every_second,
       {"w--"},
       {"w--"},
       {"RRR", {"race (write after write) in device memory at @; thread (", "wrote it at @"}}},
      {"blocks write one word",
       __FILE__,
       run_total,
       {"---"},
       {"---"},
       {"RRR", {"thread (0,0,0): race (read after write)", "; thread (0,0,0) of another block wrote it at @"}}},
      {"no fence before the last block",
       __FILE__,
       run_last_block,
       {"---"},
       {"---"},
       {"RRR", {"race (read after write) in device memory at @; thread (0,0,0) of another block wrote it at "}}},
  };
}
std::vector<Bug> copy_bugs() {
  const std::string not_there = "it reads what cp.async has not brought yet at @";
  return {
      {"cp.async without a wait", __FILE__, run_own_copy, {"www"}, {"www"}, {"RRR", {not_there}}},
      {"cp.async without a commit", __FILE__, run_uncommitted, {"www"}, {"www"}, {"RRR", {not_there}}},
      {"only one thread waits for cp.async", __FILE__, run_one_waits, {"www"}, {"www"}, {"RRR", {not_there}}},
      {"no barrier behind the wait for cp.async", __FILE__, run_waits_alone, {"www"}, {"www"}, {"RRR", {"@"}}},
  };
}

}  // namespace planted
