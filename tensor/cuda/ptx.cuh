// The instructions that CUDA C++ has no name for. Each is a few lines of PTX, and beside it a call of its twin in the
// emulator (tests/cuda_emulator/). The layouts are those of the PTX ISA, section "Warp level matrix instructions".
#pragma once
#include "tensor/cuda/common.cuh"

namespace switchyard::gpu {

// Shared memory's addresses as PTX wants them.
__device__ inline uint32_t shared_address(const void* p) {
#ifndef __CUDACC__
  return cuda_emulator::shared_address(p);
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
#endif
}

// d (16 x 8) += a (16 x 16) b (16 x 8), bf16 products, f32 sums, over one warp. With g = lane / 4 and c = lane % 4,
// a lane holds: d rows g, g, g + 8, g + 8, columns 2c, 2c + 1, 2c, 2c + 1; a, pairs of columns in each register, rows
// g, g + 8, g, g + 8, columns 2c, 2c, 2c + 8, 2c + 8; b, pairs of rows, rows 2c and 2c + 8, column g. From sm_80 on.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifndef __CUDACC__
  cuda_emulator::mma_m16n8k16_bf16(d, a, b);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Loads four 8 x 8 matrices of 16-bit elements from shared memory: lanes 8i .. 8i+7 give the addresses (16-byte
// aligned) of matrix i's rows, and r[i] receives elements 2c and 2c + 1 of row g of it; transposed: of column g.
template <bool transpose>
__device__ inline void load_matrices(uint32_t (&r)[4], const void* row) {
#ifndef __CUDACC__
  cuda_emulator::ldmatrix_x4(r, row, transpose);
#else
  if constexpr (transpose)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#endif
}

// Starts a copy of 16 bytes to shared memory, of which `valid` (0 or 16) are read and the rest are zeros. It arrives
// some time before wait_copies() returns for its group. Before sm_80 it is an ordinary copy.
__device__ inline void copy_async_16(void* shared, const void* global, int valid) {
#ifndef __CUDACC__
  cuda_emulator::cp_async(shared, global, 16, valid);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid)
               : "memory");
#else
  *static_cast<uint4*>(shared) = valid ? *static_cast<const uint4*>(global) : make_uint4(0, 0, 0, 0);
#endif
}
// Ends a group of copies.
__device__ inline void commit_copies() {
#ifndef __CUDACC__
  cuda_emulator::cp_async_commit();
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most `pending` groups of this thread are still under way; other threads' need a __syncthreads().
template <int pending>
__device__ inline void wait_copies() {
#ifndef __CUDACC__
  cuda_emulator::cp_async_wait(pending);
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// x, of which the compiler may know nothing: what follows from it is computed here, instead of being kept in registers
// from before a loop.
__device__ inline unsigned opaque(unsigned x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

// Two floats as a register of two bf16, the first in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  return uint32_t{bf16(low).bits} | uint32_t{bf16(high).bits} << 16;
#endif
}

// 2^x, at most 2 units in the last place off, as one instruction; 0 where the result would be below 2^-126.
__device__ inline float exp2_approximately(float x) {
#ifndef __CUDACC__
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

}  // namespace switchyard::gpu
