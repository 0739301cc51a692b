// One training step on random tokens, as the benchmarks time it.
#pragma once
#include "tensor/random.h"
#include "train/adamw.h"
#include "train/presets.h"

namespace switchyard::bench {

// (B, context)
inline Tensor random_tokens(const ModelConfig& model, int64_t B, Random& random) {
  Tensor tokens({B, model.context}, Dtype::i32);
  for (int64_t i = 0; i < tokens.count(); ++i)
    tokens.data<int32_t>()[i] = static_cast<int32_t>(random.below(model.vocab));
  return tokens;
}

// Forward, backward, clipping and AdamW.
inline void training_step(Transformer& model, AdamW& optimizer, const TrainConfig& c, Random& random) {
  Pass pass{.training = true, .seed = 1};
  const Tensor tokens = random_tokens(model.config(), c.batch, random);
  const ForwardResult f = model(tokens, {.pass = &pass});
  Var loss = mean(cross_entropy(f.logits, random_tokens(model.config(), c.batch, random)));
  for (const AuxTerm& term : f.aux) loss = add(loss, scale(term.value, term.coefficient));
  backward(loss);
  optimizer.step(c.rate, 1);
}

}  // namespace switchyard::bench
