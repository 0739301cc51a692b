// How a model is trained. visit() lists every field once, as in moe/config.h.
#pragma once
#include <limits>

#include "moe/config.h"
#include "nn/tokenizer.h"
#include "train/corpus/corpus.h"

namespace switchyard {

enum class Schedule : uint8_t { cosine, wsd, constant };

template <>
struct EnumNames<Schedule> {
  static constexpr std::string_view names[] = {"cosine", "wsd", "constant"};
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
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;
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
  f("beta1", c.beta1, 0.0, 0.9999, "AdamW's decay of the mean gradient");
  f("beta2", c.beta2, 0.0, 0.999999, "AdamW's decay of the mean squared gradient");
  f("epsilon", c.epsilon, 0.0, 1.0, "AdamW's guard against division by zero");
  f("weight-decay", c.weight_decay, 0.0, 10.0, "decoupled weight decay of the matrices");
  f("clip", c.clip, 1e-9, 1e9, "largest norm of all gradients together; larger ones are scaled down");
  f("seed", c.seed, uint64_t{0}, std::numeric_limits<uint64_t>::max(), "initial weights, batches and dropout");
  f("compute", c.compute, "what activations are and matrices are multiplied in");
  f("log-every", c.log_every, int64_t{1}, many, "steps between progress lines");
  f("eval-every", c.eval_every, int64_t{1}, many, "steps between evaluations");
  f("eval-tokens", c.eval_tokens, int64_t{1}, many, "most validation tokens in an evaluation; the last one takes all");
  f("sample-every", c.sample_every, int64_t{1}, many, "steps between written samples");
  f("checkpoint-every", c.checkpoint_every, int64_t{1}, many, "steps between checkpoints");
}

}  // namespace switchyard
