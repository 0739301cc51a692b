// Planted bugs: memory that is not there, not written, not aligned, or not the device's.
#include "tensor/cuda/ptx.cuh"
#include "tests/cuda_emulator/planted/planted.h"

namespace planted {
namespace {

// The last element has no neighbour.
template <bool right>
__global__ void differences(int n, const float* x, float* y) {
  const int i = threadIdx.x;
  if (i + right < n) y[i] = x[i + 1] - x[i];  // bug: read past the end
}
Floats run_differences(bool right) {
  const Array<float> x(counting(100)), y(Floats(100));
  run(right ? differences<true> : differences<false>, 1, 128, 0, 100, x.data(), y.data());
  return y.read();
}

template <bool right>
__global__ void scatter(int n, const int* index, const float* x, float* y) {
  const int i = threadIdx.x;
  if (i < n) y[index[i] - right] = x[i];  // bug: scatter off by one
}
Floats run_scatter(bool right) {
  std::vector<int> from_one(100);
  for (int i = 0; i < 100; ++i) from_one[i] = 100 - i;
  const Array<int> index(from_one);
  const Array<float> x(counting(100)), y(Floats(100));
  run(right ? scatter<true> : scatter<false>, 1, 128, 0, 100, index.data(), x.data(), y.data());
  return y.read();
}

__global__ void reversed(const float* x, float* y) {
  DYNAMIC_SHARED(float, s);
  const int t = threadIdx.x;
  s[t] = x[t];  // bug: too little dynamic shared memory
  __syncthreads();
  y[t] = s[blockDim.x - 1 - t];
}
Floats run_reversed(bool right) {
  const Array<float> x(counting(80)), y(80);
  run(reversed, 1, 80, right ? 80 * sizeof(float) : 80, x.data(), y.data());
  return y.read();
}

template <bool right>
__global__ void right_neighbour(const float* x, float* y) {
  __shared__ float s[32 + right];
  const int t = threadIdx.x;
  s[t] = x[t];
  if (right && t == 0) s[32] = x[32];
  __syncthreads();
  y[t] = s[t + 1];  // bug: index beyond static shared memory
}
Floats run_right_neighbour(bool right) {
  return result_of(right ? right_neighbour<true> : right_neighbour<false>, 32, 32);
}

template <bool right>
__global__ void add_to(const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] += x[t];  // bug: global memory that nobody wrote
}
Floats run_add_to(bool right) {
  const Array<float> x(counting(64)), y(64);
  if (right) cudaMemset(y.data(), 0, 64 * sizeof(float));
  run(add_to<true>, 1, 64, 0, x.data(), y.data());
  return y.read();
}

template <bool right>
__global__ void halo(const float* x, float* y) {
  __shared__ float s[66];
  const int t = threadIdx.x;
  s[t + 1] = x[t];
  if (right && t < 2) s[65 * t] = 0;
  __syncthreads();
  y[t] = s[t] + s[t + 2];  // bug: shared memory that nobody wrote
}
Floats run_halo(bool right) { return result_of(right ? halo<true> : halo<false>, 64, 64); }

// Sums of four, from the second element on.
template <bool right>
__global__ void fours(const float* x, float* y) {
  const int t = threadIdx.x;
  const float* from = x + 1 + 4 * t;
  float4 four;
  if (right)
    four = make_float4(from[0], from[1], from[2], from[3]);
  else
    four = *reinterpret_cast<const float4*>(from);  // bug: misaligned float4
  y[t] = four.x + four.y + four.z + four.w;
}
Floats run_fours(bool right) { return result_of(right ? fours<true> : fours<false>, 32, 32); }

// Rows of 8 bf16, `pitch` apart.
template <int pitch>
__global__ void rows_of_matrices(const float* x, float* y) {
  __shared__ __align__(16) uint16_t s[32 * pitch];
  const int t = threadIdx.x;
  for (int i = t; i < 32 * pitch; i += 32) s[i] = static_cast<uint16_t>(x[i]);
  __syncwarp();
  uint32_t r[4];
  switchyard::gpu::load_matrices<false>(r, s + t * pitch);  // bug: misaligned row of ldmatrix
  y[t] = static_cast<float>(r[0] & 0xffff);
}
Floats run_rows_of_matrices(bool right) {
  return result_of(right ? rows_of_matrices<8> : rows_of_matrices<12>, 32, 32);
}

// ldmatrix reads shared memory, and no other.
template <bool right>
__global__ void matrices(const uint16_t* x, float* y) {
  __shared__ __align__(16) uint16_t s[256];
  const int t = threadIdx.x;
  for (int i = t; i < 256; i += 32) s[i] = x[i];
  __syncwarp();
  uint32_t r[4];
  switchyard::gpu::load_matrices<false>(r, (right ? s : x) + 8 * t);  // bug: ldmatrix of global memory
  y[t] = static_cast<float>(r[0] & 0xffff);
}
Floats run_matrices(bool right) {
  const Array<uint16_t> x(std::vector<uint16_t>(256, 7));
  const Array<float> y(32);
  run(right ? matrices<true> : matrices<false>, 1, 32, 0, x.data(), y.data());
  return y.read();
}

__global__ void twice(const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] = 2 * x[t];  // bug: use after free
}
Floats run_twice(bool right) {
  float* x = nullptr;
  const Array<float> from(counting(64)), y(64);
  cudaMalloc(&x, 64 * sizeof(float));
  cudaMemcpy(x, from.data(), 64 * sizeof(float), cudaMemcpyDeviceToDevice);
  cudaDeviceSynchronize();
  if (!right) cudaFree(x);
  run(twice, 1, 64, 0, x, y.data());
  const Floats result = y.read();
  if (right) cudaFree(x);
  return result;
}

__global__ void thrice(const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] = 3 * x[t];  // bug: host pointer in a kernel
}
Floats run_thrice(bool right) {
  const Floats host = counting(64);
  const Array<float> x(host), y(64);
  run(thrice, 1, 64, 0, right ? x.data() : host.data(), y.data());
  return y.read();
}

}  // namespace

std::vector<Bug> memory_bugs() {
  const std::string past_100 = "4 bytes from byte 400 on of an allocation of 400 at @";
  const std::string too_small = "wrote past its 80 bytes of dynamic shared memory";
  return {
      {"read past the end",
       __FILE__,
       run_differences,
       {"www"},
       {"RRR", {"heap-buffer-overflow", "READ of size 4", "@"}},
       {"RRR", {"block (0,0,0) thread (99,0,0): out of bounds: it reads " + past_100}}},
      {"scatter off by one",
       __FILE__,
       run_scatter,
       {"RRR", {"wrote past the end of an allocation of 400 bytes"}},
       {"RRR", {"heap-buffer-overflow", "WRITE of size 4", "@"}},
       {"RRR", {"block (0,0,0) thread (0,0,0): out of bounds: it writes " + past_100}}},
      {"too little dynamic shared memory",
       __FILE__,
       run_reversed,
       {"RRR", {"block (0,0,0): ", too_small}},
       {"RRR", {"block (0,0,0): ", too_small}},
       {"RRR", {"out of bounds: it writes 4 bytes past the 80 of dynamic shared memory at @"}}},
      {"index beyond static shared memory",
       __FILE__,
       run_right_neighbour,
       {"---"},
       {"RRR", {"index 32 out of bounds for type 'float [32]'", "@"}},
       {"---"}},
      {"global memory that nobody wrote",
       __FILE__,
       run_add_to,
       {"www"},
       {"www"},
       {"RRR", {"uninitialised read of device memory at @"}}},
      {"shared memory that nobody wrote",
       __FILE__,
       run_halo,
       {"---"},
       {"---"},
       {"RRR", {"uninitialised read of shared memory at @"}}},
  };
}
std::vector<Bug> address_bugs() {
  return {
      {"use after free",
       __FILE__,
       run_twice,
       {"www"},
       {"RRR", {"heap-use-after-free", "@"}},
       {"RRR", {"out of bounds: it reads device memory that is not allocated at @"}}},
      {"host pointer in a kernel",
       __FILE__,
       run_thrice,
       {"---"},
       {"---"},
       {"RRR", {"a host pointer in a kernel: it reads host memory at @"}}},
      {"misaligned float4", __FILE__, run_fours, {"---"}, {"RRR", {"misaligned address", "@"}}, {"---"}},
      {"misaligned row of ldmatrix",
       __FILE__,
       run_rows_of_matrices,
       {"RRR", {"ldmatrix at @: misaligned row"}},
       {"RRR", {"ldmatrix at @: misaligned row"}},
       {"RRR", {"ldmatrix at @: misaligned row"}}},
      {"ldmatrix of global memory",
       __FILE__,
       run_matrices,
       {"RRR", {"ldmatrix at @: its row is not in shared memory"}},
       {"RRR", {"ldmatrix at @: its row is not in shared memory"}},
       {"RRR", {"ldmatrix at @: its row is not in shared memory"}}},
  };
}

}  // namespace planted
