#pragma once
#include <optional>

#include "nn/low_rank.h"

namespace switchyard {

// y = x W^T + b: weight (out, in); bias (out), or undefined for none.
struct Linear {
  Var weight, bias;
  std::optional<LowRank> adapter;

  Linear() = default;
  Linear(int64_t in, int64_t out, double deviation, Init& init, bool with_bias = false)
      : weight(init.matrix({out, in}, deviation)) {
    if (with_bias) bias = init.constant({out}, 0);
  }
  void adapt(const AdapterConfig& config, Init& init) { adapter.emplace(weight.shape(), config, init); }
  Var operator()(const Var& x) const {  // (.., in) -> (.., out)
    const Var y = linear(x, weight, bias);
    return adapter ? adapter->added(y, x) : y;
  }
  //@begin visit
  void visit(const std::string& name, const ParamVisitor& f) {
    f(name + ".weight", weight);
    if (bias.defined()) f(name + ".bias", bias);
    if (adapter) adapter->visit(name + ".adapter", f);
  }
  //@end visit
};

}  // namespace switchyard
