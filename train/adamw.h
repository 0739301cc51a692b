// AdamW (Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2).
#pragma once
#include "tensor/tensor.h"

namespace switchyard {

struct AdamWRates {
  double rate, beta1, beta2, epsilon, decay;
};

// One update of a parameter: its number `t`, 1 for the first, corrects the moments for having begun at zero.
// `gradient_scale` f64 (1) is what gradients are multiplied with; where it is 0 nothing changes.
void adamw(const AdamWRates& rates, int64_t t, const Tensor& gradient, const double* gradient_scale,
           const Tensor& weight, const Tensor& mean, const Tensor& mean_square);

}  // namespace switchyard
