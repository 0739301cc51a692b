// The one header that a kernel file includes. The file is the same text for nvcc and for the emulator
// (tests/cuda_emulator/), which supplies a cuda_runtime.h of its own.
#pragma once
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <utility>

#include "tensor/kernels.h"
#include "tensor/storage.h"

// Shared memory whose size the launch gives: DYNAMIC_SHARED(float, row); then row[i]. One a kernel.
#ifdef __CUDACC__
#define DYNAMIC_SHARED(T, name)                                              \
  extern __shared__ __align__(128) unsigned char switchyard_shared_memory[]; \
  T* name = reinterpret_cast<T*>(switchyard_shared_memory)
#endif

namespace switchyard::gpu {

#include "tensor/backend.inc"

constexpr int warp_size = 32;
constexpr unsigned whole_warp = 0xffffffff;

// Throws Error with `what` and CUDA's own words if `error` is one. Nothing else happens on success.
void check_cuda(cudaError_t error, const char* what);
// The stream that all kernels run on, in order.
cudaStream_t stream();
// Of the device in use: 75, 80, 90.
int compute_capability();
int multiprocessors();

// Queues kernel<<<grid, block, shared_bytes, stream>>>(arguments). Error for a launch that cannot be.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  if (shared_bytes > 40 << 10)  // above 48 KiB, of which its static arrays are a part, a kernel must ask
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "shared memory");
  //@begin launch
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  //@end launch
  check_cuda(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Arguments>(arguments))...), "launch");
}

// Blocks so that `per_block` each cover n; at most 2^30, for loops that stride over the grid.
//@begin blocks-for
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  return static_cast<unsigned>(blocks < (1 << 30) ? blocks : 1 << 30);
}
//@end blocks-for

// n elements of device memory for as long as this lives: a later kernel may reuse it, for kernels run in order.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t n) : storage_(allocate(static_cast<size_t>(n) * sizeof(T), Device::cuda)) {}
  T* data() const { return static_cast<T*>(storage_->data); }

 private:
  std::shared_ptr<Storage> storage_;
};

// The thread's place in a one-dimensional grid, and how many threads there are.
__device__ inline int64_t global_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t global_size() { return int64_t{gridDim.x} * blockDim.x; }

// Over the 32 lanes of a warp, all of which must call; every lane receives the result, the same bits. Half of the lanes
// exchange with the other half, then quarters, then eighths.
//@begin warp-sum
template <class T>
__device__ inline T warp_sum(T x) {
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) {
    x += __shfl_xor_sync(whole_warp, x, lanes);
  }
  return x;
}
//@end warp-sum
__device__ inline float warp_max(float x) {
  for (int lanes = warp_size / 2; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(whole_warp, x, lanes));
  return x;
}

// Over a block of `threads` threads (a multiple of 32), all of which must call; every thread receives the result.
struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
//@begin block-sum
// x: what the thread's warp has.
template <int threads, class T, class F>
__device__ inline T block_fold(T x, F f) {
  __shared__ T part[threads / warp_size];
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  T all = part[0];
  for (int w = 1; w < threads / warp_size; ++w) all = f(all, part[w]);
  __syncthreads();  // nobody may write `part` again before all have read
  return all;
}
template <int threads, class T>
__device__ inline T block_sum(T x) {
  return block_fold<threads>(warp_sum(x), Plus());
}
//@end block-sum
template <int threads>
__device__ inline float block_max(float x) {
  return block_fold<threads>(warp_max(x), Larger());
}

}  // namespace switchyard::gpu
