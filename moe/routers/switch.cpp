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
    const Var logits = weight_(jittered(input));   // (T, E)
    const Var probability = softmax(logits);       // (T, E)
    const Tensor best = top_k(logits.value(), 1);  // i32 (T, 1)
    Selection selection;
    selection.token = proposing_tokens(T, 1);
    selection.expert = masked(best, input.valid).reshape({T});
    selection.gate = reshape(take_columns(probability, best), {T});
    selection.probability = probability.value();
    if (config_.drop == DropOrder::priority) selection.priority = selection.gate.value();
    selection.aux = balance_terms(config_, logits, probability, selection.expert, input.valid);
    return selection;
  }

  void visit(const std::string& name, const ParamVisitor& f) override { weight_.visit(name, f); }

 private:
  // x times a uniform number in 1 - jitter .. 1 + jitter, element by element: for the router only, in training only.
  Var jittered(const RouterInput& input) const {
    if (config_.jitter == 0 || !input.pass || !input.pass->training) return input.x;
    const RandomKey key = input.pass->key();
    Tensor noise(input.x.shape(), input.x.dtype());
    with_float_type(noise.dtype(), [&]<class T>() {
      for (int64_t i = 0; i < noise.count(); ++i)
        noise.data<T>()[i] = T(1 + config_.jitter * (2.0 * uniform(key, static_cast<uint64_t>(i)) - 1));
    });
    return multiply(input.x, Var(noise));
  }

  ModelConfig config_;
  Linear weight_;  // (E, C)
};

}  // namespace

std::unique_ptr<Router> make_switch_router(const ModelConfig& config, Init& init) {
  return std::make_unique<SwitchRouter>(config, init);
}

}  // namespace switchyard
