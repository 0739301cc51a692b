// The GPU's table of kernels.
#include "tensor/cuda/common.cuh"

namespace switchyard::gpu {

template const Kernels<float>& table();
template const Kernels<bf16>& table();

}  // namespace switchyard::gpu
