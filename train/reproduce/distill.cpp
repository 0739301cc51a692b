// How much of a mixture's gain survives in a dense model that it teaches? Fedus et al. 2021, section 4.2, table 6.
#include "train/distill.h"

#include "moe/size.h"
#include "train/reproduce/base.h"

namespace switchyard::reproduce {
namespace {

constexpr double soft_share = 0.25;  // the paper's; the rest of the loss is the text's

// Two of 16 experts; its dense twin does the same work per token.
ModelConfig teacher_model() {
  ModelConfig c = base_model();
  c.experts = 16;
  return c;
}

RunConfig from_probabilities(RunConfig config, const fs::path& teacher) {
  config.teacher = {.dir = teacher, .share = soft_share};
  return config;
}

// Begins with the teacher's embedding, attention and norms; the MLPs are new, also where the teacher is a dense model.
RunConfig with_weights(RunConfig config, const fs::path& teacher) {
  config.train.seed += another_seed;
  return begun_as_student(std::move(config), teacher);
}

RunConfig from_both(RunConfig config, const fs::path& teacher) {
  return with_weights(from_probabilities(std::move(config), teacher), teacher);
}

std::vector<Variant> variants(bool quick) {
  const TrainConfig train = base_training(quick ? 110 : 700);
  const ModelConfig teacher = teacher_model(), dense = dense_twin(teacher);
  std::vector<Variant> all{variant("teacher, 16 experts", teacher, train),
                           variant("dense", dense, train),
                           variant("weights alone", dense, train),
                           variant("probabilities alone", dense, train),
                           variant("both", dense, train),
                           variant("weights of a dense model", dense, train)};
  for (size_t i = 2; i < 5; ++i) all[i].after = all[0].label;
  all[2].prepare = with_weights, all[3].prepare = from_probabilities, all[4].prepare = from_both;
  // What the head start alone is worth: a student begins with weights that were trained as long again.
  all[5].after = all[1].label, all[5].prepare = with_weights;
  for (size_t i : {3, 4}) all[i].extra_flops = forward_flops_per_token(teacher);
  return all;
}

std::vector<std::string> conclude(Results& r) {
  const auto loss_of = [&](const char* variant, uint64_t seed) {
    for (const Outcome* o : r.of(variant))
      if (o->seed == seed) return o->number.at("loss");
    fail("distill: no run of {} with seed {}", variant, seed);
  };
  for (Outcome& o : r.outcomes) {
    const double dense = loss_of("dense", o.seed), gain = dense - loss_of("teacher, 16 experts", o.seed);
    if (gain > 0) o.number["share_of_gain"] = 100 * (dense - o.number.at("loss")) / gain;  // else there is none
  }
  r.findings["gain_over_head_start"] = r.mean("weights of a dense model", "loss") - r.mean("both", "loss");
  return {
      "share of gain: how much of the way from the dense model's loss to its teacher's. The teacher's training is not "
      "in",
      "a student's FLOPs and seconds, its answers are. Weights that were trained before are a head start, which the",
      "paper's long training makes worthless; the last line has the same head start from a dense model's weights.",
      fmt::format("What the mixture's teaching adds to that: {:.4f} of loss.", r.findings["gain_over_head_start"])};
}

}  // namespace

extern const Experiment distill{.name = "distill",
                                .question = "how much of a mixture's gain can a dense model be taught?",
                                .paper = "Fedus et al. 2021, section 4.2, table 6 (64 experts into T5-Base)",
                                .minutes = 6.8,
                                .quick_minutes = 1.0,
                                .variants = variants,
                                .columns = {{"share of gain, %", "share_of_gain", 0}, {"parameters", "parameters", 0}},
                                .paper_title = "share of gain",
                                .paper_numbers = {{"teacher, 16 experts", "100 %"}, {"dense", "0 %"}, {"both", "29 %"}},
                                .conclude = conclude,
                                .version = 2};

}  // namespace switchyard::reproduce
