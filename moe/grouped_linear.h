// What nn/linear.h is for one matrix, for the matrices of E experts at once: each slot goes through its expert's.
#pragma once
#include "moe/plan.h"
#include "nn/linear.h"

namespace switchyard {

enum class Rows { token, slot };  // what the rows of x are: one per token, or one per slot

// y[s] = W_e x[row of s] for every slot s of every expert e: w (E, out, in), x (T, in) or (N, in) -> (N, out).
Var grouped_linear(const Var& x, const Var& w, const RoutingPlan& plan, Rows rows);

struct GroupedLinear {
  Var weight;  // (E, out, in): an expert's matrix lies together
  std::optional<LowRank> adapter;

  GroupedLinear() = default;
  GroupedLinear(int64_t E, int64_t in, int64_t out, double deviation, Init& init)
      : weight(init.matrix({E, out, in}, deviation)) {}
  void adapt(const AdapterConfig& config, Init& init) { adapter.emplace(weight.shape(), config, init); }
  Var operator()(const Var& x, const RoutingPlan& plan, Rows rows) const {
    const Var y = grouped_linear(x, weight, plan, rows);
    if (!adapter) return y;
    //@begin adapted
    const Var low = grouped_linear(x, adapter->down, plan, rows);  // (N, r)
    const Var more = grouped_linear(low, adapter->up, plan, Rows::slot);
    return add(y, scale(more, adapter->factor));
    //@end adapted
  }
  void visit(const std::string& name, const ParamVisitor& f) {
    f(name, weight);
    if (adapter) adapter->visit(name + ".adapter", f);
  }
};

}  // namespace switchyard
