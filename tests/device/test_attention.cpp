// Attention and rotary embedding.
#include "tests/device/device_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// Where the numbers of one attention lie.
enum class Layout {
  apart,  // q, k and v each on their own, without gaps
  fused,  // the three beside each other in every row, as one matrix product writes them
  cache   // the keys in a longer cache, whose later rows hold NaN
};

struct Problem {
  AttentionShape s;
  Layout layout;
  Floats q, k, v, dy;  // fused: all in q

  Problem(int64_t B, int64_t Tq, int64_t Tk, int64_t H, int64_t K, int64_t D, Layout layout = Layout::apart,
          int64_t window = all_keys)
      : layout(layout) {
    const bool fused = layout == Layout::fused;
    const int64_t spare = layout == Layout::cache ? 7 : 0, query_row = fused ? (H + 2 * K) * D : H * D,
                  key_row = fused ? query_row : K * D;
    s = {.B = B,
         .Tq = Tq,
         .Tk = Tk,
         .H = H,
         .K = K,
         .D = D,
         .query_row = query_row,
         .query_batch = Tq * query_row,
         .key_row = key_row,
         .key_batch = (Tk + spare) * key_row,
         .scale = 1 / std::sqrt(double(D)),
         .window = window};
    q = normals(B * s.query_batch, 1), dy = normals(B * Tq * H * D, 4);
    if (fused) return;
    k = normals(B * s.key_batch, 2), v = normals(B * s.key_batch, 3);
    for (int64_t b = 0; b < B; ++b)
      for (int64_t i = Tk * key_row; i < s.key_batch; ++i)
        k[size_t(b * s.key_batch + i)] = v[size_t(b * s.key_batch + i)] = nan_value;
  }
  int64_t outputs() const { return s.B * s.Tq * s.H * s.D; }
  int64_t query_rows() const { return s.B * s.H * s.Tq; }
};

// Where a run has put the three inputs, or expects the three gradients.
template <class P>
struct Three {
  P q, k, v;
};
template <class Run>
auto inputs(Run& run, const Problem& p) {
  const auto* q = run.in(p.q);
  if (p.layout == Layout::fused) return Three<decltype(q)>{q, q + p.s.H * p.s.D, q + (p.s.H + p.s.K) * p.s.D};
  return Three<decltype(q)>{q, run.in(p.k), run.in(p.v)};
}
template <class Run>
auto gradients(Run& run, const Problem& p, const Tolerance& t) {
  auto* dq = run.out(int64_t(p.q.size()), t);
  if (p.layout == Layout::fused) return Three<decltype(dq)>{dq, dq + p.s.H * p.s.D, dq + (p.s.H + p.s.K) * p.s.D};
  return Three<decltype(dq)>{dq, run.out(int64_t(p.k.size()), t), run.out(int64_t(p.v.size()), t)};
}

// Output 0: y, or else the logsumexp.
template <class T>
Floats forward(const Problem& p, bool wants_y) {
  return on_cpu<T>([&](auto& run) {
    auto* y = wants_y ? run.out(p.outputs()) : nullptr;
    auto* logsumexp = run.wide_out(p.query_rows());
    if (!wants_y) y = run.out(p.outputs());
    const auto in = inputs(run, p);
    run.kernel.attention(p.s, in.q, in.k, in.v, y, logsumexp);
  });
}

// The backward is given the CPU's y and logsumexp. In bf16 weights and their gradients may be rounded before they are
// multiplied, to 2^-8 of each; the logsumexp is of products that f32 holds. `cancelled`: the size of terms that may
// leave nothing but their rounding.
template <class T>
void check_problem(const Problem& p, double cancelled = 0.1, Runs runs = Runs::all) {
  const AttentionShape& s = p.s;
  INFO("B ", s.B, " Tq ", s.Tq, " Tk ", s.Tk, " H ", s.H, " K ", s.K, " D ", s.D, " layout ", int(p.layout), " window ",
       s.window);
  constexpr bool narrow = std::is_same_v<T, bf16>;
  Problem sizes = p;
  sizes.v = absolute(p.v);
  Tolerance of_y{.absolute = 1e-30, .of_size = narrow ? 0x1p-8 : 2e-5, .size = forward<T>(sizes, true)};
  if (p.layout == Layout::fused) of_y = {.of_peak = narrow ? 0x1p-8 : 2e-5};
  const Tolerance of_sum{.relative = 2e-6, .absolute = 5e-6};
  const double of_gradients = narrow ? 0x1p-7 : 3e-5;
  const Tolerance of_gradient{.of_peak = of_gradients, .absolute = of_gradients * cancelled};
  const Floats y = forward<T>(p, true), logsumexp = forward<T>(p, false);
  agree<T>(
      [&](auto& run) {
        const auto in = inputs(run, p);
        auto* const y_out = run.out(p.outputs(), of_y);
        run.kernel.attention(s, in.q, in.k, in.v, y_out, run.wide_out(p.query_rows(), of_sum));
        const auto d = gradients(run, p, of_gradient);
        run.kernel.attention_backward(s, in.q, in.k, in.v, run.in(y), run.wide(logsumexp), run.in(p.dy), d.q, d.k, d.v);
      },
      runs);
}

}  // namespace

TEST_SUITE_BEGIN("device: attention");

TEST_CASE_TEMPLATE("attention, forward and backward, of any length", T, float, bf16) {
  for (int64_t length : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 129})
    check_problem<T>(Problem(1, length, length, 2, 1, 16));
}

TEST_CASE_TEMPLATE("attention of any head width", T, float, bf16) {
  for (int64_t D : {1, 2, 3, 5, 8, 16, 31, 32, 33, 48, 64, 80, 96, 128, 130, 256, 260})
    check_problem<T>(Problem(1, 37, 37, 2, 2, D), 0.1, D % 8 == 0 ? all : once);
}

TEST_CASE_TEMPLATE("attention with grouped queries, batches and strides", T, float, bf16) {
  for (Layout layout : {Layout::apart, Layout::fused, Layout::cache}) {
    check_problem<T>(Problem(3, 40, 40, 6, 2, 12, layout));
    check_problem<T>(Problem(2, 66, 66, 4, 1, 32, layout));
    check_problem<T>(Problem(2, 33, 33, 3, 3, 5, layout));
    check_problem<T>(Problem(1, 64, 64, 8, 2, 64, layout));
  }
}

TEST_CASE_TEMPLATE("attention of the last queries over a longer past", T, float, bf16) {
  for (int64_t past : {1, 5, 31, 32, 64, 130})
    for (int64_t queries : {1, 2, 17, 64})
      check_problem<T>(Problem(1, queries, queries + past, 2, 1, 16, Layout::cache), 0.1, in_turn(uint64_t(past)));
  check_problem<T>(Problem(2, 1, 500, 4, 2, 24, Layout::cache));
  check_problem<T>(Problem(2, 3, 300, 8, 1, 64, Layout::cache));
}

TEST_CASE_TEMPLATE("attention with a window", T, float, bf16) {
  for (int64_t window : {1, 2, 16, 31, 64, 69, 70, 71})
    check_problem<T>(Problem(2, 70, 70, 4, 2, 16, Layout::fused, window), 0.1, in_turn(uint64_t(window)));
  for (int64_t window : {1, 7, 100, 299, 300})
    for (int64_t queries : {1, 3, 40})
      check_problem<T>(Problem(1, queries, 300, 4, 2, 16, Layout::cache, window), 0.1, in_turn(uint64_t(window)));
  check_problem<T>(Problem(1, 20, 20, 2, 1, 4, Layout::apart, 5), 0.1, once);  // rows that are not aligned
}

TEST_CASE_TEMPLATE("attention of nothing", T, float, bf16) {
  check_problem<T>(Problem(0, 5, 5, 2, 1, 4));
  check_problem<T>(Problem(2, 0, 0, 2, 1, 4));
  check_problem<T>(Problem(1, 0, 9, 2, 1, 4));  // keys that nobody asks get a gradient of zero
}

TEST_CASE_TEMPLATE("attention with extreme scores and values", T, float, bf16) {
  Problem p(1, 70, 70, 2, 1, 4);
  p.s.scale = 1;
  for (Floats* x : {&p.q, &p.k})  // whole numbers: the scores, up to some 1e4, are exact
    for (float& value : *x) value = std::round(30 * value);
  check_problem<T>(p);
  for (float& value : p.k) value = 1;  // all scores of a query equal
  for (float& value : p.v) value *= 1e30f;
  for (float& value : p.dy) value *= 1e-3f;
  check_problem<T>(p, 1e28);              // dq is the sum of a softmax's gradient, which is 0
  Problem reversed(1, 40, 40, 2, 1, 16);  // the least alike weighs most
  reversed.s.scale = -0.3;
  check_problem<T>(reversed);
  Problem small(1, 40, 40, 1, 1, 4);
  for (Floats* x : {&small.q, &small.k}) std::fill(x->begin(), x->end(), 1e-40f);
  check_problem<T>(small);
}

TEST_CASE_TEMPLATE("a score of -inf is a weight of zero, even for a whole tile of keys", T, float, bf16) {
  Problem p(1, 150, 150, 1, 1, 1);
  p.s.scale = 1;
  std::fill(p.q.begin(), p.q.end(), 1.0f);
  std::fill(p.k.begin() + 3, p.k.begin() + 140, -infinity);  // the first queries see finite scores, and so do all
  agree<T>([&](auto& run) {
    const auto in = inputs(run, p);
    run.kernel.attention(p.s, in.q, in.k, in.v, run.out(150, {.absolute = std::is_same_v<T, bf16> ? 0.02 : 1e-4}),
                         run.wide_out(150, slope));
  });
}

TEST_CASE_TEMPLATE("no sequence sees its neighbours' infinities and NaN", T, float, bf16) {
  Problem p(3, 40, 40, 2, 1, 16);
  const int64_t last = p.s.key_batch;
  for (float bad : {nan_value, infinity}) {
    std::fill(p.v.begin() + last, p.v.begin() + 2 * last, bad);  // of the middle one
    std::fill(p.k.begin() + last, p.k.begin() + 2 * last, bad);
    Run<T, T> device(under_test, 0);
    const auto in = inputs(device, p);
    auto* const y = device.out(p.outputs());
    device.kernel.attention(p.s, in.q, in.k, in.v, y, device.wide_out(p.query_rows()));
    const std::vector<double> values = device.results()[0].values;
    for (size_t i = 0; i < values.size(); ++i)
      if (i / (values.size() / 3) != 1 && !std::isfinite(values[i])) FAIL_CHECK("y[", i, "]");
  }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("device: rope");

// Angles of thousands of radians must be reduced before they are rounded to f32.
TEST_CASE_TEMPLATE("rope, forwards and back, beside each other and in place", T, float, bf16) {
  const Tolerance t{.absolute = 4e-6};  // numbers up to 4, turned by a sine off by a few roundings
  for (int64_t D : {2, 4, 6, 30, 32, 128})
    for (int64_t length : {0, 1, 17})
      for (int64_t first : {0, 3, 1000, 30000}) {
        CAPTURE(D);
        CAPTURE(length);
        CAPTURE(first);
        const int64_t B = 2, heads = 3, stride = heads * D + (D % 4 == 2 ? 0 : D);  // behind the heads lies v
        const Floats x = normals(B * length * stride, 5);
        agree<T>([&](auto& run) {
          for (int direction : {1, -1}) {
            run.kernel.rope(B, length, heads, D, stride, first, 10000, direction, run.in(x),
                            run.out(B * length * stride, t));
            auto* const both = run.in_out(x, t);
            run.kernel.rope(B, length, heads, D, stride, first, 500000, direction, both, both);
          }
        });
      }
}

TEST_CASE_TEMPLATE("rope of a token alone and among others: the same bits", T, float, bf16) {
  const int64_t length = 40, heads = 2, D = 32, stride = heads * D;
  const Floats x = normals(length * stride, 6);
  Run<T, T> device(under_test, 0);
  const T* const from = device.in(x);
  T *const all = device.out(length * stride), *const alone = device.out(length * stride);
  device.kernel.rope(1, length, heads, D, stride, 17, 10000, 1, from, all);
  for (int64_t t = 0; t < length; ++t)
    device.kernel.rope(1, 1, heads, D, stride, 17 + t, 10000, 1, from + t * stride, alone + t * stride);
  const std::vector<Output> outputs = device.results();
  CHECK(outputs[0].bytes == outputs[1].bytes);
}

TEST_SUITE_END();
