#include <cmath>

#include "tensor/compute.h"

namespace switchyard {
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
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.add_bias(x.rows(), x.cols(), ptr(x, y), wide(bias, y), y); });
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
  if (gate_up.cols() % 2 != 0) fail("swiglu of shape {}: the last axis must be even", gate_up.shape().text());
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

Tensor jitter(const Tensor& x, double amount, RandomKey key) {
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.jitter(x.count(), amount, key, ptr(x, y), y); });
}

Tensor cast(const Tensor& x, Dtype dtype) {
  if (x.dtype() == dtype) return x;
  const bool narrows = dtype == Dtype::bf16;
  check(x.dtype() == (narrows ? Dtype::f32 : Dtype::bf16) && dtype == (narrows ? Dtype::bf16 : Dtype::f32),
        "cast of {} to {}: only between f32 and bf16", name(x.dtype()), name(dtype));
  Tensor y(x.shape(), dtype, x.device());
  const Kernels<bf16>& k = kernels<bf16>(x.device());
  if (narrows)
    k.narrow(x.count(), x.data<float>(), y.data<bf16>());
  else
    k.widen(x.count(), x.data<bf16>(), y.data<float>());
  return y;
}

Tensor repeat_row(const Tensor& x, Shape shape) {
  const int64_t n = x.count(), rows = n ? shape.count() / n : 0;
  if (rows * n != shape.count())
    fail("repeat_row of shape {} to {}: must be whole rows", x.shape().text(), shape.text());
  return compute(x, shape, [&](auto& k, auto* y) { k.repeat_row(rows, n, ptr(x, y), y); });
}

Tensor sum(const Tensor& x) {
  Tensor y = wide_like(x, {1});
  with_float_type(x.dtype(), [&]<class T>() { kernels<T>(x.device()).sum(x.count(), x.data<T>(), y.data<Wide<T>>()); });
  return y;
}

Tensor sum_squares(const Tensor& x) {
  Tensor y({1}, Dtype::f64, x.device());
  with_float_type(x.dtype(),
                  [&]<class T>() { kernels<T>(x.device()).sum_squares(x.count(), x.data<T>(), y.data<double>()); });
  return y;
}

Tensor column_sum(const Tensor& x) {
  Tensor y = wide_like(x, {x.cols()});
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device()).column_sum(x.rows(), x.cols(), x.data<T>(), y.data<Wide<T>>());
  });
  return y;
}

Tensor row_dot(const Tensor& a, const Tensor& b) {
  same_shape("row_dot", a, b);
  Tensor y = wide_like(a, {a.rows()});
  with_float_type(a.dtype(), [&]<class T>() {
    kernels<T>(a.device()).row_dot(a.rows(), a.cols(), a.data<T>(), b.data<T>(), y.data<Wide<T>>());
  });
  return y;
}

Tensor scale_rows(const Tensor& x, const Tensor& s) {
  if (s.count() != x.rows()) fail("scale_rows: {} factors for shape {}", s.count(), x.shape().text());
  return compute(x, x.shape(), [&](auto& k, auto* y) { k.scale_rows(x.rows(), x.cols(), ptr(x, y), wide(s, y), y); });
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
  Tensor y = wide_like(x, {x.rows()});
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device()).logsumexp(x.rows(), x.cols(), x.data<T>(), y.data<Wide<T>>());
  });
  return y;
}

Tensor top_k(const Tensor& x, int64_t k) {
  check(1 <= k && k <= x.cols(), "top_k {} of {} columns: must be 1 to {}", k, x.cols(), x.cols());
  Tensor index({x.rows(), k}, Dtype::i32, x.device());
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device()).top_k(x.rows(), x.cols(), k, x.data<T>(), index.data<int32_t>());
  });
  return index;
}

SoftmaxTopK softmax_top_k(const Tensor& x, int64_t k) {
  check(1 <= k && k <= x.cols(), "top_k {} of {} columns: must be 1 to {}", k, x.cols(), x.cols());
  SoftmaxTopK r{{}, Tensor({x.rows(), k}, Dtype::i32, x.device())};
  r.probability = compute(x, x.shape(), [&](auto& table, auto* y) {
    table.softmax_top_k(x.rows(), x.cols(), k, ptr(x, y), y, r.index.template data<int32_t>());
  });
  return r;
}

// The sizes of op(a) op(b).
struct Product {
  int64_t M, N, K;
  Product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b)
      : M(transpose_a ? a.cols() : a.rows()),
        N(transpose_b ? b.rows() : b.cols()),
        K(transpose_a ? a.rows() : a.cols()) {
    if ((transpose_b ? b.cols() : b.rows()) != K)
      fail("matmul of {}{} and {}{}: inner sizes differ", a.shape().text(), transpose_a ? " transposed" : "",
           b.shape().text(), transpose_b ? " transposed" : "");
  }
};

Tensor matmul(const Tensor& a, bool transpose_a, const Tensor& weights, bool transpose_b) {
  const Product p(a, transpose_a, weights, transpose_b);
  const Tensor b = cast(weights, a.dtype());
  return compute(a, {p.M, p.N}, [&](auto& k, auto* c) {
    k.gemm(transpose_a, transpose_b, p.M, p.N, p.K, ptr(a, c), ptr(b, c), false, c);
  });
}

Tensor matmul_wide(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b) {
  same_dtype("matmul", a, b);
  const Product p(a, transpose_a, b, transpose_b);
  Tensor c = wide_like(a, {p.M, p.N});
  with_float_type(a.dtype(), [&]<class T>() {
    kernels<T>(a.device())
        .gemm_wide(transpose_a, transpose_b, p.M, p.N, p.K, a.data<T>(), b.data<T>(), false, c.data<Wide<T>>());
  });
  return c;
}

Normalised rms_norm(const Tensor& x, const Tensor& w, double epsilon) {
  needs("rms_norm", "weight", w, {x.cols()});
  Normalised n{.y = {}, .mean = {}, .inverse = wide_like(x, {x.rows()})};
  n.y = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* y) {
    k.rms_norm(x.rows(), x.cols(), epsilon, ptr(x, y), wide(w, y), y, n.inverse.data<Wide<T>>());
  });
  return n;
}

NormGradients rms_norm_backward(const Tensor& x, const Tensor& w, const Tensor& inverse_rms, const Tensor& dy) {
  same_shape("rms_norm_backward", x, dy);
  NormGradients g{.dx = {}, .dw = Tensor(w.shape(), w.dtype(), w.device()), .db = {}};
  g.dx = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dx) {
    k.rms_norm_backward(x.rows(), x.cols(), ptr(x, dx), wide(w, dx), wide(inverse_rms, dx), ptr(dy, dx), dx,
                        g.dw.data<Wide<T>>());
  });
  return g;
}

Normalised layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double epsilon) {
  needs("layer_norm", "weight", w, {x.cols()});
  needs("layer_norm", "bias", b, {x.cols()});
  const Shape rows{x.rows()};
  Normalised n{{}, wide_like(x, rows), wide_like(x, rows)};
  n.y = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* y) {
    k.layer_norm(x.rows(), x.cols(), epsilon, ptr(x, y), wide(w, y), wide(b, y), y, n.mean.data<Wide<T>>(),
                 n.inverse.data<Wide<T>>());
  });
  return n;
}

NormGradients layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& inverse_std,
                                  const Tensor& dy) {
  same_shape("layer_norm_backward", x, dy);
  NormGradients g{{}, Tensor(w.shape(), w.dtype(), w.device()), Tensor(w.shape(), w.dtype(), w.device())};
  g.dx = compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dx) {
    k.layer_norm_backward(x.rows(), x.cols(), ptr(x, dx), wide(w, dx), wide(mean, dx), wide(inverse_std, dx),
                          ptr(dy, dx), dx, g.dw.data<Wide<T>>(), g.db.data<Wide<T>>());
  });
  return g;
}

namespace {

void needs_heads(const char* op, const Tensor& x, Heads h) {
  if (x.shape().rank() != 4 || x.shape()[2] != h.H + 2 * h.K || x.shape()[3] != h.D)
    fail("{} of shape {}: must be (B, T, {}, {})", op, x.shape().text(), h.H + 2 * h.K, h.D);
}
AttentionShape fused_shape(const Tensor& x, Heads h, int64_t window = all_keys) {
  check(window >= 1, "attention with a window of {}: must be 1 or more, for a token sees itself", window);
  const int64_t row = x.shape()[2] * h.D, batch = x.shape()[1] * row;
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
          .scale = 1 / std::sqrt(double(h.D)),
          .window = window};
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

Attended attention(const Tensor& x, Heads h, int64_t window) {
  needs_heads("attention", x, h);
  const AttentionShape s = fused_shape(x, h, window);
  Attended result{{}, wide_like(x, {s.B, s.H, s.Tq})};
  result.y = compute(x, {s.B, s.Tq, s.H, s.D}, [&]<class T>(const Kernels<T>& k, T* y) {
    const T* q = x.data<T>();
    k.attention(s, q, q + h.H * h.D, q + (h.H + h.K) * h.D, y, result.logsumexp.data<Wide<T>>());
  });
  return result;
}

Tensor attention_backward(const Tensor& x, Heads h, const Attended& forward, const Tensor& dy, int64_t window) {
  same_shape("attention_backward", forward.y, dy);
  return compute(x, x.shape(), [&]<class T>(const Kernels<T>& k, T* dq) {
    const T* q = x.data<T>();
    const int64_t keys = h.H * h.D, values = (h.H + h.K) * h.D;
    k.attention_backward(fused_shape(x, h, window), q, q + keys, q + values, ptr(forward.y, dq),
                         wide(forward.logsumexp, dq), ptr(dy, dq), dq, dq + keys, dq + values);
  });
}

void store_keys_values(const Tensor& x, Heads h, const Tensor& keys, const Tensor& values, int64_t first) {
  needs_heads("store_keys_values", x, h);
  const int64_t B = x.shape()[0], T = x.shape()[1], capacity = keys.shape()[1];
  check(first + T <= capacity, "{} tokens after {}: the cache holds {}", T, first, capacity);
  same_dtype("store_keys_values", x, keys);
  const AttentionShape s = fused_shape(x, h);
  const int64_t width = h.K * h.D;  // of a cached row
  with_float_type(x.dtype(), [&]<class T>() {
    const auto store = [&](int64_t first_head, const Tensor& cache) {
      kernels<T>(x.device())
          .copy_rows(B, s.Tq, width, x.data<T>() + first_head * h.D, s.query_row, s.query_batch,
                     cache.data<T>() + first * width, width, capacity * width);
    };
    store(h.H, keys);
    store(h.H + h.K, values);
  });
}

Tensor attention_cached(const Tensor& x, Heads h, const Tensor& keys, const Tensor& values, int64_t length,
                        int64_t window) {
  if (x.shape().rank() != 4 || x.shape()[2] < h.H || x.shape()[3] != h.D)
    fail("attention_cached of shape {}: must be (B, T, {} or more, {})", x.shape().text(), h.H, h.D);
  same_shape("attention_cached", keys, values);
  check(length >= x.shape()[1] && length <= keys.shape()[1], "attention_cached: length {} of {} cached and {} queried",
        length, keys.shape()[1], x.shape()[1]);
  AttentionShape s = fused_shape(x, h, window);
  s.Tk = length, s.key_row = h.K * h.D, s.key_batch = keys.shape()[1] * s.key_row;
  const Tensor logsumexp = wide_like(x, {s.B, s.H, s.Tq});
  return compute(x, {s.B, s.Tq, s.H, s.D}, [&]<class T>(const Kernels<T>& k, T* y) {
    k.attention(s, x.data<T>(), ptr(keys, y), ptr(values, y), y, logsumexp.data<Wide<T>>());
  });
}

void store_rows(const Tensor& x, const Tensor& cache, int64_t first) {
  const int64_t B = x.shape()[0], T = x.shape()[1], C = x.shape()[2], capacity = cache.shape()[1];
  check(first + T <= capacity, "{} tokens after {}: the cache holds {}", T, first, capacity);
  needs("store_rows", "cache", cache, {B, capacity, C});
  same_dtype("store_rows", x, cache);
  with_float_type(x.dtype(), [&]<class E>() {
    kernels<E>(x.device()).copy_rows(B, T, C, x.data<E>(), C, T * C, cache.data<E>() + first * C, C, capacity * C);
  });
}

Tensor first_rows(const Tensor& cache, int64_t length) {
  const int64_t B = cache.shape()[0], C = cache.shape()[2];
  return compute(cache, {B, length, C}, [&](auto& k, auto* y) {
    k.copy_rows(B, length, C, ptr(cache, y), C, cache.shape()[1] * C, y, C, length * C);
  });
}

RowLosses cross_entropy(const Tensor& logits, const Tensor& target) {
  if (target.count() != logits.rows())
    fail("cross_entropy: {} targets for logits {}", target.count(), logits.shape().text());
  same_device("cross_entropy", target, logits);
  RowLosses r{wide_like(logits, {logits.rows()}), wide_like(logits, {logits.rows()})};
  with_float_type(logits.dtype(), [&]<class T>() {
    kernels<T>(logits.device())
        .cross_entropy(logits.rows(), logits.cols(), logits.data<T>(), indices(target), r.loss.data<Wide<T>>(),
                       r.logsumexp.data<Wide<T>>());
  });
  return r;
}

Tensor cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& logsumexp, const Tensor& g) {
  return compute(logits, logits.shape(), [&](auto& k, auto* dx) {
    k.cross_entropy_backward(logits.rows(), logits.cols(), ptr(logits, dx), indices(target), wide(logsumexp, dx),
                             wide(g, dx), dx);
  });
}

}  // namespace switchyard
