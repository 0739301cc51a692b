// The steps of the routing kernels, each equal to the table's function of the name before "_by" or "_plain": the slow
// ones that say what is meant, and the quick ones that the table's function chooses from. For tests and measurements.
#pragma once
#include "tensor/kernels.h"

namespace switchyard::gpu {

template <class T>
void plan_plain(const PlanArrays<T>& plan);  // one thread, the CPU's loops
template <class T>
void plan_by_counting(const PlanArrays<T>& plan);  // one block, at most 256 proposals
template <class T>
void plan_by_sorting(const PlanArrays<T>& plan);  // any size

template <class T>
void top_k_plain(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);  // one thread per row
template <class T>
void top_k_by_warp(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);  // at most 1024 columns
template <class T>
void top_k_by_sorting(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);  // any size

// One thread per element of dx reads every index.
template <class T>
void gather_rows_backward_plain(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx);

}  // namespace switchyard::gpu
