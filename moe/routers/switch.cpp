// Switch Transformer (Fedus, Zoph and Shazeer 2021, "Switch Transformers: scaling to trillion parameter models with
// simple and efficient sparsity"): one expert a token, its gate the softmax probability as it is (equation 2), which
// is what carries the router's gradient.
#include "moe/balance.h"
#include "moe/router.h"
#include "nn/linear.h"

namespace switchyard {
namespace {

class SwitchRouter : public Router {
 public:
  SwitchRouter(const ModelConfig& config, Init& init)
      : config_(config), weight_(config.width, config.experts, config.init, init) {}

  Selection select(const RouterInput& input) override {
    const int64_t T = input.x.shape()[0];
    //@begin one
    const Var logits = weight_(jittered(input, config_.jitter));  // (T, E)
    // (T, E) and i32 (T, 1)
    const auto [probability, best] = softmax_top_k(logits, 1);
    Selection selection;
    selection.token = proposing_tokens(T, 1, best.device());
    selection.expert = masked(best, input.valid).reshape({T});
    selection.gate = reshape(take_columns(probability, best), {T});
    //@end one
    selection.probability = probability.value();
    if (config_.drop == DropOrder::priority) selection.priority = selection.gate.value();
    selection.aux = balance_terms(config_, logits, probability, selection.expert, input.valid);
    return selection;
  }

  void visit(const std::string& name, const ParamVisitor& f) override { weight_.visit(name, f); }

 private:
  ModelConfig config_;
  Linear weight_;  // (E, C)
};

}  // namespace

std::unique_ptr<Router> make_switch_router(const ModelConfig& config, Init& init) {
  return std::make_unique<SwitchRouter>(config, init);
}

}  // namespace switchyard
