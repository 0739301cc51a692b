// The steps by which the matrix products became fast, each callable by its name. No CUDA types: tests and benchmarks
// include it. gemm() and the grouped products choose among these.
#pragma once
#include <cstdint>

namespace switchyard::gpu {

enum class GemmStep : uint8_t {
  naive,         // one thread an element of C
  tiled,         // 32 x 32 tiles of A and B shared by a block
  registers,     // 8 x 8 elements of C in the registers of each thread
  pipelined,     // f32: copies run while earlier tiles are multiplied
  tensor_cores,  // bf16: the same with the tensor cores' mma.sync
  hopper,        // bf16 on sm_90: the copy engine fills shared memory, and four warps multiply together
  few_rows,      // for a few rows of C: one warp a column, reading B once; both operands must lie along k
};

// `wanted`, or the fastest that there is instead: pipelined is for f32 only, tensor_cores and hopper for bf16 only, the
// first two from sm_80 on, hopper on sm_90 alone for operands whose lines are whole chunks of 16 bytes and not empty,
// and few_rows where both operands lie along k.
template <class T>
GemmStep usable_step(GemmStep wanted, bool along_k, bool whole_chunks = true);

// C = op(A) op(B), or C += with accumulate, by the usable step. The sum over k is cut into `splits` parts, summed
// up one after another in the end. T is float or bf16, Out is T or float.
template <class T, class Out>
void gemm_step(GemmStep step, bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a,
               const T* b, bool accumulate, Out* c, int64_t splits = 1);

// The grouped products of tensor/kernels.h, by the usable step.
template <class T>
void grouped_forward_step(GemmStep step, int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                          const int32_t* row, const T* x, const T* w, T* y);
template <class T>
void grouped_backward_input_step(GemmStep step, int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                                 const T* dy, const T* w, T* dx);
template <class T>
void grouped_backward_weight_step(GemmStep step, int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                                  const int32_t* row, const T* dy, const T* x, float* dw);

}  // namespace switchyard::gpu
