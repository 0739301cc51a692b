// One mixture-of-experts layer: router, plan, experts, and the experts that every token visits.
#pragma once
#include <optional>

#include "moe/experts.h"

namespace switchyard {

// How a layer routed, kept for statistics and for replay.
struct Route {
  RoutingPlan plan;
  Tensor probability;  // (T, E)
};

struct MoeOutput {
  Var y;  // (T, C)
  std::vector<AuxTerm> aux;
  Route route;
};

class MoeLayer {
 public:
  MoeLayer(const ModelConfig& config, double out_deviation, Init& init);

  // x (T, C) in input.x. The capacity holds in training only; evaluation drops nothing. With `replay`, the slots of
  // that earlier plan are used instead of the router's choice; the gates are computed anew.
  MoeOutput operator()(const RouterInput& input, const RoutingPlan* replay = nullptr);

  void adapt(const AdapterConfig& config, Init& init) {
    experts_.adapt(config, init);
    if (shared_) shared_->adapt(config, init);
  }

  Router& router() { return *router_; }
  void visit(const std::string& name, const ParamVisitor& f);

 private:
  Var shared(const Var& x) const;  // the shared experts' answer

  int64_t experts_count_;
  double expert_dropout_;
  Capacity capacity_;
  std::unique_ptr<Router> router_;
  Experts experts_;
  std::optional<Mlp> shared_;
  std::optional<Linear> shared_gate_;  // (1, C)
};

}  // namespace switchyard
