#include "train/adamw.h"

#include <cmath>

#include "tensor/kernels.h"

namespace switchyard {

void adamw(const AdamWRates& r, int64_t t, const Tensor& gradient, const double* gradient_scale, const Tensor& weight,
           const Tensor& mean, const Tensor& mean_square) {
  const AdamWStep step{.rate = r.rate,
                       .beta1 = r.beta1,
                       .beta2 = r.beta2,
                       .epsilon = r.epsilon,
                       .decay = r.decay,
                       .correction1 = 1 - std::pow(r.beta1, double(t)),
                       .correction2 = 1 - std::pow(r.beta2, double(t)),
                       .gradient_scale = gradient_scale};
  with_float_type(mean.dtype(), [&]<class T>() {
    using W = Wide<T>;
    kernels<T>(mean.device())
        .adamw(mean.count(), step, gradient.data<W>(), weight.data<W>(), mean.data<W>(), mean_square.data<W>());
  });
}

}  // namespace switchyard
