// How a model is trained. visit() lists every field once, as in moe/config.h.
#pragma once
#include <limits>

#include "moe/config.h"
#include "nn/tokenizer.h"
#include "train/corpus/corpus.h"

namespace switchyard {

enum class Schedule : uint8_t { cosine, wsd, constant };
// What moves the matrices of the layers; all else is AdamW's (train/optimizer.h).
enum class OptimizerKind : uint8_t { adamw, muon };
// What decays: every matrix; those of the layers but the routers'; everything, norms and biases too.
enum class Decay : uint8_t { matrices, hidden, all };
// What becomes of a step whose loss is no number or a spike (train/spikes.h).
enum class OnSpike : uint8_t { stop, skip, go_on };

template <>
struct EnumNames<Schedule> {
  static constexpr std::string_view names[] = {"cosine", "wsd", "constant"};
};
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::string_view names[] = {"adamw", "muon"};
};
template <>
struct EnumNames<Decay> {
  static constexpr std::string_view names[] = {"matrices", "hidden", "all"};
};
template <>
struct EnumNames<OnSpike> {
  static constexpr std::string_view names[] = {"stop", "skip", "go-on"};
};
template <>
struct EnumNames<TokenizerKind> {
  static constexpr std::string_view names[] = {"bytes", "chars", "bpe"};
};
template <>
struct EnumNames<Domain> {
  static constexpr std::string_view names[] = {"stories", "biographies", "arithmetic", "programs",
                                               "recipes", "timetables",  "games",      "letters"};
};
static_assert(std::size(EnumNames<Domain>::names) == domain_count, "every domain has its name here too");

struct TrainConfig {
  TokenizerKind tokenizer = TokenizerKind::bpe;
  int merged_vocab = 1024;
  double validation = 0.1;
  int64_t corpus_bytes = 8'000'000;
  int people = 200;
  uint64_t corpus_seed = 1;
  std::optional<Domain> domain;  // none: all

  int64_t steps = 1000;
  int batch = 16;
  int accumulate = 1;
  double rate = 1e-3;
  double final_rate = 0.1;
  int64_t warmup = 100;
  Schedule schedule = Schedule::cosine;
  double decay_share = 0.2;
  OptimizerKind optimizer = OptimizerKind::adamw;
  double momentum = 0.95;
  double router_rate = 1;
  std::optional<double> average;  // none: the weights are not averaged
  bool gradient_noise = false;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  Decay decay = Decay::matrices;
  double clip = 1.0;
  OnSpike on_spike = OnSpike::stop;
  double spike = 8;
  uint64_t seed = 1;
  Compute compute = Compute::f32;

  int64_t log_every = 10;
  int64_t eval_every = 250;
  int64_t eval_tokens = 100'000;
  int64_t sample_every = 500;
  int64_t checkpoint_every = 1000;
};

template <class Config, class F>
requires std::is_same_v<std::remove_const_t<Config>, TrainConfig>
constexpr void visit(Config& c, F&& f) {
  constexpr int64_t many = int64_t{1} << 40;
  f("tokenizer", c.tokenizer, "what a token is: a byte, a character, or a byte-level BPE trained on the text");
  f("merged-vocab", c.merged_vocab, 257, 1 << 20, "vocabulary of --tokenizer bpe");
  f("validation", c.validation, 0.0, 0.9, "share of the text, at its end, that is kept from training");
  f("corpus-bytes", c.corpus_bytes, int64_t{10'000}, many, "size of the built-in corpus, in bytes");
  f("people", c.people, 2, 100'000, "people in the built-in corpus: how much there is to know");
  f("corpus-seed", c.corpus_seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(), "which built-in corpus");
  f("domain", c.domain, "the only domain of the built-in corpus; default: all");
  f("steps", c.steps, int64_t{0}, many, "optimizer steps");
  f("batch", c.batch, 1, 1 << 16, "sequences per pass (B)");
  f("accumulate", c.accumulate, 1, 1 << 16, "passes per step, whose gradients are averaged");
  f("rate", c.rate, 0.0, 10.0, "highest learning rate");
  f("final-rate", c.final_rate, 0.0, 1.0, "learning rate at the end, as a share of the highest");
  f("warmup", c.warmup, int64_t{0}, many, "steps over which the rate rises from zero");
  f("schedule", c.schedule, "cosine; wsd: stable, then a straight line down; constant");
  f("decay-share", c.decay_share, 0.0, 1.0, "share of the steps in which --schedule wsd goes down");
  f("optimizer", c.optimizer, "what moves the matrices of the layers: adamw, or muon; all else is AdamW's");
  f("momentum", c.momentum, 0.0, 0.9999, "Muon's decay of the mean gradient");
  f("router-rate", c.router_rate, 0.0, 1000.0, "the routers' learning rate, as a multiple of the others'");
  f("average", c.average, 0.0, 0.999999, "keep a mean of the weights over the steps, with this decay; default: none");
  f("gradient-noise", c.gradient_noise,
    "estimate the gradient's noise from the passes of a step (--accumulate 2 or more)");
  f("beta1", c.beta1, 0.0, 0.9999, "AdamW's decay of the mean gradient");
  f("beta2", c.beta2, 0.0, 0.999999, "AdamW's decay of the mean squared gradient");
  f("epsilon", c.epsilon, 0.0, 1.0, "AdamW's guard against division by zero");
  f("weight-decay", c.weight_decay, 0.0, 10.0, "decoupled weight decay");
  f("decay", c.decay, "what decays: matrices; hidden, those of the layers without the routers'; or all");
  f("clip", c.clip, 1e-9, 1e9, "largest norm of all gradients together; larger ones are scaled down");
  f("on-spike", c.on_spike,
    "what a step does whose loss is no number or a spike: stop the run, skip the step, or go-on");
  f("spike", c.spike, 1.0, 1e9, "a spike: a loss so many standard deviations above the mean of the last 128 steps");
  f("seed", c.seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(), "initial weights, batches and dropout");
  f("compute", c.compute, "what activations are and matrices are multiplied in");
  f("log-every", c.log_every, int64_t{1}, many, "steps between progress lines");
  f("eval-every", c.eval_every, int64_t{1}, many, "steps between evaluations");
  f("eval-tokens", c.eval_tokens, int64_t{1}, many, "most validation tokens in an evaluation; the last one takes all");
  f("sample-every", c.sample_every, int64_t{1}, many, "steps between written samples");
  f("checkpoint-every", c.checkpoint_every, int64_t{1}, many, "steps between checkpoints");
}

}  // namespace switchyard
