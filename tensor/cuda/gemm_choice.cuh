// Which kernel a step is, for all ways to find tiles.
#pragma once
#include "tensor/cuda/gemm_pipeline.cuh"
#include "tensor/cuda/gemm_steps.cuh"

namespace switchyard::gpu {

// Whether a block may have so much shared memory.
inline bool fits_shared(int bytes) {
  static const int most = [] {
    int value = 0;
    check_cuda(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "shared memory");
    return value;
  }();
  return bytes <= most;
}

// Larger tiles read less; the largest of which every multiprocessor gets one.
template <class Large, class... Smaller, class Tiles>
void multiply_largest(const Tiles& tiles) {
  if constexpr (sizeof...(Smaller) == 0) {
    multiply_tiles<Large>(tiles);
  } else {
    if (tiles.tiles(Large::rows, Large::cols) >= multiprocessors() && fits_shared(Large::shared_bytes))
      multiply_tiles<Large>(tiles);
    else
      multiply_largest<Smaller...>(tiles);
  }
}

// By operand type. Two transposed operands, which no layer multiplies, have the smallest tiles alone: compiling the
// others takes long.
template <bool a_along, bool b_along, class T>
struct Pipelines;
template <bool a_along, bool b_along>
struct Pipelines<a_along, b_along, float> {
  using Large = Pipelined<FmaTile<128, a_along, b_along>>;
  using Small = Pipelined<FmaTile<64, a_along, b_along>>;

  template <class Tiles>
  static void multiply(const Tiles& tiles) {
    if constexpr (b_along && !a_along)
      multiply_tiles<Small>(tiles);
    else
      multiply_largest<Large, Small>(tiles);
  }
};
template <bool a_along, bool b_along>
struct Pipelines<a_along, b_along, bf16> {
  using Large = Pipelined<MmaTile<128, 256, 64, 64, a_along, b_along>>;
  using Medium = Pipelined<MmaTile<128, 128, 64, 32, a_along, b_along>>;
  using Small = Pipelined<MmaTile<64, 64, 32, 32, a_along, b_along>>;

  template <class Tiles>
  static void multiply(const Tiles& tiles) {
    if constexpr (b_along && !a_along)
      multiply_tiles<Small>(tiles);
    else
      multiply_largest<Large, Medium, Small>(tiles);
  }
};

// The step `hopper`, in hopper.cu: its instructions need a compilation of their own.
void multiply_hopper(const Dense<bf16>& dense);
void multiply_hopper(const GroupedRows<bf16>& rows);
void multiply_hopper(const GroupedWeights<bf16>& weights);

// hopper, unless its smaller tiles, 128 x 128, are too few for half of the multiprocessors: tensor_cores has smaller
// ones.
inline GemmStep step_for(int64_t tiles) {
  return 2 * tiles >= multiprocessors() ? GemmStep::hopper : GemmStep::tensor_cores;
}

// By a step that usable_step() has allowed.
template <class T, bool a_along, bool b_along, class Tiles>
void multiply_by(GemmStep step, const Tiles& tiles) {
  switch (step) {
    case GemmStep::naive:
      return multiply_tiles<Naive>(tiles);
    case GemmStep::tiled:
      return multiply_tiles<Tiled>(tiles);
    case GemmStep::registers:
      return multiply_tiles<Registers>(tiles);
    case GemmStep::few_rows:
      if constexpr (a_along && b_along) return multiply_tiles<FewRows>(tiles);
      return Pipelines<a_along, b_along, T>::multiply(tiles);
    case GemmStep::hopper:
      if constexpr (std::is_same_v<T, bf16>) return multiply_hopper(tiles);
      [[fallthrough]];
    default:
      return Pipelines<a_along, b_along, T>::multiply(tiles);
  }
}

}  // namespace switchyard::gpu
