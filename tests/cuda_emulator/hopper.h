// The twins of tensor/cuda/hopper_ptx.cuh. All that Hopper does on the side happens as late as it may: the copy
// engine's copies land when every thread waits, and the tensor cores read shared memory when a warp waits for its
// products. Until then what is copied to and what is summed up is NaN.
#pragma once
#include <cstdint>

#include "tests/cuda_emulator/scheduler.h"

namespace cuda_emulator {

// Dynamic shared memory's addresses within the block, as the hardware counts them.
uint32_t shared_address(const void* p);

// A matrix of 16-bit elements, layers of lines, and the box of `box_lines` times `box_width` of them that a copy takes.
struct TensorMap {
  const char* data;
  int64_t width, lines, layers;
  int box_width, box_lines;
};
// Error for what the driver would refuse, or a matrix that is not within one allocation.
TensorMap tensor_map(const void* data, int64_t width, int64_t lines, int64_t layers, int box_width, int box_lines);

struct Barrier {
  uint32_t phase : 1, arrivals : 15, pending : 15;  // pending: arrivals that the phase still waits for
  int32_t bytes;                                    // that it waits for
};
void mbarrier_init(Barrier* barrier, int arrivals);
void mbarrier_arrive(Barrier* barrier, int expected_bytes);
void mbarrier_wait(Barrier* barrier, int parity, Location where = Location::current());

// cp.async.bulk.tensor.3d with the 128-byte swizzle, which permutes the chunks of 16 bytes by their address.
void tma_load(void* shared, const TensorMap& map, int x, int y, int z, Barrier* barrier);

// Without it, a thread that arrives at a barrier after cp.async is reported: wgmma might not see what it copied.
void fence_proxy_async();
inline bool unfenced_copies[max_threads];

// m64nNk16 of bf16: the descriptors must name the 128-byte swizzle. Sums are in float, from the first product to the
// last. What is not shown: whether all four warps of a warpgroup agree, and the order and rounding of the hardware's
// sums.
void wgmma(float* d, int n, uint64_t a, uint64_t b, bool transpose_a, bool transpose_b);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int pending_groups, Location where = Location::current());

// For the scheduler. Lands a copy if one is under way.
bool land_copy();
// Forgets what is under way in a block; what nobody has waited for, or null.
const char* forget_hopper();

}  // namespace cuda_emulator
