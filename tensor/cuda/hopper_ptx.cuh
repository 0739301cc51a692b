// What only Hopper has (sm_90a): barriers in shared memory, the copy engine (TMA) that arrives at them, and products of
// a warpgroup, 128 threads (wgmma). The words are those of the PTX ISA, sections "mbarrier", "cp.async.bulk.tensor" and
// "Asynchronous warpgroup level matrix instructions". Beside each stands a call of its twin in the emulator,
// which cannot show whether the fences suffice for real hardware, nor what the registers that warps hand over gain.
#pragma once
#include "tensor/cuda/ptx.cuh"

#ifdef __CUDACC__
#include <cuda.h>
#endif

namespace switchyard::gpu {

// A matrix in memory as the copy engine knows it: layers of lines of bf16, and the box of them that one copy takes.
// Where a box reaches beyond the matrix it is zeros.
#ifdef __CUDACC__
using TensorMap = CUtensorMap;
#else
using TensorMap = cuda_emulator::TensorMap;
#endif

constexpr int box_width = 64;  // elements of a box's lines, 128 bytes

// Error if the driver refuses: `data` and the lines must be multiples of 16 bytes.
inline TensorMap tensor_map(const bf16* data, int64_t width, int64_t lines, int64_t layers, int box_lines) {
#ifndef __CUDACC__
  return cuda_emulator::tensor_map(data, width, lines, layers, box_width, box_lines);
#else
  static const auto encode = [] {  // a function of the driver: asked for here, the program starts without one
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
               "cuTensorMapEncodeTiled");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  TensorMap map;
  const cuuint64_t sizes[] = {cuuint64_t(width), cuuint64_t(lines), cuuint64_t(layers)};
  const cuuint64_t strides[] = {2 * sizes[0], 2 * sizes[0] * sizes[1]};  // bytes, of lines and layers
  const cuuint32_t box[] = {box_width, cuuint32_t(box_lines), 1}, steps[] = {1, 1, 1};
  const CUresult result = encode == nullptr
                              ? CUDA_ERROR_NOT_SUPPORTED
                              : encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<bf16*>(data), sizes,
                                       strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                       CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check_cuda(result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue, "cuTensorMapEncodeTiled");
  return map;
#endif
}

// A barrier's phase ends when all arrivals and all bytes that it expects have come; then the next phase begins.
#ifdef __CUDACC__
struct Barrier {
  uint64_t state;
};
#else
using Barrier = cuda_emulator::Barrier;
#endif

__device__ inline void start_barrier(Barrier* barrier, int arrivals) {
#ifndef __CUDACC__
  cuda_emulator::mbarrier_init(barrier, arrivals);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}
// Lets the copy engine see the barriers that this thread has started; the other threads need a __syncthreads().
__device__ inline void fence_barriers() {
#ifdef __CUDACC__
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
__device__ inline void arrive(Barrier* barrier) {
#ifndef __CUDACC__
  cuda_emulator::mbarrier_arrive(barrier, 0);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}
// Arrives, and lets the phase wait for so many bytes of copies besides.
__device__ inline void arrive_expecting(Barrier* barrier, int bytes) {
#ifndef __CUDACC__
  cuda_emulator::mbarrier_arrive(barrier, bytes);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}
// Until the phase of this parity is over: 0 for the first. Parity 1 of a new barrier is.
__device__ inline void wait_for(Barrier* barrier, int parity) {
#ifndef __CUDACC__
  cuda_emulator::mbarrier_wait(barrier, parity);
#else
  asm volatile(
      "{\n"
      ".reg .pred over;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
      "@!over bra again;\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

// Starts to copy the box whose first element is (x, y, z) of the matrix to shared memory, a multiple of 1024 bytes. In
// line l, the chunk c of 16 bytes stands at place c ^ l % 8. All of the box's bytes arrive at the barrier.
__device__ inline void copy_box(void* shared, const TensorMap& map, int x, int y, int z, Barrier* barrier) {
#ifndef __CUDACC__
  cuda_emulator::tma_load(shared, map, x, y, z, barrier);
#else
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
      "[%5];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
      : "memory");
#endif
}
// What this thread has written to shared memory, cp.async included, is there for wgmma; who waits for it needs a
// barrier besides.
__device__ inline void fence_shared_writes() {
#ifndef __CUDACC__
  cuda_emulator::fence_proxy_async();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Gives back or takes registers, so that each thread of the warpgroup has so many.
template <int registers>
__device__ inline void shrink_to() {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers>
__device__ inline void grow_to() {
#ifdef __CUDACC__
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// Where wgmma finds a matrix: in groups of eight lines of 128 bytes, whose chunks stand as copy_box() puts them.
// `group` is the distance from one group to the next. Lines along k: each row (column) of the product has one, k the
// elements of it. Else each k has one; it holds 64 rows, and the next 64 are `panel` bytes further.
__device__ inline uint64_t matrix_descriptor(const void* shared, int panel, int group) {
  constexpr uint64_t swizzle_128_bytes = 1;
  return (shared_address(shared) & 0x3ffff) >> 4 | uint64_t(panel >> 4) << 16 | uint64_t(group >> 4) << 32 |
         swizzle_128_bytes << 62;
}

// Before the first wgmma that adds to registers which this thread has written.
__device__ inline void fence_sums() {
#ifndef __CUDACC__
  cuda_emulator::wgmma_fence();
#else
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// What the compiler does with the sums before this stays before it, and what it does after stays after: registers are
// no memory, and to the compiler a wait is no use of them.
template <int sums>
__device__ inline void pin_sums([[maybe_unused]] float (&d)[sums]) {
#ifdef __CUDACC__
#pragma unroll
  for (int i = 0; i < sums; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}
// Ends a group of products.
__device__ inline void commit_products() {
#ifndef __CUDACC__
  cuda_emulator::wgmma_commit();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Waits until at most `pending` groups are still under way.
template <int pending>
__device__ inline void wait_products() {
#ifndef __CUDACC__
  cuda_emulator::wgmma_wait(pending);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#endif
}

// Sixteen operands of an asm statement, and their names.
#define SUMS_16(d, i)                                                                                         \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7]), "+f"(d[i + 8]), "+f"(d[i + 9]), "+f"(d[i + 10]), "+f"(d[i + 11]), "+f"(d[i + 12]),      \
      "+f"(d[i + 13]), "+f"(d[i + 14]), "+f"(d[i + 15])
#define NAMES_10(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define NAMES_60 NAMES_10() NAMES_10(1) NAMES_10(2) NAMES_10(3) NAMES_10(4) NAMES_10(5)
#define NAMES_120 NAMES_60 NAMES_10(6) NAMES_10(7) NAMES_10(8) NAMES_10(9) NAMES_10(10) NAMES_10(11)

// Starts d (64 x n) += a (64 x 16) b (16 x n), bf16 products, f32 sums, over one warpgroup; a and b by their
// descriptors. Warp w of the four holds rows 16w .. 16w + 15 of d: with g = lane / 4 and c = lane % 4, d[4j], d[4j + 1]
// are columns 8j + 2c and 8j + 2c + 1 of row g, the next two those of row g + 8. d may not be touched before
// wait_products() returns for its group.
template <bool a_along_k, bool b_along_k, int sums>
__device__ inline void multiply_async(float (&d)[sums], uint64_t a, uint64_t b) {
  static_assert(sums == 64 || sums == 128);
#ifndef __CUDACC__
  cuda_emulator::wgmma(d, 2 * sums, a, b, !a_along_k, !b_along_k);
#else
  if constexpr (sums == 64)
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_60
                 "%60,%61,%62,%63}, %64, %65, 1, 1, 1, %66, %67;"
                 : SUMS_16(d, 0), SUMS_16(d, 16), SUMS_16(d, 32), SUMS_16(d, 48)
                 : "l"(a), "l"(b), "n"(int{!a_along_k}), "n"(int{!b_along_k}));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" NAMES_120
                 "%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, 1, 1, 1, %130, %131;"
                 : SUMS_16(d, 0), SUMS_16(d, 16), SUMS_16(d, 32), SUMS_16(d, 48), SUMS_16(d, 64), SUMS_16(d, 80),
                   SUMS_16(d, 96), SUMS_16(d, 112)
                 : "l"(a), "l"(b), "n"(int{!a_along_k}), "n"(int{!b_along_k}));
#endif
}
#undef SUMS_16
#undef NAMES_10
#undef NAMES_60
#undef NAMES_120

}  // namespace switchyard::gpu
