// The matrix products against the definition, summed in double: every form, ragged sizes, and the same bits for any
// number of threads.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "tensor/kernels.h"

#define SWITCHYARD_ISA ladder_in_tests  // a namespace apart from the library's own copies
#include "tests/bench/gemm_ladder.h"

using namespace switchyard;
namespace ladder = switchyard::cpu::ladder_in_tests::ladder;

namespace {

template <class T>
using Array = std::vector<T>;

template <class T>
const T nan_of = std::numeric_limits<T>::quiet_NaN();

// Uniform in -1 .. 1, so that the rounding of any sum can be bounded.
template <class T>
Array<T> numbers(int64_t n, uint64_t seed) {
  Array<T> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = T(uniform({seed, 7}, i) * 2 - 1);
  return x;
}

Array<double> transposed(const Array<double>& x, int64_t rows, int64_t cols) {
  Array<double> y(x.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) y[size_t(c * rows + r)] = x[size_t(r * cols + c)];
  return y;
}

template <class T>
Array<double> in_double(const Array<T>& x) {
  return Array<double>(x.begin(), x.end());
}

// A sum of K products of numbers up to 1 is off by at most (K + 1) roundings of numbers up to K; in practice by the
// square root of that. `bound` lies between.
template <class T>
void check_close(const Array<T>& got, const Array<double>& want, int64_t K) {
  REQUIRE(got.size() == want.size());
  const double bound = double(std::numeric_limits<T>::epsilon()) * double(K + 8);
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double(got[i]) - want[i]);
    if (!(difference <= worst)) worst = difference;  // a NaN is the worst
  }
  CHECK(worst <= bound);
}

template <class T>
bool same_bits(const Array<T>& a, const Array<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Runs f(output) with 1, 2 and 3 threads on copies of `output`, and returns the one result.
template <class T, class F>
Array<T> for_all_threads(const Array<T>& output, F&& f) {
  const int before = threads();
  Array<T> first;
  for (int n : {1, 2, 3}) {
    set_threads(n);
    Array<T> y = output;
    f(y.data());
    if (n == 1) first = y;
    CHECK(same_bits(y, first));
  }
  set_threads(before);
  return first;
}

template <class T>
void check_gemm(bool ta, bool tb, int64_t M, int64_t N, int64_t K, bool accumulate) {
  const std::string what = fmt::format("{}{} {}x{}x{} {}", ta, tb, M, N, K, accumulate);
  CAPTURE(what);
  const Array<T> a = numbers<T>(M * K, 1), b = numbers<T>(K * N, 2), old = numbers<T>(M * N, 3);
  // One number behind C must stay what it is.
  Array<T> c = accumulate ? old : Array<T>(size_t(M * N), nan_of<T>);
  c.push_back(42);
  Array<T> got = for_all_threads(
      c, [&](T* y) { kernels<T>(Device::cpu).gemm(ta, tb, M, N, K, a.data(), b.data(), accumulate, y); });
  CHECK(got.back() == 42);
  got.pop_back();
  const Array<double> left = ta ? transposed(in_double(a), K, M) : in_double(a);
  const Array<double> right = tb ? transposed(in_double(b), N, K) : in_double(b);
  Array<double> want(size_t(M * N));
  ladder::naive(M, N, K, left.data(), right.data(), want.data());
  for (size_t i = 0; accumulate && i < want.size(); ++i) want[i] += double(old[i]);
  check_close(got, want, K);
}

// How many slots each expert has, and from which rows they read.
struct Slots {
  int64_t E;
  Array<int32_t> offset, row;
  int64_t count() const { return offset.back(); }
};
Slots slots_of(const Array<int>& counts, int64_t rows) {
  Slots slots{int64_t(counts.size()), {0}, {}};
  for (int n : counts) slots.offset.push_back(slots.offset.back() + n);
  for (int64_t s = 0; s < slots.count(); ++s)  // repeats, and out of order
    slots.row.push_back(int32_t(random_bits({5, 5}, uint64_t(s)) % uint64_t(rows)));
  return slots;
}

// The three grouped products as the comments of tensor/kernels.h define them, slot by slot. x is what each slot reads.
struct Grouped {
  Array<double> y, dx, dw;
};
Grouped by_definition(const Slots& slots, int64_t out, int64_t in, const Array<double>& x, const Array<double>& w,
                      const Array<double>& dy) {
  Grouped result{Array<double>(size_t(slots.count() * out)), Array<double>(size_t(slots.count() * in)),
                 Array<double>(w.size())};
  for (int64_t e = 0; e < slots.E; ++e)
    for (int64_t s = slots.offset[size_t(e)]; s < slots.offset[size_t(e) + 1]; ++s)
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i) {
          const size_t at_w = size_t((e * out + o) * in + i), at_x = size_t(s * in + i), at_y = size_t(s * out + o);
          result.y[at_y] += w[at_w] * x[at_x];
          result.dx[at_x] += w[at_w] * dy[at_y];
          result.dw[at_w] += dy[at_y] * x[at_x];
        }
  return result;
}

// `spare`: slots behind offset[E] that capacity reserved; they hold NaN and must be neither read nor written.
template <class T>
void check_grouped(const Array<int>& counts, int64_t out, int64_t in, bool with_rows, int64_t spare) {
  const std::string what = fmt::format("{} experts {}x{} {} {}", counts.size(), out, in, with_rows, spare);
  CAPTURE(what);
  const int64_t tokens = 37;
  const Slots slots = slots_of(counts, tokens);
  const int64_t N = slots.count();
  Array<T> x = numbers<T>((with_rows ? tokens : N) * in, 1), dy = numbers<T>(N * out, 2);
  const Array<T> w = numbers<T>(slots.E * out * in, 3);
  Array<T> read(size_t(N * in));  // x, slot by slot
  for (int64_t s = 0; s < N; ++s)
    std::copy_n(x.begin() + (with_rows ? slots.row[size_t(s)] : s) * in, in, read.begin() + s * in);
  const Grouped want = by_definition(slots, out, in, in_double(read), in_double(w), in_double(dy));

  dy.resize(size_t((N + spare) * out), nan_of<T>);
  if (!with_rows) x.resize(size_t((N + spare) * in), nan_of<T>);
  Array<int32_t> row = slots.row;
  row.resize(size_t(N + spare), -1);
  const int32_t* rows = with_rows ? row.data() : nullptr;
  const Kernels<T>& k = kernels<T>(Device::cpu);
  const auto untouched_behind = [&](Array<T>& y, int64_t width) {
    for (size_t i = size_t(N * width); i < y.size(); ++i) CHECK(std::isnan(y[i]));
    y.resize(size_t(N * width));
  };
  Array<T> y = for_all_threads(Array<T>(size_t((N + spare) * out), nan_of<T>), [&](T* p) {
    k.grouped_forward(N, slots.E, out, in, slots.offset.data(), rows, x.data(), w.data(), p);
  });
  untouched_behind(y, out);
  check_close(y, want.y, in);
  Array<T> dx = for_all_threads(Array<T>(size_t((N + spare) * in), nan_of<T>), [&](T* p) {
    k.grouped_backward_input(N, slots.E, out, in, slots.offset.data(), dy.data(), w.data(), p);
  });
  untouched_behind(dx, in);
  check_close(dx, want.dx, out);
  const Array<T> dw = for_all_threads(Array<T>(w.size(), nan_of<T>), [&](T* p) {
    k.grouped_backward_weight(N, slots.E, out, in, slots.offset.data(), rows, dy.data(), x.data(), p);
  });
  check_close(dw, want.dw, N);
}

}  // namespace

TEST_SUITE_BEGIN("kernels gemm");

TEST_CASE_TEMPLATE("gemm: every form on ragged sizes", T, float, double) {
  const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100};
  uint64_t i = 0;
  for (int64_t M : sizes)
    for (int64_t N : sizes)
      for (int64_t K : {1, 4, 17, 33, 100}) {
        const uint32_t form = random_bits({1, 1}, i++);
        check_gemm<T>(form & 1, form & 2, M, N, K, form & 4);
      }
  for (int form = 0; form < 8; ++form) {
    check_gemm<T>(form & 1, form & 2, 5, 130, 70, form & 4);
    check_gemm<T>(form & 1, form & 2, 61, 100, 257, form & 4);
    check_gemm<T>(form & 1, form & 2, 257, 65, 300, form & 4);
  }
}

TEST_CASE_TEMPLATE("gemm: more rows, columns and products than one block", T, float, double) {
  check_gemm<T>(false, true, 700, 65, 40, false);
  check_gemm<T>(false, false, 30, 1100, 70, true);
  check_gemm<T>(true, false, 33, 47, 1500, false);
  check_gemm<T>(false, true, 4, 1000, 300, false);
  check_gemm<T>(false, true, 1000, 8, 300, true);
}

TEST_CASE_TEMPLATE("gemm: empty sizes", T, float, double) {
  for (int form = 0; form < 8; ++form) {
    check_gemm<T>(form & 1, form & 2, 0, 5, 3, form & 4);
    check_gemm<T>(form & 1, form & 2, 5, 0, 3, form & 4);
    check_gemm<T>(form & 1, form & 2, 5, 3, 0, form & 4);  // an empty sum is 0
    check_gemm<T>(form & 1, form & 2, 70, 40, 0, form & 4);
    check_gemm<T>(form & 1, form & 2, 0, 0, 0, form & 4);
  }
}

TEST_CASE_TEMPLATE("gemm: infinities and NaN stay in their row and column", T, float, double) {
  for (int64_t M : {3, 40}) {
    const int64_t N = 35, K = 21;
    Array<T> a = numbers<T>(M * K, 1), b = numbers<T>(K * N, 2), c(size_t(M * N));
    a[size_t(1 * K + 4)] = nan_of<T>;
    b[size_t(20 * N + 33)] = std::numeric_limits<T>::infinity();
    kernels<T>(Device::cpu).gemm(false, false, M, N, K, a.data(), b.data(), false, c.data());
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < N; ++j) {
        const T x = c[size_t(i * N + j)];
        CHECK(std::isnan(x) == (i == 1));
        CHECK(std::isinf(x) == (i != 1 && j == 33));
      }
  }
}

// Sums of whole numbers are exact in any order: a term lost, doubled, or kept in a shorter format shows.
TEST_CASE_TEMPLATE("gemm: whole numbers are exact", T, float, double) {
  for (int64_t M : {6, 50}) {
    const int64_t N = 70, K = 600;
    Array<T> a(size_t(M * K)), b(size_t(K * N)), c(size_t(M * N)), want(size_t(M * N));
    for (size_t i = 0; i < a.size(); ++i) a[i] = T(int(random_bits({3, 1}, i) % 31) - 15);
    for (size_t i = 0; i < b.size(); ++i) b[i] = T(int(random_bits({3, 2}, i) % 31) - 15);
    kernels<T>(Device::cpu).gemm(false, false, M, N, K, a.data(), b.data(), false, c.data());
    ladder::naive(M, N, K, a.data(), b.data(), want.data());
    CHECK(c == want);
  }
}

TEST_CASE_TEMPLATE("grouped products: any number of slots per expert", T, float, double) {
  const Array<int> shares[] = {
      {}, {5}, {0}, {0, 0, 0}, {3, 0, 17, 1}, {0, 64, 0}, {1, 1, 1, 1, 0}, {9, 33, 2, 0, 100, 15}};
  for (const Array<int>& counts : shares)
    for (bool with_rows : {false, true})
      for (int64_t spare : {0, 5}) {
        check_grouped<T>(counts, 24, 10, with_rows, spare);
        check_grouped<T>(counts, 65, 33, with_rows, spare);
        check_grouped<T>(counts, 1, 1, with_rows, spare);
      }
  for (bool with_rows : {false, true}) check_grouped<T>({300, 7, 0, 600}, 100, 72, with_rows, 3);
}

TEST_CASE_TEMPLATE("grouped products: many experts, most of them idle", T, float, double) {
  Array<int> counts(300);
  for (size_t e = 0; e < counts.size(); e += 7) counts[e] = int(e % 4);
  check_grouped<T>(counts, 16, 12, true, 0);
}

// The steps of the ladder are shown as the same function, so they have to be.
TEST_CASE("the ladder's steps agree with its first") {
  const int64_t M = 45, N = 70, K = 300;
  const Array<float> a = numbers<float>(M * K, 1), b = numbers<float>(K * N, 2);
  Array<double> want(size_t(M * N));
  ladder::naive(M, N, K, in_double(a).data(), in_double(b).data(), want.data());
  for (auto step : {ladder::naive<float>, ladder::row_by_row<float>, ladder::blocked<float>,
                    ladder::register_tile<float>, ladder::packed<float>}) {
    Array<float> c(size_t(M * N), nan_of<float>);
    step(M, N, K, a.data(), b.data(), c.data());
    check_close(c, want, K);
  }
}

TEST_SUITE_END();
