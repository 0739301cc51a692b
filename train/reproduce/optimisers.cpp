// What a recipe is worth: Muon beside AdamW (Jordan et al. 2024; Liu et al. 2025), a rate of their own for the routers,
// what decays, a mean of the weights, and how noisy the gradient is.
#include "train/reproduce/base.h"

namespace switchyard::reproduce {
namespace {

std::vector<Variant> variants(bool quick) {
  TrainConfig train = base_training(quick ? 150 : 700);
  train.batch = 8, train.accumulate = 2, train.gradient_noise = true;  // two passes a step, or no noise can be seen
  const auto with = [&](const char* label, auto&& change) {
    TrainConfig t = train;
    change(t);
    return variant(label, base_model(), t);
  };
  return {with("AdamW", [](TrainConfig&) {}),
          with("AdamW, half the rate", [](TrainConfig& t) { t.rate /= 2; }),
          with("Muon", [](TrainConfig& t) { t.optimizer = OptimizerKind::muon; }),
          with("Muon, half the rate", [](TrainConfig& t) { t.optimizer = OptimizerKind::muon, t.rate /= 2; }),
          with("routers at a tenth", [](TrainConfig& t) { t.router_rate = 0.1; }),
          with("routers at three times", [](TrainConfig& t) { t.router_rate = 3; }),
          with("only the layers decay", [](TrainConfig& t) { t.decay = Decay::hidden; }),
          with("mean of the weights", [](TrainConfig& t) { t.average = 0.98; })};
}

void measure(Trainer& trainer, const Variant&, Outcome& outcome) {
  if (!trainer.config().train.average) return;
  trainer.optimizer().with_average(
      [&] { outcome.number["loss"] = trainer.evaluate(4 * trainer.config().train.eval_tokens).all.loss(); });
}

std::vector<std::string> conclude(Results& r) {
  r.findings["muon_gain"] = r.mean("AdamW", "loss") - r.mean("Muon", "loss");
  r.findings["muon_time"] = r.mean("Muon", "seconds") / r.mean("AdamW", "seconds");
  return {"noise: the gradient's noise scale over the last tenth of the steps, in sequences; a step has 16",
          "the mean of the weights: its loss is the mean's, its training AdamW's to the bit"};
}

}  // namespace

extern const Experiment optimisers{
    .name = "optimisers",
    .question = "what is each recipe of an optimiser worth?",
    .paper = "Jordan et al. 2024 (Muon); Liu et al. 2025, figure 3; McCandlish et al. 2018",
    .minutes = 7,
    .quick_minutes = 1.4,
    .variants = variants,
    .columns = {{"noise, sequences", "at the end: noise_scale", 0},
                {"gradient norm", "at the end: gradient_norm", 2},
                {"max/mean load", "max_over_mean", 2}},
    .measure = measure,
    .conclude = conclude};

}  // namespace switchyard::reproduce
