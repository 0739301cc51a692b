// Softmax and the k best, which many papers share; they differ in the settings.
//   Mixtral (Jiang et al. 2024, section 2.1): --gate-norm sum-to-one, two of eight, no capacity.
//   Qwen3-MoE (2025): the same with eight of 128.
//   ST-MoE (Zoph et al. 2022): two, --capacity 1.25, --z-loss 0.001, and a dense layer beside the experts.
//   GLaM (Du et al. 2022): two of 64, --moe-every 2.
//   OLMoE (Muennighoff et al. 2024), DeepSeekMoE (Dai et al. 2024, equations 3 to 5): --gate-norm none.
#include "moe/balance.h"
#include "moe/router.h"

namespace switchyard {
namespace {

class TopKRouter : public Router {
 public:
  TopKRouter(const ModelConfig& config, Init& init)
      : config_(config), weight_(config.width, config.experts, config.init, init) {}

  Selection select(const RouterInput& input) override {
    //@begin gates
    const Var view = router_view(input, config_);
    const Var logits = router_logits(view, weight_, config_);
    // (T, E) and i32 (T, k)
    const auto [probability, best] = softmax_top_k(logits, config_.top_k);
    // Dividing the k probabilities by their sum: a softmax over k logits alone.
    const bool divide = config_.gate_norm == GateNorm::sum_to_one;
    const Var kept = take_columns(divide ? logits : probability, best);  // (T, k)
    const Var gate = divide ? softmax(kept) : kept;
    //@end gates
    Selection selection = propose(best, scaled(gate, config_.gate_scale), input);
    selection.probability = probability.value();
    const Var balance = balance_loss(probability, selection.expert, input.valid);
    selection.aux = balance_terms(config_, balance, logits, selection, input.valid);
    return selection;
  }

  void visit(const std::string& name, const ParamVisitor& f) override { weight_.visit(name, f); }

 private:
  ModelConfig config_;
  Linear weight_;  // (E, C)
};

void check_topk(const ModelConfig& c) {
  check(c.top_k > 1 || c.gate_norm == GateNorm::none,
        "--gate-norm sum-to-one with --top-k 1: use none, or every gate is 1 and the router never learns");
}

}  // namespace

extern const RouterInfo topk_router{"topk", "softmax over all experts, the k best (Mixtral, OLMoE, DeepSeekMoE, …)",
                                    make_a<TopKRouter>, check_topk, true};

}  // namespace switchyard
