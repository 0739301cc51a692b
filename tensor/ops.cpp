#include "tensor/ops.h"

#include <cmath>
#include <cstring>

namespace switchyard {
namespace {

void same_shape(const char* op, const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape() && a.dtype() == b.dtype(), "{} of {} {} and {} {}: must be alike", op, name(a.dtype()),
        a.shape().text(), name(b.dtype()), b.shape().text());
}
void needs(const char* op, const char* what, const Tensor& x, const Shape& shape) {
  check(x.shape() == shape, "{}: {} of shape {}, must be {}", op, what, x.shape().text(), shape.text());
}
// An i32 tensor's elements, or null where it is undefined.
const int32_t* indices(const Tensor& x) { return x.defined() ? x.data<int32_t>() : nullptr; }

// Allocates a result like `like` but of `shape`, and calls f(kernel table, typed result pointer).
template <class F>
Tensor compute(const Tensor& like, Shape shape, F&& f) {
  Tensor y(shape, like.dtype(), like.device());
  with_float_type(like.dtype(), [&]<class T>() { f(kernels<T>(like.device()), y.data<T>()); });
  return y;
}
template <class T>
const T* ptr(const Tensor& x, const T*) {
  return x.data<T>();
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  same_shape("add", a, b);
  return compute(a, a.shape(), [&](auto& k, auto* y) { k.add(a.count(), ptr(a, y), ptr(b, y), y); });
}

void add_into(Tensor& a, const Tensor& b) {
  same_shape("add", a, b);
  with_float_type(a.dtype(),
                  [&]<class T>() { kernels<T>(a.device()).add(a.count(), a.data<T>(), b.data<T>(), a.data<T>()); });
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  same_shape("multiply", a, b);
  return compute(a, a.shape(), [&](auto& k, auto* y) { k.multiply(a.count(), ptr(a, y), ptr(b, y), y); });
}

Tensor scale(const Tensor& x, double alpha) {
  return compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* y) { k.scale(x.count(), T(alpha), ptr(x, y), y); });
}

Tensor add_bias(const Tensor& x, const Tensor& bias) {
  needs("add_bias", "bias", bias, {x.cols()});
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.add_bias(x.rows(), x.cols(), ptr(x, y), ptr(bias, y), y); });
}

Tensor unary(Unary op, const Tensor& x) {
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.unary(op, x.count(), ptr(x, y), y); });
}

Tensor unary_backward(Unary op, const Tensor& x, const Tensor& dy) {
  same_shape("unary_backward", x, dy);
  return compute(x, x.shape(),
                 [&](auto& k, auto* dx) { k.unary_backward(op, x.count(), ptr(x, dx), ptr(dy, dx), dx); });
}

Tensor swiglu(const Tensor& gate_up) {
  check(gate_up.cols() % 2 == 0, "swiglu of shape {}: the last axis must be even", gate_up.shape().text());
  const int64_t F = gate_up.cols() / 2;
  return compute(gate_up, gate_up.shape().with_last(F),
                 [&](auto& k, auto* y) { k.swiglu(gate_up.rows(), F, ptr(gate_up, y), y); });
}

Tensor swiglu_backward(const Tensor& gate_up, const Tensor& dy) {
  needs("swiglu_backward", "dy", dy, gate_up.shape().with_last(gate_up.cols() / 2));
  return compute(gate_up, gate_up.shape(), [&](auto& k, auto* dx) {
    k.swiglu_backward(gate_up.rows(), dy.cols(), ptr(gate_up, dx), ptr(dy, dx), dx);
  });
}

Tensor dropout(const Tensor& x, double p, RandomKey key) {
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.dropout(x.count(), p, key, ptr(x, y), y); });
}

Tensor sum(const Tensor& x) {
  return compute(x, {1}, [&]<class T>(const Kernels<T>& k, T* y) { *y = T(k.sum(x.count(), ptr(x, y))); });
}

double sum_squares(const Tensor& x) {
  return with_float_type(x.dtype(),
                         [&]<class T>() { return kernels<T>(x.device()).sum_squares(x.count(), x.data<T>()); });
}

Tensor column_sum(const Tensor& x) {
  return compute(x, {x.cols()}, [&](auto& k, auto* y) { k.column_sum(x.rows(), x.cols(), ptr(x, y), y); });
}

Tensor row_dot(const Tensor& a, const Tensor& b) {
  same_shape("row_dot", a, b);
  return compute(a, {a.rows()}, [&](auto& k, auto* y) { k.row_dot(a.rows(), a.cols(), ptr(a, y), ptr(b, y), y); });
}

Tensor scale_rows(const Tensor& x, const Tensor& s) {
  check(s.count() == x.rows(), "scale_rows: {} factors for shape {}", s.count(), x.shape().text());
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.scale_rows(x.rows(), x.cols(), ptr(x, y), ptr(s, y), y); });
}

Tensor softmax(const Tensor& x) {
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.softmax(x.rows(), x.cols(), ptr(x, y), y); });
}

Tensor softmax_backward(const Tensor& y, const Tensor& dy) {
  same_shape("softmax_backward", y, dy);
  return compute(y, y.shape(),
                 [&](auto& k, auto* dx) { k.softmax_backward(y.rows(), y.cols(), ptr(y, dx), ptr(dy, dx), dx); });
}

Tensor logsumexp(const Tensor& x) {
  return compute(x, {x.rows()}, [&](auto& k, auto* y) { k.logsumexp(x.rows(), x.cols(), ptr(x, y), y); });
}

Tensor top_k(const Tensor& x, int64_t k) {
  check(1 <= k && k <= x.cols(), "top_k {} of {} columns: must be 1 to {}", k, x.cols(), x.cols());
  Tensor index({x.rows(), k}, Dtype::i32, x.device());
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device()).top_k(x.rows(), x.cols(), k, x.data<T>(), index.data<int32_t>());
  });
  return index;
}

Tensor matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b) {
  const int64_t M = transpose_a ? a.cols() : a.rows(), K = transpose_a ? a.rows() : a.cols();
  const int64_t N = transpose_b ? b.rows() : b.cols();
  check((transpose_b ? b.cols() : b.rows()) == K, "matmul of {}{} and {}{}: inner sizes differ", a.shape().text(),
        transpose_a ? " transposed" : "", b.shape().text(), transpose_b ? " transposed" : "");
  return compute(a, {M, N},
                 [&](auto& k, auto* c) { k.gemm(transpose_a, transpose_b, M, N, K, ptr(a, c), ptr(b, c), false, c); });
}

Tensor grouped_forward(const Tensor& offset, const Tensor& row, int64_t slots, const Tensor& x, const Tensor& w) {
  const int64_t E = w.shape()[0], out = w.shape()[1], in = w.shape()[2];
  needs("grouped_forward", "offset", offset, {E + 1});
  check(x.cols() == in, "grouped_forward: x of shape {} for weights {}", x.shape().text(), w.shape().text());
  return compute(x, {slots, out}, [&](auto& k, auto* y) {
    k.grouped_forward(E, out, in, indices(offset), indices(row), ptr(x, y), ptr(w, y), y);
  });
}

Tensor grouped_backward_input(const Tensor& offset, const Tensor& dy, const Tensor& w) {
  const int64_t E = w.shape()[0], out = w.shape()[1], in = w.shape()[2];
  check(dy.cols() == out, "grouped_backward_input: dy of shape {} for weights {}", dy.shape().text(), w.shape().text());
  return compute(dy, {dy.rows(), in}, [&](auto& k, auto* dx) {
    k.grouped_backward_input(E, out, in, indices(offset), ptr(dy, dx), ptr(w, dx), dx);
  });
}

Tensor grouped_backward_weight(const Tensor& offset, const Tensor& row, const Tensor& dy, const Tensor& x,
                               const Shape& w) {
  check(dy.cols() == w[1] && x.cols() == w[2], "grouped_backward_weight: dy {} and x {} for weights {}",
        dy.shape().text(), x.shape().text(), w.text());
  return compute(dy, w, [&](auto& k, auto* dw) {
    k.grouped_backward_weight(w[0], w[1], w[2], indices(offset), indices(row), ptr(dy, dw), ptr(x, dw), dw);
  });
}

Tensor combine(const Tensor& token_offset, const Tensor& token_slot, const Tensor& gate, const Tensor& x) {
  const int64_t tokens = token_offset.count() - 1;
  return compute(x, {tokens, x.cols()}, [&](auto& k, auto* y) {
    k.combine(tokens, x.cols(), indices(token_offset), indices(token_slot), gate.defined() ? ptr(gate, y) : nullptr,
              ptr(x, y), y);
  });
}

CombineGradients combine_backward(const Tensor& offset, const Tensor& slot_token, const Tensor& gate, const Tensor& x,
                                  const Tensor& dy) {
  CombineGradients g{Tensor(x.shape(), x.dtype(), x.device()), Tensor::zeros(gate.shape(), x.dtype(), x.device())};
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device())
        .combine_backward(offset.count() - 1, x.cols(), indices(offset), indices(slot_token), gate.data<T>(),
                          x.data<T>(), dy.data<T>(), g.dx.data<T>(), g.d_gate.data<T>());
  });
  return g;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  const int64_t n = index.count(), cols = x.shape()[0] ? x.count() / x.shape()[0] : 0;
  return compute(x, x.shape().with_first(n),
                 [&](auto& k, auto* y) { k.gather_rows(n, cols, indices(index), ptr(x, y), y); });
}

Tensor gather_rows_backward(const Tensor& dy, const Tensor& index, const Shape& x) {
  const int64_t cols = x[0] ? x.count() / x[0] : 0;
  return compute(dy, x, [&](auto& k, auto* dx) {
    k.gather_rows_backward(index.count(), x[0], cols, indices(index), ptr(dy, dx), dx);
  });
}

Tensor take_columns(const Tensor& x, const Tensor& index) {
  check(index.rows() == x.rows(), "take_columns: index {} for {}", index.shape().text(), x.shape().text());
  return compute(x, index.shape(), [&](auto& k, auto* y) {
    k.take_columns(x.rows(), x.cols(), index.cols(), indices(index), ptr(x, y), y);
  });
}

Tensor take_columns_backward(const Tensor& dy, const Tensor& index, const Shape& x) {
  return compute(dy, x, [&](auto& k, auto* dx) {
    k.take_columns_backward(x.rows(), x.cols(), index.cols(), indices(index), ptr(dy, dx), dx);
  });
}

Normalised rms_norm(const Tensor& x, const Tensor& w, double epsilon) {
  needs("rms_norm", "weight", w, {x.cols()});
  Normalised n{.y = {}, .mean = {}, .inverse = Tensor({x.rows()}, x.dtype(), x.device())};
  n.y = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* y) {
    k.rms_norm(x.rows(), x.cols(), epsilon, ptr(x, y), ptr(w, y), y, n.inverse.data<T>());
  });
  return n;
}

NormGradients rms_norm_backward(const Tensor& x, const Tensor& w, const Tensor& inverse_rms, const Tensor& dy) {
  same_shape("rms_norm_backward", x, dy);
  NormGradients g{.dx = {}, .dw = Tensor(w.shape(), w.dtype(), w.device()), .db = {}};
  g.dx = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dx) {
    k.rms_norm_backward(x.rows(), x.cols(), ptr(x, dx), ptr(w, dx), ptr(inverse_rms, dx), ptr(dy, dx), dx,
                        g.dw.data<T>());
  });
  return g;
}

Normalised layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double epsilon) {
  needs("layer_norm", "weight", w, {x.cols()});
  needs("layer_norm", "bias", b, {x.cols()});
  const Shape rows{x.rows()};
  Normalised n{{}, Tensor(rows, x.dtype(), x.device()), Tensor(rows, x.dtype(), x.device())};
  n.y = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* y) {
    k.layer_norm(x.rows(), x.cols(), epsilon, ptr(x, y), ptr(w, y), ptr(b, y), y, n.mean.data<T>(),
                 n.inverse.data<T>());
  });
  return n;
}

NormGradients layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& inverse_std,
                                  const Tensor& dy) {
  same_shape("layer_norm_backward", x, dy);
  NormGradients g{{}, Tensor(w.shape(), w.dtype(), w.device()), Tensor(w.shape(), w.dtype(), w.device())};
  g.dx = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dx) {
    k.layer_norm_backward(x.rows(), x.cols(), ptr(x, dx), ptr(w, dx), ptr(mean, dx), ptr(inverse_std, dx), ptr(dy, dx),
                          dx, g.dw.data<T>(), g.db.data<T>());
  });
  return g;
}

namespace {

void needs_heads(const char* op, const Tensor& x, Heads h) {
  check(x.shape().rank() == 4 && x.shape()[2] == h.H + 2 * h.K && x.shape()[3] == h.D,
        "{} of shape {}: must be (B, T, {}, {})", op, x.shape().text(), h.H + 2 * h.K, h.D);
}
AttentionShape fused_shape(const Tensor& x, Heads h) {
  const int64_t row = (h.H + 2 * h.K) * h.D, batch = x.shape()[1] * row;
  return {.B = x.shape()[0],
          .Tq = x.shape()[1],
          .Tk = x.shape()[1],
          .H = h.H,
          .K = h.K,
          .D = h.D,
          .query_row = row,
          .query_batch = batch,
          .key_row = row,
          .key_batch = batch,
          .scale = 1 / std::sqrt(double(h.D))};
}

}  // namespace

Tensor rope(const Tensor& x, Heads h, int64_t first, double theta, int direction) {
  needs_heads("rope", x, h);
  const AttentionShape s = fused_shape(x, h);
  Tensor y = x.clone();  // the values pass through as they are
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device())
        .rope(s.B, s.Tq, h.H + h.K, h.D, s.query_row, first, theta, direction, x.data<T>(), y.data<T>());
  });
  return y;
}

Attended attention(const Tensor& x, Heads h) {
  needs_heads("attention", x, h);
  const AttentionShape s = fused_shape(x, h);
  Attended result{{}, Tensor({s.B, s.H, s.Tq}, x.dtype(), x.device())};
  result.y = compute(x, {s.B, s.Tq, s.H, s.D}, [&]<class T>(const Kernels<T>& k, T* y) {
    const T* q = x.data<T>();
    k.attention(s, q, q + h.H * h.D, q + (h.H + h.K) * h.D, y, result.logsumexp.data<T>());
  });
  return result;
}

Tensor attention_backward(const Tensor& x, Heads h, const Attended& forward, const Tensor& dy) {
  same_shape("attention_backward", forward.y, dy);
  return compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dq) {
    const T* q = x.data<T>();
    const int64_t keys = h.H * h.D, values = (h.H + h.K) * h.D;
    k.attention_backward(fused_shape(x, h), q, q + keys, q + values, ptr(forward.y, dq), ptr(forward.logsumexp, dq),
                         ptr(dy, dq), dq, dq + keys, dq + values);
  });
}

void store_keys_values(const Tensor& x, Heads h, const Tensor& keys, const Tensor& values, int64_t first) {
  needs_heads("store_keys_values", x, h);
  const int64_t B = x.shape()[0], T = x.shape()[1], capacity = keys.shape()[1];
  check(first + T <= capacity, "{} tokens after {}: the cache holds {}", T, first, capacity);
  const size_t head = static_cast<size_t>(h.D) * size_of(x.dtype()), row = static_cast<size_t>(h.K) * head;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t) {
      const std::byte* token = x.raw() + static_cast<size_t>((b * T + t) * (h.H + 2 * h.K)) * head;
      const size_t at = static_cast<size_t>(b * capacity + first + t) * row;
      std::memcpy(keys.raw() + at, token + static_cast<size_t>(h.H) * head, row);
      std::memcpy(values.raw() + at, token + static_cast<size_t>(h.H + h.K) * head, row);
    }
}

Tensor attention_cached(const Tensor& x, Heads h, const Tensor& keys, const Tensor& values, int64_t length) {
  needs_heads("attention_cached", x, h);
  same_shape("attention_cached", keys, values);
  check(length >= x.shape()[1] && length <= keys.shape()[1], "attention_cached: length {} of {} cached and {} queried",
        length, keys.shape()[1], x.shape()[1]);
  AttentionShape s = fused_shape(x, h);
  s.Tk = length, s.key_row = h.K * h.D, s.key_batch = keys.shape()[1] * s.key_row;
  Tensor logsumexp({s.B, s.H, s.Tq}, x.dtype(), x.device());
  return compute(x, {s.B, s.Tq, s.H, s.D}, [&]<class T>(const Kernels<T>& k, T* y) {
    k.attention(s, x.data<T>(), ptr(keys, y), ptr(values, y), y, logsumexp.data<T>());
  });
}

RowLosses cross_entropy(const Tensor& logits, const Tensor& target) {
  check(target.count() == logits.rows(), "cross_entropy: {} targets for logits {}", target.count(),
        logits.shape().text());
  RowLosses r{{}, Tensor({logits.rows()}, logits.dtype(), logits.device())};
  r.loss = compute(logits, {logits.rows()}, [&]<class T>(const Kernels<T>& k, T* loss) {
    k.cross_entropy(logits.rows(), logits.cols(), ptr(logits, loss), indices(target), loss, r.logsumexp.data<T>());
  });
  return r;
}

Tensor cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& logsumexp, const Tensor& g) {
  return compute(logits, logits.shape(), [&](auto& k, auto* dx) {
    k.cross_entropy_backward(logits.rows(), logits.cols(), ptr(logits, dx), indices(target), ptr(logsumexp, dx),
                             ptr(g, dx), dx);
  });
}

}  // namespace switchyard
