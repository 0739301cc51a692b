#include "moe/experts.h"

namespace switchyard {

Var grouped_linear(const Var& x, const Var& w, const RoutingPlan& plan, Rows rows) {
  if (x.shape().rows() != (rows == Rows::token ? plan.tokens : plan.slots))
    fail("grouped_linear: x of shape {} for a plan of {} tokens and {} slots", x.shape().text(), plan.tokens,
         plan.slots);
  const Tensor row = rows == Rows::token ? plan.slot_token : Tensor(), begin = plan.offset;
  const Tensor first = plan.token_offset, slot = plan.token_slot;
  //@begin grouped-linear
  Tensor y = grouped_forward(begin, row, plan.slots, x.value(), w.value());
  return make("grouped_linear", y, {x, w}, [begin, row, first, slot](Node& n) {
    const Var &x = n.inputs[0], &w = n.inputs[1];
    const Tensor& dy = n.grad;  // (N, out)
    const Shape shape = w.shape();
    if (w.requires_grad()) {
      Tensor dw = grouped_backward_weight(begin, row, dy, x.value(), shape);
      w.accumulate(std::move(dw));
    }
    if (!x.requires_grad()) return;
    const Tensor dx = grouped_backward_input(begin, dy, w.value());  // (N, in)
    // A token read by several slots gathers the gradients of them all.
    x.accumulate(row.defined() ? combine(first, slot, Tensor(), dx) : dx);
  });
  //@end grouped-linear
}

Var combine(const Var& slots, const RoutingPlan& plan) {
  const Var& gate = plan.gate;
  if (slots.shape().rows() != plan.slots || gate.shape().count() != plan.slots)
    fail("combine: slots {} and gates {} for {} slots", slots.shape().text(), gate.shape().text(), plan.slots);
  Tensor y = combine(plan.token_offset, plan.token_slot, gate.value(), slots.value());
  return make("combine", y, {slots, gate}, [offset = plan.offset, token = plan.slot_token](Node& n) {
    const Var &slots = n.inputs[0], &gate = n.inputs[1];
    CombineGradients g = combine_backward(offset, token, gate.value(), slots.value(), n.grad);
    slots.accumulate(std::move(g.dx));
    gate.accumulate(std::move(g.d_gate));
  });
}

}  // namespace switchyard
