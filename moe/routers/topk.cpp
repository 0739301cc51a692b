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

  Selection select(const RouterInput& input) override {
    const int64_t T = input.x.shape()[0], k = config_.top_k;
    //@begin gates
    const Var logits = weight_(jittered(input, config_.jitter));  // (T, E)
    // (T, E) and i32 (T, k)
    const auto [probability, best] = softmax_top_k(logits, k);
    // Dividing the k probabilities by their sum: a softmax over k logits alone.
    const bool divide = config_.gate_norm == GateNorm::sum_to_one;
    const Var kept = take_columns(divide ? logits : probability, best);  // (T, k)
    const Var gate = divide ? softmax(kept) : kept;
    //@end gates
    //@begin proposals
    Selection selection;
    selection.token = proposing_tokens(T, k, best.device());
    selection.expert = masked(best, input.valid).reshape({T * k});
    selection.gate = reshape(gate, {T * k});
    //@end proposals
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

std::unique_ptr<Router> make_topk_router(const ModelConfig& config, Init& init) {
  return std::make_unique<TopKRouter>(config, init);
}

}  // namespace switchyard
