// The matrix products. Most operands are whole numbers, whose sums are exact in any order: a term that is lost, doubled
// or read from elsewhere shows, and no tolerance is needed.
#include "tests/device/device_cases.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Form {
  bool transpose_a, transpose_b, accumulate;
  explicit Form(uint32_t bits) : transpose_a(bits & 1), transpose_b(bits & 2), accumulate(bits & 4) {}
};

template <class T>
void check_gemm(Form f, int64_t M, int64_t N, int64_t K, Runs runs = Runs::all) {
  INFO("transpose ", f.transpose_a, f.transpose_b, " accumulate ", f.accumulate, " M ", M, " N ", N, " K ", K);
  const Floats a = whole_numbers(M * K, 1), b = whole_numbers(K * N, 2), c = whole_numbers(M * N, 3);
  agree<T>(
      [&](auto& run) {
        run.kernel.gemm(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), f.accumulate,
                        f.accumulate ? run.in_out(c) : run.out(M * N));
        run.kernel.gemm_wide(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), f.accumulate,
                             f.accumulate ? run.wide_in_out(c) : run.wide_out(M * N));
      },
      runs);
}

// How many slots each expert has, and from which rows they read: repeats, and out of order.
struct Slots {
  Ints offset = {0}, row;
  Slots(const Ints& counts, int64_t rows) {
    for (int32_t n : counts) offset.push_back(offset.back() + n);
    row = random_ints(offset.back(), 0, int32_t(rows) - 1, 5);
  }
};

// `spare`: slots behind offset[E] for which there is room. Their inputs are NaN and row -1, their results 0.
template <class T>
void check_grouped(const Ints& counts, int64_t out, int64_t in, bool with_rows, int64_t spare, Runs runs = Runs::all) {
  INFO(counts.size(), " experts ", out, "x", in, " rows ", with_rows, " spare ", spare);
  const int64_t tokens = 37, E = int64_t(counts.size());
  const Slots slots(counts, tokens);
  const int64_t used = slots.offset.back(), N = used + spare;
  Floats x = whole_numbers((with_rows ? tokens : used) * in, 1), dy = whole_numbers(used * out, 2);
  const Floats w = whole_numbers(E * out * in, 3);
  dy.resize(size_t(N * out), nan_value);
  if (!with_rows) x.resize(size_t(N * in), nan_value);
  Ints row = slots.row;
  row.resize(size_t(N), -1);
  agree<T>(
      [&](auto& run) {
        const int32_t *const offset = run.in(slots.offset), *const rows = with_rows ? run.in(row) : nullptr;
        run.kernel.grouped_forward(N, E, out, in, offset, rows, run.in(x), run.in(w), run.out(N * out));
        run.kernel.grouped_backward_input(N, E, out, in, offset, run.in(dy), run.in(w), run.out(N * in));
        run.kernel.grouped_backward_weight(N, E, out, in, offset, rows, run.in(dy), run.in(x), run.wide_out(w.size()));
      },
      runs);
}

}  // namespace

TEST_SUITE_BEGIN("device: gemm");

TEST_CASE_TEMPLATE("gemm: every form on ragged sizes", T, float, bf16) {
  const int64_t sizes[] = {1, 2, 3, 8, 16, 17, 33};
  uint64_t i = 0;
  for (int64_t M : sizes)
    for (int64_t N : sizes)
      for (int64_t K : {1, 8, 17, 40}) check_gemm<T>(Form(random_bits({1, 1}, i)), M, N, K, in_turn(i)), ++i;
  for (uint32_t form = 0; form < 8; ++form) {
    check_gemm<T>(Form(form), 65, 130, 33, form == 3 ? all : in_turn(form));
    check_gemm<T>(Form(form), 64, 64, 64, in_turn(form + 2));  // whole tiles only
  }
  check_gemm<T>(Form(0), 127, 33, 129, once);
  check_gemm<T>(Form(7), 128, 128, 32, once);
}

TEST_CASE_TEMPLATE("gemm: few rows, few columns, and long sums", T, float, bf16) {
  for (uint32_t form = 0; form < 8; ++form) {
    check_gemm<T>(Form(form), 1, 130, 100, in_turn(form));
    check_gemm<T>(Form(form), 4, 65, 129, in_turn(form + 1));
    check_gemm<T>(Form(form), 130, 1, 50, in_turn(form + 2));
  }
  for (uint32_t form : {0, 1, 2, 7}) check_gemm<T>(Form(form), 9, 17, 1100, in_turn(form));
  check_gemm<T>(Form(2), 1, 700, 64, once);
  check_gemm<T>(Form(2), 1, 1, 3001);
  check_gemm<T>(Form(1), 33, 47, 700, again);
  check_gemm<T>(Form(4), 257, 130, 16, once);
}

TEST_CASE_TEMPLATE("gemm: empty sizes", T, float, bf16) {
  for (uint32_t form = 0; form < 8; ++form)
    for (int empty = 1; empty < 8; ++empty)
      check_gemm<T>(Form(form), empty & 1 ? 0 : 70, empty & 2 ? 0 : 40, empty & 4 ? 0 : 3);
}

TEST_CASE_TEMPLATE("gemm of fractions is as close as its sums allow", T, float, bf16) {
  const int64_t shapes[][3] = {{40, 65, 40}, {3, 70, 600}};
  for (const auto& [M, N, K] : shapes)
    for (uint32_t form = 0; form < 8; ++form) {
      const Form f(form);
      const Floats a = normals(M * K, 1), b = normals(K * N, 2), c = normals(M * N, 3);
      const Floats size = on_cpu<T>([&](auto& run) {
        run.kernel.gemm(f.transpose_a, f.transpose_b, M, N, K, run.in(absolute(a)), run.in(absolute(b)), false,
                        run.out(M * N));
      });
      Tolerance t = reduction(size);
      t.absolute = 1e-6;  // of the rounding of what is added to, where there is anything
      agree<T>(
          [&](auto& run) {
            run.kernel.gemm(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), f.accumulate,
                            f.accumulate ? run.in_out(c, t) : run.out(M * N, t));
            run.kernel.gemm_wide(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), f.accumulate,
                                 f.accumulate ? run.wide_in_out(c, t) : run.wide_out(M * N, t));
          },
          in_turn(form + uint64_t(M)));
    }
}

TEST_CASE_TEMPLATE("gemm: infinities and NaN stay in their row and column", T, float, bf16) {
  for (int64_t M : {1, 3, 40})
    for (uint32_t form = 0; form < 4; ++form) {
      const int64_t N = 35, K = 21;
      const Form f(form);
      CAPTURE(M);
      CAPTURE(form);
      Floats a = whole_numbers(M * K, 1), b = absolute(whole_numbers(K * N, 2));
      a[size_t(M * K / 2)] = nan_value;
      a[size_t(M * K - 1)] = infinity;
      b[size_t(K * N - 1)] = infinity;
      b[size_t(3)] = -infinity;
      for (float& v : b) v += 1;  // infinity times 0 would be one more NaN
      agree<T>([&](auto& run) {
        run.kernel.gemm(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), false, run.out(M * N));
        run.kernel.gemm_wide(f.transpose_a, f.transpose_b, M, N, K, run.in(a), run.in(b), false, run.wide_out(M * N));
      });
    }
}

// 300 is no bf16, so a product or a partial sum that is rounded on the way shows in the wide result.
TEST_CASE("gemm_wide of bf16 keeps what bf16 cannot hold") {
  const Floats a(300, 1.0f), b(300, 1.0f), thousand(1, 4096.0f);
  agree<bf16>([&](auto& run) {
    run.kernel.gemm_wide(false, true, 1, 1, 300, run.in(a), run.in(b), false, run.wide_out(1));
    run.kernel.gemm_wide(true, false, 1, 1, 300, run.in(a), run.in(b), true, run.wide_in_out(thousand));
    run.kernel.gemm(false, true, 1, 1, 300, run.in(a), run.in(b), true, run.in_out(thousand));
  });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("device: grouped");

TEST_CASE_TEMPLATE("grouped products: any number of slots per expert", T, float, bf16) {
  const Ints shares[] = {{}, {5}, {0}, {0, 0, 0}, {3, 0, 17, 1}, {0, 64, 0}, {1, 1, 1, 1, 0}, {9, 33, 2, 0, 100, 15}};
  uint64_t i = 0;
  for (const Ints& counts : shares)
    for (bool with_rows : {false, true})
      for (int64_t spare : {0, 5}) {
        check_grouped<T>(counts, 24, 10, with_rows, spare, in_turn(i++));
        check_grouped<T>(counts, spare ? 1 : 16, spare ? 1 : 8, with_rows, spare, in_turn(i / 2));
      }
  for (bool with_rows : {false, true}) {
    check_grouped<T>({9, 33, 2, 0, 80, 15}, 65, 33, with_rows, 70, with_rows ? all : once);
    check_grouped<T>({0, 0, 150, 0}, 40, 72, with_rows, 129, once);  // one expert has them all
    check_grouped<T>({64, 0, 128}, 64, 32, with_rows, 0, once);      // whole tiles only
    check_grouped<T>({3, 4}, 129, 130, with_rows, 1, once);
    check_grouped<T>({2, 0, 3}, 0, 5, with_rows, 2);
    check_grouped<T>({2, 0, 3}, 5, 0, with_rows, 2);
  }
}

TEST_CASE_TEMPLATE("grouped products: many experts, most of them idle", T, float, bf16) {
  Ints counts(130);
  for (size_t e = 0; e < counts.size(); e += 7) counts[e] = int32_t(e % 4);
  check_grouped<T>(counts, 9, 12, true, 0, again);
  check_grouped<T>(Ints(70, 1), 16, 8, true, 3, once);
}

TEST_CASE_TEMPLATE("grouped products of fractions, and a NaN that stays with its slot", T, float, bf16) {
  const Ints offset = {0, 20, 20, 57};
  const int64_t E = 3, N = 60, out = 33, in = 40;
  Floats x = normals(N * in, 1), dy = normals(N * out, 2);
  const Floats w = normals(E * out * in, 3);
  for (bool spoiled : {false, true}) {
    CAPTURE(spoiled);
    if (spoiled) x[size_t(20 * in + 3)] = nan_value, dy[size_t(19 * out + 7)] = infinity;
    // Sums of at most 40 products of about 1.
    const Tolerance t{.relative = 1e-6, .absolute = 5e-5};
    agree<T>([&](auto& run) {
      const int32_t* const at = run.in(offset);
      run.kernel.grouped_forward(N, E, out, in, at, nullptr, run.in(x), run.in(w), run.out(N * out, t));
      run.kernel.grouped_backward_input(N, E, out, in, at, run.in(dy), run.in(w), run.out(N * in, t));
      run.kernel.grouped_backward_weight(N, E, out, in, at, nullptr, run.in(dy), run.in(x),
                                         run.wide_out(E * out * in, t));
    });
  }
}

TEST_SUITE_END();
