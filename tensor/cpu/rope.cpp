// Rotary position embedding (Su et al. 2021, "RoFormer"), in the half-split layout: pair i of a head is (x[i], x[i +
// D/2]) and turns by position * theta^(-2i/D).
#include "tensor/cpu/declarations.h"

namespace switchyard::cpu::SWITCHYARD_ISA {
namespace {

constexpr int64_t chunk = 64;  // pairs that share one table of sines
constexpr int64_t run = 16;    // positions from one exact sine to the next, at the multiples of it

// The angles of up to `chunk` pairs at one position after the other. Each run starts from the library's sine and goes
// on with the addition theorem in f64, whose error stays below 1e-14 over so few steps. An angle depends on its
// position alone, not on where a call begins: a token generated alone gets the bits that it gets among others.
struct Angles {
  int64_t n;
  double cosine[chunk], sine[chunk], step_cosine[chunk], step_sine[chunk];

  Angles(int64_t first_pair, int64_t count, int64_t D, double theta, double position, double direction) : n(count) {
    for (int64_t i = 0; i < n; ++i) {
      const double frequency = direction * __builtin_pow(theta, -2.0 * double(first_pair + i) / double(D));
      cosine[i] = __builtin_cos(position * frequency), sine[i] = __builtin_sin(position * frequency);
      step_cosine[i] = __builtin_cos(frequency), step_sine[i] = __builtin_sin(frequency);
    }
  }
  void advance() {
    for (int64_t i = 0; i < n; ++i) {
      //@begin advance
      const double next = cosine[i] * step_cosine[i] - sine[i] * step_sine[i];
      sine[i] = sine[i] * step_cosine[i] + cosine[i] * step_sine[i];
      cosine[i] = next;
      //@end advance
    }
  }
};

// Turns n pairs; x and y may be the same. The first and second elements of the pairs lie `half` apart.
template <class T>
void rotate(int64_t n, int64_t half, const Wide<T>* cosine, const Wide<T>* sine, const T* x, T* y) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) {
    const Vec<T> a = load(x + i), b = load(x + half + i), c = load(cosine + i), s = load(sine + i);
    store<T>(y + i, a * c - b * s);
    store<T>(y + half + i, b * c + a * s);
  }
  for (; i < n; ++i) {
    //@begin turn
    const Wide<T> a = x[i], b = x[half + i];
    y[i] = T(a * cosine[i] - b * sine[i]);
    y[half + i] = T(b * cosine[i] + a * sine[i]);
    //@end turn
  }
}

}  // namespace

template <class T>
void rope(int64_t B, int64_t T_, int64_t heads, int64_t D, int64_t stride, int64_t first, double theta, int direction,
          const T* x, T* y) {
  const int64_t half = D / 2, first_run = first / run, end = first + T_;
  // A run of positions is worth a thread where it turns enough elements.
  const int64_t runs_together = 1 + 20000 / (B * heads * D * run + 1);
  parallel_blocks((end + run - 1) / run - first_run, runs_together, [&](int64_t begin_run, int64_t end_run) {
    for (int64_t position = (first_run + begin_run) * run; position < (first_run + end_run) * run; position += run)
      for (int64_t pair = 0; pair < half; pair += chunk) {
        Angles angles(pair, half - pair < chunk ? half - pair : chunk, D, theta, double(position), direction);
        for (int64_t p = position; p < position + run && p < end; ++p, angles.advance()) {
          if (p < first) continue;
          Wide<T> cosine[chunk], sine[chunk];
          for (int64_t i = 0; i < angles.n; ++i)
            cosine[i] = Wide<T>(angles.cosine[i]), sine[i] = Wide<T>(angles.sine[i]);
          for (int64_t b = 0; b < B; ++b)
            for (int64_t h = 0; h < heads; ++h) {
              const int64_t at = (b * T_ + p - first) * stride + h * D + pair;
              rotate(angles.n, half, cosine, sine, x + at, y + at);
            }
        }
      }
  });
}

template void rope(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, int, const float*, float*);
template void rope(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, int, const double*, double*);
template void rope(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, double, int, const bf16*, bf16*);

}  // namespace switchyard::cpu::SWITCHYARD_ISA
