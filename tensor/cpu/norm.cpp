// Normalisation of rows: root mean square (Zhang & Sennrich 2019) and layer (Ba, Kiros & Hinton 2016). Statistics are
// summed in double. The backwards write x^ for the normalised row: it is what the gradient is made of.
#include "tensor/cpu/rows.h"

namespace switchyard::cpu::SWITCHYARD_ISA {

template <class T>
void rms_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, T* y, Wide<T>* inverse_rms) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      //@begin rms
      const T* row = x + r * cols;
      const double squares = sum_double(cols, row, [](auto v) { return v * v; });
      const double mean = squares / double(cols);
      const Wide<T> inverse = Wide<T>(1 / sqrt_of(mean + epsilon));
      //@end rms
      map_row([inverse](Vec<T> v, Vec<T> weight) { return v * inverse * weight; }, cols, y + r * cols, row, w);
      inverse_rms[r] = inverse;
    }
  });
}

// With g = w dy: dx = (g - x^ mean(g x^)) / rms, dw = sum over rows of dy x^.
template <class T>
void rms_norm_backward(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* inverse_rms,
                       const T* dy, T* dx, Wide<T>* dw) {
  using W = Wide<T>;
  sum_over_rows<W>(rows, cols, dw, nullptr, [&](int64_t first, int64_t last, W* sums, W*) {
    for (int64_t r = first; r < last; ++r) {
      const T *row = x + r * cols, *d = dy + r * cols;
      const W inverse = inverse_rms[r];
      Vec<T> total = {};
      for (int64_t i = 0; i < cols; i += lanes<T>)
        total += load_up_to(w + i, cols - i) * load_up_to(d + i, cols - i) * (load_up_to(row + i, cols - i) * inverse);
      const W mean = sum_lanes<W>(total) / W(cols);
      for (int64_t i = 0; i < cols; i += lanes<T>) {
        const Vec<T> normal = load_up_to(row + i, cols - i) * inverse, dv = load_up_to(d + i, cols - i);
        const Vec<T> g = load_up_to(w + i, cols - i) * dv;
        store_up_to(dx + r * cols + i, inverse * (g - normal * mean), cols - i);
        store_up_to(sums + i, load_up_to(sums + i, cols - i) + dv * normal, cols - i);
      }
    }
  });
}

template <class T>
void layer_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, const Wide<T>* b, T* y,
                Wide<T>* mean, Wide<T>* inverse_std) {
  parallel_blocks(rows, rows_per_block(cols), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      const T* row = x + r * cols;
      const Wide<T> center = Wide<T>(sum_double(cols, row, [](auto v) { return v; }) / double(cols));
      const double squares = sum_double(cols, row, [center](auto v) { return (v - center) * (v - center); });
      const Wide<T> inverse = Wide<T>(1 / sqrt_of(squares / double(cols) + epsilon));
      const auto normalize = [center, inverse](Vec<T> v, Vec<T> weight, Vec<T> bias) {
        return (v - center) * inverse * weight + bias;
      };
      map_row(normalize, cols, y + r * cols, row, w, b);
      mean[r] = center, inverse_std[r] = inverse;
    }
  });
}

// With g = w dy: dx = (g - mean(g) - x^ mean(g x^)) / std, dw = sum over rows of dy x^, db = sum of dy.
template <class T>
void layer_norm_backward(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* mean,
                         const Wide<T>* inverse_std, const T* dy, T* dx, Wide<T>* dw, Wide<T>* db) {
  using W = Wide<T>;
  const auto add_rows = [&](int64_t first, int64_t last, W* dw_sums, W* db_sums) {
    for (int64_t r = first; r < last; ++r) {
      const T *row = x + r * cols, *d = dy + r * cols;
      const W center = mean[r], inverse = inverse_std[r];
      Vec<T> g_total = {}, gx_total = {};
      for (int64_t i = 0; i < cols; i += lanes<T>) {
        const Vec<T> g = load_up_to(w + i, cols - i) * load_up_to(d + i, cols - i);
        g_total += g, gx_total += g * ((load_up_to(row + i, cols - i) - center) * inverse);
      }
      const W g_mean = sum_lanes<W>(g_total) / W(cols), gx_mean = sum_lanes<W>(gx_total) / W(cols);
      for (int64_t i = 0; i < cols; i += lanes<T>) {
        const Vec<T> normal = (load_up_to(row + i, cols - i) - center) * inverse, dv = load_up_to(d + i, cols - i);
        const Vec<T> g = load_up_to(w + i, cols - i) * dv;
        store_up_to(dx + r * cols + i, inverse * (g - g_mean - normal * gx_mean), cols - i);
        store_up_to(dw_sums + i, load_up_to(dw_sums + i, cols - i) + dv * normal, cols - i);
        store_up_to(db_sums + i, load_up_to(db_sums + i, cols - i) + dv, cols - i);
      }
    }
  };
  sum_over_rows(rows, cols, dw, db, add_rows);
}

#define INSTANTIATE(T)                                                                                                 \
  template void rms_norm(int64_t, int64_t, double, const T*, const Wide<T>*, T*, Wide<T>*);                            \
  template void rms_norm_backward(int64_t, int64_t, const T*, const Wide<T>*, const Wide<T>*, const T*, T*, Wide<T>*); \
  template void layer_norm(int64_t, int64_t, double, const T*, const Wide<T>*, const Wide<T>*, T*, Wide<T>*,           \
                           Wide<T>*);                                                                                  \
  template void layer_norm_backward(int64_t, int64_t, const T*, const Wide<T>*, const Wide<T>*, const Wide<T>*,        \
                                    const T*, T*, Wide<T>*, Wide<T>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::cpu::SWITCHYARD_ISA
