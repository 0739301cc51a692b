// DeepSeek-V3 (DeepSeek-AI 2024, "DeepSeek-V3 technical report", section 2.1.2; Wang et al. 2024, "Auxiliary-loss-free
// load balancing strategy for mixture-of-experts"): sigmoid scores; a bias, moved after each step, chooses and does
// nothing else; the gates are the scores of the chosen over their sum.
#include <cmath>
#include <limits>

#include "moe/balance.h"
#include "moe/router.h"

namespace switchyard {
namespace {

class DeepSeekV3Router : public Router {
 public:
  DeepSeekV3Router(const ModelConfig& config, Init& init)
      : config_(config),
        weight_(config.width, config.experts, config.init, init),
        bias_(init.constant({config.experts}, 0).value()) {}

  Selection select(const RouterInput& input) override {
    const Var logits = router_logits(router_view(input, config_), weight_, config_);
    const Tensor score = unary(Unary::sigmoid, logits.value());  // (T, E)
    const std::vector<int32_t> best = choose(score);
    //@begin gates
    // log sigmoid(x) = -softplus(-x), and a softmax of logarithms divides by
    // the sum: nothing underflows.
    const Var log_score = scale(unary(Unary::softplus, scale(logits, -1)), -1);
    const Var gate = softmax(take_columns(log_score, on_device(best, logits)));
    const Var probability = softmax(log_score);  // the scores over their sum
    //@end gates
    Selection selection = propose(best, scaled(gate, config_.gate_scale), input);
    selection.probability = probability.value();
    // The sequence-wise loss counts the choices that the scores alone would make (equations 17 to 20): those of the
    // logits, which order experts as their sigmoids do but are never rounded to 0 or 1.
    const Tensor unbiased = masked(top_k(logits.value(), config_.top_k), input.valid);
    const Var balance = sequence_balance_loss(probability, unbiased, input);
    selection.aux = balance_terms(config_, balance, logits, selection, input.valid);
    return selection;
  }

  void after_step(std::span<const int64_t> load) override {
    //@begin after-step
    // Busier than the mean: down; idler: up.
    double mean = 0;
    for (int64_t n : load) mean += double(n) / double(load.size());
    std::vector<double> b = bias_.value().values();
    for (size_t e = 0; e < b.size(); ++e) {
      const double mine = double(load[e]);
      b[e] += config_.bias_rate * ((mine < mean) - (mine > mean));
    }
    //@end after-step
    bias_.set_value(Tensor::from(b, bias_.shape(), bias_.dtype()).to(bias_.value().device()));
  }

  void visit(const std::string& name, const ParamVisitor& f) override {
    weight_.visit(name, f);
    f(name + ".bias", bias_);
  }

 private:
  // The k best of score + bias, in the groups whose two best sum highest.
  std::vector<int32_t> choose(const Tensor& score) const {
    const int64_t T = score.rows(), E = config_.experts, G = config_.groups, size = E / G;
    const std::vector<double> s = score.values(), b = bias_.value().values();
    std::vector<int32_t> choice;
    for (int64_t t = 0; t < T; ++t) {
      std::vector<double> biased(static_cast<size_t>(E)), of_group;
      for (int64_t e = 0; e < E; ++e) biased[size_t(e)] = s[size_t(t * E + e)] + b[size_t(e)];
      for (int64_t g = 0; g < G; ++g) {
        const std::span<const double> group(&biased[size_t(g * size)], size_t(size));
        double sum = 0;
        for (int32_t e : highest(group, std::min<int64_t>(2, size))) sum += group[size_t(e)];
        of_group.push_back(sum);
      }
      std::vector<double> allowed(biased.size(), -std::numeric_limits<double>::infinity());  // 0 may beat a bias
      for (int32_t g : highest(of_group, config_.group_top_k))
        std::copy_n(biased.begin() + g * size, size, allowed.begin() + g * size);
      const std::vector<int32_t> best = highest(allowed, config_.top_k);
      choice.insert(choice.end(), best.begin(), best.end());
    }
    return choice;
  }

  ModelConfig config_;
  Linear weight_;  // (E, C)
  Var bias_;       // (E), state
};

void check_deepseek_v3(const ModelConfig& c) {
  const int reach = c.experts / c.groups * c.group_top_k;
  check(c.top_k <= reach, "--top-k {}: must be at most {}, the experts of --group-top-k {} groups, or some are missing",
        c.top_k, reach, c.group_top_k);
  check(c.top_k > 1,
        "--router deepseek-v3 with --top-k 1: must be 2 or more, or every gate is 1 and the router never "
        "learns");
}

}  // namespace

extern const RouterInfo deepseek_v3_router{"deepseek-v3", "sigmoid scores, a bias that balances (DeepSeek-V3, 2024)",
                                           make_a<DeepSeekV3Router>, check_deepseek_v3, true};

}  // namespace switchyard
