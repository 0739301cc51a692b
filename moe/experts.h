// The experts' weights, stacked, and the two operations that use a plan.
#pragma once
#include "moe/grouped_linear.h"
#include "nn/mlp.h"

namespace switchyard {

// y[t] = sum over the token's slots of gate[s] * slots[s], in the order proposed: (N, C) -> (T, C). 0 without slots.
Var combine(const Var& slots, const RoutingPlan& plan);

// E feed-forward layers C -> F -> C.
struct Experts {
  Activation activation = Activation::swiglu;
  GroupedLinear in, out;  // in: (E, 2F or F, C), where gated the gate's rows first; out: (E, C, F)

  Experts() = default;
  Experts(int64_t E, int64_t width, int64_t F, Activation activation_, double deviation, double out_deviation,
          Init& init)
      : activation(activation_),
        in(E, width, first_layer_width(activation, F), deviation, init),
        out(E, F, width, out_deviation, init) {}
  void adapt(const AdapterConfig& config, Init& init) { in.adapt(config, init), out.adapt(config, init); }
  // x (T, C) -> (T, C): each token's experts' answers, weighted by its gates. In training a share `drop` of the hidden
  // numbers is zeroed (expert dropout, Fedus et al. 2021, section 2.4).
  Var operator()(const Var& x, const RoutingPlan& plan, double drop = 0, Pass* pass = nullptr) const {
    Var hidden = activate(activation, in(x, plan, Rows::token));  // (N, F)
    if (drop > 0 && pass && pass->training) hidden = dropout(hidden, drop, pass->key());
    return combine(out(hidden, plan, Rows::slot), plan);
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    in.visit(name + ".in", f);
    out.visit(name + ".out", f);
  }
};

}  // namespace switchyard
