// tests/cuda_emulator: threads, barriers, warps, shared memory, tensor cores; and kernels as one writes them, which
// must come out right in every order of the threads and without a word from the access checker.
#include <bit>
#include <cstring>
#include <numeric>

#include "tensor/bf16.h"
#include "tests/cuda_emulator/checker.h"
#include "tests/cuda_emulator/launch.h"

using namespace cuda_emulator_tests;
using switchyard::bf16;

namespace {

constexpr unsigned whole = 0xffffffff;

__global__ void name_kernel(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = static_cast<int>(1000 * block + thread);
}

__global__ void votes_kernel(int* y) {
  const int t = static_cast<int>(threadIdx.x);
  int* out = y + 8 * t;
  out[0] = __syncthreads_count(t % 3 == 0);
  out[1] = __syncthreads_and(t >= 0) + 2 * __syncthreads_and(t != 5);
  out[2] = __syncthreads_or(t == 5) + 2 * __syncthreads_or(t < 0);
  out[3] = static_cast<int>(__ballot_sync(whole, t % 2));
  out[4] = __any_sync(whole, t % 32 == 7) + 2 * __any_sync(whole, t < 0);
  out[5] = __all_sync(whole, t >= 0) + 2 * __all_sync(whole, t % 32 != 7);
  out[6] = static_cast<int>(__match_any_sync(whole, t % 4));
  out[7] = static_cast<int>(__activemask());
}

template <class T>
__global__ void shuffles_kernel(T* y) {
  const int t = static_cast<int>(threadIdx.x);
  T* out = y + 8 * t;
  const T mine = static_cast<T>(t);
  out[0] = __shfl_sync(whole, mine, 5);
  out[1] = __shfl_sync(whole, mine, t + 3, 8);
  out[2] = __shfl_up_sync(whole, mine, 2);
  out[3] = __shfl_up_sync(whole, mine, 1, 4);
  out[4] = __shfl_down_sync(whole, mine, 2);
  out[5] = __shfl_down_sync(whole, mine, 1, 4);
  out[6] = __shfl_xor_sync(whole, mine, 17);
  // Half of a warp each, on paths of their own.
  out[7] = t % 32 < 16 ? __shfl_sync(0xffff, mine, 3) : __shfl_sync(0xffff0000, mine, 20);
}

template <class T>
__global__ void atomics_kernel(T* y) {
  const T t = threadIdx.x;
  atomicAdd(&y[0], t);
  atomicMax(&y[1], t);
  atomicMin(&y[2], t);
  atomicOr(&y[3], t);
  atomicAnd(&y[4], ~t);
  atomicXor(&y[5], t);
  if (atomicExch(&y[6], t + 1) == 0) atomicAdd(&y[7], 1);  // one sees what was there before
  for (T old = 0, seen; (seen = atomicCAS(&y[8], old, old + 2)) != old; old = seen) continue;
  atomicSub(&y[9], 1);
  __shared__ T s;
  if (t == 0) s = 0;
  __syncthreads();
  atomicAdd(&s, 1);
  __syncthreads();
  if (t == 0) y[10] = s;
}

__global__ void dynamic_kernel(float* y) {
  DYNAMIC_SHARED(float, s);
  s[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x] + (reinterpret_cast<uintptr_t>(s) % 128 == 0 ? 0.F : 1000.F);
}

__global__ void lane_kernel(const bf16* a, const bf16* b, float* d) {
  const int lane = threadIdx.x, g = lane / 4, c = lane % 4;
  const auto pair = [](bf16 low, bf16 high) { return uint32_t{low.bits} | uint32_t{high.bits} << 16; };
  uint32_t fa[4], fb[2];
  float fd[4];
  for (int i = 0; i < 4; ++i) {  // PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type"
    const int row = i % 2 == 0 ? g : g + 8, col = 2 * c + (i < 2 ? 0 : 8);
    fa[i] = pair(a[row * 16 + col], a[row * 16 + col + 1]);
    fd[i] = d[(i < 2 ? g : g + 8) * 8 + 2 * c + i % 2];
  }
  for (int i = 0; i < 2; ++i) {
    const int row = 2 * c + 8 * i;
    fb[i] = pair(b[row * 8 + g], b[(row + 1) * 8 + g]);
  }
  cuda_emulator::mma_m16n8k16_bf16(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(i < 2 ? g : g + 8) * 8 + 2 * c + i % 2] = fd[i];
}

__global__ void tf32_kernel(const float* a, const float* b, float* d) {
  const int lane = threadIdx.x, g = lane / 4, c = lane % 4;
  uint32_t fa[4], fb[2];
  float fd[4] = {};
  for (int i = 0; i < 4; ++i) fa[i] = __float_as_uint(a[(i % 2 == 0 ? g : g + 8) * 8 + c + (i < 2 ? 0 : 4)]);
  for (int i = 0; i < 2; ++i) fb[i] = __float_as_uint(b[(c + 4 * i) * 8 + g]);
  cuda_emulator::mma_m16n8k8_tf32(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[(i < 2 ? g : g + 8) * 8 + 2 * c + i % 2] = fd[i];
}

// y[lane][matrix, then transposed matrix], pairs.
__global__ void ldmatrix_kernel(uint32_t* y) {
  __shared__ __align__(16) uint16_t s[4][8][8];
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) (&s[0][0][0])[i] = static_cast<uint16_t>(i);
  __syncwarp();
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t r4[4], t4[4], r2[2], r1[1];
  cuda_emulator::ldmatrix_x4(r4, s[lane / 8][lane % 8], false);
  cuda_emulator::ldmatrix_x4(t4, s[lane / 8][lane % 8], true);
  cuda_emulator::ldmatrix_x2(r2, s[lane / 8 % 2][lane % 8], false);
  cuda_emulator::ldmatrix_x1(r1, s[0][lane % 8], true);
  for (int i = 0; i < 4; ++i) y[lane * 16 + i] = r4[i];
  for (int i = 0; i < 4; ++i) y[lane * 16 + 4 + i] = t4[i];
  for (int i = 0; i < 2; ++i) y[lane * 16 + 8 + i] = r2[i];
  y[lane * 16 + 10] = r1[0];
}

__global__ void copies_kernel(bool too_early, const float* x, float* y) {
  __shared__ __align__(16) float s[2][4];
  cuda_emulator::cp_async(s[0], x, 16, 16);
  cuda_emulator::cp_async_commit();
  cuda_emulator::cp_async(s[1], x + 4, 16, 8);
  cuda_emulator::cp_async_commit();
  if (too_early) y[8] = s[0][0];  // not there yet
  cuda_emulator::cp_async_wait(1);
  for (int i = 0; i < 4; ++i) y[i] = s[0][i];
  if (too_early) y[9] = s[1][0];
  cuda_emulator::cp_async_wait(0);
  for (int i = 0; i < 4; ++i) y[4 + i] = s[1][i];
}

}  // namespace

TEST_CASE("emulator: every thread of every block runs once, and knows its place") {
  in_all_orders([] {
    const Array<int> y(24 * 30);
    CHECK(launch(name_kernel, dim3(2, 3, 4), dim3(5, 3, 2), 0, nullptr, y.data()) == cudaSuccess);
    const auto got = y.read();
    for (int i = 0; i < 24 * 30; ++i) CHECK(got[i] == 1000 * (i / 30) + i % 30);
  });
}

TEST_CASE("emulator: votes of a block and of a warp") {
  in_all_orders([] {
    const Array<int> y(64 * 8);
    launch(votes_kernel, 1, 64, 0, nullptr, y.data());
    const auto got = y.read();
    for (int t = 0; t < 64; ++t) {
      const int* out = &got[8 * t];
      CHECK(out[0] == 22);
      CHECK(out[1] == 1);
      CHECK(out[2] == 1);
      CHECK(out[3] == static_cast<int>(0xaaaaaaaa));
      CHECK(out[4] == 1);
      CHECK(out[5] == 1);
      CHECK(static_cast<unsigned>(out[6]) == 0x11111111U << t % 4);
      CHECK((static_cast<unsigned>(out[7]) >> t % 32 & 1) == 1);
    }
  });
}

TEST_CASE_TEMPLATE("emulator: shuffles", T, int, unsigned, long long, float, double) {
  in_all_orders([] {
    const Array<T> y(64 * 8);
    launch(shuffles_kernel<T>, 1, 64, 0, nullptr, y.data());
    const auto got = y.read();
    for (int t = 0; t < 64; ++t) {
      const T* out = &got[8 * t];
      const int lane = t % 32, warp = t - lane;
      CHECK(out[0] == static_cast<T>(warp + 5));
      CHECK(out[1] == static_cast<T>(t / 8 * 8 + (t + 3) % 8));
      CHECK(out[2] == static_cast<T>(lane >= 2 ? t - 2 : t));
      CHECK(out[3] == static_cast<T>(t % 4 >= 1 ? t - 1 : t));
      CHECK(out[4] == static_cast<T>(lane < 30 ? t + 2 : t));
      CHECK(out[5] == static_cast<T>(t % 4 < 3 ? t + 1 : t));
      CHECK(out[6] == static_cast<T>(t ^ 17));
      CHECK(out[7] == static_cast<T>(warp + (lane < 16 ? 3 : 20)));
    }
  });
}

TEST_CASE_TEMPLATE("emulator: atomics on integers", T, int, unsigned, unsigned long long) {
  in_all_orders([] {
    const Array<T> y(std::vector<T>{0, 0, 99, 0, T(~T{0}), 0, 0, 0, 0, 100, 0});
    launch(atomics_kernel<T>, 1, 64, 0, nullptr, y.data());
    auto got = y.read();
    CHECK(got[6] >= 1);
    CHECK(got[6] <= 64);
    got[6] = 0;
    CHECK(got == std::vector<T>{2016, 63, 0, 63, T(~T{63}), 0, 0, 1, 128, 36, 64});
  });
}

TEST_CASE("emulator: dynamic shared memory") {
  const Array<float> y(128);
  launch(dynamic_kernel, 1, 128, 512, nullptr, y.data());
  const auto got = y.read();
  for (int t = 0; t < 128; ++t) CHECK(got[t] == static_cast<float>(127 - t));
}

TEST_CASE("emulator: bits and arithmetic") {
  CHECK(__popc(0xf0f0U) == 8);
  CHECK(__clz(1) == 31);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__brev(1) == 0x80000000);
  CHECK(__umulhi(0x80000000, 6) == 3);
  CHECK(__umul64hi(1ULL << 63, 6) == 3);
  CHECK(__funnelshift_l(0x80000000, 1, 1) == 3);
  CHECK(__float_as_uint(1.F) == 0x3f800000);
  CHECK(__uint_as_float(0x40000000) == 2.F);
  CHECK(rsqrtf(4.F) == 0.5F);
  CHECK(__fdividef(1.F, 4.F) == 0.25F);
  CHECK(__expf(0.F) == 1.F);
  CHECK(__saturatef(NAN) == 0.F);
  CHECK(max(NAN, 2.F) == 2.F);  // as fmaxf
  CHECK(min(int64_t{3}, int64_t{2}) == 2);
  CHECK(sizeof(float4) == 16);
  CHECK(alignof(float4) == 16);
  CHECK(alignof(double2) == 16);
  CHECK(alignof(uchar4) == 4);
}

TEST_CASE("emulator: mma.m16n8k16 on bf16 and m16n8k8 on tf32 multiply matrices") {
  std::vector<bf16> a(256), b(128);
  std::vector<float> d(128), fa(128), fb(64);
  for (int i = 0; i < 256; ++i) a[i] = bf16(static_cast<float>(i * 7 % 23 - 11));
  for (int i = 0; i < 128; ++i) b[i] = bf16(static_cast<float>(i * 5 % 19 - 9)), d[i] = static_cast<float>(i);
  for (int i = 0; i < 128; ++i) fa[i] = static_cast<float>(i * 7 % 23 - 11);
  for (int i = 0; i < 64; ++i) fb[i] = static_cast<float>(i * 5 % 19 - 9);
  const Array<bf16> device_a(a), device_b(b);
  const Array<float> device_d(d), device_fa(fa), device_fb(fb), device_fd(128);
  launch(lane_kernel, 1, 32, 0, nullptr, device_a.data(), device_b.data(), device_d.data());
  launch(tf32_kernel, 1, 32, 0, nullptr, device_fa.data(), device_fb.data(), device_fd.data());
  const auto got = device_d.read(), got_tf32 = device_fd.read();
  for (int row = 0; row < 16; ++row)
    for (int col = 0; col < 8; ++col) {
      float want = d[row * 8 + col], want_tf32 = 0;
      for (int k = 0; k < 16; ++k) want += float(a[row * 16 + k]) * float(b[k * 8 + col]);
      for (int k = 0; k < 8; ++k) want_tf32 += fa[row * 8 + k] * fb[k * 8 + col];
      CHECK(got[row * 8 + col] == want);
      CHECK(got_tf32[row * 8 + col] == want_tf32);
    }
}

TEST_CASE("emulator: ldmatrix") {
  const Array<uint32_t> y(std::vector<uint32_t>(32 * 16));
  launch(ldmatrix_kernel, 1, 32, 0, nullptr, y.data());
  const auto got = y.read();
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {  // element (row, col) of matrix i is 64 i + 8 row + col
      const uint32_t g = lane / 4, c = 2 * (lane % 4);
      const uint32_t straight = 64 * i + 8 * g + c, down = 64 * i + 8 * c + g;
      CHECK(got[lane * 16 + i] == (straight | (straight + 1) << 16));
      CHECK(got[lane * 16 + 4 + i] == (down | (down + 8) << 16));
      if (i < 2) CHECK(got[lane * 16 + 8 + i] == (straight | (straight + 1) << 16));
      if (i < 1) CHECK(got[lane * 16 + 10] == (down | (down + 8) << 16));
    }
}

TEST_CASE("emulator: cp.async lands when its group is waited for, and fills up with zeros") {
  const Array<float> x({1, 2, 3, 4, 5, 6, 7, 8}), y(10);
  const bool unchecked = cuda_emulator::checker == nullptr;  // which reports what comes too early
  launch(copies_kernel, 1, 1, 0, nullptr, unchecked, x.data(), y.data());
  const auto got = y.read();
  CHECK(std::vector<float>(got.begin(), got.begin() + 8) == std::vector<float>{1, 2, 3, 4, 5, 6, 0, 0});
  CHECK(std::isnan(got[8]));
  CHECK(std::isnan(got[9]));
}
