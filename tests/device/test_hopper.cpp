// The Hopper step of the matrix products, asked for by name: at sizes around its tiles (128 x 128 and 128 x 256, 64 k's
// a step), which the table would partly leave to other steps. Where it does not exist, its place is taken by another
// one.
#include "tensor/cuda/gemm.h"
#include "tests/device/device_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using gpu::GemmStep;

template <class Run>
constexpr bool on_device = std::is_same_v<decltype(std::declval<Run&>().out(1)), bf16*>;

struct Form {
  bool transpose_a, transpose_b, accumulate;
  explicit Form(uint32_t bits) : transpose_a(bits & 1), transpose_b(bits & 2), accumulate(bits & 4) {}
};

// Both results of one product: bf16 and f32.
template <class Run>
void multiply(Run& run, Form f, int64_t M, int64_t N, int64_t K, const Floats& a, const Floats& b, const Floats& c,
              int64_t splits, const Tolerance& t = exact) {
  const auto *in_a = run.in(a), *in_b = run.in(b);
  auto* const narrow = f.accumulate ? run.in_out(c, t) : run.out(M * N, t);
  auto* const wide = f.accumulate ? run.wide_in_out(c, t) : run.wide_out(M * N, t);
  if constexpr (on_device<Run>) {
    gpu::gemm_step(GemmStep::hopper, f.transpose_a, f.transpose_b, M, N, K, in_a, in_b, f.accumulate, narrow, splits);
    gpu::gemm_step(GemmStep::hopper, f.transpose_a, f.transpose_b, M, N, K, in_a, in_b, f.accumulate, wide, splits);
  } else {
    run.kernel.gemm(f.transpose_a, f.transpose_b, M, N, K, in_a, in_b, f.accumulate, narrow);
    run.kernel.gemm_wide(f.transpose_a, f.transpose_b, M, N, K, in_a, in_b, f.accumulate, wide);
  }
}

// The lines of both operands are whole chunks of 16 bytes: sizes along which they lie are rounded up to 8 elements.
int64_t chunks(int64_t size) { return (size + 7) / 8 * 8; }

void check_product(Form f, int64_t M, int64_t N, int64_t K, Runs runs = once, int64_t splits = 1) {
  if (f.transpose_a) M = chunks(M);
  if (!f.transpose_b) N = chunks(N);
  if (!f.transpose_a || f.transpose_b) K = chunks(K);
  INFO("transpose ", f.transpose_a, f.transpose_b, " accumulate ", f.accumulate, " M ", M, " N ", N, " K ", K,
       " splits ", splits);
  const Floats a = whole_numbers(M * K, 1), b = whole_numbers(K * N, 2), c = whole_numbers(M * N, 3);
  agree<bf16>([&](auto& run) { multiply(run, f, M, N, K, a, b, c, splits); }, runs);
}

// `spare`: slots behind offset[E], whose inputs are NaN and whose results are 0.
void check_grouped(const Ints& counts, int64_t out, int64_t in, bool with_rows, int64_t spare, Runs runs = once) {
  INFO(counts.size(), " experts ", out, "x", in, " rows ", with_rows, " spare ", spare);
  Ints offset = {0};
  for (int32_t n : counts) offset.push_back(offset.back() + n);
  const int64_t tokens = 37, E = int64_t(counts.size()), used = offset.back(), N = used + spare;
  Ints row = random_ints(used, 0, tokens - 1, 5);
  Floats x = whole_numbers((with_rows ? tokens : used) * in, 1), dy = whole_numbers(used * out, 2);
  const Floats w = whole_numbers(E * out * in, 3);
  row.resize(size_t(N), -1);
  if (!with_rows) x.resize(size_t(N * in), nan_value);
  dy.resize(size_t(N * out), nan_value);
  agree<bf16>(
      [&](auto& run) {
        const int32_t *const at = run.in(offset), *const rows = with_rows ? run.in(row) : nullptr;
        const auto *in_x = run.in(x), *in_w = run.in(w), *in_dy = run.in(dy);
        auto *const y = run.out(N * out), *const dx = run.out(N * in);
        float* const dw = run.wide_out(E * out * in);
        if constexpr (on_device<decltype(run)>) {
          gpu::grouped_forward_step(GemmStep::hopper, N, E, out, in, at, rows, in_x, in_w, y);
          gpu::grouped_backward_input_step(GemmStep::hopper, N, E, out, in, at, in_dy, in_w, dx);
          gpu::grouped_backward_weight_step(GemmStep::hopper, N, E, out, in, at, rows, in_dy, in_x, dw);
        } else {
          run.kernel.grouped_forward(N, E, out, in, at, rows, in_x, in_w, y);
          run.kernel.grouped_backward_input(N, E, out, in, at, in_dy, in_w, dx);
          run.kernel.grouped_backward_weight(N, E, out, in, at, rows, in_dy, in_x, dw);
        }
      },
      runs);
}

}  // namespace

TEST_SUITE_BEGIN("device: hopper");

TEST_CASE("hopper: every form at sizes around one tile") {
  const int64_t sizes[] = {1, 63, 64, 65, 127, 128, 129};
  uint64_t i = 0;
  for (int64_t M : sizes)
    for (int64_t N : sizes)
      for (int64_t K : {1, 65}) check_product(Form(random_bits({1, 1}, i)), M, N, K, in_turn(i)), ++i;
  for (uint32_t form = 0; form < 8; ++form) {
    check_product(Form(form), 128, 128, 64, again);
    check_product(Form(form), 130, 140, 200, all);
    check_product(Form(form), 70, 30, 64 * 7);  // once around the ring
    check_product(Form(form), 70, 30, 64 * 15 + 1);
  }
}

TEST_CASE("hopper: many tiles a block, and the wider ones") {
  for (uint32_t form = 0; form < 8; ++form) {
    check_product(Form(form), 260, 520, 130, form == 5 ? again : once);  // 9 tiles of 128 x 256
    check_product(Form(form), 1, 1030, 70);
    check_product(Form(form), 640, 8, 8);
  }
  check_product(Form(2), 128, 1024, 64 * 11, again);
  check_product(Form(1), 1300, 260, 16);  // more than one row of eight tiles
}

TEST_CASE("hopper: sums in pieces, and empty ones") {
  for (uint32_t form = 0; form < 8; ++form) {
    check_product(Form(form), 70, 140, 1000, once, 3);
    check_product(Form(form), 70, 140, 64 * 4, once, 4);
    check_product(Form(form), 33, 300, 65, again, 2);
    check_product(Form(form), 70, 140, 0);
    check_product(Form(form), 0, 140, 64);
    check_product(Form(form), 70, 0, 64);
  }
}

TEST_CASE("hopper: operands that are not aligned leave it to another step") {
  for (uint32_t form = 0; form < 4; ++form) check_product(Form(form), 65, 65, 65, shifted);
  const Form f(2);
  const Floats a = whole_numbers(9 * 13, 1), b = whole_numbers(13 * 7, 2);
  agree<bf16>([&](auto& run) { multiply(run, f, 9, 7, 13, a, b, {}, 1); });
}

TEST_CASE("hopper: fractions, infinities and NaN") {
  const int64_t M = 136, N = 144, K = 200;
  for (uint32_t form = 0; form < 8; ++form)
    for (bool spoiled : {false, true}) {
      CAPTURE(form);
      const Form f(form);
      Floats a = normals(M * K, 1), b = absolute(normals(K * N, 2));
      const Floats c = normals(M * N, 3);
      for (float& v : b) v += 0.125f;  // infinity times 0 would be one more NaN
      if (spoiled) a[size_t(M * K / 2)] = nan_value, a[size_t(M * K - 1)] = infinity, b[3] = -infinity;
      const Tolerance t{.relative = 1e-6, .absolute = 1e-3};  // sums of 200 products of about 1
      agree<bf16>([&](auto& run) { multiply(run, f, M, N, K, a, b, c, 1, t); }, in_turn(form));
    }
}

TEST_CASE("hopper: grouped products") {
  const Ints shares[] = {{5}, {0}, {0, 0, 0}, {3, 0, 17, 1}, {0, 64, 0}, {129, 1, 128, 0}, {9, 33, 2, 0, 200, 15}};
  uint64_t i = 0;
  for (const Ints& counts : shares)
    for (bool with_rows : {false, true})
      for (int64_t spare : {0, 5}) check_grouped(counts, 72, 136, with_rows, spare, in_turn(i++));
  for (bool with_rows : {false, true}) {
    check_grouped({300, 0, 70}, 264, 24, with_rows, 140, again);
    check_grouped({9, 400}, 16, 520, with_rows, 0);
    check_grouped({64 * 9, 3}, 8, 8, with_rows, 1);  // once around the ring
    check_grouped({2, 0, 3}, 0, 8, with_rows, 2);
    check_grouped({2, 0, 3}, 8, 0, with_rows, 2);
  }
  Ints idle(130);
  for (size_t e = 0; e < idle.size(); e += 7) idle[e] = int32_t(e % 4);
  check_grouped(idle, 16, 24, true, 3, again);
}

// The copy engine reads beyond an expert's slots and beyond its weights: what is there must not show.
TEST_CASE("hopper: a NaN stays with its slot and its expert") {
  const Ints offset = {0, 20, 20, 57};
  const int64_t E = 3, N = 60, out = 40, in = 72;
  Floats x = whole_numbers(N * in, 1), dy = whole_numbers(N * out, 2), w = whole_numbers(E * out * in, 3);
  x[size_t(20 * in + 3)] = nan_value, dy[size_t(19 * out + 7)] = nan_value;
  for (int64_t i = out * in; i < 2 * out * in; ++i) w[size_t(i)] = nan_value;  // of the idle expert
  agree<bf16>([&](auto& run) {
    const int32_t* const at = run.in(offset);
    const auto *in_x = run.in(x), *in_w = run.in(w), *in_dy = run.in(dy);
    auto *const y = run.out(N * out), *const dx = run.out(N * in);
    float* const dw = run.wide_out(E * out * in);
    if constexpr (on_device<decltype(run)>) {
      gpu::grouped_forward_step(GemmStep::hopper, N, E, out, in, at, nullptr, in_x, in_w, y);
      gpu::grouped_backward_input_step(GemmStep::hopper, N, E, out, in, at, in_dy, in_w, dx);
      gpu::grouped_backward_weight_step(GemmStep::hopper, N, E, out, in, at, nullptr, in_dy, in_x, dw);
    } else {
      run.kernel.grouped_forward(N, E, out, in, at, nullptr, in_x, in_w, y);
      run.kernel.grouped_backward_input(N, E, out, in, at, in_dy, in_w, dx);
      run.kernel.grouped_backward_weight(N, E, out, in, at, nullptr, in_dy, in_x, dw);
    }
  });
}

TEST_SUITE_END();
