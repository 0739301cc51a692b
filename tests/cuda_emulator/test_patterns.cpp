// tests/cuda_emulator: kernels as one writes them. They come out right in every order of the threads, and without a
// word from the access checker, which would otherwise be of no use.
#include <cmath>

#include "tests/cuda_emulator/launch.h"

using namespace cuda_emulator_tests;

namespace {

constexpr unsigned whole = 0xffffffff;

// One number from all blocks: the last to finish adds up what the others left (fence, then an atomic ticket).
__global__ void sum_kernel(int n, const float* x, float* part, unsigned* ticket, float* y) {
  __shared__ float warp[8];
  __shared__ bool last;
  float sum = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(n); i += gridDim.x * blockDim.x)
    sum += x[i];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(whole, sum, lanes);
  if (threadIdx.x % 32 == 0) warp[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (unsigned w = 0; w < blockDim.x / 32; ++w) total += warp[w];
    part[blockIdx.x] = total;
    __threadfence();
    last = atomicAdd(ticket, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  float total = 0;
  for (unsigned b = 0; b < gridDim.x; ++b) total += part[b];
  *y = total;
}

__global__ void transpose_kernel(int rows, int cols, const float* x, float* y) {
  __shared__ float tile[32][33];
  const int row = blockIdx.y * 32 + threadIdx.y, col = blockIdx.x * 32 + threadIdx.x;
  for (int i = 0; i < 32; i += 8)
    if (row + i < rows && col < cols) tile[threadIdx.y + i][threadIdx.x] = x[(row + i) * cols + col];
  __syncthreads();
  const int to_row = blockIdx.x * 32 + threadIdx.y, to_col = blockIdx.y * 32 + threadIdx.x;
  for (int i = 0; i < 32; i += 8)
    if (to_row + i < cols && to_col < rows) y[(to_row + i) * rows + to_col] = tile[threadIdx.x][threadIdx.y + i];
}

// Each warp through shared memory with __syncwarp, then the warps' totals.
__global__ void scan_kernel(const int* x, int* y) {
  __shared__ int value[256];
  __shared__ int total[8];
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  value[t] = x[t];
  __syncwarp();
  for (int step = 1; step < 32; step *= 2) {
    const int before = lane >= step ? value[t - step] : 0;
    __syncwarp();
    value[t] += before;
    __syncwarp();
  }
  if (lane == 31) total[t / 32] = value[t];
  __syncthreads();
  int before = 0;
  for (int w = 0; w < t / 32; ++w) before += total[w];
  y[t] = before + value[t];
}

// 32 x 32 tiles of c = a b, loaded by cp.async while the tile before is multiplied. n a multiple of 32.
__global__ void pipelined_gemm_kernel(int n, const float* a, const float* b, float* c) {
  DYNAMIC_SHARED(float, memory);  // [stage][a or b][32][32]
  const int t = static_cast<int>(threadIdx.x), row = t / 8, col = t % 8 * 4;
  const auto load = [&](int stage, int k) {
    float* to = memory + stage * 2048;
    cuda_emulator::cp_async(to + row * 32 + col, a + (blockIdx.y * 32 + row) * n + k + col, 16, 16);
    cuda_emulator::cp_async(to + 1024 + row * 32 + col, b + (k + row) * n + blockIdx.x * 32 + col, 16, 16);
    cuda_emulator::cp_async_commit();
  };
  float sum[4] = {};
  load(0, 0);
  for (int k = 0; k < n; k += 32) {
    if (k + 32 < n)
      load((k / 32 + 1) % 2, k + 32);
    else
      cuda_emulator::cp_async_commit();
    cuda_emulator::cp_async_wait(1);
    __syncthreads();
    const float *left = memory + k / 32 % 2 * 2048, *right = left + 1024;
    for (int i = 0; i < 32; ++i)
      for (int j = 0; j < 4; ++j) sum[j] += left[row * 32 + i] * right[i * 32 + col + j];
    __syncthreads();
  }
  float4 out = make_float4(sum[0], sum[1], sum[2], sum[3]);
  *reinterpret_cast<float4*>(c + (blockIdx.y * 32 + row) * n + blockIdx.x * 32 + col) = out;
}

// The first warp fetches the next piece while the others work on this one.
__global__ void specialised_kernel(int pieces, const float* x, float* y) {
  __shared__ float buffer[2][96];
  const int t = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int p = 0; p <= pieces; ++p) {
    if (t < 32) {
      if (p < pieces)
        for (int i = t; i < 96; i += 32) buffer[p % 2][i] = x[p * 96 + i];
    } else if (p > 0) {
      const float scale = __shfl_sync(whole, buffer[(p - 1) % 2][t - 32], 0);
      sum += buffer[(p - 1) % 2][95 - (t - 32)] + 0 * scale;
    }
    __syncthreads();
  }
  if (t >= 32) y[t - 32] = sum;
}

__global__ void histogram_kernel(int n, const int* x, int* counts) {
  __shared__ int mine[16];
  if (threadIdx.x < 16) mine[threadIdx.x] = 0;
  __syncthreads();
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(n); i += gridDim.x * blockDim.x)
    atomicAdd(&mine[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
}

// Neighbours write neighbouring bytes of one word: no race.
__global__ void bytes_kernel(uint8_t* y) {
  __shared__ uint8_t s[64];
  s[threadIdx.x] = static_cast<uint8_t>(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}

// Half of each warp leaves after the barrier, the rest goes on together.
__global__ void leaving_kernel(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x % 32 >= 16) return;
  y[threadIdx.x] = __shfl_xor_sync(0xffff, s[threadIdx.x] + static_cast<float>(threadIdx.x), 1);
}

std::vector<float> numbers(int n) {
  std::vector<float> x(n);
  for (int i = 0; i < n; ++i) x[i] = static_cast<float>(i * 37 % 61 - 30);
  return x;
}

}  // namespace

TEST_CASE("emulator: a sum over all blocks") {
  in_all_orders([] {
    const auto x = numbers(5000);
    float want = 0;
    for (const float v : x) want += v;
    const Array<float> device_x(x), part(7), y(1);
    const Array<unsigned> ticket(std::vector{0U});
    launch(sum_kernel, 7, 256, 0, nullptr, 5000, device_x.data(), part.data(), ticket.data(), y.data());
    CHECK(y.read()[0] == want);
  });
}

TEST_CASE("emulator: a transpose through shared memory") {
  in_all_orders([] {
    const int rows = 70, cols = 45;
    const auto x = numbers(rows * cols);
    const Array<float> device_x(x), y(rows * cols);
    launch(transpose_kernel, dim3(2, 3), dim3(32, 8), 0, nullptr, rows, cols, device_x.data(), y.data());
    const auto got = y.read();
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < cols; ++c) CHECK(got[c * rows + r] == x[r * cols + c]);
  });
}

TEST_CASE("emulator: a scan") {
  in_all_orders([] {
    std::vector<int> x(256);
    for (int i = 0; i < 256; ++i) x[i] = i * 7 % 11;
    const Array<int> device_x(x), y(256);
    launch(scan_kernel, 1, 256, 0, nullptr, device_x.data(), y.data());
    const auto got = y.read();
    int want = 0;
    for (int i = 0; i < 256; ++i) CHECK(got[i] == (want += x[i]));
  });
}

TEST_CASE("emulator: a double-buffered matrix product") {
  in_all_orders([] {
    const int n = 96;
    const auto a = numbers(n * n), b = numbers(n * n);
    const Array<float> device_a(a), device_b(b), c(n * n);
    launch(pipelined_gemm_kernel, dim3(3, 3), 256, 16384, nullptr, n, device_a.data(), device_b.data(), c.data());
    const auto got = c.read();
    for (int row = 0; row < n; row += 5)
      for (int col = 0; col < n; ++col) {
        float want = 0;
        for (int k = 0; k < n; ++k) want += a[row * n + k] * b[k * n + col];
        CHECK(got[row * n + col] == want);
      }
  });
}

TEST_CASE("emulator: warps with different work") {
  in_all_orders([] {
    const auto x = numbers(5 * 96);
    const Array<float> device_x(x), y(96);
    launch(specialised_kernel, 1, 128, 0, nullptr, 5, device_x.data(), y.data());
    const auto got = y.read();
    for (int i = 0; i < 96; ++i) {
      float want = 0;
      for (int p = 0; p < 5; ++p) want += x[p * 96 + 95 - i];
      CHECK(got[i] == want);
    }
  });
}

TEST_CASE("emulator: a histogram by atomics") {
  in_all_orders([] {
    std::vector<int> x(3000), want(16);
    for (int i = 0; i < 3000; ++i) ++want[x[i] = i * i % 16];
    const Array<int> device_x(x), counts(std::vector<int>(16));
    launch(histogram_kernel, 4, 128, 0, nullptr, 3000, device_x.data(), counts.data());
    CHECK(counts.read() == want);
  });
}

TEST_CASE("emulator: bytes of one word, and lanes that leave") {
  in_all_orders([] {
    const Array<uint8_t> bytes(64);
    launch(bytes_kernel, 1, 64, 0, nullptr, bytes.data());
    const auto got = bytes.read();
    for (int i = 0; i < 64; ++i) CHECK(got[i] == 63 - i);
    const Array<float> y(std::vector<float>(64));
    launch(leaving_kernel, 1, 64, 0, nullptr, y.data());
    const auto left = y.read();
    for (int i = 0; i < 64; ++i) CHECK(left[i] == (i % 32 < 16 ? static_cast<float>((i ^ 1) + 1) : 0.F));
  });
}
