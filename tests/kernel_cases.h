// What the tests of CPU kernels share: inputs, poisoned outputs, comparisons that name the worst element.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tensor/kernels.h"

namespace switchyard::test {

template <class T>
const Kernels<T>& cpu() {
  return kernels<T>(Device::cpu);
}

// Ragged around every vector width, and two that several threads share.
inline const std::vector<int64_t> ragged = {0,  1,  2,  3,  4,  5,  7,  8,   9,   15,    16,
                                            17, 31, 32, 33, 63, 64, 65, 100, 257, 20000, 70001};

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr double epsilon = std::numeric_limits<T>::epsilon();

// Normal numbers; another stream, other numbers.
template <class T>
std::vector<T> normals(int64_t n, uint64_t stream, double scale = 1) {
  std::vector<T> x(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) x[size_t(i)] = T(scale * normal({7, stream}, uint64_t(i)));
  return x;
}

// An output to be overwritten: an element that is forgotten stays NaN.
template <class T>
std::vector<T> poisoned(int64_t n) {
  return std::vector<T>(static_cast<size_t>(n), nan_of<T>);
}

// |got - want| <= relative |want| + absolute for every element; infinities and NaN must match exactly.
template <class T>
void check_close(const std::vector<T>& got, const std::vector<double>& want, double relative, double absolute = 0) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double g = double(got[i]), w = want[i];
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double excess = std::abs(g - w) / (relative * std::abs(w) + absolute);
    if (!(excess <= worst)) worst = excess, where = i;
    if (!std::isfinite(excess)) break;
  }
  if (worst <= 1) return;
  FAIL_CHECK("element " << where << " of " << got.size() << " is " << double(got[where]) << ", not " << want[where]
                        << ": " << worst << " times the tolerance");
}

// f returns a vector; it must return the same bits for one, two and three threads.
template <class F>
void check_same_for_any_threads(F f) {
  const int before = threads();
  set_threads(1);
  const auto one = f();
  for (int count : {2, 3}) {
    set_threads(count);
    const auto more = f();
    REQUIRE(more.size() == one.size());
    CHECK(std::memcmp(more.data(), one.data(), one.size() * sizeof one[0]) == 0);
  }
  set_threads(before);
}

}  // namespace switchyard::test
