#include "train/muon.h"

#include <algorithm>
#include <cmath>

#include "tensor/ops.h"

namespace switchyard {
namespace {

void set(const Tensor& to, const Tensor& from) {
  copy_bytes(to.raw(), to.device(), from.raw(), from.device(), to.bytes());
}

Tensor product(const Tensor& a, const Tensor& b) { return matmul(a, false, b, false); }

// weight = (1 - rate decay) weight - rate step
void move(const MuonRates& r, const Tensor& weight, const Tensor& step) {
  const double length = 0.2 * std::sqrt(double(std::max(step.rows(), step.cols())));
  set(weight, add(scale(weight, 1 - r.rate * r.decay), scale(step, -r.rate * length)));
}

void move_matrix(const MuonRates& r, const Tensor& gradient, double gradient_scale, const Tensor& weight,
                 const Tensor& momentum) {
  //@begin muon
  const Tensor g = scale(gradient, gradient_scale);
  set(momentum, add(scale(momentum, r.momentum), g));
  const Tensor ahead = add(scale(momentum, r.momentum), g);  // Nesterov's
  move(r, weight, orthogonalized(ahead));
  //@end muon
}

}  // namespace

Tensor orthogonalized(const Tensor& given) {
  const bool tall = given.rows() > given.cols();
  const double norm = std::sqrt(sum_squares(given).item());
  //@begin newton-schulz
  Tensor x = scale(given, 1 / (norm + 1e-7));  // no singular value above 1
  for (int step = 0; step < 5; ++step) {
    const Tensor a = matmul(x, tall, x, !tall);  // the smaller square
    const Tensor square = product(a, a);
    const Tensor b = add(scale(a, -4.7750), scale(square, 2.0315));
    const Tensor turned = tall ? product(x, b) : product(b, x);
    x = add(scale(x, 3.4445), turned);
  }
  //@end newton-schulz
  return x;
}

void muon(const MuonRates& rates, const Tensor& gradient, double gradient_scale, const Tensor& weight,
          const Tensor& momentum) {
  if (gradient_scale == 0) return;
  const Shape& shape = weight.shape();
  const int64_t E = shape.rank() == 3 ? shape[0] : 1, out = weight.rows() / E, in = weight.cols();
  const auto part = [&](const Tensor& x, int64_t e) { return x.reshape({E * out, in}).rows(e * out, (e + 1) * out); };
  for (int64_t e = 0; e < E; ++e)
    move_matrix(rates, part(gradient, e), gradient_scale, part(weight, e), part(momentum, e));
}

}  // namespace switchyard
