// AdamW (Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2).
#include "tensor/cuda/packs.cuh"

namespace switchyard::gpu {
namespace {

// One block: its threads add every 256th of the squares, and then each other's sums.
__global__ void gradient_scale_kernel(int64_t n, const double* squares, double passes, double clip, double* result) {
  double total = 0;
  for (int64_t i = threadIdx.x; i < n; i += block_threads) total += squares[i];
  total = block_sum<block_threads>(total);
  if (threadIdx.x > 0) return;
  //@begin gradient-scale
  const double norm = sqrt(total) / passes, factor = clip / norm;
  result[0] = norm;
  result[1] = isfinite(norm) ? (factor < 1 ? factor : 1) / passes : 0;
  //@end gradient-scale
}

// A step's numbers in f32, made once on the host.
struct Factors {
  const double* gradient_scale;
  float beta1, rest1, beta2, rest2, rate, correction2, epsilon, kept;
};

template <int width>
__global__ void adamw_kernel(int64_t n, Factors f, const float* gradient, float* w, float* m, float* v) {
  if (*f.gradient_scale == 0) return;
  const float scale = float(*f.gradient_scale);
  const auto update = [&](auto pack, int64_t i) {
    auto g = load<pack>(gradient + i), wi = load<pack>(w + i), mi = load<pack>(m + i), vi = load<pack>(v + i);
    for (int j = 0; j < pack; ++j) {
      //@begin adamw
      const float gj = scale * g.at[j];
      mi.at[j] = f.beta1 * mi.at[j] + f.rest1 * gj;
      vi.at[j] = f.beta2 * vi.at[j] + f.rest2 * gj * gj;
      const float root = sqrtf(vi.at[j] * f.correction2);
      wi.at[j] -= f.rate * mi.at[j] / (root + f.epsilon) + f.kept * wi.at[j];
      //@end adamw
    }
    store(w + i, wi), store(m + i, mi), store(v + i, vi);
  };
  const int64_t whole = n - n % width;
  for (int64_t i = width * global_index(); i < whole; i += width * global_size()) update(Constant<width>{}, i);
  for (int64_t i = whole + global_index(); i < n; i += global_size()) update(Constant<1>{}, i);
}

}  // namespace

template <class T>
void gradient_scale(int64_t n, const double* squares, double passes, double clip, double* result) {
  launch(gradient_scale_kernel, 1, block_threads, 0, stream(), n, squares, passes, clip, result);
}

template <class T>
void adamw(int64_t n, const AdamWStep& step, const Wide<T>* gradient, Wide<T>* w, Wide<T>* m, Wide<T>* v) {
  if (n == 0) return;
  const Factors factors = {.gradient_scale = step.gradient_scale,
                           .beta1 = float(step.beta1),
                           .rest1 = float(1 - step.beta1),
                           .beta2 = float(step.beta2),
                           .rest2 = float(1 - step.beta2),
                           .rate = float(step.rate / step.correction1),
                           .correction2 = float(1 / step.correction2),
                           .epsilon = float(step.epsilon),
                           .kept = float(step.rate * step.decay)};
  with_width<float>(aligned(gradient, w, m, v), [&](auto width) {
    launch(adamw_kernel<width>, blocks_for(n, block_threads * width), block_threads, 0, stream(), n, factors, gradient,
           w, m, v);
  });
}

#define INSTANTIATE(T)                                                              \
  template void gradient_scale<T>(int64_t, const double*, double, double, double*); \
  template void adamw<T>(int64_t, const AdamWStep&, const Wide<T>*, Wide<T>*, Wide<T>*, Wide<T>*);
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace switchyard::gpu
