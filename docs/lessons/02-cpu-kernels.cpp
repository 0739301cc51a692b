// Chapter 2: kernels called through the table, without a tensor. --threads: a sum that depends on their number.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/kernels.h"

using namespace switchyard;
using Floats = std::vector<float>;

namespace {

const int64_t n = 1 << 20;  // numbers to add

//@begin dealt
// Every thread adds its share; then the shares are added.
float dealt_sum(const Floats& x) {
  const int64_t parts = threads();
  Floats part(size_t(parts), 0.0f);
  cpu::parallel_for(parts, [&](int64_t p) {
    const int64_t first = n * p / parts, last = n * (p + 1) / parts;
    for (int64_t i = first; i < last; ++i) part[p] += x[i];
  });
  float total = 0;
  for (float share : part) total += share;
  return total;
}
//@end dealt

// What three kernels make of x, seen as a 1024 x 1024 matrix, on the threads that there are now.
Floats results(const Kernels<float>& k, const Floats& x) {
  Floats y(size_t(2 * n + 1024));
  k.softmax(1024, 1024, x.data(), y.data());
  k.gemm(false, true, 1024, 1024, 256, x.data(), x.data(), false, y.data() + n);
  k.column_sum(1024, 1024, x.data(), y.data() + 2 * n);
  return y;
}

// The largest distance of the kernel's e^x from the true one, in units of the last place.
double worst_exp(const Kernels<float>& k) {
  double worst = 0;
  for (float x = -86, y; x < 88; x += 0.001f) {
    k.unary(Unary::exp, 1, &x, &y);
    const double exact = std::exp(double(x));
    worst = std::max(worst, std::abs(y - exact) / std::ldexp(1, std::ilogb(exact) - 23));
  }
  return worst;
}

float kernel_sum(const Kernels<float>& k, const Floats& x) {
  float sum;
  k.sum(n, x.data(), &sum);
  return sum;
}

}  // namespace

int main(int argc, char**) {
  const Kernels<float>& k = kernels<float>(Device::cpu);
  Floats x(size_t{n});
  for (size_t i = 0; i < x.size(); ++i) x[i] = uniform({1, 2}, i);
  if (argc > 1) {
    for (int count : {1, 2, 3, 4}) {
      set_threads(count);
      fmt::print("{} threads: dealt {:.3f}, kernel {:.3f}\n", count, dealt_sum(x), kernel_sum(k, x));
    }
    return 0;
  }
  const float scores[] = {2, 1, 0, -1, 1, 0, 2, 0, 0,    1.5f, 1.5f, 0.5f,  // (T, E)
                          2, 0, 1, 0,  1, 2, 0, 0, 1.5f, 0.5f, -1,   0.5f};
  float p[24];
  k.softmax(6, 4, scores, p);
  for (int t = 0; t < 6; ++t)
    fmt::print("token {}: {:.3f} {:.3f} {:.3f} {:.3f}\n", t, p[4 * t], p[4 * t + 1], p[4 * t + 2], p[4 * t + 3]);
  fmt::print("sum of a million numbers: {:.3f}, by a plain float loop {:.3f}\n", kernel_sum(k, x),
             (set_threads(1), dealt_sum(x)));
  fmt::print("exp is at most 2 units in the last place off: {}\n", worst_exp(k) <= 2);
  const Floats alone = results(k, x);
  for (int count : {2, 3, 7}) {
    set_threads(count);
    fmt::print("{} threads, the same bits: {}\n", count, results(k, x) == alone);
  }
}
