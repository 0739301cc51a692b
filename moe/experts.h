// The experts' weights, stacked, and the two operations that use a plan.
#pragma once
#include "moe/plan.h"
#include "nn/mlp.h"

namespace switchyard {

enum class Rows { token, slot };  // what the rows of x are: one per token, or one per slot

// y[s] = W_e x[row of s] for every slot s of every expert e: w (E, out, in), x (T, in) or (N, in) -> (N, out).
Var grouped_linear(const Var& x, const Var& w, const RoutingPlan& plan, Rows rows);
// y[t] = sum over the token's slots of gate[s] * slots[s], in the order proposed: (N, C) -> (T, C). 0 without slots.
Var combine(const Var& slots, const RoutingPlan& plan);

// E feed-forward layers C -> F -> C; an expert's weights lie together.
struct Experts {
  Activation activation = Activation::swiglu;
  Var in, out;  // in: (E, 2F or F, C), for SwiGLU the gate's rows first; out: (E, C, F)

  Experts() = default;
  Experts(int64_t E, int64_t width, int64_t F, Activation activation_, double deviation, double out_deviation,
          Init& init)
      : activation(activation_),
        in(init.normal({E, first_layer_width(activation, F), width}, deviation)),
        out(init.normal({E, width, F}, out_deviation)) {}
  // x (T, C) -> (T, C): each token's experts' answers, weighted by its gates.
  Var operator()(const Var& x, const RoutingPlan& plan) const {
    const Var hidden = activate(activation, grouped_linear(x, in, plan, Rows::token));  // (N, F)
    return combine(grouped_linear(hidden, out, plan, Rows::slot), plan);
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    f(name + ".in", in);
    f(name + ".out", out);
  }
};

}  // namespace switchyard
