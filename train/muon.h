// Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
// kellerjordan.github.io/posts/muon): momentum, made orthogonal. A gradient of a matrix is mostly a few directions; the
// others learn next to nothing. Muon keeps the directions and makes all of them about equally long.
#pragma once
#include "tensor/tensor.h"

namespace switchyard {

// A matrix with the singular vectors of x (out, in) and singular values near 1 (0.7 to 1.2), by five Newton–Schulz
// steps with Jordan's coefficients. Zero stays zero.
Tensor orthogonalized(const Tensor& x);

struct MuonRates {
  double rate, momentum, decay;
};

// One update of a matrix, or of each of a stack (E, out, in). `gradient_scale` is what gradients are multiplied with;
// where it is 0 nothing changes. The step is 0.2 sqrt(max(out, in)) times an orthogonal matrix, about as long as
// AdamW's, so that both take one learning rate and one decay (Liu et al. 2025, "Muon is scalable for LLM training",
// equation 4).
void muon(const MuonRates& rates, const Tensor& gradient, double gradient_scale, const Tensor& weight,
          const Tensor& momentum);

}  // namespace switchyard
