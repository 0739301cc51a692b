// What a kernel file sees instead of NVIDIA's header of this name, when g++ or clang++ compiles it: CUDA's words,
// built-in variables, vector types, intrinsics and the part of the runtime API that Switchyard uses.
// tests/cuda_emulator/ runs it.
//
// What the emulator does not show: time, bank conflicts and coalescing; reordering of memory accesses by the hardware;
// approximate arithmetic (__expf is expf; a * b + c is not contracted); more than one block at a time.
#pragma once
#include <math.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // blocks run one after another, so one copy is enough
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

// Shared memory whose size the launch gives.
#define DYNAMIC_SHARED(T, name) T* name = static_cast<T*>(cuda_emulator::dynamic_shared())

#include "tests/cuda_emulator/hopper.h"
#include "tests/cuda_emulator/intrinsics.h"
#include "tests/cuda_emulator/runtime_api.h"
#include "tests/cuda_emulator/scheduler.h"
#include "tests/cuda_emulator/tensor_core.h"
#include "tests/cuda_emulator/vector_types.h"

// NOLINTBEGIN: CUDA's names
inline constexpr const uint3& threadIdx = cuda_emulator::built_ins.thread;
inline constexpr const uint3& blockIdx = cuda_emulator::built_ins.block;
inline constexpr const dim3& blockDim = cuda_emulator::built_ins.block_size;
inline constexpr const dim3& gridDim = cuda_emulator::built_ins.grid_size;
inline constexpr int warpSize = 32;
// NOLINTEND
