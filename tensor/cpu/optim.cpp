// AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2).
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
void gradient_scale(int64_t n, const double* squares, double passes, double clip, double* result) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += squares[i];
  const double norm = __builtin_sqrt(total) / passes, factor = clip / norm;
  result[0] = norm;
  result[1] = __builtin_isfinite(norm) ? (factor < 1 ? factor : 1) / passes : 0;
}

template <class T>
void adamw(int64_t n, const AdamWStep& step, const Wide<T>* gradient, Wide<T>* w, Wide<T>* m, Wide<T>* v) {
  if (*step.gradient_scale == 0) return;
  const T gradient_scale = T(*step.gradient_scale), epsilon = T(step.epsilon);
  const T beta1 = T(step.beta1), rest1 = T(1 - step.beta1), beta2 = T(step.beta2), rest2 = T(1 - step.beta2);
  const T rate = T(step.rate / step.correction1), correction2 = T(1 / step.correction2);
  const T kept = T(step.rate * step.decay);
  parallel_blocks(n, block_elements, [=](int64_t first, int64_t last) {
#pragma GCC ivdep
    for (int64_t i = first; i < last; ++i) {
      //@begin adamw
      const T g = gradient_scale * gradient[i];
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      w[i] -= rate * m[i] / (sqrt_of(v[i] * correction2) + epsilon) + kept * w[i];
      //@end adamw
    }
  });
}

#define INSTANTIATE(T)                                                              \
  template void gradient_scale<T>(int64_t, const double*, double, double, double*); \
  template void adamw<T>(int64_t, const AdamWStep&, const T*, T*, T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
