// The functions of tensor/ops.h that read by index: experts' matrices, combining, gathering.
#include "tensor/compute.h"

namespace switchyard {

Tensor grouped_forward(const Tensor& offset, const Tensor& row, int64_t slots, const Tensor& x, const Tensor& weights) {
  const int64_t E = weights.shape()[0], out = weights.shape()[1], in = weights.shape()[2];
  needs("grouped_forward", "offset", offset, {E + 1});
  if (x.cols() != in) fail("grouped_forward: x of shape {} for weights {}", x.shape().text(), weights.shape().text());
  const Tensor w = cast(weights, x.dtype());
  return compute(x, {slots, out}, [&](auto& k, auto* y) {
    k.grouped_forward(slots, E, out, in, indices(offset), indices(row), ptr(x, y), ptr(w, y), y);
  });
}

Tensor grouped_backward_input(const Tensor& offset, const Tensor& dy, const Tensor& weights) {
  const int64_t E = weights.shape()[0], out = weights.shape()[1], in = weights.shape()[2];
  if (dy.cols() != out)
    fail("grouped_backward_input: dy of shape {} for weights {}", dy.shape().text(), weights.shape().text());
  const Tensor w = cast(weights, dy.dtype());
  return compute(dy, {dy.rows(), in}, [&](auto& k, auto* dx) {
    k.grouped_backward_input(dy.rows(), E, out, in, indices(offset), ptr(dy, dx), ptr(w, dx), dx);
  });
}

Tensor grouped_backward_weight(const Tensor& offset, const Tensor& row, const Tensor& dy, const Tensor& x,
                               const Shape& w) {
  if (dy.cols() != w[1] || x.cols() != w[2])
    fail("grouped_backward_weight: dy {} and x {} for weights {}", dy.shape().text(), x.shape().text(), w.text());
  Tensor dw = wide_like(dy, w);
  with_float_type(dy.dtype(), [&]<class T>() {
    kernels<T>(dy.device())
        .grouped_backward_weight(dy.rows(), w[0], w[1], w[2], indices(offset), indices(row), dy.data<T>(), x.data<T>(),
                                 dw.data<Wide<T>>());
  });
  return dw;
}

Tensor proposing_tokens(int64_t tokens, int64_t k, Device device) {
  Tensor token({tokens * k}, Dtype::i32, device);
  kernels<float>(device).proposing_tokens(tokens * k, k, token.data<int32_t>());
  return token;
}

Tensor expert_share(const Tensor& expert, int64_t E, Dtype dtype) {
  Tensor y({E}, wide(dtype), expert.device());
  with_float_type(y.dtype(), [&]<class T>() {
    kernels<T>(y.device()).expert_share(expert.count(), E, indices(expert), y.data<Wide<T>>());
  });
  return y;
}

Tensor combine(const Tensor& token_offset, const Tensor& token_slot, const Tensor& gate, const Tensor& x) {
  const int64_t tokens = token_offset.count() - 1;
  return compute(x, {tokens, x.cols()}, [&](auto& k, auto* y) {
    k.combine(tokens, x.cols(), indices(token_offset), indices(token_slot), gate.defined() ? wide(gate, y) : nullptr,
              ptr(x, y), y);
  });
}

CombineGradients combine_backward(const Tensor& offset, const Tensor& slot_token, const Tensor& gate, const Tensor& x,
                                  const Tensor& dy) {
  CombineGradients g{Tensor(x.shape(), x.dtype(), x.device()), wide_like(x, gate.shape())};
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device())
        .combine_backward(x.rows(), offset.count() - 1, x.cols(), indices(offset), indices(slot_token),
                          gate.data<Wide<T>>(), x.data<T>(), dy.data<T>(), g.dx.data<T>(), g.d_gate.data<Wide<T>>());
  });
  return g;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  same_device("gather_rows", index, x);
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
  if (index.rows() != x.rows()) fail("take_columns: index {} for {}", index.shape().text(), x.shape().text());
  return compute(x, index.shape(), [&](auto& k, auto* y) {
    k.take_columns(x.rows(), x.cols(), index.cols(), indices(index), ptr(x, y), y);
  });
}

Tensor take_columns_backward(const Tensor& dy, const Tensor& index, const Shape& x) {
  return compute(dy, x, [&](auto& k, auto* dx) {
    k.take_columns_backward(x.rows(), x.cols(), index.cols(), indices(index), ptr(dy, dx), dx);
  });
}

void copy_columns(const Tensor& x, int64_t from, Tensor& y, int64_t to, int64_t width) {
  same_dtype("copy_columns", x, y);
  if (!(x.rows() == y.rows() && from >= 0 && to >= 0 && from + width <= x.cols() && to + width <= y.cols()))
    fail("copy_columns: {} columns from {} of {} to {} of {}", width, from, x.shape().text(), to, y.shape().text());
  with_float_type(x.dtype(), [&]<class T>() {
    kernels<T>(x.device())
        .copy_rows(1, x.rows(), width, x.data<T>() + from, x.cols(), 0, y.data<T>() + to, y.cols(), 0);
  });
}

Tensor round_to_bf16(const Tensor& x) {
  if (x.device() == Device::cuda) return cast(cast(x, Dtype::bf16), x.dtype());
  return compute(x, x.shape(), [&]<class T>(auto&, T* y) {
    for (int64_t i = 0; i < x.count(); ++i) y[i] = T(float(bf16(float(x.data<T>()[i]))));
  });
}

}  // namespace switchyard
