// The instruction set: every kernel that a backend must have, on one screen. The members are references, so a table
// with a gap does not compile. Kernels take pointers and sizes, check nothing, and overwrite their outputs unless a
// comment says otherwise; tensor/ops.h checks shapes and allocates. `T` is the type computed in.
//
// Sizes: n elements, rows x cols matrices; B batch, T time, H query heads, K key/value heads, D head width, E experts,
// N slots (one expert's work on one token), V vocabulary. All matrices are row-major.
#pragma once
#include <cstdint>

#include "tensor/device.h"
#include "tensor/random.h"

namespace switchyard {

enum class Unary : uint8_t { relu, gelu, silu, sigmoid, exp, log };  // gelu is the exact one, x * Phi(x)

// Causal attention of Tq queries over Tk >= Tq keys; query i sits at position Tk - Tq + i. Query head h reads
// key/value head h / (H / K). Strides count elements from one (batch, time) row to the next, and between batches.
struct AttentionShape {
  int64_t B, Tq, Tk, H, K, D;
  int64_t query_row, query_batch;  // query: (B, Tq, H, D)
  int64_t key_row, key_batch;      // key and value: (B, Tk, K, D)
  double scale;                    // of the scores, usually D^-1/2
};

// What a routing plan is made from and into; see moe/plan.h for the meaning of each index.
template <class T>
struct PlanArrays {
  int64_t A, tokens, E;           // proposals, tokens, experts
  int64_t capacity;               // most slots an expert may have; A for no limit
  const int32_t *token, *expert;  // (A)
  const T* priority;              // (A) higher is kept first; null: earlier proposal first
  int32_t* offset;                // (E + 1)
  int32_t* slot_proposal;         // (A) slot -> proposal
  int32_t* slot_token;            // (A) slot -> token
  int32_t* token_offset;          // (tokens + 1)
  int32_t* token_slot;            // (A) a token's slots, in the order proposed
  int32_t *proposed, *dropped;    // (E)
};

struct AdamWStep {
  double rate, beta1, beta2, epsilon, decay;  // decay: decoupled, already a factor of the rate's schedule
  double correction1, correction2;            // 1 - beta^step
  double gradient_scale;                      // clipping and accumulation, applied to every gradient
};

template <class T>
struct Kernels {
  // Elementwise.
  void (&fill)(int64_t n, T value, T* y);
  void (&add)(int64_t n, const T* a, const T* b, T* y);                           // y = a + b; y may be a or b
  void (&multiply)(int64_t n, const T* a, const T* b, T* y);                      // y = a * b
  void (&scale)(int64_t n, T alpha, const T* x, T* y);                            // y = alpha * x
  void (&add_bias)(int64_t rows, int64_t cols, const T* x, const T* bias, T* y);  // y[r] = x[r] + bias
  void (&unary)(Unary op, int64_t n, const T* x, T* y);
  void (&unary_backward)(Unary op, int64_t n, const T* x, const T* dy, T* dx);
  void (&swiglu)(int64_t rows, int64_t F, const T* gate_up, T* y);  // y = silu(gate) * up; gate_up is rows x 2F
  void (&swiglu_backward)(int64_t rows, int64_t F, const T* gate_up, const T* dy, T* d_gate_up);
  void (&dropout)(int64_t n, double p, RandomKey key, const T* x, T* y);  // its own backward, with dy for x

  //@begin reductions
  // Reductions, in an order that no thread count changes.
  double (&sum)(int64_t n, const T* x);
  double (&sum_squares)(int64_t n, const T* x);
  //@end reductions
  void (&column_sum)(int64_t rows, int64_t cols, const T* x, T* y);              // y[c] = sum over r of x[r][c]
  void (&row_dot)(int64_t rows, int64_t cols, const T* a, const T* b, T* y);     // y[r] = a[r] . b[r]
  void (&scale_rows)(int64_t rows, int64_t cols, const T* x, const T* s, T* y);  // y[r] = s[r] * x[r]
  void (&softmax)(int64_t rows, int64_t cols, const T* x, T* y);
  void (&softmax_backward)(int64_t rows, int64_t cols, const T* y, const T* dy, T* dx);
  void (&logsumexp)(int64_t rows, int64_t cols, const T* x, T* y);                   // y[r] = log sum exp x[r]
  void (&top_k)(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);  // ties: lower index first

  // C = op(A) op(B), or C += with accumulate; op(A) is M x N's M x K, op(B) is K x N.
  void (&gemm)(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
               bool accumulate, T* c);
  // Expert e owns slots offset[e] .. offset[e+1]-1; row (null: the slot itself) says which row of x a slot reads.
  void (&grouped_forward)(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row, const T* x,
                          const T* w, T* y);  // y[s] = W_e x[row[s]], w is (E, out, in)
  void (&grouped_backward_input)(int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy, const T* w,
                                 T* dx);  // dx[s] = dy[s] W_e, one row per slot
  void (&grouped_backward_weight)(int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                                  const T* dy, const T* x, T* dw);  // dW_e = sum dy[s]^T x[row[s]]; zeros if no slot

  // Routing.
  void (&plan)(const PlanArrays<T>& plan);
  // y[t] = sum over the token's slots, in order, of gate[slot] * x[slot]; gate null: all 1.
  void (&combine)(int64_t tokens, int64_t cols, const int32_t* token_offset, const int32_t* token_slot, const T* gate,
                  const T* x, T* y);
  // d_x[s] = gate[s] * dy[slot_token[s]], d_gate[s] = dy[slot_token[s]] . x[s], for the first `offset[E]` slots.
  void (&combine_backward)(int64_t E, int64_t cols, const int32_t* offset, const int32_t* slot_token, const T* gate,
                           const T* x, const T* dy, T* dx, T* d_gate);
  void (&gather_rows)(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y);  // y[i] = x[index[i]]
  // dx (rows x cols) = sum of dy[i] over all i with index[i] = row, in order of i; zero where there is none.
  void (&gather_rows_backward)(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx);
  void (&take_columns)(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* x,
                       T* y);  // y[r][j] = x[r][index[r][j]]
  void (&take_columns_backward)(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* dy, T* dx);

  // Normalisation over the last axis; the statistics are kept for the backward.
  void (&rms_norm)(int64_t rows, int64_t cols, double epsilon, const T* x, const T* w, T* y, T* inverse_rms);
  void (&rms_norm_backward)(int64_t rows, int64_t cols, const T* x, const T* w, const T* inverse_rms, const T* dy,
                            T* dx, T* dw);
  void (&layer_norm)(int64_t rows, int64_t cols, double epsilon, const T* x, const T* w, const T* b, T* y, T* mean,
                     T* inverse_std);
  void (&layer_norm_backward)(int64_t rows, int64_t cols, const T* x, const T* w, const T* mean, const T* inverse_std,
                              const T* dy, T* dx, T* dw, T* db);

  // Attention. Rotary embedding of the first `heads` heads of each row (stride elements apart), half-split pairs
  // (i, i + D/2); row t of a batch is at position first + t. direction -1 undoes it (the backward). y may be x.
  void (&rope)(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t stride, int64_t first, double theta,
               int direction, const T* x, T* y);
  void (&attention)(const AttentionShape& shape, const T* q, const T* k, const T* v, T* y,
                    T* logsumexp);  // y (B, Tq, H, D) contiguous; logsumexp (B, H, Tq)
  void (&attention_backward)(const AttentionShape& shape, const T* q, const T* k, const T* v, const T* y,
                             const T* logsumexp, const T* dy, T* dq, T* dk, T* dv);  // gradients laid out as q, k, v

  // Loss of each row, -log softmax(x)[target]; target -1 gives 0 and no gradient.
  void (&cross_entropy)(int64_t rows, int64_t V, const T* x, const int32_t* target, T* loss, T* logsumexp);
  // dx[r] = g[r] * (softmax(x[r]) - onehot(target[r])).
  void (&cross_entropy_backward)(int64_t rows, int64_t V, const T* x, const int32_t* target, const T* logsumexp,
                                 const T* g, T* dx);

  // One pass: decoupled weight decay and Adam's update of w, with m and v its moments.
  void (&adamw)(int64_t n, const AdamWStep& step, const T* gradient, T* w, T* m, T* v);
};

// The table of a device, for f32 or f64. On the CPU it is the fastest instruction set that the processor has.
template <class T>
const Kernels<T>& kernels(Device device);

}  // namespace switchyard
