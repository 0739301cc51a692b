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
  using W = Wide<T>;
  const W gradient_scale = W(*step.gradient_scale), epsilon = W(step.epsilon);
  const W beta1 = W(step.beta1), rest1 = W(1 - step.beta1), beta2 = W(step.beta2), rest2 = W(1 - step.beta2);
  const W rate = W(step.rate / step.correction1), correction2 = W(1 / step.correction2);
  const W kept = W(step.rate * step.decay);
  parallel_blocks(n, block_elements, [=](int64_t first, int64_t last) {
#pragma GCC ivdep
    for (int64_t i = first; i < last; ++i) {
      //@begin adamw
      const W g = gradient_scale * gradient[i];
      m[i] = beta1 * m[i] + rest1 * g;
      v[i] = beta2 * v[i] + rest2 * g * g;
      w[i] -= rate * m[i] / (sqrt_of(v[i] * correction2) + epsilon) + kept * w[i];
      //@end adamw
    }
  });
}

#define INSTANTIATE(T)                                                              \
  template void gradient_scale<T>(int64_t, const double*, double, double, double*); \
  template void adamw<T>(int64_t, const AdamWStep&, const Wide<T>*, Wide<T>*, Wide<T>*, Wide<T>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
