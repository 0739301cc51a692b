// The instruction set: every kernel that a backend must have, on one screen. The members are references, so a table
// with a gap does not compile. Kernels take pointers and sizes, check nothing, and overwrite their outputs unless a
// comment says otherwise; tensor/ops.h checks shapes and allocates. `T` is the type of activations: float, double (on
// the CPU, for checking gradients) or bf16, where `Wide<T>`, of statistics and weights, is float.
//
// Sizes: n elements, rows x cols matrices; B batch, T time, H query heads, K key/value heads, D head width, E experts,
// N slots (one expert's work on one token), V vocabulary. All matrices are row-major.
#pragma once
#include <cstdint>

#include "tensor/bf16.h"
#include "tensor/device.h"
#include "tensor/random.h"

namespace switchyard {

// gelu is the exact one, x * Phi(x); Phi is normal_cdf; softplus is log(1 + e^x).
enum class Unary : uint8_t { relu, gelu, silu, sigmoid, exp, log, softplus, normal_cdf };

// The window of attention that sees all that came before.
constexpr int64_t all_keys = INT64_MAX;

// Causal attention of Tq queries over Tk >= Tq keys; query i sits at position p = Tk - Tq + i and sees the keys from
// p - window + 1 to p. Query head h reads key/value head h / (H / K). Strides count elements from one (batch, time)
// row to the next, and between batches.
struct AttentionShape {
  int64_t B, Tq, Tk, H, K, D;
  int64_t query_row, query_batch;  // query: (B, Tq, H, D)
  int64_t key_row, key_batch;      // key and value: (B, Tk, K, D)
  double scale;                    // of the scores, usually D^-1/2
  int64_t window = all_keys;       // at least 1
};

// What a routing plan is made from and into; see moe/plan.h for the meaning of each index.
// Slot lists are (A) long; from offset[E] on, slot_proposal and slot_token are -1.
template <class T>
struct PlanArrays {
  int64_t A, tokens, E;           // proposals, tokens, experts
  int64_t capacity;               // most slots an expert may have; A for no limit
  const int32_t *token, *expert;  // (A)
  const Wide<T>* priority;        // (A) the first by precedes.h are kept; null: the earlier proposals
  int32_t* offset;                // (E + 1)
  int32_t* slot_proposal;         // (A) slot -> proposal
  int32_t* slot_token;            // (A) slot -> token
  int32_t* token_offset;          // (tokens + 1)
  int32_t* token_slot;            // (A) a token's slots, in the order proposed
  int32_t *proposed, *dropped;    // (E)
};

// How evenly a layer routed one batch; see RouteStats in moe/balance.h.
template <class T>
struct RouteArrays {
  int64_t tokens, E;
  const Wide<T>* probability;                         // (tokens, E)
  const int32_t *offset, *token_offset, *token_slot;  // of the plan
  double* mean;                                       // (2): over tokens, -sum p log p and the largest p
  int32_t* together;                                  // (E, E): tokens that visit both
};

struct AdamWStep {
  double rate, beta1, beta2, epsilon, decay;  // decay: decoupled, already a factor of the rate's schedule
  double correction1, correction2;            // 1 - beta^step
  const double* gradient_scale;               // applied to every gradient; 0: leave everything as it is
};

template <class T>
struct Kernels {
  // Elementwise.
  void (&fill)(int64_t n, T value, T* y);
  void (&add)(int64_t n, const T* a, const T* b, T* y);                                 // y = a + b; y may be a or b
  void (&multiply)(int64_t n, const T* a, const T* b, T* y);                            // y = a * b
  void (&scale)(int64_t n, T alpha, const T* x, T* y);                                  // y = alpha * x
  void (&add_bias)(int64_t rows, int64_t cols, const T* x, const Wide<T>* bias, T* y);  // y[r] = x[r] + bias
  void (&unary)(Unary op, int64_t n, const T* x, T* y);
  void (&unary_backward)(Unary op, int64_t n, const T* x, const T* dy, T* dx);
  void (&swiglu)(int64_t rows, int64_t F, const T* gate_up, T* y);  // y = silu(gate) * up; gate_up is rows x 2F
  void (&swiglu_backward)(int64_t rows, int64_t F, const T* gate_up, const T* dy, T* d_gate_up);
  void (&dropout)(int64_t n, double p, RandomKey key, const T* x, T* y);  // its own backward, with dy for x
  // y[i] = x[i] * (1 + amount * (2 u[i] - 1)), u uniform numbers of the key; its own backward, with dy for x.
  void (&jitter)(int64_t n, double amount, RandomKey key, const T* x, T* y);
  void (&widen)(int64_t n, const T* x, Wide<T>* y);
  void (&narrow)(int64_t n, const Wide<T>* x, T* y);
  void (&repeat_row)(int64_t rows, int64_t cols, const T* x, T* y);  // y[r] = x, for every row

  //@begin reductions
  // Reductions, in an order that no thread count changes.
  void (&sum)(int64_t n, const T* x, Wide<T>* y);
  void (&sum_squares)(int64_t n, const T* x, double* y);
  //@end reductions
  void (&column_sum)(int64_t rows, int64_t cols, const T* x, Wide<T>* y);              // y[c] = sum over r of x[r][c]
  void (&row_dot)(int64_t rows, int64_t cols, const T* a, const T* b, Wide<T>* y);     // y[r] = a[r] . b[r]
  void (&scale_rows)(int64_t rows, int64_t cols, const T* x, const Wide<T>* s, T* y);  // y[r] = s[r] * x[r]
  void (&softmax)(int64_t rows, int64_t cols, const T* x, T* y);
  void (&softmax_backward)(int64_t rows, int64_t cols, const T* y, const T* dy, T* dx);
  void (&logsumexp)(int64_t rows, int64_t cols, const T* x, Wide<T>* y);             // y[r] = log sum exp x[r]
  void (&top_k)(int64_t rows, int64_t cols, int64_t k, const T* x, int32_t* index);  // ordered by precedes.h
  void (&softmax_top_k)(int64_t rows, int64_t cols, int64_t k, const T* x, T* y, int32_t* index);  // both in one pass

  // C = op(A) op(B), or C += with accumulate; op(A) is M x N's M x K, op(B) is K x N.
  void (&gemm)(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
               bool accumulate, T* c);
  // The same with a result in f32 for bf16 operands: gradients of weights.
  void (&gemm_wide)(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, const T* b,
                    bool accumulate, Wide<T>* c);
  // Expert e owns slots offset[e] .. offset[e+1]-1; row (null: the slot itself) says which row of x a slot reads. There
  // is room for N slots; the results of those from offset[E] on are 0.
  void (&grouped_forward)(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const int32_t* row,
                          const T* x, const T* w, T* y);  // y[s] = W_e x[row[s]], w is (E, out, in)
  void (&grouped_backward_input)(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset, const T* dy,
                                 const T* w,
                                 T* dx);  // dx[s] = dy[s] W_e, one row per slot
  void (&grouped_backward_weight)(int64_t N, int64_t E, int64_t out, int64_t in, const int32_t* offset,
                                  const int32_t* row, const T* dy, const T* x,
                                  Wide<T>* dw);  // dW_e = sum dy[s]^T x[row[s]]; zeros if no slot

  // Routing.
  void (&proposing_tokens)(int64_t n, int64_t k, int32_t* token);  // token[i] = i / k
  // y[e] = E times the share of `expert`'s A entries that are e; entries below 0 do not count.
  void (&expert_share)(int64_t A, int64_t E, const int32_t* expert, Wide<T>* y);
  void (&plan)(const PlanArrays<T>& plan);
  // y[t] = sum over the token's slots, in order, of gate[slot] * x[slot]; gate null: all 1.
  void (&combine)(int64_t tokens, int64_t cols, const int32_t* token_offset, const int32_t* token_slot,
                  const Wide<T>* gate, const T* x, T* y);
  // d_x[s] = gate[s] * dy[slot_token[s]], d_gate[s] = dy[slot_token[s]] . x[s], for the first `offset[E]` of N slots;
  // 0 for the others.
  void (&combine_backward)(int64_t N, int64_t E, int64_t cols, const int32_t* offset, const int32_t* slot_token,
                           const Wide<T>* gate, const T* x, const T* dy, T* dx, Wide<T>* d_gate);
  void (&route_statistics)(const RouteArrays<T>& route);
  // y[i] = x[index[i]]; index -1: zeros.
  void (&gather_rows)(int64_t n, int64_t cols, const int32_t* index, const T* x, T* y);
  // dx (rows x cols) = sum of dy[i] over all i with index[i] = row, in order of i; zero where there is none.
  void (&gather_rows_backward)(int64_t n, int64_t rows, int64_t cols, const int32_t* index, const T* dy, T* dx);
  void (&take_columns)(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* x,
                       T* y);  // y[r][j] = x[r][index[r][j]]
  void (&take_columns_backward)(int64_t rows, int64_t cols, int64_t k, const int32_t* index, const T* dy, T* dx);

  // Normalisation over the last axis; the statistics are kept for the backward.
  void (&rms_norm)(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, T* y,
                   Wide<T>* inverse_rms);
  void (&rms_norm_backward)(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* inverse_rms,
                            const T* dy, T* dx, Wide<T>* dw);
  void (&layer_norm)(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, const Wide<T>* b, T* y,
                     Wide<T>* mean, Wide<T>* inverse_std);
  void (&layer_norm_backward)(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* mean,
                              const Wide<T>* inverse_std, const T* dy, T* dx, Wide<T>* dw, Wide<T>* db);

  // Attention. Rotary embedding of the first `heads` heads of each row (stride elements apart), half-split pairs
  // (i, i + D/2); row t of a batch is at position first + t. direction -1 undoes it (the backward). y may be x.
  void (&rope)(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t stride, int64_t first, double theta,
               int direction, const T* x, T* y);
  void (&attention)(const AttentionShape& shape, const T* q, const T* k, const T* v, T* y,
                    Wide<T>* logsumexp);  // y (B, Tq, H, D) contiguous; logsumexp (B, H, Tq)
  void (&attention_backward)(const AttentionShape& shape, const T* q, const T* k, const T* v, const T* y,
                             const Wide<T>* logsumexp, const T* dy, T* dq, T* dk,
                             T* dv);  // gradients laid out as q, k, v

  // Copies B x T_ rows of `width` elements; strides count elements, between rows and between batches.
  void (&copy_rows)(int64_t B, int64_t T_, int64_t width, const T* x, int64_t x_row, int64_t x_batch, T* y,
                    int64_t y_row, int64_t y_batch);

  // Loss of each row, -log softmax(x)[target]; target -1 gives 0 and no gradient.
  void (&cross_entropy)(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss, Wide<T>* logsumexp);
  // dx[r] = g[r] * (softmax(x[r]) - onehot(target[r])).
  void (&cross_entropy_backward)(int64_t rows, int64_t V, const T* x, const int32_t* target, const Wide<T>* logsumexp,
                                 const Wide<T>* g, T* dx);

  // result[0] = sqrt(sum of squares) / passes, the gradients' norm; result[1] = min(1, clip / norm) / passes, or 0 if
  // the norm is no finite number.
  void (&gradient_scale)(int64_t n, const double* squares, double passes, double clip, double* result);
  // One pass: decoupled weight decay and Adam's update of w, with m and v its moments.
  void (&adamw)(int64_t n, const AdamWStep& step, const Wide<T>* gradient, Wide<T>* w, Wide<T>* m, Wide<T>* v);
};

// The table of a device. On the CPU it is the fastest instruction set that the processor has. Error: the GPU does not
// compute in f64.
template <class T>
const Kernels<T>& kernels(Device device);

// For measuring: from now on kernels<T>(Device::cpu) is `table`, whose entries may time those of the CPU's own; null:
// its own again. Not while kernels run. The table must outlive its use.
template <class T>
void replace_cpu_kernels(const Kernels<T>* table);

}  // namespace switchyard
