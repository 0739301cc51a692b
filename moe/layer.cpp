#include "moe/layer.h"

namespace switchyard {

MoeLayer::MoeLayer(const ModelConfig& c, double out_deviation, Init& init)
    : experts_count_(c.experts),
      capacity_{c.capacity, c.min_capacity},
      router_(make_router(c, init)),
      experts_(c.experts, c.width, c.ffn, c.activation, c.init, out_deviation, init) {
  if (c.shared_experts)
    shared_ = Mlp(c.width, int64_t{c.shared_experts} * c.ffn, c.activation, c.init, out_deviation, init);
}

//@begin forward
MoeOutput MoeLayer::operator()(const RouterInput& input, const RoutingPlan* replay) {
  Selection selection = router_->select(input);
  const bool training = input.pass && input.pass->training;
  const RoutingPlan plan =
      replay ? replay_plan(*replay, selection)
             : build_plan(selection, input.x.shape()[0], experts_count_, training ? capacity_ : Capacity{});
  Var y = experts_(input.x, plan);
  if (shared_) y = add(y, (*shared_)(input.x));
  return {y, std::move(selection.aux), {plan, selection.probability}};
}
//@end forward

void MoeLayer::visit(const std::string& name, const ParamVisitor& f) {
  router_->visit(name + ".router", f);
  experts_.visit(name + ".experts", f);
  if (shared_) shared_->visit(name + ".shared", f);
}

}  // namespace switchyard
