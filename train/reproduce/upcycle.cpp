// Go on with a dense model as it is, or as a mixture of copies of itself? Komatsuzaki et al. 2022, "Sparse upcycling".
#include "moe/size.h"
#include "train/distill.h"
#include "train/reproduce/base.h"

namespace switchyard::reproduce {
namespace {

RunConfig go_on(RunConfig config, const fs::path& dense) {
  config.train.seed += another_seed;
  config.start = dense;
  return config;
}

RunConfig as_mixture(RunConfig config, const fs::path& dense) {
  config.train.seed += another_seed;
  return begun_as_mixture(std::move(config), dense);
}

// Two of eight copies serve a token, so the mixture works nearly twice as much in its MLPs; the dense model gets so
// many steps more that both cost the same FLOPs.
std::vector<Variant> variants(bool quick) {
  const TrainConfig train = base_training(quick ? 150 : 1150);
  TrainConfig more = train;
  more.rate = 3e-3, more.warmup = train.steps / 20;
  const ModelConfig mixture = base_model(), dense = dense_model(mixture.ffn);
  TrainConfig longer = more;
  longer.steps =
      static_cast<int64_t>(double(more.steps) * forward_flops_per_token(mixture) / forward_flops_per_token(dense));
  longer.log_every = longer.sample_every = longer.checkpoint_every = longer.steps;
  std::vector<Variant> all{variant("dense", dense, train), variant("dense, trained on", dense, longer),
                           variant("upcycled", mixture, more), variant("mixture from scratch", mixture, train)};
  all[1].after = all[2].after = "dense";
  all[1].prepare = go_on, all[2].prepare = as_mixture;
  return all;
}

std::vector<std::string> conclude(Results& r) {
  r.findings["upcycling_gain"] = r.mean("dense, trained on", "loss") - r.mean("upcycled", "loss");
  return {
      fmt::format("Of the same FLOPs, the mixture of copies makes a loss {:.4f} lower than the dense model trained on; "
                  "it takes {:.2f} times its time.",
                  r.findings["upcycling_gain"], r.mean("upcycled", "seconds") / r.mean("dense, trained on", "seconds")),
      "The cost of the dense model that both begin with is in its own line alone."};
}

}  // namespace

extern const Experiment upcycle{
    .name = "upcycle",
    .question = "go on with a dense model as it is, or as a mixture of copies of itself?",
    .paper =
        "Komatsuzaki et al. 2022, abstract: upcycled models beat their dense originals, and mixtures from scratch, "
        "with half of the original's cost",
    .minutes = 6.1,
    .quick_minutes = 0.9,
    .variants = variants,
    .columns = {{"above floor per byte", "above_floor", 4},
                {"parameters", "parameters", 0},
                {"max/mean load", "max_over_mean", 2}},
    .conclude = conclude,
    .version = 2};

}  // namespace switchyard::reproduce
