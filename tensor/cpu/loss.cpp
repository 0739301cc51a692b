// Cross-entropy of rows of logits.
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
void cross_entropy(int64_t rows, int64_t V, const T* x, const int32_t* target, Wide<T>* loss, Wide<T>* logsumexp) {
  parallel_blocks(rows, rows_per_block(V), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      //@begin cross-entropy
      const T *row = x + r * V, shift = finite_maximum(V, row);
      const T log_sum = log_of(sum_exp<T>(V, row, shift, nullptr));
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
      const T shift = logsumexp[r], factor = g[r];
      T* d = dx + r * V;
      if (target[r] < 0) {
        map_row([] { return Vec<T>{}; }, V, d);
        continue;
      }
      map_row([shift, factor](Vec<T> v) { return factor * exp<T>(v - shift); }, V, d, x + r * V);
      d[target[r]] -= factor;
    }
  });
}

#define INSTANTIATE(T)                                                             \
  template void cross_entropy(int64_t, int64_t, const T*, const int32_t*, T*, T*); \
  template void cross_entropy_backward(int64_t, int64_t, const T*, const int32_t*, const T*, const T*, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
