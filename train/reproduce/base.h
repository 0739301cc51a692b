// What the experiments share: a model small enough for three seeds of every variant, and how it is trained.
#pragma once
#include <algorithm>

#include "train/reproduce/experiment.h"

namespace switchyard::reproduce {

// 3 layers of width 96, 8 experts of width 128, two a token. The balance loss is the only auxiliary one.
inline ModelConfig base_model() {
  return {.vocab = 1024,
          .context = 128,
          .layers = 3,
          .width = 96,
          .heads = 4,
          .kv_heads = 4,
          .ffn = 128,
          .tied = true,
          .init = 0.06,
          .experts = 8,
          .top_k = 2};
}

// The same without experts, its MLP of width F.
inline ModelConfig dense_model(int F) {
  ModelConfig c = base_model();
  c.ffn = F, c.experts = c.top_k = 1, c.gate_norm = GateNorm::none;
  return c;
}

// Steps of 2048 tokens of the built-in corpus. Smaller steps let the dense model learn more in little time, but not
// Switch: with 512 tokens an expert of 16 sees 32 a step, tokens change their experts faster than these learn, and its
// loss ends above the dense one's.
inline TrainConfig base_training(int64_t steps) {
  return {.merged_vocab = 1024,
          .corpus_bytes = 3'000'000,
          .steps = steps,
          .batch = 16,
          .rate = 6e-3,
          .warmup = steps / 5,
          .beta2 = 0.97,
          .log_every = steps,
          .eval_every = std::max<int64_t>(steps / 20, 20),
          .eval_tokens = 8'000,
          .sample_every = steps,
          .checkpoint_every = steps};
}

// Added to the seed of a run that begins with another's weights, so that it does not read the same windows again.
inline constexpr uint64_t another_seed = 1000;

inline Variant variant(std::string label, const ModelConfig& model, const TrainConfig& train) {
  return {.label = std::move(label), .config = {.source = {}, .model = model, .train = train, .out = {}}};
}

}  // namespace switchyard::reproduce
