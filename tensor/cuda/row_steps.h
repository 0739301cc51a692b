// The first, plain steps of row kernels that a faster one replaced: the tests hold both to the same results, and the
// benchmark says what each is worth. Arguments as in tensor/kernels.h.
#pragma once
#include "tensor/kernels.h"

namespace switchyard::gpu {

template <class T>
void column_sum_plain(int64_t rows, int64_t cols, const T* x, Wide<T>* y);
template <class T>
void softmax_plain(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void rms_norm_backward_plain(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* inverse_rms,
                             const T* dy, T* dx, Wide<T>* dw);
template <class T>
void layer_norm_backward_plain(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* mean,
                               const Wide<T>* inverse_std, const T* dy, T* dx, Wide<T>* dw, Wide<T>* db);
template <class T>
void cross_entropy_plain(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss, Wide<T>* logsumexp);

}  // namespace switchyard::gpu
