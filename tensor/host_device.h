// HOST_DEVICE marks a function that CUDA kernels call too; for other compilers it says nothing.
#pragma once

#ifdef __CUDACC__
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif
