// Named configurations: a model and how to train it. A preset is data; its size is proved when the project compiles.
#pragma once
#include <span>
#include <string_view>

#include "moe/size.h"
#include "train/config.h"

namespace switchyard {

struct Preset {
  std::string_view name, help;
  ModelConfig model;
  TrainConfig train;
};

// `vocab` here is what the tokenizer of the preset's usual text gives; training replaces it by what its own gives.
inline constexpr Preset presets[] = {
    {"demo",
     "a small mixture of experts on the built-in corpus, about 90 seconds on two cores",
     {.vocab = 2048,
      .context = 256,
      .layers = 3,
      .width = 192,
      .heads = 6,
      .kv_heads = 6,

      .ffn = 256,
      .tied = true,
      .experts = 8,
      .top_k = 2},
     {.merged_vocab = 2048,
      .corpus_bytes = 12'000'000,
      .steps = 1000,
      .batch = 8,
      .rate = 3e-3,
      .warmup = 50,
      .beta2 = 0.97,
      .log_every = 50,
      .eval_every = 250,
      .eval_tokens = 40'000,
      .sample_every = 250,
      .checkpoint_every = 500}},
    {"nanogpt-cpu",
     "nanoGPT's character model for a CPU: 4 layers, width 128, context 64, batch 12, 2000 steps",
     {.vocab = 66,
      .context = 64,
      .layers = 4,
      .width = 128,
      .heads = 4,
      .kv_heads = 4,

      .ffn = 344,
      .experts = 1,
      .top_k = 1,
      .gate_norm = GateNorm::none},
     {.tokenizer = TokenizerKind::chars,
      .steps = 2000,
      .batch = 12,
      .rate = 2e-3,
      .final_rate = 0.1,
      .warmup = 100,
      .beta2 = 0.99,
      .eval_every = 500,
      .sample_every = 1000,
      .checkpoint_every = 1000}},
    {"makemoe",
     "makeMoE's character model: 8 layers of 8 experts top-2, width 128, 9 M parameters",
     {.vocab = 66,
      .context = 32,
      .layers = 8,
      .width = 128,
      .heads = 8,
      .kv_heads = 8,

      .ffn = 344,
      .experts = 8,
      .top_k = 2},
     {.tokenizer = TokenizerKind::chars,
      .steps = 5000,
      .batch = 16,
      .rate = 1e-3,
      .final_rate = 0.1,
      .warmup = 100,
      .beta2 = 0.99,
      .eval_every = 1000,
      .sample_every = 2500,
      .checkpoint_every = 2500}},
    {"moe-step",
     "for timing: 14.2 M parameters, 4.7 M active, 2048 tokens a step",
     {.vocab = 1024,
      .context = 256,
      .layers = 4,
      .width = 256,
      .heads = 4,
      .kv_heads = 4,

      .ffn = 512,
      .experts = 8,
      .top_k = 2},
     {.merged_vocab = 1024, .steps = 20, .batch = 8, .rate = 3e-4}},
    {"baby",
     "for timing: a dense model of 0.8 M parameters, 768 tokens a step",
     {.vocab = 66,
      .context = 64,
      .layers = 4,
      .width = 128,
      .heads = 4,
      .kv_heads = 4,

      .ffn = 512,
      .experts = 1,
      .top_k = 1,
      .gate_norm = GateNorm::none},
     {.tokenizer = TokenizerKind::chars, .steps = 20, .batch = 12, .rate = 3e-4}},
};

// The preset of that name. Error that names the nearest otherwise.
const Preset& find_preset(std::string_view name);

static_assert(total_params(presets[3].model) == 14'166'272 && active_params(presets[3].model) == 4'729'088,
              "moe-step must be the model of the PyTorch script that it is timed beside");

}  // namespace switchyard
