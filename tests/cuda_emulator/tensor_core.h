// The twins of tensor/cuda/ptx.cuh, with the lane layouts of the PTX ISA ("Warp level matrix instructions").
#pragma once
#include <cstdint>

#include "tests/cuda_emulator/scheduler.h"

namespace cuda_emulator {

// d (16 x 8, f32) += a (16 x 16) b (16 x 8), both bf16. Sums in float, from the first product to the last; the hardware
// adds in an order and with a rounding of its own.
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Location where = Location::current());
// The same with a (16 x 8) and b (8 x 8) of tf32: floats whose lower 13 bits are ignored.
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      Location where = Location::current());

// 8 x 8 matrices of 16-bit elements: lane 8 i + j passes the address of row j of matrix i, and receives two
// neighbouring elements of a row (transposed: of a column) of each.
void ldmatrix_x1(uint32_t (&r)[1], const void* shared_row, bool transpose, Location where = Location::current());
void ldmatrix_x2(uint32_t (&r)[2], const void* shared_row, bool transpose, Location where = Location::current());
void ldmatrix_x4(uint32_t (&r)[4], const void* shared_row, bool transpose, Location where = Location::current());

}  // namespace cuda_emulator
