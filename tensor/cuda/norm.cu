// Normalisation of rows: root mean square (Zhang & Sennrich 2019) and layer (Ba, Kiros & Hinton 2016). One kernel
// serves both: `centered` says that the mean is subtracted and a bias added. Statistics are summed in double.
#include "tensor/cuda/column_sums.cuh"
#include "tensor/cuda/row_steps.h"
#include "tensor/cuda/rows.cuh"

namespace switchyard::gpu {
namespace {

// The sum of f(x[c]) over a row, in double: no overflow of squares, and no error that grows with the row.
template <int team, int width, class T, class F>
__device__ inline double sum_of_row(int64_t cols, const T* row, F f) {
  double total = 0;
  for_each_in_row<team, width>(cols, [&](int64_t c) {
    const Floats<width> v = load<width>(row + c);
    for (int j = 0; j < width; ++j) total += f(double(v.at[j]));
  });
  return team_sum<team>(total);
}

template <bool centered, int team, int width, class T>
__global__ void norm_kernel(int64_t rows, int64_t cols, double epsilon, const T* x, const float* w, const float* b,
                            T* y, float* mean, float* inverse_deviation) {
  for_each_row<team>(rows, [&](int64_t r) {
    //@begin norm
    const T* row = x + r * cols;
    float center = 0;
    if constexpr (centered) {
      const auto same = [](double v) { return v; };
      center = float(sum_of_row<team, width>(cols, row, same) / double(cols));
    }
    const auto square = [=](double v) { return (v - center) * (v - center); };
    const double squares = sum_of_row<team, width>(cols, row, square);
    const float inverse = float(rsqrt(squares / double(cols) + epsilon));
    for_each_in_row<team, width>(cols, [&](int64_t c) {
      auto v = inverse * (load<width>(row + c) - center) * load<width>(w + c);
      if constexpr (centered) v = v + load<width>(b + c);
      store(y + r * cols + c, v);
    });
    //@end norm
    if (team_rank<team>() > 0) return;
    inverse_deviation[r] = inverse;
    if constexpr (centered) mean[r] = center;
  });
}
template <bool centered, class T>
void norm(int64_t rows, int64_t cols, double epsilon, const T* x, const float* w, const float* b, T* y, float* mean,
          float* inverse_deviation) {
  with_team<T>(cols, rows_aligned<T>(cols, x, w, b, y), [&](auto team, auto width) {
    launch_teams(norm_kernel<centered, team, width, T>, team, rows, cols, epsilon, x, w, b, y, mean, inverse_deviation);
  });
}

// What both ways of the backward compute for a row, with x^ the normalised row and g = w dy:
// dx = (g - mean(g) - x^ mean(g x^)) / deviation; add_up(c, dy, x^) takes the row's part of dw and db.
template <bool centered, int team, int width, class T, class F>
__device__ inline void backward_of_row(int64_t cols, const T* x, const float* w, float center, float inverse,
                                       const T* dy, T* dx, F add_up_columns) {
  float g_total = 0, gx_total = 0;
  for_each_in_row<team, width>(cols, [&](int64_t c) {
    const Floats<width> g = load<width>(w + c) * load<width>(dy + c);
    gx_total += add_up(g * (inverse * (load<width>(x + c) - center)));
    if constexpr (centered) g_total += add_up(g);
  });
  const float gx_mean = team_sum<team>(gx_total) / float(cols);
  float g_mean = 0;
  if constexpr (centered) g_mean = team_sum<team>(g_total) / float(cols);
  for_each_in_row<team, width>(cols, [&](int64_t c) {
    const Floats<width> normal = inverse * (load<width>(x + c) - center), d = load<width>(dy + c);
    store(dx + c, inverse * (load<width>(w + c) * d - g_mean - gx_mean * normal));
    add_up_columns(c, d, normal);
  });
}

// The plain way: a kernel for dx, a warp to a row, and one for dw and db, whose threads go down the columns.
template <bool centered, class T>
__global__ void norm_dx_kernel(int64_t rows, int64_t cols, const T* x, const float* w, const float* mean,
                               const float* inverse, const T* dy, T* dx) {
  for_each_row<warp_size>(rows, [&](int64_t r) {
    const float center = centered ? mean[r] : 0;
    backward_of_row<centered, warp_size, 1>(cols, x + r * cols, w, center, inverse[r], dy + r * cols, dx + r * cols,
                                            [](int64_t, Floats<1>, Floats<1>) {});
  });
}
template <bool centered, class T>
__global__ void norm_dw_kernel(int64_t rows, int64_t cols, const T* x, const float* mean, const float* inverse,
                               const T* dy, float* dw, float* db) {
  for (int64_t c = global_index(); c < cols; c += global_size()) {
    float dw_total = 0, db_total = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float d = dy[r * cols + c], center = centered ? mean[r] : 0;
      dw_total += d * ((float(x[r * cols + c]) - center) * inverse[r]);
      db_total += d;
    }
    dw[c] = dw_total;
    if constexpr (centered) db[c] = db_total;
  }
}
template <bool centered, class T>
void norm_backward_plain(int64_t rows, int64_t cols, const T* x, const float* w, const float* mean,
                         const float* inverse, const T* dy, T* dx, float* dw, float* db) {
  if (cols == 0) return;
  launch_teams(norm_dx_kernel<centered, T>, warp_size, rows, cols, x, w, mean, inverse, dy, dx);
  launch(norm_dw_kernel<centered, T>, blocks_for(cols, block_threads), block_threads, 0, stream(), rows, cols, x, mean,
         inverse, dy, dw, db);
}

// The fast way reads x and dy once: a block takes a chunk of rows, and each of its teams adds up dw (and db behind it)
// of its rows in shared memory. A thread meets the same columns in every row, so only the end must wait for the others.
template <bool centered, int team, int width, class T>
__global__ void norm_backward_kernel(int64_t rows, int64_t cols, int64_t chunk, const T* x, const float* w,
                                     const float* mean, const float* inverse, const T* dy, T* dx, float* partial) {
  constexpr int teams = block_threads / team;
  DYNAMIC_SHARED(float, sums);
  const int64_t slice = centered ? 2 * cols : cols;
  float *dw = sums + threadIdx.x / team * slice, *db = dw + cols;
  for_each_in_row<team, width>(cols, [&](int64_t c) {
    store(dw + c, Floats<width>{});
    if constexpr (centered) store(db + c, Floats<width>{});
  });
  const int64_t first = blockIdx.x * chunk, last = first + chunk < rows ? first + chunk : rows;
  for (int64_t r = first + threadIdx.x / team; r < last; r += teams) {
    const float center = centered ? mean[r] : 0;
    const auto add_up_columns = [&](int64_t c, Floats<width> d, Floats<width> normal) {
      store(dw + c, load<width>(dw + c) + d * normal);
      if constexpr (centered) store(db + c, load<width>(db + c) + d);
    };
    backward_of_row<centered, team, width>(cols, x + r * cols, w, center, inverse[r], dy + r * cols, dx + r * cols,
                                           add_up_columns);
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < slice; i += block_threads) {
    float total = sums[i];
    for (int t = 1; t < teams; ++t) total += sums[t * slice + i];
    partial[blockIdx.x * slice + i] = total;
  }
}
template <bool centered, class T>
void norm_backward(int64_t rows, int64_t cols, const T* x, const float* w, const float* mean, const float* inverse,
                   const T* dy, T* dx, float* dw, float* db) {
  constexpr int64_t most_shared = 48 << 10, most_blocks = 512, least_rows = 8;
  const int64_t slice = centered ? 2 * cols : cols;
  if (rows == 0 || cols == 0 || slice * int64_t{sizeof(float)} > most_shared)
    return norm_backward_plain<centered>(rows, cols, x, w, mean, inverse, dy, dx, dw, db);
  const int64_t share = (rows + most_blocks - 1) / most_blocks, chunk = share < least_rows ? least_rows : share;
  const int64_t blocks = blocks_for(rows, chunk);
  const Scratch<float> partial(blocks * slice);
  with_team<T>(slice, rows_aligned<T>(cols, x, w, dy, dx), [&](auto team, auto width) {
    const size_t shared = static_cast<size_t>(block_threads / team * slice) * sizeof(float);
    launch(norm_backward_kernel<centered, team, width, T>, static_cast<unsigned>(blocks), block_threads, shared,
           stream(), rows, cols, chunk, x, w, mean, inverse, dy, dx, partial.data());
  });
  add_partial_sums(blocks, cols, slice, partial.data(), dw);
  if (centered) add_partial_sums(blocks, cols, slice, partial.data() + cols, db);
}

}  // namespace

template <class T>
void rms_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, T* y, Wide<T>* inverse_rms) {
  norm<false, T>(rows, cols, epsilon, x, w, nullptr, y, nullptr, inverse_rms);
}

template <class T>
void rms_norm_backward(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* inverse_rms,
                       const T* dy, T* dx, Wide<T>* dw) {
  norm_backward<false, T>(rows, cols, x, w, nullptr, inverse_rms, dy, dx, dw, nullptr);
}
template <class T>
void rms_norm_backward_plain(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* inverse_rms,
                             const T* dy, T* dx, Wide<T>* dw) {
  norm_backward_plain<false, T>(rows, cols, x, w, nullptr, inverse_rms, dy, dx, dw, nullptr);
}

template <class T>
void layer_norm(int64_t rows, int64_t cols, double epsilon, const T* x, const Wide<T>* w, const Wide<T>* b, T* y,
                Wide<T>* mean, Wide<T>* inverse_std) {
  norm<true, T>(rows, cols, epsilon, x, w, b, y, mean, inverse_std);
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* mean,
                         const Wide<T>* inverse_std, const T* dy, T* dx, Wide<T>* dw, Wide<T>* db) {
  norm_backward<true, T>(rows, cols, x, w, mean, inverse_std, dy, dx, dw, db);
}
template <class T>
void layer_norm_backward_plain(int64_t rows, int64_t cols, const T* x, const Wide<T>* w, const Wide<T>* mean,
                               const Wide<T>* inverse_std, const T* dy, T* dx, Wide<T>* dw, Wide<T>* db) {
  norm_backward_plain<true, T>(rows, cols, x, w, mean, inverse_std, dy, dx, dw, db);
}

#define RMS_BACKWARD(name, T) \
  template void name<T>(int64_t, int64_t, const T*, const Wide<T>*, const Wide<T>*, const T*, T*, Wide<T>*);
#define LAYER_BACKWARD(name, T)                                                                                   \
  template void name<T>(int64_t, int64_t, const T*, const Wide<T>*, const Wide<T>*, const Wide<T>*, const T*, T*, \
                        Wide<T>*, Wide<T>*);
#define INSTANTIATE(T)                                                                                          \
  template void rms_norm<T>(int64_t, int64_t, double, const T*, const Wide<T>*, T*, Wide<T>*);                  \
  template void layer_norm<T>(int64_t, int64_t, double, const T*, const Wide<T>*, const Wide<T>*, T*, Wide<T>*, \
                              Wide<T>*);                                                                        \
  RMS_BACKWARD(rms_norm_backward, T)                                                                            \
  RMS_BACKWARD(rms_norm_backward_plain, T)                                                                      \
  LAYER_BACKWARD(layer_norm_backward, T)                                                                        \
  LAYER_BACKWARD(layer_norm_backward_plain, T)
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE
#undef LAYER_BACKWARD
#undef RMS_BACKWARD

}  // namespace switchyard::gpu
