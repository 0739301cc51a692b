// Kernels that do little but move bytes: elementwise, norms, reductions, the loss and the optimizer.
#include <fmt/format.h>

#include "tensor/cuda/row_steps.h"
#include "tests/bench/device_bench.h"

namespace switchyard::bench {
namespace {

// Adds cases whose bytes are counted in elements of T and of its wide type.
template <class T>
struct Cases {
  Group& group;
  void add(const std::string& name, double elements, double wide_elements, std::function<void()> run) const {
    group.cases.push_back({name, 0, sizeof(T) * elements + sizeof(Wide<T>) * wide_elements, std::move(run), nullptr});
  }
};

template <class T>
Group make_elementwise(const Sizes& sizes) {
  Group group{fmt::format("elementwise, {}", name(dtype_of<T>())), Bound::memory, dtype_of<T>(), ""};
  const Cases<T> cases{group};
  const Kernels<T>& k = gpu::table<T>();
  const int64_t rows = sizes.pick(40, 8192, 16384), F = sizes.pick(24, 4096, 4096), n = rows * F;
  const Array<T> x = random_array<T>(2 * n, 1), a = random_array<T>(n, 2), y(n), dx(2 * n);
  cases.add(fmt::format("add {}", n), 3.0 * n, 0, [=, &k] { k.add(n, x, a, y); });
  cases.add(fmt::format("silu {}", n), 2.0 * n, 0, [=, &k] { k.unary(Unary::silu, n, x, y); });
  cases.add(fmt::format("dropout {}", n), 2.0 * n, 0, [=, &k] { k.dropout(n, 0.1, {1, 1}, x, y); });
  cases.add(fmt::format("swiglu {} x {}", rows, F), 3.0 * n, 0, [=, &k] { k.swiglu(rows, F, x, y); });
  cases.add(fmt::format("swiglu backward {} x {}", rows, F), 5.0 * n, 0,
            [=, &k] { k.swiglu_backward(rows, F, x, a, dx); });
  if constexpr (sizeof(T) == 2) {
    const Array<float> wide(n);
    cases.add(fmt::format("widen {}", n), n, n, [=, &k] { k.widen(n, x, wide); });
    cases.add(fmt::format("narrow {}", n), n, n, [=, &k] { k.narrow(n, wide, y); });
  }
  const int64_t B = sizes.pick(2, 8, 16), T_ = sizes.pick(20, 1024, 1024), H = sizes.pick(2, 36, 36), D = 64;
  const Array<T> heads = random_array<T>(B * T_ * H * D, 3);
  cases.add(fmt::format("rope {} x {} x {} heads x {}", B, T_, H, D), 2.0 * double(B * T_ * H * D), 0,
            [=, &k] { k.rope(B, T_, H, D, H * D, 0, 10000, 1, heads, heads); });
  return group;
}

template <class T>
Group make_norms(const Sizes& sizes) {
  Group group{fmt::format("norms and reductions, {}", name(dtype_of<T>())), Bound::memory, dtype_of<T>(), ""};
  const Cases<T> cases{group};
  const Kernels<T>& k = gpu::table<T>();
  const int64_t rows = sizes.pick(40, 16384, 32768), cols = sizes.pick(48, 4096, 4096), n = rows * cols;
  const Array<T> x = random_array<T>(n, 1), dy = random_array<T>(n, 2), y(n), dx(n);
  const Array<Wide<T>> w = random_array<Wide<T>>(cols, 3), mean(rows), inverse(rows), dw(cols), db(cols), row(rows);
  const Array<double> square(1);
  const std::string size = fmt::format(" {} x {}", rows, cols);
  k.layer_norm(rows, cols, 1e-5, x, w, w, y, mean, inverse);
  cases.add("rms norm" + size, 2.0 * n, 0, [=, &k] { k.rms_norm(rows, cols, 1e-5, x, w, y, inverse); });
  cases.add("rms norm backward" + size, 3.0 * n, 0,
            [=, &k] { k.rms_norm_backward(rows, cols, x, w, inverse, dy, dx, dw); });
  cases.add("rms norm backward, plain" + size, 3.0 * n, 0,
            [=] { gpu::rms_norm_backward_plain<T>(rows, cols, x, w, inverse, dy, dx, dw); });
  cases.add("layer norm" + size, 2.0 * n, 0, [=, &k] { k.layer_norm(rows, cols, 1e-5, x, w, w, y, mean, inverse); });
  cases.add("layer norm backward" + size, 3.0 * n, 0,
            [=, &k] { k.layer_norm_backward(rows, cols, x, w, mean, inverse, dy, dx, dw, db); });
  cases.add("layer norm backward, plain" + size, 3.0 * n, 0,
            [=] { gpu::layer_norm_backward_plain<T>(rows, cols, x, w, mean, inverse, dy, dx, dw, db); });
  cases.add("softmax" + size, 2.0 * n, 0, [=, &k] { k.softmax(rows, cols, x, y); });
  cases.add("softmax, plain" + size, 2.0 * n, 0, [=] { gpu::softmax_plain<T>(rows, cols, x, y); });
  cases.add("softmax backward" + size, 3.0 * n, 0, [=, &k] { k.softmax_backward(rows, cols, y, dy, dx); });
  cases.add("sum" + size, n, 0, [=, &k] { k.sum(n, x, row); });
  cases.add("sum of squares" + size, n, 0, [=, &k] { k.sum_squares(n, x, square); });
  cases.add("column sums" + size, n, 0, [=, &k] { k.column_sum(rows, cols, x, dw); });
  cases.add("column sums, plain" + size, n, 0, [=] { gpu::column_sum_plain<T>(rows, cols, x, dw); });
  cases.add("row dots" + size, 2.0 * n, 0, [=, &k] { k.row_dot(rows, cols, x, dy, row); });
  return group;
}

template <class T>
Group make_loss(const Sizes& sizes) {
  Group group{fmt::format("loss, {}", name(dtype_of<T>())), Bound::memory, dtype_of<T>(), ""};
  const Cases<T> cases{group};
  const Kernels<T>& k = gpu::table<T>();
  const int64_t rows = sizes.pick(20, 4096, 8192), V = sizes.pick(100, 50304, 50304), n = rows * V;
  std::vector<int32_t> targets(static_cast<size_t>(rows));
  for (size_t r = 0; r < targets.size(); ++r) targets[r] = int32_t(int64_t(r) * 7919 % V);
  const Array<int32_t> target = int_array(targets);
  const Array<T> x = random_array<T>(n, 1), dx(n);
  const Array<Wide<T>> loss(rows), logsumexp(rows), g = random_array<Wide<T>>(rows, 2);
  const std::string size = fmt::format(" {} x {}", rows, V);
  k.cross_entropy(rows, V, x, target, loss, logsumexp);
  cases.add("cross-entropy" + size, n, 0, [=, &k] { k.cross_entropy(rows, V, x, target, loss, logsumexp); });
  cases.add("cross-entropy, plain" + size, n, 0,
            [=] { gpu::cross_entropy_plain<T>(rows, V, x, target, loss, logsumexp); });
  cases.add("cross-entropy backward" + size, 2.0 * n, 0,
            [=, &k] { k.cross_entropy_backward(rows, V, x, target, logsumexp, g, dx); });
  return group;
}

Group make_optimizer(const Sizes& sizes) {
  Group group{"optimizer", Bound::memory, Dtype::f32, ""};
  const Kernels<float>& k = gpu::table<float>();
  const int64_t n = sizes.pick(5000, int64_t{1} << 25, int64_t{1} << 27);
  const Array<float> gradient = random_array<float>(n, 1), w = random_array<float>(n, 2), m(n), v(n);
  const Array<double> square(1), factor(2);
  k.fill(n, 0, m), k.fill(n, 0, v);
  k.sum_squares(n, gradient, square);
  k.gradient_scale(1, square, 1, 1, factor);
  const AdamWStep step{1e-3, 0.9, 0.95, 1e-8, 1e-4, 0.1, 0.05, factor + 1};
  Cases<float>{group}.add(fmt::format("AdamW {}", n), 7.0 * double(n), 0, [=, &k] {
    static_cast<void>(factor), k.adamw(n, step, gradient, w, m, v);  // step points into factor, which must live
  });
  return group;
}

}  // namespace

std::vector<Section> row_sections(const Sizes& sizes) {
  return {{"elementwise-bf16", [=] { return make_elementwise<bf16>(sizes); }},
          {"elementwise-f32", [=] { return make_elementwise<float>(sizes); }},
          {"norms-bf16", [=] { return make_norms<bf16>(sizes); }},
          {"norms-f32", [=] { return make_norms<float>(sizes); }},
          {"loss-bf16", [=] { return make_loss<bf16>(sizes); }},
          {"loss-f32", [=] { return make_loss<float>(sizes); }},
          {"optimizer", [=] { return make_optimizer(sizes); }}};
}

}  // namespace switchyard::bench
