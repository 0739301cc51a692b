// Kernels that treat every element, or every row, alike.
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

// y[i] = f(x[i]...) over all threads.
template <class T, class F, class... Input>
void map(F f, int64_t n, T* y, const Input*... x) {
  parallel_blocks(n, block_elements,
                  [&](int64_t first, int64_t last) { map_row(f, last - first, y + first, (x + first)...); });
}

template <class T, class F>
[[gnu::always_inline]] inline Vec<T> each_lane(Vec<T> x, F f) {
  for (int i = 0; i < lanes<T>; ++i) x[i] = f(T(x[i]));
  return x;
}

template <class T>
[[gnu::always_inline]] inline Vec<T> sigmoid(Vec<T> x) {
  return T(1) / (T(1) + exp<T>(-x));
}

// d/dx x sigmoid(x), with s = sigmoid(x).
template <class T>
[[gnu::always_inline]] inline Vec<T> silu_slope(Vec<T> x, Vec<T> s) {
  return s * (T(1) + x * (T(1) - s));
}

// Phi, the normal distribution function, given bell = e^(-x^2/2). In f32, Phi(-|x|) = bell t P(t) with
// t = 1 / (1 + 0.3 |x|): P is a Chebyshev fit of degree 9 to erfc(|x| / sqrt 2) / (2 bell t), its relative error below
// 2.2e-7. Far out it keeps the digits that 1 + erf loses. In f64, Phi is the library's.
template <class T>
[[gnu::always_inline]] inline Vec<T> normal_cdf(Vec<T> x, [[maybe_unused]] Vec<T> bell) {
  if constexpr (sizeof(T) == 8) {
    return each_lane<T>(x, [](T v) { return 0.5 * __builtin_erfc(v * -0.70710678118654752440); });
  } else {
    constexpr float coefficients[] = {-0.0154983159f, 0.0863831184f, -0.171689428f, 0.123472544f, -0.0290803398f,
                                      0.0728746121f,  0.0850898566f, 0.10908789f,   0.119677358f, 0.119682711f};
    const Vec<T> t = 1.0f / (1.0f + 0.3f * (x < 0.0f ? -x : x));
    Vec<T> p = {};
    for (float c : coefficients) p = p * t + c;
    const Vec<T> tail = bell * p * t;
    return x < 0.0f ? tail : 1.0f - tail;
  }
}

template <class T>
[[gnu::always_inline]] inline Vec<T> bell(Vec<T> x) {
  return exp<T>(T(-0.5) * x * x);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which neither overflows nor loses what is small.
template <class T>
[[gnu::always_inline]] inline Vec<T> softplus(Vec<T> x) {
  const Vec<T> tail = each_lane<T>(exp<T>(x < T(0) ? x : -x), [](T e) { return log1p_of(e); });
  return tail + (x < T(0) ? Vec<T>{} : x);
}

template <class T>
[[gnu::always_inline]] inline Vec<T> gelu_slope(Vec<T> x) {
  const Vec<T> b = bell<T>(x);
  return normal_cdf<T>(x, b) + x * (T(0.39894228040143267794) * b);
}

}  // namespace

template <class T>
void fill(int64_t n, T value, T* y) {
  map([value] { return splat(Wide<T>(value)); }, n, y);
}

template <class T>
void add(int64_t n, const T* a, const T* b, T* y) {
  map([](Vec<T> u, Vec<T> v) { return u + v; }, n, y, a, b);
}

template <class T>
void multiply(int64_t n, const T* a, const T* b, T* y) {
  map([](Vec<T> u, Vec<T> v) { return u * v; }, n, y, a, b);
}

template <class T>
void scale(int64_t n, T alpha, const T* x, T* y) {
  map([factor = Wide<T>(alpha)](Vec<T> v) { return factor * v; }, n, y, x);
}

template <class T>
void add_bias(int64_t rows, int64_t cols, const T* x, const Wide<T>* bias, T* y) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      map_row([](Vec<T> u, Vec<T> v) { return u + v; }, cols, y + r * cols, x + r * cols, bias);
  });
}

template <class T>
void unary(Unary op, int64_t n, const T* x, T* y) {
  using W = Wide<T>;
  switch (op) {
    case Unary::relu:  // a NaN stays one
      return map([](Vec<W> v) { return v < W(0) ? Vec<W>{} : v; }, n, y, x);
    case Unary::gelu:
      return map([](Vec<W> v) { return v * normal_cdf<W>(v, bell<W>(v)); }, n, y, x);
    case Unary::silu:
      return map([](Vec<W> v) { return v * sigmoid<W>(v); }, n, y, x);
    case Unary::sigmoid:
      return map([](Vec<W> v) { return sigmoid<W>(v); }, n, y, x);
    case Unary::exp:
      return map([](Vec<W> v) { return exp<W>(v); }, n, y, x);
    case Unary::log:
      return map([](Vec<W> v) { return each_lane<W>(v, log_of<W>); }, n, y, x);
    case Unary::softplus:
      return map([](Vec<W> v) { return softplus<W>(v); }, n, y, x);
    case Unary::normal_cdf:
      return map([](Vec<W> v) { return normal_cdf<W>(v, bell<W>(v)); }, n, y, x);
  }
}

template <class T>
void unary_backward(Unary op, int64_t n, const T* x, const T* dy, T* dx) {
  using W = Wide<T>;
  switch (op) {
    case Unary::relu:
      return map([](Vec<W> v, Vec<W> d) { return v > W(0) ? d : Vec<W>{}; }, n, dx, x, dy);
    case Unary::gelu:
      return map([](Vec<W> v, Vec<W> d) { return d * gelu_slope<W>(v); }, n, dx, x, dy);
    case Unary::silu:
      return map([](Vec<W> v, Vec<W> d) { return d * silu_slope<W>(v, sigmoid<W>(v)); }, n, dx, x, dy);
    case Unary::sigmoid: {  // even in x: e^-|x| / (1 + e^-|x|)^2 neither overflows nor cancels
      const auto slope = [](Vec<W> v, Vec<W> d) {
        const Vec<W> e = exp<W>(v < W(0) ? v : -v);
        return d * e / ((W(1) + e) * (W(1) + e));
      };
      return map(slope, n, dx, x, dy);
    }
    case Unary::exp:
      return map([](Vec<W> v, Vec<W> d) { return d * exp<W>(v); }, n, dx, x, dy);
    case Unary::log:
      return map([](Vec<W> v, Vec<W> d) { return d / v; }, n, dx, x, dy);
    case Unary::softplus:
      return map([](Vec<W> v, Vec<W> d) { return d * sigmoid<W>(v); }, n, dx, x, dy);
    case Unary::normal_cdf:
      return map([](Vec<W> v, Vec<W> d) { return d * (W(0.39894228040143267794) * bell<W>(v)); }, n, dx, x, dy);
  }
}

template <class T>
void swiglu(int64_t rows, int64_t F, const T* gate_up, T* y) {
  using W = Wide<T>;
  parallel_blocks(rows, rows_per_block(2 * F), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T *gate = gate_up + r * 2 * F, *up = gate + F;
      map_row([](Vec<W> g, Vec<W> u) { return g * sigmoid<W>(g) * u; }, F, y + r * F, gate, up);
    }
  });
}

template <class T>
void swiglu_backward(int64_t rows, int64_t F, const T* gate_up, const T* dy, T* d_gate_up) {
  parallel_blocks(rows, rows_per_block(2 * F), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T *gate = gate_up + r * 2 * F, *up = gate + F, *d = dy + r * F;
      T *d_gate = d_gate_up + r * 2 * F, *d_up = d_gate + F;
      for (int64_t i = 0; i < F; i += lanes<T>) {
        const Vec<T> g = load_up_to(gate + i, F - i), u = load_up_to(up + i, F - i), dv = load_up_to(d + i, F - i);
        const Vec<T> s = sigmoid<Wide<T>>(g);
        store_up_to(d_gate + i, dv * u * silu_slope<Wide<T>>(g, s), F - i);
        store_up_to(d_up + i, dv * g * s, F - i);
      }
    }
  });
}

template <class T>
void dropout(int64_t n, double p, RandomKey key, const T* x, T* y) {
  // uniform() is u / 2^24 with the upper 24 bits u, so uniform() >= p is u >= p 2^24.
  const uint32_t kept_from = uint32_t(__builtin_ceil(p * 0x1p24));
  const Wide<T> factor = Wide<T>(1 / (1 - p));
  parallel_blocks(n, block_elements, [=](int64_t first, int64_t last) {
    // In small batches, so that the second loop has no branches for chance to mispredict.
    constexpr int64_t batch = 64;
    for (int64_t i = first; i < last; i += batch) {
      uint32_t bits[batch];
      for (int64_t j = 0; j < batch; j += 4) {
        const std::array<uint32_t, 4> four = philox(key, uint64_t(i + j) / 4);
        __builtin_memcpy(bits + j, &four, sizeof four);
      }
      const int64_t count = last - i < batch ? last - i : batch;
      for (int64_t j = 0; j < count; ++j) y[i + j] = T(bits[j] >> 8 >= kept_from ? factor * x[i + j] : 0);
    }
  });
}

template <class T>
void jitter(int64_t n, double amount, RandomKey key, const T* x, T* y) {
  parallel_blocks(n, block_elements, [=](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) y[i] = T(x[i] * Wide<T>(1 + amount * (2.0 * uniform(key, uint64_t(i)) - 1)));
  });
}

template <class T>
void widen(int64_t n, const T* x, Wide<T>* y) {
  map([](Vec<T> v) { return v; }, n, y, x);
}

template <class T>
void narrow(int64_t n, const Wide<T>* x, T* y) {
  map([](Vec<T> v) { return v; }, n, y, x);
}

template <class T>
void repeat_row(int64_t rows, int64_t cols, const T* x, T* y) {
  parallel_blocks(rows, rows_per_block(cols), [=](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t c = 0; c < cols; ++c) y[r * cols + c] = x[c];
  });
}

template <class T>
void copy_rows(int64_t B, int64_t T_, int64_t width, const T* x, int64_t x_row, int64_t x_batch, T* y, int64_t y_row,
               int64_t y_batch) {
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T_; ++t)
      __builtin_memcpy(y + b * y_batch + t * y_row, x + b * x_batch + t * x_row, size_t(width) * sizeof(T));
}

#define INSTANTIATE(T)                                                     \
  template void fill(int64_t, T, T*);                                      \
  template void add(int64_t, const T*, const T*, T*);                      \
  template void multiply(int64_t, const T*, const T*, T*);                 \
  template void scale(int64_t, T, const T*, T*);                           \
  template void add_bias(int64_t, int64_t, const T*, const Wide<T>*, T*);  \
  template void unary(Unary, int64_t, const T*, T*);                       \
  template void unary_backward(Unary, int64_t, const T*, const T*, T*);    \
  template void swiglu(int64_t, int64_t, const T*, T*);                    \
  template void swiglu_backward(int64_t, int64_t, const T*, const T*, T*); \
  template void dropout(int64_t, double, RandomKey, const T*, T*);         \
  template void jitter(int64_t, double, RandomKey, const T*, T*);          \
  template void widen<T>(int64_t, const T*, Wide<T>*);                     \
  template void narrow<T>(int64_t, const Wide<T>*, T*);                    \
  template void repeat_row(int64_t, int64_t, const T*, T*);                \
  template void copy_rows(int64_t, int64_t, int64_t, const T*, int64_t, int64_t, T*, int64_t, int64_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
