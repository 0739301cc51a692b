// Softmax and the k best. With --gate-norm sum-to-one the k gates are divided by their sum: Mixtral (Jiang et al.
// 2024, section 2.1); with none they stay as the softmax made them: OLMoE (Muennighoff et al. 2024), DeepSeekMoE.
#include "moe/balance.h"
#include "moe/router.h"
#include "nn/linear.h"

namespace switchyard {
namespace {

class TopKRouter : public Router {
 public:
  TopKRouter(const ModelConfig& config, Init& init)
      : config_(config), weight_(config.width, config.experts, config.init, init) {}

  //@begin select
  Selection select(const RouterInput& input) override {
    const int64_t T = input.x.shape()[0], k = config_.top_k;
    const Var logits = weight_(input.x);           // (T, E)
    const Var probability = softmax(logits);       // (T, E)
    const Tensor best = top_k(logits.value(), k);  // i32 (T, k)
    // Dividing the k probabilities by their sum is the same as a softmax over the k logits alone.
    const Var gate = config_.gate_norm == GateNorm::sum_to_one ? softmax(take_columns(logits, best))
                                                               : take_columns(probability, best);
    Selection selection;
    selection.token = proposing_tokens(T, k);
    selection.expert = masked(best, input.valid).reshape({T * k});
    selection.gate = reshape(gate, {T * k});
    selection.probability = probability.value();
    if (config_.drop == DropOrder::priority) selection.priority = selection.gate.value();
    selection.aux = balance_terms(config_, logits, probability, selection.expert, input.valid);
    return selection;
  }
  //@end select

  void visit(const std::string& name, const ParamVisitor& f) override { weight_.visit(name, f); }

 private:
  ModelConfig config_;
  Linear weight_;  // (E, C)
};

}  // namespace

std::unique_ptr<Router> make_topk_router(const ModelConfig& config, Init& init) {
  return std::make_unique<TopKRouter>(config, init);
}

}  // namespace switchyard
