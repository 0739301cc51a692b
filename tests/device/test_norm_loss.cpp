// Normalisation and the loss, forward and backward.
#include "tests/device/device_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

const std::vector<std::pair<int64_t, int64_t>> shapes = {{0, 1},   {0, 33},  {1, 1},   {3, 1},   {1, 2},    {5, 3},
                                                         {1, 31},  {3, 32},  {33, 33}, {2, 64},  {7, 65},   {1, 127},
                                                         {4, 128}, {5, 129}, {70, 31}, {9, 257}, {130, 16}, {2, 3001}};

// A gradient of a norm is a difference of terms of the size of dy w / rms, which for one column is 1 / |x|.
const Tolerance norm_gradient = {.of_peak = 2e-5, .absolute = 1e-6};

}  // namespace

TEST_SUITE_BEGIN("device: normalisation");

TEST_CASE_TEMPLATE("rms_norm and its gradients", T, float, bf16) {
  for (const auto& [rows, cols] : shapes) {
    CAPTURE(rows);
    CAPTURE(cols);
    const int64_t n = rows * cols;
    const Floats x = normals(n, 1), w = normals(cols, 2), dy = normals(n, 3);
    const Floats inverse = on_cpu<T>([&](auto& run) {
      auto* const statistics = run.wide_out(rows);
      run.kernel.rms_norm(rows, cols, 1e-5, run.in(x), run.wide(w), run.out(n), statistics);
    });
    agree<T>([&](auto& run) {
      run.kernel.rms_norm(rows, cols, 1e-5, run.in(x), run.wide(w), run.out(n, {.relative = 1e-5}),
                          run.wide_out(rows, {.relative = 1e-5}));
      run.kernel.rms_norm_backward(rows, cols, run.in(x), run.wide(w), run.wide(inverse), run.in(dy),
                                   run.out(n, norm_gradient), run.wide_out(cols, norm_gradient));
    });
  }
}

TEST_CASE_TEMPLATE("layer_norm and its gradients", T, float, bf16) {
  for (const auto& [rows, cols] : shapes) {
    CAPTURE(rows);
    CAPTURE(cols);
    const int64_t n = rows * cols;
    const Floats x = normals(n, 1), w = normals(cols, 2), b = normals(cols, 4), dy = normals(n, 3);
    // The CPU's statistics, for both backwards: which of the outputs comes first is theirs.
    const auto statistics = [&](bool wants_mean) {
      return on_cpu<T>([&](auto& run) {
        auto *const first = run.wide_out(rows), *const second = run.wide_out(rows);
        run.kernel.layer_norm(rows, cols, 1e-2, run.in(x), run.wide(w), run.wide(b), run.out(n),
                              wants_mean ? first : second, wants_mean ? second : first);
      });
    };
    const Floats mean = statistics(true), inverse = statistics(false);
    agree<T>([&](auto& run) {
      run.kernel.layer_norm(
          rows, cols, 1e-2, run.in(x), run.wide(w), run.wide(b), run.out(n, {.relative = 1e-5, .absolute = 1e-5}),
          run.wide_out(rows, {.relative = 1e-5, .absolute = 1e-6}), run.wide_out(rows, {.relative = 1e-5}));
      run.kernel.layer_norm_backward(rows, cols, run.in(x), run.wide(w), run.wide(mean), run.wide(inverse), run.in(dy),
                                     run.out(n, norm_gradient), run.wide_out(cols, norm_gradient),
                                     run.wide_out(cols, norm_gradient));
    });
  }
}

TEST_CASE_TEMPLATE("norms of huge, tiny, zero and constant rows, and of what is no number", T, float, bf16) {
  for (int64_t cols : {1, 33, 300})
    for (float value : {0.0f, 1.0f, 1e30f, -1e30f, 1e-30f, infinity, nan_value}) {
      CAPTURE(cols);
      CAPTURE(value);
      const Floats x(size_t(cols), value), one(size_t(cols), 1.0f);
      Floats last = one;
      last.back() = value;
      agree<T>([&](auto& run) {
        for (const Floats& row : std::vector<Floats>{x, last}) {
          run.kernel.rms_norm(1, cols, 1e-6, run.in(row), run.wide(one), run.out(cols, {.relative = 1e-5}),
                              run.wide_out(1, {.relative = 1e-5}));
          run.kernel.layer_norm(1, cols, 1e-5, run.in(row), run.wide(one), run.wide(one),
                                run.out(cols, {.relative = 1e-5, .absolute = 1e-5}),
                                run.wide_out(1, {.relative = 1e-6}), run.wide_out(1, {.relative = 1e-5}));
        }
      });
    }
}

// Around a mean of 1000 the variance is a small difference, unless the mean is taken off first.
TEST_CASE("layer_norm of rows far from zero") {
  for (int64_t cols : {33, 257}) {
    Floats x = normals(4 * cols, 1);
    for (float& v : x) v += 1000;
    const Floats w = normals(cols, 2), b = normals(cols, 3);
    agree<float>([&](auto& run) {
      run.kernel.layer_norm(4, cols, 1e-5, run.in(x), run.wide(w), run.wide(b), run.out(4 * cols, {.of_peak = 2e-4}),
                            run.wide_out(4, {.relative = 1e-6}), run.wide_out(4, {.relative = 1e-4}));
    });
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("device: loss");

TEST_CASE_TEMPLATE("cross_entropy and its gradient", T, float, bf16) {
  for (const auto& [rows, V] : shapes) {
    CAPTURE(rows);
    CAPTURE(V);
    Floats x = normals(rows * V, 1, 3);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t kind = i / size_t(V) % 4;
      if (kind == 1) x[i] += 1e4f;
      if (kind == 2) x[i] *= 1e3f;
    }
    Floats g = normals(rows, 3);
    for (float& v : g) v += v < 0 ? -0.5f : 0.5f;
    const Ints target = random_ints(rows, -1, int32_t(V) - 1, 4);
    const Floats logsumexp = on_cpu<T>([&](auto& run) {
      auto* const second = run.wide_out(rows);
      run.kernel.cross_entropy(rows, V, run.in(x), run.in(target), run.wide_out(rows), second);
    });
    agree<T>([&](auto& run) {
      run.kernel.cross_entropy(rows, V, run.in(x), run.in(target), run.wide_out(rows, slope),
                               run.wide_out(rows, {.relative = 1e-6, .absolute = 2e-6}));
      run.kernel.cross_entropy_backward(rows, V, run.in(x), run.in(target), run.wide(logsumexp), run.wide(g),
                                        run.out(rows * V, slope));
    });
  }
}

TEST_CASE_TEMPLATE("cross_entropy of logits that are infinite or no numbers", T, float, bf16) {
  for (int64_t V : {2, 33, 200})
    for (float value : {infinity, -infinity, nan_value, 3e38f, -3e38f})
      for (int32_t target : {-1, 0, 1}) {
        CAPTURE(V);
        CAPTURE(value);
        CAPTURE(target);
        Floats x = normals(V, 1);
        x[1] = value;
        agree<T>([&](auto& run) {
          auto *const loss = run.wide_out(1, slope), *const logsumexp = run.wide_out(1, slope);
          run.kernel.cross_entropy(1, V, run.in(x), run.in(Ints{target}), loss, logsumexp);
          run.kernel.cross_entropy_backward(1, V, run.in(x), run.in(Ints{target}), logsumexp, run.wide({2.0f}),
                                            run.out(V, slope));
        });
      }
}

TEST_SUITE_END();
