// DeepSeek-V2 (DeepSeek-AI 2024, "DeepSeek-V2: a strong, economical, and efficient mixture-of-experts language model",
// section 2.2): experts lie on devices, here --groups of neighbours, and a token visits the k best experts of the
// --group-top-k devices where its best ones lie. Three losses keep experts, devices and the traffic between them even.
// That the paper drops tokens of full devices in training is left out: an expert's --capacity is what there is here.
#include "moe/balance.h"
#include "moe/router.h"

namespace switchyard {
namespace {

class DeepSeekV2Router : public Router {
 public:
  DeepSeekV2Router(const ModelConfig& config, Init& init)
      : config_(config), weight_(config.width, config.experts, config.init, init) {}

  Selection select(const RouterInput& input) override {
    const Var logits = router_logits(router_view(input, config_), weight_, config_);
    const Var probability = softmax(logits);  // (T, E)
    const std::vector<int32_t> best = choose(probability.value());
    const Var gate = take_columns(probability, on_device(best, probability));
    Selection selection = propose(best, scaled(gate, config_.gate_scale), input);
    selection.probability = probability.value();
    const Var balance = sequence_balance_loss(probability, selection.expert, input);  // equations 23 to 25
    selection.aux = balance_terms(config_, balance, logits, selection, input.valid);
    add_device_terms(probability, best, input, selection.aux);
    return selection;
  }

  void visit(const std::string& name, const ParamVisitor& f) override { weight_.visit(name, f); }

 private:
  //@begin devices
  std::vector<int32_t> choose(const Tensor& probability) const {
    const int64_t T = probability.rows(), E = config_.experts, D = config_.groups, size = E / D;
    const std::vector<double> p = probability.values();
    std::vector<int32_t> choice;
    for (int64_t t = 0; t < T; ++t) {
      const double* row = &p[size_t(t * E)];
      std::vector<double> best_of_device, allowed(size_t(E), -1.0);
      for (int64_t d = 0; d < D; ++d) best_of_device.push_back(*std::max_element(row + d * size, row + (d + 1) * size));
      for (int32_t d : highest(best_of_device, config_.group_top_k))
        std::copy_n(row + d * size, size, allowed.begin() + d * size);
      const std::vector<int32_t> best = highest(allowed, config_.top_k);
      choice.insert(choice.end(), best.begin(), best.end());
    }
    return choice;
  }
  //@end devices

  // The device-level and the communication loss, equations 26 to 31, each 1 when everything is even. Both weigh the
  // probabilities of a device's experts by a share that is a constant, within each sequence.
  void add_device_terms(const Var& probability, const std::vector<int32_t>& choice, const RouterInput& input,
                        std::vector<AuxTerm>& terms) const {
    const size_t T = size_t(probability.shape()[0]), E = size_t(config_.experts), D = size_t(config_.groups);
    const size_t size = E / D, k = size_t(config_.top_k);
    const Sequences sequences = sequences_of(input);
    std::vector<double> visits(sequences.tokens.size() * D, 0.0), sent = visits;  // proposals to, tokens on a device
    for (size_t t = 0; t < T; ++t) {
      if (sequences.of[t] < 0) continue;
      std::vector<bool> seen(D, false);
      for (size_t j = 0; j < k; ++j) {
        const size_t d = size_t(choice[t * k + j]) / size, at = size_t(sequences.of[t]) * D + d;
        visits[at] += 1, sent[at] += seen[d] ? 0 : 1;
        seen[d] = true;
      }
    }
    std::vector<double> device(T * E, 0.0), communication = device;
    for (size_t t = 0; t < T; ++t) {
      if (sequences.of[t] < 0) continue;
      const double n = sequences.tokens[size_t(sequences.of[t])], each = 1 / n / sequences.filled;
      for (size_t e = 0; e < E; ++e) {
        const size_t at = size_t(sequences.of[t]) * D + e / size;
        device[t * E + e] = double(D) * visits[at] / (double(k) * n) * each;
        communication[t * E + e] = double(D) * sent[at] / (double(config_.group_top_k) * n) * each;
      }
    }
    if (config_.device_balance > 0)
      terms.push_back({"device", weighted_sum(probability, device), config_.device_balance});
    if (config_.communication_balance > 0)
      terms.push_back({"communication", weighted_sum(probability, communication), config_.communication_balance});
  }

  ModelConfig config_;
  Linear weight_;  // (E, C)
};

void check_deepseek_v2(const ModelConfig& c) {
  const int reach = c.experts / c.groups * c.group_top_k;
  check(c.top_k <= reach, "--top-k {}: must be at most {}, the experts of --group-top-k {} groups, or some are missing",
        c.top_k, reach, c.group_top_k);
}

}  // namespace

extern const RouterInfo deepseek_v2_router{"deepseek-v2", "the k best on the best few devices (DeepSeek-V2, 2024)",
                                           make_a<DeepSeekV2Router>, check_deepseek_v2, true};

}  // namespace switchyard
