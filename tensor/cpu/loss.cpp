// Cross-entropy of rows of logits.
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
void cross_entropy(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss, Wide<T>* logsumexp) {
  parallel_blocks(rows, rows_per_block(V), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      //@begin cross-entropy
      const T* row = x + r * V;
      const Wide<T> shift = finite_maximum(V, row);
      const Wide<T> log_sum = log_of(sum_exp(V, row, shift));
      logsumexp[r] = shift + log_sum;
      // Not logsumexp - x[target]: between large logits, that difference has
      // lost the digits of log_sum.
      loss[r] = target[r] < 0 ? 0 : log_sum + (shift - row[target[r]]);
      //@end cross-entropy
    }
  });
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t V, const T* x, const int32_t* target, const Wide<T>* logsumexp,
                            const Wide<T>* g, T* dx) {
  parallel_blocks(rows, rows_per_block(V), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const Wide<T> shift = logsumexp[r], factor = g[r];
      const T* row = x + r * V;
      T* d = dx + r * V;
      if (target[r] < 0) {
        map_row([] { return Vec<T>{}; }, V, d);
        continue;
      }
      const Vec<T> own = exp<Wide<T>>(splat(Wide<T>(row[target[r]])) - shift);
      map_row([=](Vec<T> v) { return factor * exp<Wide<T>>(v - shift); }, V, d, row);
      d[target[r]] = T(factor * (own[0] - 1));
    }
  });
}

#define INSTANTIATE(T)                                                                         \
  template void cross_entropy(int64_t, int64_t, const T*, const int32_t*, Wide<T>*, Wide<T>*); \
  template void cross_entropy_backward(int64_t, int64_t, const T*, const int32_t*, const Wide<T>*, const Wide<T>*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
