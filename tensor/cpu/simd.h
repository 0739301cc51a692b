// Vectors of the instruction set that this file is compiled for (GCC vector extensions: + - * / and comparisons work
// element by element), and the few functions on them that the kernels need. One source serves AVX-512, AVX2, SSE2 and
// Arm; only the width differs.
//
// Every kernel file is compiled once per instruction set, each time in a namespace of its own. Nothing that a kernel
// file calls may be an inline function shared between the copies (std::vector and the like): the linker would keep one
// of them, perhaps one that this processor cannot run. Pointers, integers and these vectors are all it takes.
#pragma once
#include <cstdint>
#include <cstring>

#include "tensor/bf16.h"

#ifndef SWITCHYARD_ISA
#define SWITCHYARD_ISA portable
#endif

namespace switchyard::cpu::SWITCHYARD_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

// bf16 is a format of memory alone: a Vec<bf16> holds floats, which load widens and store rounds.
template <class T>
constexpr int lanes = vector_bytes / int(sizeof(Wide<T>));
template <class T>
constexpr bool of_bf16 = sizeof(T) < sizeof(Wide<T>);

constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

//@begin vector
template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(vector_bytes)));
};
template <class T>
using Vec = typename VecOf<Wide<T>>::type;
//@end vector

template <class T>
[[gnu::always_inline]] inline Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
[[gnu::always_inline]] inline void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}
//@begin bf16
typedef uint32_t FloatBits __attribute__((vector_size(vector_bytes)));
typedef uint16_t Halves __attribute__((vector_size(vector_bytes / 2)));

template <>
[[gnu::always_inline]] inline Vec<float> load(const bf16* p) {
  Halves halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return Vec<float>(__builtin_convertvector(halves, FloatBits) << 16);
}
// To nearest, ties to even: half a unit, less one if the last place is even.
template <>
[[gnu::always_inline]] inline void store(bf16* p, Vec<float> v) {
  const FloatBits bits = FloatBits(v), nan = FloatBits{} + 0x7fff0000u;
  const FloatBits rounded = bits + 0x7fffu + (bits >> 16 & 1u);
  const FloatBits kept = (v == v ? rounded : nan) >> 16;
  const Halves halves = __builtin_convertvector(kept, Halves);
  __builtin_memcpy(p, &halves, sizeof halves);
}
//@end bf16
template <class T>
[[gnu::always_inline]] inline Vec<T> splat(T x) {
  return x - Vec<T>{};
}
// The first n < lanes elements; the rest are `rest`, and their memory is not touched. The loops over all lanes become
// masked moves; loops to n would become calls of memcpy.
template <class T>
[[gnu::always_inline]] inline Vec<T> load_part(const T* p, int64_t n, Wide<T> rest = 0) {
  Wide<T> x[lanes<T>];
  for (int i = 0; i < lanes<T>; ++i) x[i] = i < n ? Wide<T>(p[i]) : rest;
  return load(x);
}
template <class T>
[[gnu::always_inline]] inline void store_part(T* p, Vec<T> v, int64_t n) {
  Wide<T> x[lanes<T>];
  store(x, v);
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) p[i] = T(x[i]);
}
template <class T>
[[gnu::always_inline]] inline Vec<T> maximum(Vec<T> a, Vec<T> b) {
  return a > b ? a : b;
}
// Lane i of the result is lane i ^ distance of v.
template <int distance, class V>
[[gnu::always_inline]] inline V exchange_lanes(V v) {
  decltype(v < v) from;
  for (int i = 0; i < int(sizeof v / sizeof v[0]); ++i) from[i] = i ^ distance;
  return __builtin_shuffle(v, from);
}
// Sums and maxima of the lanes pair up halves, always in the same order.
//@begin sum-lanes
template <class T, int half = lanes<T> / 2>
[[gnu::always_inline]] inline Wide<T> sum_lanes(Vec<T> v) {
  if constexpr (half == 0)
    return v[0];
  else
    return sum_lanes<T, half / 2>(v + exchange_lanes<half>(v));
}
//@end sum-lanes
template <class T, int half = lanes<T> / 2>
[[gnu::always_inline]] inline Wide<T> max_lanes(Vec<T> v) {
  if constexpr (half == 0)
    return v[0];
  else
    return max_lanes<T, half / 2>(maximum<T>(v, exchange_lanes<half>(v)));
}

// e^x, at most 2 units in the last place off for f32 (Cody and Waite's reduction, then a polynomial of degree 6);
// 0 below -87.34, +inf above 88.73, NaN for NaN. In f64, where it only serves gradient checks, the library's.
template <class T>
[[gnu::always_inline]] inline Vec<T> exp(Vec<T> x) {
  if constexpr (sizeof(T) == 8) {
    Vec<T> y = x;
    for (int i = 0; i < lanes<T>; ++i) y[i] = __builtin_exp(x[i]);
    return y;
  } else {
    typedef int32_t Int __attribute__((vector_size(vector_bytes)));
    typedef uint32_t Bits __attribute__((vector_size(vector_bytes)));
    //@begin reduction
    // Adding 1.5 * 2^23 rounds to the nearest integer
    // and leaves it in the low bits.
    constexpr float magic = 12582912.0f;
    const Vec<T> shifted = x * 1.44269504089f + magic;
    const Vec<T> n = shifted - magic;
    // x - n ln 2, with ln 2 in two parts.
    const Vec<T> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    //@end reduction
    Vec<T> p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r * r + r) + 1.0f;
    // 2^n in two halves, so that neither factor overflows while the product still fits.
    Bits bits;  // unsigned: where x is far out of range, this arithmetic wraps and its result is not used
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    const Bits whole = bits - 0x4B400000u, half = Bits(Int(whole) >> 1);
    const Bits bits_a = (half + 127u) << 23, bits_b = (whole - half + 127u) << 23;
    Vec<T> a, b;
    __builtin_memcpy(&a, &bits_a, sizeof a);
    __builtin_memcpy(&b, &bits_b, sizeof b);
    Vec<T> y = p * a * b;
    y = x < -87.33654f ? Vec<T>{} : y;
    y = x > 88.72284f ? splat(__builtin_inff()) : y;
    return x != x ? x : y;
  }
}

}  // namespace switchyard::cpu::SWITCHYARD_ISA
