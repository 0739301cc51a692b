#pragma once
#include "nn/init.h"
#include "nn/module.h"

namespace switchyard {

// RMSNorm, or LayerNorm where a bias is defined; over the last axis, width C.
struct Norm {
  Var weight, bias;
  double epsilon = 1e-5;

  Norm() = default;
  Norm(int64_t width, double epsilon_, bool layer, Init& init) : weight(init.constant({width}, 1)), epsilon(epsilon_) {
    if (layer) bias = init.constant({width}, 0);
  }
  Var operator()(const Var& x) const {
    return bias.defined() ? layer_norm(x, weight, bias, epsilon) : rms_norm(x, weight, epsilon);
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    f(name + ".weight", weight);
    if (bias.defined()) f(name + ".bias", bias);
  }
};

}  // namespace switchyard
