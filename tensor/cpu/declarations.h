// What the kernel files of this folder define, for the table that lists them. The signatures are those of
// tensor/kernels.h, where they are explained.
#pragma once
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/simd.h"
#include "tensor/kernels.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
void fill(int64_t n, T value, T* y);
template <class T>
void add(int64_t n, const T* a, const T* b, T* y);
template <class T>
void multiply(int64_t n, const T* a, const T* b, T* y);
template <class T>
void scale(int64_t n, T alpha, const T* x, T* y);
template <class T>
void add_bias(int64_t rows, int64_t cols, const T* x, const T* bias, T* y);
template <class T>
void unary(Unary op, int64_t n, const T* x, T* y);
template <class T>
void unary_backward(Unary op, int64_t n, const T* x, const T* dy, T* dx);
template <class T>
void swiglu(int64_t rows, int64_t F, const T* gate_up, T* y);
template <class T>
void swiglu_backward(int64_t rows, int64_t F, const T* gate_up, const T* dy, T* d_gate_up);
template <class T>
void dropout(int64_t n, double p, RandomKey key, const T* x, T* y);
template <class T>
double sum(int64_t n, const T* x);
template <class T>
double sum_squares(int64_t n, const T* x);
template <class T>
void column_sum(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void row_dot(int64_t rows, int64_t cols, const T* a, const T* b, T* y);
template <class T>
void scale_rows(int64_t rows, int64_t cols, const T* x, const T* s, T* y);
template <class T>
void softmax(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void softmax_backward(int64_t rows, int64_t cols, const T* y, const T* dy, T* dx);
template <class T>
void logsumexp(int64_t rows, int64_t cols, const T* x, T* y);
template <class T>
void top_k(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);
template <class T>
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b, bool accumulate,
          T* c);
template <class T>
void grouped_forward(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row, const T* x,
                     const T* w, T* y);
template <class T>
void grouped_backward_input(int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy, const T* w, T* dx);
template <class T>
void grouped_backward_weight(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row, const T* dy,
                             const T* x, T* dw);
template <class T>
void plan(const PlanArrays<T>& plan);
template <class T>
void combine(int64_t tokens, int64_t cols, const int32_t* token_offset, const int32_t* token_slot, const T* gate,
             const T* x, T* y);
template <class T>
void combine_backward(int64_t E, int64_t cols, const int32_t* offset, const int32_t* slot_token, const T* gate,
                      const T* x, const T* dy, T* dx, T* d_gate);
template <class T>
void gather_rows(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y);
template <class T>
void gather_rows_backward(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx);
template <class T>
void take_columns(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* x, T* y);
template <class T>
void take_columns_backward(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* dy, T* dx);
template <class T>
void rms_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const T* w, T* y, T* inverse_rms);
template <class T>
void rms_norm_backward(int64_t rows, int64_t cols, const T* x, const T* w, const T* inverse_rms, const T* dy, T* dx,
                       T* dw);
template <class T>
void layer_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const T* w, const T* b, T* y, T* mean,
                T* inverse_std);
template <class T>
void layer_norm_backward(int64_t rows, int64_t cols, const T* x, const T* w, const T* mean, const T* inverse_std,
                         const T* dy, T* dx, T* dw, T* db);
template <class T>
void rope(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t stride, int64_t first, double theta, int direction,
          const T* x, T* y);
template <class T>
void attention(const AttentionShape& shape, const T* q, const T* k, const T* v, T* y, T* logsumexp);
template <class T>
void attention_backward(const AttentionShape& shape, const T* q, const T* k, const T* v, const T* y, const T* logsumexp,
                        const T* dy, T* dq, T* dk, T* dv);
template <class T>
void cross_entropy(int64_t rows, int64_t V, const T* x, const int32_t* target, T* loss, T* logsumexp);
template <class T>
void cross_entropy_backward(int64_t rows, int64_t V, const T* x, const int32_t* target, const T* logsumexp, const T* g,
                            T* dx);
template <class T>
void adamw(int64_t n, const AdamWStep& step, const T* gradient, T* w, T* m, T* v);

}  // namespace switchyard::cpu::SWITCHYARD_ISA
