// Compares backward() with central differences in f64, over every element of every input.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "autograd/ops.h"

namespace switchyard {

// The worst relative error of any gradient element of f at `inputs` (f64 leaves that want gradients):
// |analytic - numeric| / max(|analytic|, |numeric|, mean |analytic| of that input). f's result may have any shape: it
// is weighted with fixed irregular numbers, so that no error cancels in a plain sum. Error if f is not a function of
// its inputs alone (two calls must agree to the bit).
inline double gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Var>& inputs) {
  const auto weighted = [&] {
    const Var y = f(inputs);
    std::vector<double> weights(static_cast<size_t>(y.value().count()));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(1.7 * double(i) + 0.4);
    return sum(multiply(y, Var(Tensor::from(weights, y.shape(), y.dtype()))));
  };
  for (const Var& input : inputs) Var(input).clear_grad();
  const Var loss = weighted();
  check(loss.value().item() == weighted().value().item(), "gradcheck: two calls of the function differ");
  backward(loss);
  double worst = 0;
  for (const Var& input : inputs) {
    double* x = input.value().data<double>();
    const int64_t count = input.value().count();
    const std::vector<double> analytic =
        input.grad().defined() ? input.grad().values() : std::vector<double>(static_cast<size_t>(count), 0.0);
    double typical = 1e-12;
    for (double g : analytic) typical += std::abs(g) / double(count);
    NoGrad no_grad;
    for (int64_t i = 0; i < count; ++i) {
      const double at = x[i];
      // Richardson's extrapolation of two central differences: the error is of fourth order in the step.
      //@begin difference
      const auto difference = [&](double h) {
        x[i] = at + h;
        const double above = weighted().value().item();
        x[i] = at - h;
        const double below = weighted().value().item();
        x[i] = at;
        return (above - below) / (2 * h);
      };
      const double numeric = (4 * difference(5e-4) - difference(1e-3)) / 3;
      //@end difference
      const double size = std::max({std::abs(analytic[size_t(i)]), std::abs(numeric), typical});
      const double error = std::abs(analytic[size_t(i)] - numeric) / size;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

}  // namespace switchyard
